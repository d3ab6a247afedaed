// The right column: a panel per lane, each with its controls.

import { colour } from "./colours.js";
import { disc } from "./disc.js";
import {
  addCurveKey,
  addEmotionKey,
  controlOf,
  curveOf,
  edit,
  emotionKey,
  nameOf,
  on,
  project,
  select,
  setValue,
  settle,
  valueOf,
} from "./project.js";

const $ = (selector, root = document) => root.querySelector(selector);
const refreshers = [];

/** A small element: make("button", {class: "quiet"}, "text or elements"). */
export function make(tag, attributes = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...content);
  return element;
}

export function shown(value, unit) {
  const digits = unit === "°" || unit === "per min" ? 0 : 2;
  return `${value.toFixed(digits).replace("-", "−")}${unit === "°" || unit === "×" ? unit : unit && ` ${unit}`}`;
}

/** A slider with its value in units. `read` gives the number, `write(value, merge)` changes it. */
function slider(name, control, read, write, ...buttons) {
  const range = make("input", {
    type: "range",
    min: control.low,
    max: control.high,
    step: control.high - control.low > 20 ? 1 : 0.01,
    "aria-label": name,
    title: control.help,
  });
  const value = make("output");
  const row = make(
    "div",
    { class: "slider" },
    make("span", { class: "label", title: control.help }, name),
    value,
    range,
    ...buttons,
  );
  range.addEventListener("input", () => write(Number(range.value), name));
  range.addEventListener("change", settle);
  refreshers.push(() => {
    const number = read();
    row.classList.toggle("open", number === null);
    range.value = number ?? control.default;
    value.textContent = shown(number ?? control.default, control.unit);
    range.setAttribute("aria-valuetext", value.textContent);
    range.style.setProperty("--share", (range.value - control.low) / (control.high - control.low));
  });
  return row;
}

/** A control that is a curve: slider, a button for a keyframe at the playhead, and one for its default. */
function curve(key, name = nameOf(key)) {
  const control = controlOf(key);
  const keyframe = make("button", {
    class: "key-button",
    title: "Keyframe at the playhead",
    "aria-label": `${name}: keyframe at the playhead`,
  });
  const reset = make("button", { class: "reset", title: "Reset", "aria-label": `Reset ${name}` }, "↺");
  keyframe.addEventListener("click", () => addCurveKey(key, project.at, valueOf(key)));
  reset.addEventListener("click", () => {
    edit((lanes) => {
      delete lanes.curves[key];
    });
    if (project.selected?.lane === key) select(null);
  });
  const row = slider(
    name,
    control,
    () => valueOf(key),
    (value) => setValue(key, value, key),
    keyframe,
    reset,
  );
  refreshers.push(() => {
    reset.disabled = !(key in project.lanes.curves);
    keyframe.classList.toggle("on", curveOf(key).length > 1);
  });
  return row;
}

function panel(title, open, resets, ...content) {
  const reset = make("button", { class: "link reset-all" }, "Reset");
  const box = make("details", { class: "card", open }, make("summary", {}, make("h2", {}, title), reset), ...content);
  reset.addEventListener("click", (event) => {
    event.preventDefault(); // the summary would open or close
    project.selected = null;
    edit(resets);
  });
  return box;
}

const without =
  (...prefixes) =>
  (lanes) => {
    for (const key of Object.keys(lanes.curves))
      if (prefixes.some((prefix) => key.startsWith(prefix))) delete lanes.curves[key];
  };

function emotionPanel() {
  const control = project.setup.controls["emotion.intensity"];
  const chips = make("div", { class: "chips", role: "group", "aria-label": "Emotion" });
  for (const { name, angle } of project.setup.labels) {
    const chip = make("button", { class: "chip" }, make("i", { "aria-hidden": "true" }), name);
    if (angle !== null) chip.firstChild.style.background = colour(angle);
    chip.addEventListener("click", () =>
      setEmotion((key) => {
        const before = "emotion" in key && key.emotion !== "neutral" ? key.intensity : 0.8;
        delete key.va;
        Object.assign(key, { emotion: name, intensity: name === "neutral" ? control.default : before });
      }),
    );
    refreshers.push(() => chip.setAttribute("aria-pressed", String(emotionKey().emotion === name)));
    chips.append(chip);
  }
  const intensity = slider(
    control.name,
    control,
    () =>
      "va" in emotionKey()
        ? Math.min(1, Math.hypot(...emotionKey().va))
        : emotionKey().emotion === "neutral"
          ? 0
          : emotionKey().intensity,
    (value, merge) =>
      setEmotion((key) => {
        if ("va" in key) {
          const radius = Math.hypot(...key.va) || 1;
          key.va = key.va.map((part) => rounded((part / radius) * value));
        } else if (key.emotion !== "neutral") key.intensity = value;
      }, merge),
  );
  const where = make("p", { class: "where" });
  const keyframe = make("button", { class: "small" }, "+ Keyframe");
  keyframe.addEventListener("click", () => addEmotionKey(Math.round(project.at * 100) / 100));
  refreshers.push(() => {
    const { length } = project.lanes.emotion,
      index = project.lanes.emotion.indexOf(emotionKey());
    where.firstChild?.remove();
    where.prepend(
      length > 1 ? `Keyframe ${index + 1} of ${length}, at ${emotionKey().at.toFixed(2)} s ` : "The whole time ",
    );
    $("input", intensity).disabled = emotionKey().emotion === "neutral";
  });
  keyframe.title = "A keyframe at the playhead";
  where.append("", keyframe);
  const { element, refresh } = disc(setEmotionPoint);
  refreshers.push(refresh);
  const transition = project.setup.controls.transition;
  return panel(
    "Emotion",
    true,
    (lanes) => {
      lanes.emotion = [{ at: 0, emotion: "neutral", intensity: 1 }];
      lanes.transition = transition.default;
    },
    where,
    chips,
    intensity,
    element,
    slider(
      transition.name,
      transition,
      () => project.lanes.transition,
      (value, merge) =>
        edit((lanes) => {
          lanes.transition = value;
        }, merge),
    ),
  );
}

