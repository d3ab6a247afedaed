// The bottom: waveform and phones, a lane for each control, keyframes to add, drag and remove.
// Lanes are canvases that show what the server sampled; keyframes are buttons over them, so that they can be reached
// and moved with the keyboard as well.

import { colourAt } from "./colours.js";
import { make, shown } from "./controls.js";
import { seek } from "./preview.js";
import {
  addBlink, addCurveKey, addEmotionKey, controlOf, curveOf, duration, edit, fps, nameOf, on, project, removeKey, select,
  settle,
} from "./project.js";

const ALWAYS = ["lips.gain", "regions.brows", "head.yaw"]; // lanes that are there from the start
const $ = (selector, root = document) => root.querySelector(selector);
const rows = $(".timeline .rows"), scroll = $(".timeline .scroll"), line = $(".timeline .playhead");
const shownLanes = new Set(ALWAYS);
let zoom = 1, lanesNow = []; // {key, row} of every lane with keyframes

const HEADER = 148, MARGIN = 12; // px: names on the left, room at both ends for half a keyframe
const width = () => Math.max(100, Math.round((scroll.clientWidth - HEADER - 2 * MARGIN) * zoom)); // of the whole time
const xOf = (seconds) => MARGIN + (seconds / duration()) * width();
const secondsAt = (clientX, row) => ((clientX - row.canvas.getBoundingClientRect().left - MARGIN) / width()) * duration();
const onGrid = (seconds) => Math.min(Math.max(Math.round(seconds * 100) / 100, 0), Math.floor(duration() * 100) / 100);

function lane(kind, name, height) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const track = make("div", { class: "track" }, canvas);
  const header = make("div", { class: "name" }, name);
  const element = make("div", { class: `lane ${kind}` }, header, track);
  element.style.height = `${height}px`;
  rows.append(element);
  return { element, header, track, canvas, height };
}

