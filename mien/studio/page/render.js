// The full-quality video: queue it, show how far it is, cancel it, show and download it.

import { get, post, remove } from "./api.js";
import { complain, mention } from "./notice.js";
import { pause, take } from "./preview.js";
import { on, project } from "./project.js";

const $ = (selector) => document.querySelector(selector);
const button = $("#render"),
  card = $(".job"),
  video = $("#result"),
  tools = $("#result-tools");
let job = null;

const pausing = (milliseconds) =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

function left({ state, ahead, seconds_left: seconds, rate }) {
  if (state === "waiting") return ahead ? `waiting for ${ahead} before it` : "waiting";
  if (!seconds) return "";
  return `${Math.round(rate)} frames/s, ${seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`} left`;
}

function show(report) {
  const { state, stage, done, total } = report,
    bar = card.querySelector("progress");
  card.querySelector(".what").textContent =
    state === "waiting" ? "In the queue" : stage === "render" ? "Rendering" : "Getting ready";
  card.querySelector(".left").textContent = left(report);
  if (stage === "render" && total) bar.value = done / total;
  else bar.removeAttribute("value");
}

async function render() {
  pause();
  back();
  button.disabled = true;
  try {
    let report = await post("/api/render", take(0));
    job = report.job;
    card.hidden = false;
    card.querySelector("progress").removeAttribute("value");
    while (["waiting", "running"].includes(report.state)) {
      show(report);
      await pausing(250);
      report = await get(`/api/render/${job}`);
    }
    if (report.state === "failed") throw new Error(report.error);
    if (report.state === "done") present(report);
    else mention("The render was cancelled");
  } catch (error) {
    complain(error);
  }
  job = null;
  card.hidden = true;
  refresh();
}

function present({ job: key, name }) {
  video.src = `/api/render/${key}/video`;
  video.hidden = tools.hidden = false;
  $("#still").hidden = $("#compare").hidden = true;
  $("#download").href = `/api/render/${key}/video?download=true`;
  $("#download").download = name;
}

function back() {
  video.pause();
  video.removeAttribute("src");
  video.hidden = tools.hidden = true;
  $("#still").hidden = $("#compare").hidden = false;
}

function refresh() {
  button.disabled = !project.portrait || !project.speech || job !== null;
  button.title = project.speech ? "" : "Needs a portrait and a voice";
}

export function watch() {
  button.addEventListener("click", render);
  card.querySelector(".cancel").addEventListener("click", () => {
    if (job) remove(`/api/render/${job}`).catch(complain);
  });
  $("#back").addEventListener("click", back);
  on("portrait speech setup", refresh);
  on("lanes portrait speech options at", () => {
    if (!video.hidden) back();
  });
}
