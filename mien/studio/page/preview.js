// The large picture: one frame at the playhead, drawn anew on every change, and played along with the sound.

import { latest, picture } from "./api.js";
import { duration, emotionKey, fps, moveTo, on, project, settle } from "./project.js";
import { complain } from "./notice.js";

const canvas = document.getElementById("frame");
const playButton = document.getElementById("play");
const voice = new Audio();
let playing = false,
  startedAt = 0,
  startedFrom = 0;

/** Everything the server needs to know to draw or make what is on the page. */
export const take = (at = project.at) => ({
  portrait: project.portrait.key,
  speech: project.speech?.key ?? null,
  lanes: project.lanes,
  options: project.options,
  at,
});

/** The same for a still: the emotion of the keyframe that is edited, for all faces or the chosen one. */
export const still = (full = false) => ({
  portrait: project.portrait.key,
  emotion: emotionKey(),
  face: project.options.face ?? null,
  full,
});

const draw = latest(async () => {
  if (!project.portrait) return;
  try {
    const drawn = project.mode === "still" ? picture("/api/restyle", still()) : picture("/api/frame", take());
    const image = await createImageBitmap(await drawn);
    if (canvas.width !== image.width || canvas.height !== image.height) {
      canvas.width = image.width;
      canvas.height = image.height;
    }
    canvas.getContext("2d").drawImage(image, 0, 0);
    canvas.hidden = false;
    image.close();
  } catch (error) {
    complain(error);
    pause();
  }
});

function now() {
  if (project.speech) return voice.currentTime;
  return startedFrom + (performance.now() - startedAt) / 1000;
}

/** While playing, frames are asked for as fast as they come: each shows where the sound is by then. */
async function run() {
  while (playing) {
    const at = now();
    if (at >= duration() - 0.5 / fps() || voice.ended) {
      pause();
      moveTo(0);
      return;
    }
    moveTo(at);
    await draw();
    await new Promise(requestAnimationFrame);
  }
}

export async function play() {
  if (!project.portrait || playing || project.mode !== "talk") return;
  settle();
  if (project.at >= duration() - 0.1) moveTo(0);
  if (project.speech) {
    voice.currentTime = project.at;
    await voice.play().catch(complain);
  }
  [startedAt, startedFrom] = [performance.now(), project.at];
  playing = true;
  show();
  run();
}

export function pause() {
  playing = false;
  voice.pause();
  show();
}

export const toggle = () => (playing ? pause() : play());

/** Go somewhere by hand; sound follows. */
export function seek(seconds) {
  moveTo(seconds);
  if (project.speech) voice.currentTime = project.at;
  [startedAt, startedFrom] = [performance.now(), project.at];
}

function show() {
  playButton.classList.toggle("playing", playing);
  playButton.setAttribute("aria-label", playing ? "Pause" : "Play");
  playButton.title = playing ? "Pause (Space)" : "Play (Space)";
}

const clock = document.getElementById("clock");
const digits = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(2).padStart(5, "0")}`;

export function watch() {
  on("portrait speech lanes options mode", () => {
    draw();
  });
  on("at", () => {
    if (!playing && project.mode === "talk") draw();
  });
  on("mode", pause);
  on("at speech setup", () => {
    clock.textContent = `${digits(project.at)} / ${digits(duration())}`;
  });
  on("speech", () => {
    pause();
    voice.src = project.speech ? `/api/speech/${project.speech.key}` : "";
    moveTo(Math.min(project.at, duration()));
  });
  on("portrait", () => {
    document.querySelector(".empty").hidden = project.portrait !== null;
    for (const id of ["still", "compare"]) document.getElementById(id).disabled = false;
  });
  playButton.addEventListener("click", toggle);
  document.getElementById("rewind").addEventListener("click", () => seek(0));
  document.getElementById("still").addEventListener("click", keepFrame);
  compare(document.getElementById("compare"));
}

/** While the button is held, the photo itself is shown. */
function compare(button) {
  const photo = new Image();
  on("portrait", () => {
    photo.src = `/api/portrait/${project.portrait.key}`;
  });
  const show = () => {
    pause();
    canvas.getContext("2d").drawImage(photo, 0, 0, canvas.width, canvas.height);
  };
  const hold = (event) => {
    if (event.key === undefined || event.key === " " || event.key === "Enter") show();
  };
  for (const name of ["pointerdown", "keydown"]) button.addEventListener(name, hold);
  for (const name of ["pointerup", "pointerleave", "keyup", "blur"]) button.addEventListener(name, () => draw());
}

/** The frame at full size, with the record of its origin that everything mien makes has. */
async function keepFrame() {
  try {
    const name = project.portrait.name.replace(/\.[^.]*$/, "");
    if (project.mode === "still") keep(await picture("/api/restyle", still(true)), `${name}-restyled.png`);
    else keep(await picture("/api/still", take()), `${name}-${project.at.toFixed(2)}s.png`);
  } catch (error) {
    complain(error);
  }
}

/** Hand a file to the browser's downloads. */
export function keep(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