/** The canvas of a lane at the screen's resolution, emptied; coordinates in CSS pixels. */
function drawing({ canvas, height }) {
  const w = width() + 2 * MARGIN, scale = Math.min(window.devicePixelRatio || 1, 16000 / w);
  canvas.width = Math.round(w * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.width = `${w}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return context;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function drawRuler(ruler) {
  const context = drawing(ruler), perSecond = width() / duration();
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300].find((each) => each * perSecond > 56) ?? 600;
  context.fillStyle = context.strokeStyle = css("--faint");
  context.font = "11px system-ui, sans-serif";
  for (let i = 0; i * step <= duration() + 1e-6; i++) {
    const x = Math.round(xOf(i * step)) + 0.5, seconds = i * step;
    context.beginPath();
    context.moveTo(x, 15);
    context.lineTo(x, ruler.height);
    context.stroke();
    const text = seconds >= 60 ? `${Math.floor(seconds / 60)}:${String(Math.round(seconds % 60)).padStart(2, "0")}` : `${+seconds.toFixed(1)} s`;
    context.fillText(text, x + 4, 14);
  }
}

function drawVoice(voice) {
  const context = drawing(voice), speech = project.speech, middle = 25, reach = 22;
  if (!speech) {
    context.fillStyle = css("--faint");
    context.font = "12px system-ui, sans-serif";
    context.fillText("No voice yet: the face only feels", MARGIN, 32);
    return;
  }
  context.fillStyle = css("--wave");
  const { peaks } = speech, loudest = Math.max(0.05, ...peaks);
  for (let x = 0; x < width(); x++) {
    const half = Math.max(0.5, (peaks[Math.floor((x / width()) * peaks.length)] / loudest) * reach);
    context.fillRect(MARGIN + x, middle - half, 1, 2 * half);
  }
  context.font = "10px system-ui, sans-serif";
  context.textAlign = "center";
  for (const [symbol, start, end] of speech.phones ?? []) {
    if (symbol === "SIL" || symbol.startsWith("+")) continue;
    const [left, right] = [xOf(start), xOf(end)];
    context.fillStyle = css("--phone");
    context.fillRect(left + 0.5, 51, Math.max(1, right - left - 1), 14);
    if (right - left > 13) {
      context.fillStyle = css("--text");
      context.fillText(symbol.toLowerCase(), (left + right) / 2, 61.5);
    }
  }
}

function drawEmotion(emotion) {
  const context = drawing(emotion), points = project.drawn.emotion ?? [];
  if (!points.length) return;
  context.fillStyle = css("--lane");
  context.fillRect(MARGIN, 4, width(), emotion.height - 8);
  let from = 0; // whole pixels of one colour at a time, for half-covered ones would show as stripes
  for (let x = 1; x <= width(); x++) {
    const [valence, arousal] = points[Math.round((from / width()) * (points.length - 1))];
    const next = points[Math.round((x / width()) * (points.length - 1))];
    if (x < width() && next[0] === valence && next[1] === arousal) continue;
    context.fillStyle = colourAt(valence, arousal);
    context.fillRect(MARGIN + from, 4, x - from, emotion.height - 8);
    from = x;
  }
}

const yOf = (control, value, height) => height - 8 - ((height - 16) * (value - control.low)) / (control.high - control.low);
const valueAt = (control, y, height) => {
  const value = control.low + ((height - 8 - y) / (height - 16)) * (control.high - control.low);
  const step = control.high - control.low > 20 ? 1 : 0.05;
  return Math.min(control.high, Math.max(control.low, Math.round(Math.round(value / step) * step * 100) / 100));
};

function drawCurve(row, key) {
  const context = drawing(row), control = controlOf(key), keys = curveOf(key);
  const values = project.drawn[key] ?? [keys[0][1], keys[0][1]];
  const usual = Math.round(yOf(control, control.default, row.height)) + 0.5;
  context.strokeStyle = css("--border");
  context.setLineDash([3, 4]);
  context.beginPath();
  context.moveTo(MARGIN, usual);
  context.lineTo(MARGIN + width(), usual);
  context.stroke();
  context.setLineDash([]);
  context.beginPath();
  values.forEach((value, i) => context.lineTo(MARGIN + (i * width()) / (values.length - 1), yOf(control, value, row.height)));
  context.strokeStyle = key in project.lanes.curves ? css("--accent") : css("--faint");
  context.lineWidth = 1.75;
  context.stroke();
  context.lineTo(MARGIN + width(), usual);
  context.lineTo(MARGIN, usual);
  context.globalAlpha = 0.1;
  context.fillStyle = css("--accent");
  context.fill();
}

/** A keyframe as a button. `at` and `y` place it; `move(seconds, y)` drags it, `nudge(steps)` changes its value. */
function keyButton(row, { name, index, at, y, text, move, nudge, laneKey, removable, look = at }) {
  const button = make("button", { class: "key", "aria-label": name, title: `${name}${removable ? ". Double-click to remove" : ""}` });
  if (text) button.append(make("span", {}, text));
  button.style.left = `${xOf(at)}px`;
  button.style.top = `${y}px`;
  button.dataset.lane = laneKey;
  button.dataset.index = index;
  button.classList.toggle("selected", project.selected?.lane === laneKey && project.selected.index === index);
  button.addEventListener("pointerdown", (event) => {
    pick(laneKey, index, look);
    if (event.button === 0) drag(event, laneKey, move);
  });
  // Not "dblclick": a drag of a pixel in between makes the lanes anew, and the two clicks hit different buttons.
  button.addEventListener("mousedown", (event) => { if (event.detail === 2 && removable) removeKey(laneKey, index); });
  button.addEventListener("click", (event) => { event.stopPropagation(); pick(laneKey, index, look); });
  button.addEventListener("keydown", (event) => {
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[event.key], upwards = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (sideways) move(onGrid(at + sideways / fps()), null);
    else if (upwards) nudge?.(upwards);
    else if ((event.key === "Delete" || event.key === "Backspace") && removable) removeKey(laneKey, index);
    else return;
    event.preventDefault();
    event.stopPropagation();
    settle();
  });
  row.track.append(button);
}

function pick(laneKey, index, at) {
  select(laneKey, index);
  seek(at);
}

function drag(event, laneKey, move) {
  const start = [event.clientX, event.clientY];
  let moved = false;
  const follow = (now) => {
    if (!moved && Math.hypot(now.clientX - start[0], now.clientY - start[1]) < 3) return; // a click that trembled
    moved = true;
    // The lane may have been made anew meanwhile; its name knows where it is now.
    const { row: present } = lanesNow.find(({ key }) => key === laneKey);
    const y = now.clientY - present.canvas.getBoundingClientRect().top;
    move(onGrid(secondsAt(now.clientX, present)), Math.abs(now.clientY - start[1]) > 3 ? y : null);
  };
  const end = () => {
    window.removeEventListener("pointermove", follow);
    settle();
  };
  window.addEventListener("pointermove", follow);
  window.addEventListener("pointerup", end, { once: true });
}

/** A time between the neighbours of a keyframe; the first one stays at 0. */
function between(times, index, seconds) {
  if (index === 0) return 0;
  return Math.min(Math.max(seconds, times[index - 1] + 0.04), (times[index + 1] ?? Infinity) - 0.04);
}

function emotionKeys(row) {
  const keys = project.lanes.emotion, times = keys.map((key) => key.at);
  keys.forEach((key, index) => {
    const text = "va" in key ? `${key.va[0]}, ${key.va[1]}` : key.emotion === "neutral" ? "neutral" : `${key.emotion} ${key.intensity}`;
    keyButton(row, {
      name: `Emotion ${text} at ${key.at.toFixed(2)} seconds`, index, at: key.at, y: row.height / 2, text, laneKey: "emotion", removable: index > 0,
      move: (seconds) => {
        edit((lanes) => { lanes.emotion[index].at = between(times, index, seconds); }, `emotion ${index}`);
        seek(project.lanes.emotion[index].at);
      },
      nudge: (steps) => {
        if ("intensity" in key && key.emotion !== "neutral") {
          edit((lanes) => { lanes.emotion[index].intensity = Math.min(1, Math.max(0, Math.round((key.intensity + steps * 0.05) * 100) / 100)); });
        }
      },
    });
  });
}

function curveKeys(row, key) {
  if (!(key in project.lanes.curves)) return;
  const keys = curveOf(key), times = keys.map(([time]) => time), control = controlOf(key);
  keys.forEach(([at, value], index) => keyButton(row, {
    name: `${nameOf(key)} ${shown(value, control.unit)} at ${at.toFixed(2)} seconds`, index, at,
    y: yOf(control, value, row.height), laneKey: key, removable: index > 0 || keys.length === 1,
    move: (seconds, y) => {
      edit((lanes) => {
        const now = lanes.curves[key][index];
        now[0] = between(times, index, seconds);
        if (y !== null) now[1] = valueAt(control, y, row.height);
      }, `${key} ${index}`);
      seek(project.lanes.curves[key][index][0]);
    },
    nudge: (steps) => edit((lanes) => {
      const step = (control.high - control.low) / 40, next = value + steps * step;
      lanes.curves[key][index][1] = Math.round(Math.min(control.high, Math.max(control.low, next)) * 100) / 100;
    }),
  }));
}

function blinkKeys(row) {
  project.lanes.blinks.forEach(({ at, side, duration: length }, index) => keyButton(row, {
    name: `Blink of ${side === "both" ? "both eyes" : `the ${side} eye`} at ${at.toFixed(2)} seconds, ${length} s`,
    index, at, y: row.height / 2, laneKey: "blinks", removable: true, look: at + length / 2,
    move: (seconds) => {
      edit((lanes) => {
        const blink = lanes.blinks[index], before = lanes.blinks[index - 1], after = lanes.blinks[index + 1];
        blink.at = Math.min(Math.max(seconds, before ? before.at + 0.04 : 0), after ? after.at - 0.04 : Infinity);
      }, `blink ${index}`);
      seek(project.lanes.blinks[index].at + length / 2);
    },
  }));
}

function build() {
  const focused = document.activeElement?.dataset?.lane !== undefined ? { ...document.activeElement.dataset } : null;
  rows.querySelectorAll(".lane").forEach((element) => element.remove());
  rows.style.width = `${HEADER + width() + 2 * MARGIN}px`;
  lanesNow = [];

  const ruler = lane("ruler", "", 22);
  drawRuler(ruler);
  const voice = lane("voice", project.speech?.name ?? "Voice", 68);
  drawVoice(voice);
  if (project.speech?.source) voice.header.append(make("small", {}, { text: "phones from the text", recognised: "phones recognised", acoustic: "lips follow the sound", silent: "nobody speaks" }[project.speech.source] ?? project.speech.source));
  for (const row of [ruler, voice]) {
    row.track.addEventListener("pointerdown", (event) => {
      const go = (now) => seek(secondsAt(now.clientX, row));
      select(null);
      go(event);
      window.addEventListener("pointermove", go);
      window.addEventListener("pointerup", () => window.removeEventListener("pointermove", go), { once: true });
    });
  }
  const timeAt = (event, row) => onGrid(secondsAt(event.clientX, row));

  const emotion = lane("emotion", "Emotion", 40);
  lanesNow.push({ key: "emotion", row: emotion });
  drawEmotion(emotion);
  emotionKeys(emotion);
  emotion.track.addEventListener("click", (event) => { const at = timeAt(event, emotion); addEmotionKey(at); seek(at); });

  for (const key of curveLanes()) {
    const row = lane("curve", nameOf(key), 36), control = controlOf(key);
    row.header.title = control.help;
    row.header.append(make("small", {}, `${control.low} to ${control.high} ${control.unit}`.replace("-", "−")));
    lanesNow.push({ key, row });
    drawCurve(row, key);
    curveKeys(row, key);
    row.track.addEventListener("click", (event) => {
      const at = timeAt(event, row);
      addCurveKey(key, at, valueAt(control, event.clientY - row.canvas.getBoundingClientRect().top, row.height));
      seek(at);
    });
  }

  const control = project.setup.controls["blink.duration"], blinks = lane("blinks", "Single blinks", 28);
  lanesNow.push({ key: "blinks", row: blinks });
  drawing(blinks);
  blinkKeys(blinks);
  blinks.track.addEventListener("click", (event) => { const at = timeAt(event, blinks); addBlink(at); seek(at + control.default / 2); });
  placePlayhead();
  if (focused) rows.querySelector(`.key[data-lane="${focused.lane}"][data-index="${focused.index}"]`)?.focus({ preventScroll: true });
}

/** In the order in which the server lists the controls: those shown from the start, used, or asked for. */
function curveLanes() {
  return allCurves().filter((key) => shownLanes.has(key) || (project.lanes.curves[key]?.length ?? 0) > 1);
}

function allCurves() {
  const keys = Object.keys(project.setup.controls).filter((key) => /^(lips|blink\.rate|head|gaze|regions)/.test(key));
  return keys.flatMap((key) => (key === "regions.gain" ? project.setup.regions.map((region) => `regions.${region}`) : [key]));
}

function placePlayhead() {
  line.style.transform = `translateX(${HEADER + xOf(project.at)}px)`;
}

export function watch() {
  let asked = false;
  const again = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; build(); });
  };
  on("drawn speech heard", again);
  on("lanes", again);
  on("selected", () => rows.querySelectorAll(".key").forEach(({ dataset, classList }) => {
    const { lane: laneKey, index } = project.selected ?? {};
    classList.toggle("selected", dataset.lane === laneKey && Number(dataset.index) === index);
  }));
  on("at", () => {
    placePlayhead();
    const x = xOf(project.at), seen = scroll.clientWidth - HEADER;
    if (zoom > 1 && (x < scroll.scrollLeft + MARGIN || x > scroll.scrollLeft + seen - 20)) scroll.scrollLeft = x - 40;
  });
  new ResizeObserver(again).observe(scroll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);

  const adder = $("#add-lane");
  for (const key of allCurves()) {
    const group = { lips: "Lips", blink: "Blinks", head: "Head", gaze: "Gaze", regions: "Face parts" }[key.split(".")[0]];
    let options = adder.querySelector(`optgroup[label="${group}"]`);
    if (!options) { options = make("optgroup", { label: group }); adder.append(options); }
    options.append(new Option(nameOf(key), key));
  }
  adder.addEventListener("change", () => {
    shownLanes.add(adder.value);
    adder.value = "";
    build();
    scroll.scrollTop = scroll.scrollHeight;
  });
  const zoomBy = (factor) => { zoom = Math.min(40, Math.max(1, zoom * factor)); build(); };
  $("#zoom-in").addEventListener("click", () => zoomBy(1.6));
  $("#zoom-out").addEventListener("click", () => zoomBy(1 / 1.6));
  scroll.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2);
  }, { passive: false });
  build();
}