const rounded = (value) => Math.round(value * 100) / 100;

function setEmotion(change, merge = null) {
  const index = project.lanes.emotion.indexOf(emotionKey());
  edit((lanes) => change(lanes.emotion[index]), merge);
}

function setEmotionPoint(valence, arousal) {
  setEmotion((key) => {
    delete key.emotion;
    delete key.intensity;
    key.va = [rounded(valence), rounded(arousal)];
  }, "disc");
}

function stylePanel() {
  const control = project.setup.controls["style.strength"];
  const choice = make("select", { "aria-label": "Style" }, ...project.setup.styles.map((name) => new Option(name)));
  choice.addEventListener("change", () =>
    edit((lanes) => {
      lanes.style = { name: choice.value, strength: lanes.style.strength };
    }),
  );
  refreshers.push(() => {
    choice.value = project.lanes.style.name ?? "";
  });
  return panel(
    "Talking style",
    false,
    (lanes) => {
      lanes.style = { name: project.setup.styles[0], strength: control.default };
    },
    make("label", { class: "row" }, "How the person talks", choice),
    slider(
      control.name,
      control,
      () => project.lanes.style.strength,
      (value, merge) =>
        edit((lanes) => {
          lanes.style.strength = value;
        }, merge),
    ),
  );
}

function blinkPanel() {
  const control = project.setup.controls["blink.duration"];
  const selected = () => (project.selected?.lane === "blinks" ? project.lanes.blinks[project.selected.index] : null);
  const side = make(
    "select",
    { "aria-label": "Eyes of this blink" },
    ...["both", "left", "right"].map((name) => new Option(name)),
  );
  const one = make(
    "div",
    { class: "one" },
    make("label", { class: "row" }, "Which eyes", side),
    slider(
      control.name,
      control,
      () => selected()?.duration ?? null,
      (value, merge) =>
        edit(() => {
          selected().duration = value;
        }, merge),
    ),
  );
  side.addEventListener("change", () =>
    edit(() => {
      selected().side = side.value;
    }),
  );
  refreshers.push(() => {
    one.hidden = !selected();
    if (selected()) side.value = selected().side;
  });
  return panel(
    "Blinks",
    false,
    (lanes) => {
      lanes.blinks = [];
      without("blink.")(lanes);
    },
    curve("blink.rate"),
    one,
  );
}

function regionsPanel() {
  const rows = [];
  for (const region of project.setup.regions.filter((name) => !name.includes("_"))) {
    const sides = ["left", "right"].map((side) => `regions.${region}_${side}`);
    const more = make(
      "button",
      { class: "link sides", "aria-expanded": "false", "aria-label": `${region}: left and right apart` },
      "L R",
    );
    const each = make("div", { class: "sides" }, ...sides.map((key) => curve(key)));
    const open = (wanted) => {
      each.hidden = !wanted;
      more.setAttribute("aria-expanded", String(wanted));
    };
    more.addEventListener("click", () => open(each.hidden));
    open(false);
    on("lanes", () => {
      if (sides.some((key) => key in project.lanes.curves)) open(true);
    });
    const row = curve(`regions.${region}`);
    row.classList.add("with-sides");
    row.append(more);
    rows.push(row, each);
  }
  return panel("Face parts", false, without("regions."), ...rows);
}

export function build() {
  $(".controls .panels").append(
    emotionPanel(),
    panel("Lips", true, without("lips."), curve("lips.gain")),
    stylePanel(),
    blinkPanel(),
    regionsPanel(),
    panel(
      "Head",
      false,
      without("head."),
      ...["head.yaw", "head.pitch", "head.roll", "head.amount"].map((key) => curve(key)),
    ),
    panel("Gaze", false, without("gaze."), ...["gaze.yaw", "gaze.pitch", "gaze.amount"].map((key) => curve(key))),
  );
  const refresh = () => refreshers.forEach((each) => each());
  on("lanes selected at", refresh);
}
