// What is being made: portrait, voice, lanes of keyframes, options, playhead; with undo.
// Lanes are the server's (mien/studio/lanes.py): {emotion: [...], curves: {"lips.gain": [[seconds, value], ...]}, ...}.

export const changes = new EventTarget();
export const project = {
  setup: null,
  portrait: null,
  speech: null,
  options: {},
  lanes: null,
  drawn: {},
  mode: "talk", // or "still": one picture in one emotion
  at: 0,
  selected: null, // {lane: "emotion" | "blinks" | key of a curve, index}
};

const past = [],
  future = [];
let merging = null;

export const tell = (what) => changes.dispatchEvent(new Event(what));
export const on = (what, react) => what.split(" ").forEach((name) => changes.addEventListener(name, react));
const copy = (value) => JSON.parse(JSON.stringify(value));

/** Change the lanes. Edits with the same `merge` in a row (one drag of a slider) are undone as one. */
export function edit(change, merge = null) {
  const before = copy(project.lanes);
  change(project.lanes);
  if (merge === null || merge !== merging) {
    past.push(before);
    future.length = 0;
  }
  merging = merge;
  tell("lanes");
}

/** The next edit is a new one, even if it is of the same slider. */
export const settle = () => {
  merging = null;
};

/** Take over lanes that are not an edit of the present ones: a preset, a file, typed text. */
export function replaceLanes(lanes, merge = null) {
  project.selected = null;
  edit((now) => {
    for (const key of Object.keys(now)) delete now[key];
    Object.assign(now, copy(lanes));
  }, merge);
}

function step(from, to) {
  if (!from.length) return;
  to.push(copy(project.lanes));
  project.lanes = from.pop();
  project.selected = null;
  settle();
  tell("lanes");
}
export const undo = () => step(past, future);
export const redo = () => step(future, past);
export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;

export const duration = () => project.speech?.duration ?? project.setup.silent_seconds;
export const fps = () => project.options.fps ?? project.setup.options.find((option) => option.name === "fps").default;

export function moveTo(seconds) {
  project.at = Math.min(Math.max(seconds, 0), duration());
  tell("at");
}

export function select(lane, index) {
  project.selected = lane === null ? null : { lane, index };
  tell("selected");
}

/** The control that a curve's key in the lanes belongs to: all regions share one. */
export const controlOf = (key) => project.setup.controls[key.startsWith("regions.") ? "regions.gain" : key];

/** What people call a curve. */
export function nameOf(key) {
  if (!key.startsWith("regions.")) return controlOf(key).name;
  const [region, side] = key.slice(8).split("_");
  return region[0].toUpperCase() + region.slice(1) + (side ? `, ${side}` : "");
}

/** Index of the keyframe that a control shows and changes: the selected one, else the last before the playhead. */
export function activeIndex(lane, times) {
  if (project.selected?.lane === lane && project.selected.index < times.length) return project.selected.index;
  let index = 0;
  times.forEach((time, i) => {
    if (time <= project.at + 1e-3) index = i;
  });
  return index;
}

export const emotionKey = () => {
  const keys = project.lanes.emotion;
  return keys[
    activeIndex(
      "emotion",
      keys.map((key) => key.at),
    )
  ];
};

export const curveOf = (key) => project.lanes.curves[key] ?? [[0, controlOf(key).default]];

/** The control's number where it is edited. */
export function valueOf(key) {
  const keys = curveOf(key);
  return keys[
    activeIndex(
      key,
      keys.map(([time]) => time),
    )
  ][1];
}

export function setValue(key, value, merge) {
  const index = activeIndex(
    key,
    curveOf(key).map(([time]) => time),
  );
  edit((lanes) => {
    lanes.curves[key] ??= [[0, controlOf(key).default]];
    lanes.curves[key][index][1] = value;
  }, merge);
}

/** A new keyframe; one at (nearly) the same time is taken instead. Returns its index. */
export function addCurveKey(key, seconds, value) {
  const keys = curveOf(key).map((pair) => [...pair]);
  const index = insertAt(
    keys.map(([time]) => time),
    seconds,
  );
  if (index.exists) keys[index.at][1] = value;
  else keys.splice(index.at, 0, [seconds, value]);
  edit((lanes) => {
    lanes.curves[key] = keys;
  });
  select(key, index.at);
}

export function addEmotionKey(seconds) {
  const keys = project.lanes.emotion;
  const index = insertAt(
    keys.map((key) => key.at),
    seconds,
  );
  if (!index.exists)
    edit((lanes) => {
      lanes.emotion.splice(index.at, 0, { ...keys[index.at - 1], at: seconds });
    });
  select("emotion", index.at);
}

export function addBlink(seconds) {
  edit((lanes) => {
    // Listed blinks alone would mean: these and no others.
    if (!lanes.blinks.length) lanes.curves["blink.rate"] ??= [[0, controlOf("blink.rate").default]];
    lanes.blinks.push({ at: seconds, duration: project.setup.controls["blink.duration"].default, side: "both" });
    lanes.blinks.sort((a, b) => a.at - b.at);
  });
  select(
    "blinks",
    project.lanes.blinks.findIndex((blink) => blink.at === seconds),
  );
}

function insertAt(times, seconds) {
  const near = times.findIndex((time) => Math.abs(time - seconds) < 0.02);
  if (near >= 0) return { at: near, exists: true };
  return { at: times.filter((time) => time < seconds).length, exists: false };
}

/** A lane begins somewhere, so its first keyframe stays; the only one of a curve goes with the curve. */
export function removeKey(lane, index) {
  const isOnly = project.lanes.curves[lane]?.length === 1;
  if (lane !== "blinks" && index === 0 && !isOnly) return;
  edit((lanes) => {
    if (isOnly) delete lanes.curves[lane];
    else (lanes.curves[lane] ?? lanes[lane]).splice(index, 1);
  });
  select(null);
}
