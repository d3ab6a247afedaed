// The valence-arousal disc: where each emotion lies, the path through the keyframes, and a point to drag.

import { colour, colourAt } from "./colours.js";
import { emotionKey, project, settle } from "./project.js";

const SIDE = 220,
  WIDTH = 296,
  CENTRE = SIDE / 2,
  MIDDLE = WIDTH / 2,
  RADIUS = 78;
const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

const place = (valence, arousal) => [MIDDLE + RADIUS * valence, CENTRE - RADIUS * arousal];

/** Valence and arousal of a keyframe, as the server's EmotionKey.point. */
function pointOf(key) {
  if ("va" in key) return key.va;
  const angle = project.setup.labels.find(({ name }) => name === key.emotion).angle;
  if (angle === null) return [0, 0];
  const radians = (angle * Math.PI) / 180;
  return [key.intensity * Math.cos(radians), key.intensity * Math.sin(radians)];
}

/** The element, and what redraws it; `choose(valence, arousal)` is called while the point is dragged. */
export function disc(choose) {
  const element = document.createElement("div");
  element.className = "disc";
  const ground = document.createElement("canvas");
  [ground.width, ground.height] = [2 * WIDTH, 2 * SIDE];
  const drawing = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${SIDE}`,
    tabindex: 0,
    role: "slider",
    "aria-label": "Valence and arousal",
    "aria-valuemin": -1,
    "aria-valuemax": 1,
  });
  element.append(ground, drawing);
  paintGround(ground.getContext("2d"));

  for (const [x, y, anchor, text] of [
    [WIDTH - 2, CENTRE + 14, "end", "pleasant"],
    [2, CENTRE + 14, "start", "unpleasant"],
    [MIDDLE, 9, "middle", "excited"],
    [MIDDLE, SIDE - 3, "middle", "calm"],
  ])
    drawing.append(svg("text", { x, y, class: "axis", "text-anchor": anchor }, text));
  drawing.append(
    svg("path", {
      class: "cross",
      d: `M${MIDDLE - RADIUS} ${CENTRE}h${2 * RADIUS}M${MIDDLE} ${CENTRE - RADIUS}v${2 * RADIUS}`,
    }),
  );
  for (const { name, angle } of project.setup.labels) {
    if (angle === null) continue;
    const radians = (angle * Math.PI) / 180,
      [x, y] = place(Math.cos(radians), Math.sin(radians));
    const [tx, ty] = place(1.1 * Math.cos(radians), 1.1 * Math.sin(radians));
    const anchor = Math.cos(radians) > 0.3 ? "start" : Math.cos(radians) < -0.3 ? "end" : "middle";
    drawing.append(svg("circle", { cx: x, cy: y, r: 3.5, class: "label", fill: colour(angle) }));
    drawing.append(svg("text", { x: tx, y: ty + 3.5, "text-anchor": anchor }, name));
  }
  const path = svg("polyline", { class: "path" }),
    point = svg("circle", { class: "point", r: 7 });
  drawing.append(path, point);

  function refresh() {
    path.setAttribute("points", project.lanes.emotion.map((key) => place(...pointOf(key)).join()).join(" "));
    const [valence, arousal] = pointOf(emotionKey()),
      [x, y] = place(valence, arousal);
    point.setAttribute("cx", x);
    point.setAttribute("cy", y);
    point.setAttribute("fill", colourAt(valence, arousal));
    drawing.setAttribute("aria-valuenow", valence.toFixed(2));
    drawing.setAttribute("aria-valuetext", `valence ${valence.toFixed(2)}, arousal ${arousal.toFixed(2)}`);
  }

  function choosePoint(valence, arousal) {
    const radius = Math.max(1, Math.hypot(valence, arousal));
    choose(valence / radius, arousal / radius);
  }
  function follow(event) {
    const box = drawing.getBoundingClientRect(),
      scale = WIDTH / box.width;
    choosePoint(
      ((event.clientX - box.left) * scale - MIDDLE) / RADIUS,
      (CENTRE - (event.clientY - box.top) * scale) / RADIUS,
    );
  }
  drawing.addEventListener("pointerdown", (event) => {
    drawing.setPointerCapture(event.pointerId);
    follow(event);
  });
  drawing.addEventListener("pointermove", (event) => {
    if (event.buttons) follow(event);
  });
  drawing.addEventListener("pointerup", settle);
  drawing.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0], ArrowUp: [0, 0.05], ArrowDown: [0, -0.05] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [valence, arousal] = pointOf(emotionKey());
    choosePoint(valence + step[0], arousal + step[1]);
    settle();
  });
  return { element, refresh };
}

function paintGround(context) {
  const [x, y, radius] = [2 * MIDDLE, 2 * CENTRE, 2 * RADIUS];
  const wheel = context.createConicGradient(0, x, y); // clockwise, angles go the other way
  for (let i = 0; i <= 72; i++) wheel.addColorStop(i / 72, colour((360 - 5 * i) % 360));
  context.fillStyle = wheel;
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
  context.globalCompositeOperation = "destination-in";
  const fade = context.createRadialGradient(x, y, 0, x, y, radius);
  fade.addColorStop(0, "rgb(0 0 0 / 4%)");
  fade.addColorStop(1, "rgb(0 0 0 / 60%)");
  context.fillStyle = fade;
  context.fill();
}
