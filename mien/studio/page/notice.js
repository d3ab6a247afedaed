// One line at the top for what went wrong, or went well.

const box = document.getElementById("notice");
let timer = 0;

function show(text, kind, seconds) {
  box.firstElementChild.textContent = text;
  box.className = kind;
  box.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => {
    box.hidden = true;
  }, seconds * 1000);
}

export const complain = (error) => {
  const line = error.message ?? String(error);
  show(line[0].toUpperCase() + line.slice(1), "bad", 12);
};
export const mention = (text) => show(text, "good", 4);

box.querySelector("button").addEventListener("click", () => {
  box.hidden = true;
});
