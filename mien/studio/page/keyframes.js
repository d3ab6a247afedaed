// Keyframes on the timeline: buttons, so that they can be reached and moved with the keyboard as well.

import { make, shown } from "./controls.js";
import { secondsAt, valueAt, xOf, yOf } from "./painting.js";
import { seek } from "./preview.js";
import { controlOf, curveOf, duration, edit, fps, nameOf, project, removeKey, select, settle } from "./project.js";

/** The lanes that are there now, by what their keyframes belong to: "emotion", "blinks", or the key of a curve. */
export const lanes = new Map();

export const onGrid = (seconds) =>
  Math.min(Math.max(Math.round(seconds * 100) / 100, 0), Math.floor(duration() * 100) / 100);

/** A keyframe as a button. `at` and `y` place it; `move(seconds, y)` drags it, `nudge(steps)` changes its value. */
function keyButton(row, { name, index, at, y, text, move, nudge, laneKey, removable, look = at }) {
  const button = make("button", {
    class: "key",
    "aria-label": name,
    title: `${name}${removable ? ". Double-click to remove" : ""}`,
  });
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
  button.addEventListener("mousedown", (event) => {
    if (event.detail === 2 && removable) removeKey(laneKey, index);
  });
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    pick(laneKey, index, look);
  });
  button.addEventListener("keydown", (event) => {
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[event.key],
      upwards = { ArrowUp: 1, ArrowDown: -1 }[event.key];
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
    const present = lanes.get(laneKey);
    const y = now.clientY - present.canvas.getBoundingClientRect().top;
    move(onGrid(secondsAt(now.clientX, present)), Math.abs(now.clientY - start[1]) > 3 ? y : null);
  };
  const end = () => {
    window.removeEventListener("pointermove", follow);
    settle();
    if (!moved) return;
    const swallow = (click) => click.stopPropagation(); // else letting go over the lane would add a keyframe there
    window.addEventListener("click", swallow, { capture: true });
    setTimeout(() => window.removeEventListener("click", swallow, { capture: true }));
  };
  window.addEventListener("pointermove", follow);
  window.addEventListener("pointerup", end, { once: true });
}

/** A time between the neighbours of a keyframe; the first one stays at 0. */
function between(times, index, seconds) {
  if (index === 0) return 0;
  return Math.min(Math.max(seconds, times[index - 1] + 0.04), (times[index + 1] ?? Infinity) - 0.04);
}

export function emotionKeys(row) {
  const keys = project.lanes.emotion,
    times = keys.map((key) => key.at);
  keys.forEach((key, index) => {
    const text =
      "va" in key
        ? `${key.va[0]}, ${key.va[1]}`
        : key.emotion === "neutral"
          ? "neutral"
          : `${key.emotion} ${key.intensity}`;
    keyButton(row, {
      name: `Emotion ${text} at ${key.at.toFixed(2)} seconds`,
      index,
      at: key.at,
      y: row.height / 2,
      text,
      laneKey: "emotion",
      removable: index > 0,
      move: (seconds) => {
        edit((lanes) => {
          lanes.emotion[index].at = between(times, index, seconds);
        }, `emotion ${index}`);
        seek(project.lanes.emotion[index].at);
      },
      nudge: (steps) => {
        if ("intensity" in key && key.emotion !== "neutral") {
          edit((lanes) => {
            lanes.emotion[index].intensity = Math.min(
              1,
              Math.max(0, Math.round((key.intensity + steps * 0.05) * 100) / 100),
            );
          });
        }
      },
    });
  });
}

export function curveKeys(row, key) {
  if (!(key in project.lanes.curves)) return;
  const keys = curveOf(key),
    times = keys.map(([time]) => time),
    control = controlOf(key);
  keys.forEach(([at, value], index) =>
    keyButton(row, {
      name: `${nameOf(key)} ${shown(value, control.unit)} at ${at.toFixed(2)} seconds`,
      index,
      at,
      y: yOf(control, value, row.height),
      laneKey: key,
      removable: index > 0 || keys.length === 1,
      move: (seconds, y) => {
        edit((lanes) => {
          const now = lanes.curves[key][index];
          now[0] = between(times, index, seconds);
          if (y !== null) now[1] = valueAt(control, y, row.height);
        }, `${key} ${index}`);
        seek(project.lanes.curves[key][index][0]);
      },
      nudge: (steps) =>
        edit((lanes) => {
          const step = (control.high - control.low) / 40,
            next = value + steps * step;
          lanes.curves[key][index][1] = Math.round(Math.min(control.high, Math.max(control.low, next)) * 100) / 100;
        }),
    }),
  );
}

export function blinkKeys(row) {
  project.lanes.blinks.forEach(({ at, side, duration: length }, index) =>
    keyButton(row, {
      name: `Blink of ${side === "both" ? "both eyes" : `the ${side} eye`} at ${at.toFixed(2)} seconds, ${length} s`,
      index,
      at,
      y: row.height / 2,
      laneKey: "blinks",
      removable: true,
      look: at + length / 2,
      move: (seconds) => {
        edit((lanes) => {
          const blink = lanes.blinks[index],
            before = lanes.blinks[index - 1],
            after = lanes.blinks[index + 1];
          blink.at = Math.min(Math.max(seconds, before ? before.at + 0.04 : 0), after ? after.at - 0.04 : Infinity);
        }, `blink ${index}`);
        seek(project.lanes.blinks[index].at + length / 2);
      },
    }),
  );
}
