// The left column: portrait and voice, dropped, chosen, recorded, or the examples; presets; video settings.

import { post, upload } from "./api.js";
import { complain } from "./notice.js";
import { fps, on, project, replaceLanes, tell } from "./project.js";

const $ = (selector, root = document) => root.querySelector(selector);

/** A card with a drop zone: `load(file)` for files, `example()` for its button. */
function dropZone(card, load, example) {
  const zone = $(".drop", card),
    input = $("input[type=file]", card);
  const busily = async (work) => {
    card.classList.add("loading");
    $(".busy", card).hidden = false;
    try {
      await work();
    } catch (error) {
      complain(error);
    }
    card.classList.remove("loading");
    $(".busy", card).hidden = true;
  };
  input.addEventListener("change", () => {
    if (input.files[0]) busily(() => load(input.files[0]));
    input.value = "";
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const file = event.dataTransfer.files[0];
    if (file) busily(() => load(file));
  });
  $(".example", card).addEventListener("click", () => busily(example));
  return busily;
}

const most = (kind) => project.setup.most_bytes[kind];

export function takePortrait(portrait) {
  project.portrait = portrait;
  delete project.options.face;
  tell("portrait");
}

export async function takeSpeech(speech) {
  project.speech = speech;
  project.options.text = speech.text || "";
  tell("speech");
  await listen();
}

/** Phones under the waveform; the words that are said, if given, make them better. */
async function listen() {
  const speech = project.speech;
  const heard = await post(`/api/speech/${speech.key}/heard`, { text: project.options.text ?? "", fps: fps() });
  if (speech === project.speech) Object.assign(speech, heard);
  tell("heard");
}

export function watch() {
  const portrait = $("#portrait"),
    voice = $("#voice");
  const loadPortrait = async (file) => takePortrait(await upload("/api/portrait", file, file.name, most("portrait")));
  const loadVoice = async (file, name = file.name) =>
    takeSpeech(await upload("/api/speech", file, name, most("speech")));
  const examplePortrait = async () => takePortrait(await post("/api/portrait/example"));
  const exampleVoice = async () => takeSpeech(await post("/api/speech/example"));

  const portraitBusily = dropZone(portrait, loadPortrait, examplePortrait);
  const voiceBusily = dropZone(voice, loadVoice, exampleVoice);
  $("#start").addEventListener("click", () => {
    portraitBusily(examplePortrait);
    voiceBusily(exampleVoice);
  });

  // A picture or a sound dropped anywhere finds its place; anything else must not make the browser leave the page.
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (event.defaultPrevented) return;
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (!file) return;
    if (file.type.startsWith("image/")) portraitBusily(() => loadPortrait(file));
    else voiceBusily(() => loadVoice(file));
  });

  on("portrait", () => showPortrait(portrait));
  on("speech", () => {
    $(".name", voice).textContent = `${project.speech.name}, ${project.speech.duration.toFixed(1)} s`;
    voice.classList.add("loaded");
    $(".said", voice).hidden = false;
    $(".said textarea", voice).value = project.options.text;
  });
  $(".said textarea", voice).addEventListener("change", (event) => {
    const before = project.options.text;
    project.options.text = event.target.value.trim();
    voiceBusily(async () => {
      try {
        await listen();
      } catch (error) {
        project.options.text = before;
        throw error;
      }
      tell("options");
    });
  });
  recorder($(".record", voice), (file, name) => voiceBusily(() => loadVoice(file, name)));
}

function showPortrait(card) {
  const thumb = $(".thumb", card),
    { key, name, faces } = project.portrait;
  card.classList.add("loaded");
  $("img", thumb).src = `/api/portrait/${key}`;
  thumb.hidden = false;
  $(".name", card).textContent = faces.length > 1 ? `${name}: ${faces.length} faces, choose one` : name;
  thumb.querySelectorAll("button").forEach((button) => button.remove());
  if (faces.length < 2) return;
  faces.forEach(([left, top, right, bottom], i) => {
    const button = document.createElement("button");
    button.className = "face";
    button.setAttribute("aria-label", `Face ${i + 1}`);
    button.setAttribute("aria-pressed", String((project.options.face ?? 1) === i + 1));
    Object.assign(button.style, {
      left: `${100 * left}%`,
      top: `${100 * top}%`,
      width: `${100 * (right - left)}%`,
      height: `${100 * (bottom - top)}%`,
    });
    button.addEventListener("click", (event) => {
      event.preventDefault(); // the label would open the file chooser
      project.options.face = i + 1;
      showPortrait(card);
      tell("options");
    });
    thumb.append(button);
  });
}

function recorder(button, load) {
  let recording = null;
  const label = $("span", button);
  const stop = () => recording?.stop();
  button.addEventListener("click", async () => {
    if (recording) {
      stop();
      return;
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      recording = new MediaRecorder(stream);
      const parts = [],
        began = Date.now();
      const tick = setInterval(() => {
        label.textContent = `Stop (${((Date.now() - began) / 1000).toFixed(0)} s)`;
      }, 250);
      recording.addEventListener("dataavailable", (event) => parts.push(event.data));
      recording.addEventListener("stop", () => {
        clearInterval(tick);
        stream.getTracks().forEach((track) => track.stop());
        const kind = recording.mimeType;
        recording = null;
        button.classList.remove("on");
        label.textContent = "Record";
        load(new Blob(parts, { type: kind }), kind.includes("mp4") ? "recording.m4a" : "recording.webm");
      });
      recording.start();
      button.classList.add("on");
      label.textContent = "Stop (0 s)";
    } catch {
      complain("no microphone can be used; allow it in the browser, or drop a sound file");
    }
  });
}

/** Directions that come with the studio, as buttons. */
export function presets() {
  const list = $("#presets .list");
  for (const preset of project.setup.presets) {
    const button = document.createElement("button");
    button.innerHTML = "<strong></strong><span></span>";
    button.firstChild.textContent = preset.name;
    button.lastChild.textContent = preset.about;
    button.addEventListener("click", async () => {
      try {
        replaceLanes((await post("/api/direction", { text: preset.text })).lanes);
      } catch (error) {
        complain(error);
      }
    });
    list.append(button);
  }
}

/** Fields of the options of `mien speak`, as its dataclass defines them. */
export function options() {
  const place = $("#options .fields");
  for (const option of project.setup.options) {
    if (option.name === "text" || option.name === "face") continue; // they have places of their own
    const label = document.createElement("label");
    const words = option.name.replace("_", " ");
    label.textContent = words.length > 3 ? words[0].toUpperCase() + words.slice(1) : words.toUpperCase(); // FPS, CRF
    const field = document.createElement(option.kind === "choice" ? "select" : "input");
    for (const choice of option.choices) field.append(new Option(choice));
    if (option.kind === "number") {
      Object.assign(field, { type: "number", min: option.low, max: option.high, step: option.whole ? 1 : "any" });
    }
    field.value = option.default;
    const help = document.createElement("small");
    help.textContent = option.help;
    label.append(field, help);
    field.addEventListener("change", () => {
      if (!field.checkValidity() || field.value === "") {
        field.value = project.options[option.name] ?? option.default;
        return;
      }
      project.options[option.name] = option.kind === "number" ? Number(field.value) : field.value;
      tell("options");
    });
    place.append(label);
  }
}
