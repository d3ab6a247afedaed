// The bottom: waveform and phones, a lane for each control, keyframes to add, drag and remove.
// A lane is a canvas (painting.js) with keyframes over it (keyframes.js).

import { make } from "./controls.js";
import { blinkKeys, curveKeys, emotionKeys, lanes, onGrid } from "./keyframes.js";
import {
  drawCurve,
  drawEmotion,
  drawing,
  drawRuler,
  drawVoice,
  HEADER,
  MARGIN,
  secondsAt,
  valueAt,
  width,
  xOf,
  zoom,
  zoomBy,
} from "./painting.js";
import { seek } from "./preview.js";
import { addBlink, addCurveKey, addEmotionKey, controlOf, nameOf, on, project, select } from "./project.js";

const ALWAYS = ["lips.gain", "regions.brows", "head.yaw"]; // lanes that are there from the start
const $ = (selector, root = document) => root.querySelector(selector);
const rows = $(".timeline .rows"),
  scroll = $(".timeline .scroll"),
  line = $(".timeline .playhead");
const shownLanes = new Set(ALWAYS);

function lane(kind, name, height) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const track = make("div", { class: "track" }, canvas);
  const header = make("div", { class: "name" }, name);
  const element = make("div", { class: `lane ${kind}` }, header, track);
  element.style.height = `${height}px`;
  rows.append(element);
  return { element, header, track, canvas, height };
}

/** What changes only with the sound and the zoom: ruler and waveform. */
function buildTop() {
  rows.querySelectorAll(".lane").forEach((element) => element.remove());
  rows.style.width = `${HEADER + width() + 2 * MARGIN}px`;
  const ruler = lane("ruler", "", 22);
  drawRuler(ruler);
  const voice = lane("voice", project.speech?.name ?? "Voice", 68);
  drawVoice(voice);
  if (project.speech?.source)
    voice.header.append(make("small", {}, HEARD[project.speech.source] ?? project.speech.source));
  for (const row of [ruler, voice]) {
    row.track.addEventListener("pointerdown", (event) => {
      const go = (now) => seek(secondsAt(now.clientX, row));
      select(null);
      go(event);
      window.addEventListener("pointermove", go);
      window.addEventListener("pointerup", () => window.removeEventListener("pointermove", go), { once: true });
    });
  }
  build();
}

const HEARD = {
  text: "phones from the text",
  recognised: "phones recognised",
  acoustic: "lips follow the sound",
  silent: "nobody speaks",
};

function build() {
  const focused = document.activeElement?.dataset?.lane !== undefined ? { ...document.activeElement.dataset } : null;
  rows.querySelectorAll(".lane:not(.ruler, .voice)").forEach((element) => element.remove());
  lanes.clear();
  const timeAt = (event, row) => onGrid(secondsAt(event.clientX, row));

  const emotion = lane("emotion", "Emotion", 40);
  lanes.set("emotion", emotion);
  drawEmotion(emotion);
  emotionKeys(emotion);
  emotion.track.addEventListener("click", (event) => {
    const at = timeAt(event, emotion);
    addEmotionKey(at);
    seek(at);
  });

  for (const key of curveLanes()) {
    const row = lane("curve", nameOf(key), 36),
      control = controlOf(key);
    row.header.title = control.help;
    row.header.append(make("small", {}, `${control.low} to ${control.high} ${control.unit}`.replace("-", "−")));
    lanes.set(key, row);
    drawCurve(row, key);
    curveKeys(row, key);
    row.track.addEventListener("click", (event) => {
      const at = timeAt(event, row);
      addCurveKey(key, at, valueAt(control, event.clientY - row.canvas.getBoundingClientRect().top, row.height));
      seek(at);
    });
  }

  const control = project.setup.controls["blink.duration"],
    blinks = lane("blinks", "Single blinks", 28);
  lanes.set("blinks", blinks);
  drawing(blinks);
  blinkKeys(blinks);
  blinks.track.addEventListener("click", (event) => {
    const at = timeAt(event, blinks);
    addBlink(at);
    seek(at + control.default / 2);
  });
  placePlayhead();
  if (focused)
    rows
      .querySelector(`.key[data-lane="${focused.lane}"][data-index="${focused.index}"]`)
      ?.focus({ preventScroll: true });
}

/** In the order in which the server lists the controls: those shown from the start, used, or asked for. */
function curveLanes() {
  return allCurves().filter((key) => shownLanes.has(key) || (project.lanes.curves[key]?.length ?? 0) > 1);
}

function allCurves() {
  const keys = Object.keys(project.setup.controls).filter((key) => /^(lips|blink\.rate|head|gaze|regions)/.test(key));
  return keys.flatMap((key) =>
    key === "regions.gain" ? project.setup.regions.map((region) => `regions.${region}`) : [key],
  );
}

function placePlayhead() {
  line.style.transform = `translateX(${HEADER + xOf(project.at)}px)`;
}

/** However often it is asked for, `work` is done once before the next picture of the screen. */
function oncePerFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

export function watch() {
  const lanesAgain = oncePerFrame(build),
    allAgain = oncePerFrame(buildTop);
  on("speech heard", allAgain);
  on("lanes drawn", lanesAgain);
  on("selected", () =>
    rows.querySelectorAll(".key").forEach(({ dataset, classList }) => {
      const { lane: laneKey, index } = project.selected ?? {};
      classList.toggle("selected", dataset.lane === laneKey && Number(dataset.index) === index);
    }),
  );
  on("at", () => {
    placePlayhead();
    const x = xOf(project.at),
      seen = scroll.clientWidth - HEADER;
    if (zoom() > 1 && (x < scroll.scrollLeft + MARGIN || x > scroll.scrollLeft + seen - 20)) scroll.scrollLeft = x - 40;
  });
  new ResizeObserver(allAgain).observe(scroll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", allAgain);

  const adder = $("#add-lane");
  for (const key of allCurves()) {
    const group = { lips: "Lips", blink: "Blinks", head: "Head", gaze: "Gaze", regions: "Face parts" }[
      key.split(".")[0]
    ];
    let options = adder.querySelector(`optgroup[label="${group}"]`);
    if (!options) {
      options = make("optgroup", { label: group });
      adder.append(options);
    }
    options.append(new Option(nameOf(key), key));
  }
  adder.addEventListener("change", () => {
    shownLanes.add(adder.value);
    adder.value = "";
    build();
    scroll.scrollTop = scroll.scrollHeight;
  });
  $("#zoom-in").addEventListener("click", () => {
    zoomBy(1.6);
    buildTop();
  });
  $("#zoom-out").addEventListener("click", () => {
    zoomBy(1 / 1.6);
    buildTop();
  });
  scroll.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2);
      buildTop();
    },
    { passive: false },
  );
  buildTop();
}
