// The direction as text, and as the command that makes the same without this page.

import { latest, post } from "./api.js";
import { complain, mention } from "./notice.js";
import { keep, still, take } from "./preview.js";
import { duration, on, project, replaceLanes, settle, tell } from "./project.js";

const $ = (selector, root = document) => root.querySelector(selector);

/** The direction as -d takes it: follows every change, and is one itself when typed in. */
export function watch() {
  const box = $("#text"),
    error = $("#text-error");
  let typing = false;
  const follow = latest(async () => {
    try {
      const answer = await post("/api/direction", { lanes: project.lanes, seconds: duration() });
      project.drawn = answer.drawn;
      if (!typing) {
        box.value = answer.text;
        error.textContent = "";
      }
      tell("drawn");
    } catch (refused) {
      complain(refused);
    }
  });
  const read = latest(async () => {
    try {
      const answer = await post("/api/direction", { text: box.value, seconds: duration() });
      error.textContent = "";
      box.removeAttribute("aria-invalid");
      replaceLanes(answer.lanes, "text");
    } catch (refused) {
      error.textContent = refused.message;
      box.setAttribute("aria-invalid", "true");
    }
  });
  box.addEventListener("input", () => {
    typing = true;
    read();
  });
  box.addEventListener("blur", () => {
    typing = false;
    settle();
    if (!error.textContent) follow();
  });
  on("lanes speech", follow);

  const card = $("#direction");
  $(".save", card).addEventListener("click", () =>
    keep(new Blob([`${box.value}\n`], { type: "text/plain" }), "direction.yaml"),
  );
  const file = $(".load input", card);
  $(".load", card).addEventListener("keydown", (event) => {
    if (event.key === "Enter") file.click();
  });
  file.addEventListener("change", async () => {
    if (!file.files[0]) return;
    box.value = await file.files[0].text();
    file.value = "";
    await read();
  });
  $(".copy", card).addEventListener("click", showCommand);
}

async function showCommand() {
  if (!project.portrait) {
    complain("there is no portrait yet");
    return;
  }
  try {
    const { command } = await (project.mode === "still"
      ? post("/api/restyle/command", still())
      : post("/api/command", take()));
    $("h2", $("#command")).textContent =
      `The same ${project.mode === "still" ? "picture" : "video"} from the command line`;
    const dialog = $("#command");
    $("pre", dialog).textContent = command;
    dialog.onclose = async () => {
      if (dialog.returnValue !== "copy") return;
      try {
        await navigator.clipboard.writeText(command);
        mention("Copied");
      } catch {
        complain("the browser does not let pages copy; mark the text and copy it");
      }
    };
    dialog.returnValue = "";
    dialog.showModal();
  } catch (error) {
    complain(error);
  }
}
