// The valence-arousal disc: where each emotion lies, the path through the keyframes, and a point to drag.

import { colour, colourAt } from "./colours.js";
import { emotionKey, project, settle } from "./project.js";

const SIDE = 232, CENTRE = SIDE / 2, RADIUS = 78;
const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

const place = (valence, arousal) => [CENTRE + RADIUS * valence, CENTRE - RADIUS * arousal];

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
  ground.width = ground.height = 2 * SIDE;
  const drawing = svg("svg", {
    viewBox: `0 0 ${SIDE} ${SIDE}`, tabindex: 0, role: "slider", "aria-label": "Valence and arousal",
    "aria-valuemin": -1, "aria-valuemax": 1,
  });
  element.append(ground, drawing);
  paintGround(ground.getContext("2d"));

  for (const [x, y, text] of [[SIDE - 2, CENTRE + 15, "pleasant"], [2, CENTRE + 15, "unpleasant"]]) {
    drawing.append(svg("text", { x, y, class: "axis", "text-anchor": x > CENTRE ? "end" : "start" }, text));
  }
  drawing.append(svg("text", { x: CENTRE, y: 9, class: "axis", "text-anchor": "middle" }, "excited"));
  drawing.append(svg("text", { x: CENTRE, y: SIDE - 3, class: "axis", "text-anchor": "middle" }, "calm"));
  drawing.append(svg("path", { class: "cross", d: `M${CENTRE - RADIUS} ${CENTRE}h${2 * RADIUS}M${CENTRE} ${CENTRE - RADIUS}v${2 * RADIUS}` }));
  for (const { name, angle } of project.setup.labels) {
    if (angle === null) continue;
    const radians = (angle * Math.PI) / 180, [x, y] = place(Math.cos(radians), Math.sin(radians));
    const [tx, ty] = place(1.1 * Math.cos(radians), 1.1 * Math.sin(radians));
    const anchor = Math.cos(radians) > 0.3 ? "start" : Math.cos(radians) < -0.3 ? "end" : "middle";
    drawing.append(svg("circle", { cx: x, cy: y, r: 3.5, class: "label", fill: colour(angle) }));
    drawing.append(svg("text", { x: tx, y: ty + 3.5, "text-anchor": anchor }, name));
  }
  const path = svg("polyline", { class: "path" }), point = svg("circle", { class: "point", r: 7 });
  drawing.append(path, point);

  function refresh() {
    path.setAttribute("points", project.lanes.emotion.map((key) => place(...pointOf(key)).join()).join(" "));
    const [valence, arousal] = pointOf(emotionKey()), [x, y] = place(valence, arousal);
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
    const box = drawing.getBoundingClientRect(), scale = SIDE / box.width;
    choosePoint(((event.clientX - box.left) * scale - CENTRE) / RADIUS, (CENTRE - (event.clientY - box.top) * scale) / RADIUS);
  }
  drawing.addEventListener("pointerdown", (event) => { drawing.setPointerCapture(event.pointerId); follow(event); });
  drawing.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
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
  const middle = 2 * CENTRE, radius = 2 * RADIUS;
  for (let i = 0; i < 180; i++) {
    const sector = context.createRadialGradient(middle, middle, 0, middle, middle, radius);
    sector.addColorStop(0, colour(2 * i + 1, 0));
    sector.addColorStop(1, colour(2 * i + 1, 0.55));
    context.fillStyle = sector;
    context.beginPath();
    context.moveTo(middle, middle);
    context.arc(middle, middle, radius, (-(2 * i + 2.3) * Math.PI) / 180, (-(2 * i - 0.3) * Math.PI) / 180);
    context.fill();
  }
}
