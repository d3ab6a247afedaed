// Where times and values are on the timeline, and how its lanes are painted. What is painted the server has sampled.

import { colourAt } from "./colours.js";
import { controlOf, curveOf, duration, project } from "./project.js";

const view = document.querySelector(".timeline .scroll");
let scale = 1;

/** How many times as long as the window the whole time is. */
export const zoom = () => scale;
export function zoomBy(factor) {
  scale = Math.min(40, Math.max(1, scale * factor));
}

export const HEADER = 148,
  MARGIN = 12; // px: names on the left, room at both ends for half a keyframe
export const width = () => Math.max(100, Math.round((view.clientWidth - HEADER - 2 * MARGIN) * scale)); // of the whole time
export const xOf = (seconds) => MARGIN + (seconds / duration()) * width();
export const secondsAt = (clientX, row) =>
  ((clientX - row.canvas.getBoundingClientRect().left - MARGIN) / width()) * duration();

/** The canvas of a lane at the screen's resolution, emptied; coordinates in CSS pixels. */
export function drawing({ canvas, height }) {
  const w = width() + 2 * MARGIN,
    density = Math.min(window.devicePixelRatio || 1, 16000 / w);
  canvas.width = Math.round(w * density);
  canvas.height = Math.round(height * density);
  canvas.style.width = `${w}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(density, density);
  return context;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function drawRuler(ruler) {
  const context = drawing(ruler),
    perSecond = width() / duration();
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300].find((each) => each * perSecond > 56) ?? 600;
  context.fillStyle = context.strokeStyle = css("--faint");
  context.font = "11px system-ui, sans-serif";
  for (let i = 0; i * step <= duration() + 1e-6; i++) {
    const x = Math.round(xOf(i * step)) + 0.5,
      seconds = i * step;
    context.beginPath();
    context.moveTo(x, 15);
    context.lineTo(x, ruler.height);
    context.stroke();
    const text =
      seconds >= 60
        ? `${Math.floor(seconds / 60)}:${String(Math.round(seconds % 60)).padStart(2, "0")}`
        : `${+seconds.toFixed(1)} s`;
    context.fillText(text, x + 4, 14);
  }
}

export function drawVoice(voice) {
  const context = drawing(voice),
    speech = project.speech,
    middle = 25,
    reach = 22;
  if (!speech) {
    context.fillStyle = css("--faint");
    context.font = "12px system-ui, sans-serif";
    context.fillText("No voice yet: the face only feels", MARGIN, 32);
    return;
  }
  context.fillStyle = css("--wave");
  const { peaks } = speech,
    loudest = Math.max(0.05, ...peaks);
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

export function drawEmotion(emotion) {
  const context = drawing(emotion),
    points = project.drawn.emotion ?? [];
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

export const yOf = (control, value, height) =>
  height - 8 - ((height - 16) * (value - control.low)) / (control.high - control.low);
export const valueAt = (control, y, height) => {
  const value = control.low + ((height - 8 - y) / (height - 16)) * (control.high - control.low);
  const step = control.high - control.low > 20 ? 1 : 0.05;
  return Math.min(control.high, Math.max(control.low, Math.round(Math.round(value / step) * step * 100) / 100));
};

export function drawCurve(row, key) {
  const context = drawing(row),
    control = controlOf(key),
    keys = curveOf(key);
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
  values.forEach((value, i) =>
    context.lineTo(MARGIN + (i * width()) / (values.length - 1), yOf(control, value, row.height)),
  );
  context.strokeStyle = key in project.lanes.curves ? css("--accent") : css("--faint");
  context.lineWidth = 1.75;
  context.stroke();
  context.lineTo(MARGIN + width(), usual);
  context.lineTo(MARGIN, usual);
  context.globalAlpha = 0.1;
  context.fillStyle = css("--accent");
  context.fill();
}
