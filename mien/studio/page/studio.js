// Where the page begins: what the server offers, then every part of the page watches the project.

import { get, post } from "./api.js";
import * as controls from "./controls.js";
import * as direction from "./direction.js";
import * as media from "./media.js";
import { complain } from "./notice.js";
import * as preview from "./preview.js";
import {
  canRedo,
  canUndo,
  duration,
  fps,
  moveTo,
  on,
  project,
  redo,
  removeKey,
  select,
  tell,
  undo,
} from "./project.js";
import * as render from "./render.js";
import * as timeline from "./timeline.js";

const undoButton = document.getElementById("undo"),
  redoButton = document.getElementById("redo");

function history() {
  undoButton.addEventListener("click", undo);
  redoButton.addEventListener("click", redo);
  on("lanes", () => {
    undoButton.disabled = !canUndo();
    redoButton.disabled = !canRedo();
  });
}

/** Keys that work wherever nothing is typed. */
function keyboard(event) {
  const typing = event.target.closest("textarea, select, dialog, input:not([type=range])");
  if (typing) return;
  const control = event.ctrlKey || event.metaKey,
    letter = event.key.toLowerCase();
  if (control && letter === "z") (event.shiftKey ? redo : undo)();
  else if (control && letter === "y") redo();
  else if (control || event.altKey) return;
  else if (event.key === " " && !event.target.closest("button, summary, a, label")) preview.toggle();
  else if (event.key === "Home") preview.seek(0);
  else if (event.key === "End") preview.seek(duration());
  else if (event.key === "Escape") select(null);
  else if (event.key === "Delete" && project.selected) removeKey(project.selected.lane, project.selected.index);
  else if (event.key === "ArrowLeft" && event.target.closest(".timeline")) preview.seek(project.at - 1 / fps());
  else if (event.key === "ArrowRight" && event.target.closest(".timeline")) preview.seek(project.at + 1 / fps());
  else return;
  event.preventDefault();
}

/** "Talk" or "Still": what the page is for at the moment; the style sheet hides what is not. */
function modes() {
  for (const tab of document.querySelectorAll(".tabs button")) {
    tab.addEventListener("click", () => {
      project.mode = tab.value;
      tell("mode");
    });
    on("mode", () => tab.setAttribute("aria-pressed", String(project.mode === tab.value)));
  }
  on("mode", () => {
    document.body.classList.toggle("still", project.mode === "still");
  });
}

async function begin() {
  project.setup = await get("/api/setup");
  const { given } = project.setup;
  project.lanes = (await post("/api/direction", { text: given.text ?? "neutral" })).lanes;
  history();
  modes();
  controls.build();
  media.presets();
  media.options();
  for (const part of [direction, media, preview, render, timeline]) part.watch();
  document.addEventListener("keydown", keyboard);
  window.addEventListener("beforeunload", (event) => {
    if (canUndo()) event.preventDefault();
  });
  tell("setup");
  tell("lanes");
  moveTo(0);
  if (given.portrait) media.takePortrait(given.portrait);
  if (given.speech) await media.takeSpeech(given.speech);
}

begin().catch(complain);
