"""``mien inspect``: what a file is, its figures, and whether and how mien made it."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from mien.errors import DirectionError, FormatError, InputError
from mien.progress import Progress


@dataclass(frozen=True)
class InspectOptions:
    """Say what a file is: picture, sound, video, motion, rig, direction, style, weights; and, if mien made it, how."""

    file: tyro.conf.Positional[Path]
    """The file, a folder of frames, or a person's folder."""


@dataclass(frozen=True)
class Inspection:
    """What a file is.

    Attributes:
        file: its path.
        kind: ``"picture"``, ``"sound"``, ``"video"``, ``"frames"``, ``"person"``, ``"motion"``, ``"rig"``,
            ``"scene (glTF)"``, ``"emotion (table)"``, ``"action units (OpenFace CSV)"``, ``"direction"``, ``"style"``,
            ``"weights"`` or ``"arrays"``.
        figures: names and values, in the order to show them.
        provenance: the record mien left in it, or ``None``.
    """

    file: Path
    kind: str
    figures: Mapping[str, Any]
    provenance: Mapping[str, Any] | None

    def __str__(self) -> str:
        made = self.provenance
        rows = {**self.figures, "made by": "mien left no record in it" if made is None else made["software"]}
        rows |= {name.replace("_", " "): value for name, value in (made or {}).items() if name != "software"}
        width = max(map(len, rows))
        return "\n".join([f"{self.file}: {self.kind}", *(f"  {n:<{width}}  {_readable(v)}" for n, v in rows.items())])


def inspect(options: InspectOptions, progress: Progress | None = None) -> Inspection:
    """Look into a file; contents decide, not the ending.

    Raises:
        InputError: if the file is missing, unreadable or empty, or a direction that is malformed.
        FormatError: if it is nothing that mien knows.
    """
    from mien.media.image import require_file
    from mien.media.person_folder import MANIFEST
    from mien.media.provenance import read_provenance

    path = options.file
    if (path / MANIFEST).exists():
        return _person(path)
    if path.is_dir():
        kind, figures = "frames", _frames(path)
        return Inspection(path, kind, figures, read_provenance(path))
    require_file(path, "file")
    for look in (_arrays, _livelink, _readings, _scene, _picture, _weights, _written, _moving):
        found = look(path)
        if found is not None:
            kind, figures = found
            return Inspection(path, kind, figures, read_provenance(path))
    raise FormatError(
        f"{path}: neither picture, sound, video, motion, rig, scene, direction, style nor weights",
        "give a file of one of these kinds, undamaged",
    )


Found = tuple[str, dict[str, Any]]


def _person(path: Path) -> Inspection:
    from mien.media.person_folder import load_person

    person = load_person(path)
    figures = {
        "clips": len(person.clips),
        "frames": sum(map(len, person.clips)),
        "seconds": round(sum(clip.motion.duration for clip in person.clips), 2),
        "crops": f"{person.crop_size} px",
        "without face": sum(int((~clip.found).sum()) for clip in person.clips),
    }
    made = {"software": f"mien {person.made_with}", "synthetic": False, "verb": "prepare"}
    return Inspection(path, "person", figures, {**made, "settings": dict(person.settings)})


def _arrays(path: Path) -> Found | None:
    from mien.assets import load_npz
    from mien.types import FaceMotion

    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return None
    header, arrays = load_npz(path)
    kind = str(header.get("format", ""))
    if kind == "mien.FaceMotion":
        return _motion("motion", FaceMotion.load(path))
    if kind == "mien.Rig":
        return "rig", {name: value for name, value in header.items() if isinstance(value, str | int | float)} | {
            name: _shape(array) for name, array in arrays.items()
        }
    return "arrays", {name: _shape(array) for name, array in arrays.items()}


def _livelink(path: Path) -> Found | None:
    from mien.media.livelink import read_livelink

    with path.open("rb") as file:
        if b"BlendshapeCount" not in file.read(200):
            return None
    return _motion("motion (Live Link Face CSV)", read_livelink(path))


def _readings(path: Path) -> Found | None:
    """Tables of emotion and of action units."""
    from mien.media.emotion_file import read_emotion
    from mien.media.openface import read_openface

    with path.open("rb") as file:
        start = file.read(20_000)  # OpenFace's header names some 700 columns
    if start.startswith(b"frame,timestamp,success,valence,arousal"):
        track = read_emotion(path)
        counts = Counter(track.best()).most_common()
        figures = {
            "rows": len(track),
            "fps": track.fps,
            "valence": _spread(track.va[:, 0]),
            "arousal": _spread(track.va[:, 1]),
            "labels": ", ".join(f"{label} {count / len(track):.0%}" for label, count in counts),
        }
        return "emotion (table)", figures
    if start.startswith(b"frame") and b"AU01_r" in start:
        found = read_openface(path)
        means = zip(found.units.names, found.units.values.mean(0), strict=True)
        shown = {name: f"{mean:.2f} of 1 on average" for name, mean in means}
        return "action units (OpenFace CSV)", {"rows": len(found.units), "fps": found.units.fps, **shown}
    return None


def _spread(values: Any) -> str:
    return f"{values.mean():.2f} on average, {values.min():.2f} to {values.max():.2f}"


def _scene(path: Path) -> Found | None:
    from mien.media.gltf import read_glb_document

    document = read_glb_document(path)
    if document is None:
        return None
    accessors, meshes = document.get("accessors", []), document.get("meshes", [])
    inputs = {sampler["input"] for clip in document.get("animations", []) for sampler in clip["samplers"]}
    names = [name for mesh in meshes for name in mesh.get("extras", {}).get("targetNames", [])]
    return "scene (glTF)", {
        "nodes": [node.get("name", "") for node in document.get("nodes", [])],
        "vertices": sum(accessors[mesh["primitives"][0]["attributes"]["POSITION"]]["count"] for mesh in meshes),
        "morph targets": len(names),
        "frames": max((accessors[index]["count"] for index in inputs), default=0),
        "duration": _seconds(max((accessors[index]["max"][0] for index in inputs), default=0.0)),
    }


def _motion(kind: str, motion: Any) -> Found:
    moving = [name for name in motion.expression_names if motion.column(name).any()] if len(motion) else []
    return kind, {
        "frames": len(motion),
        "fps": round(motion.fps, 3),
        "duration": _seconds(motion.duration),
        "rig": motion.rig,
        "expressions": len(motion.expression_names),
        "moving": moving,
        **({} if motion.offsets is None else {"offsets": _shape(motion.offsets)}),
    }


def _picture(path: Path) -> Found | None:
    from PIL import Image

    from mien.media.image import open_picture

    try:
        with open_picture(path) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                return None
            width, height = picture.size
            return "picture", {"format": picture.format, "width": width, "height": height, "mode": picture.mode}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _weights(path: Path) -> Found | None:
    """Trained networks: their header says what they are of."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            made = file.metadata() or {}
            sizes = [math.prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    except SafetensorError:
        return None
    figures: dict[str, Any] = {"arrays": len(sizes), "values": sum(sizes)}
    for kind in (name for name in made if name.startswith("mien.")):
        try:
            header = dict(json.loads(made[kind]))
        except (ValueError, TypeError) as error:
            raise FormatError(f"{path}: its header is damaged ({error})", "copy or download it again") from error
        plain = {name: value for name, value in header.get("config", header).items() if not isinstance(value, dict)}
        figures = {"of": kind, **figures, **plain}
        if isinstance(places := header.get("emotions"), dict):  # GANmut's plane is learned, each one's its own
            figures |= {name: "at " + ", ".join(f"{value:.2f}" for value in at) for name, at in places.items()}
    return "weights", figures


def _written(path: Path) -> Found | None:
    """Styles, and directions: what is wrong in one is said."""
    from mien.direction import Direction
    from mien.media.style_file import read_style

    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        return None
    with contextlib.suppress(FormatError):
        style = read_style(path)
        return "style", {
            "clip": style.source,
            **style.habits,
            "for": "speak" if style.ned is None else "speak, redirect",
        }
    try:
        return "direction", Direction.load(path).to_dict()
    except DirectionError:
        if path.suffix.lower() == ".json":  # of which there are many others
            return None
        raise


def _moving(path: Path) -> Found | None:
    import av

    try:
        container = av.open(path)
    except (av.FFmpegError, OSError):
        return None
    with container:
        if container.format.name.endswith(("image2", "_pipe", "tty")):  # a picture's ending, or text
            return None
        sounds = container.streams.audio
        figures: dict[str, Any] = {"container": container.format.name}
        if container.streams.video:
            figures |= _video_figures(path)
        if sounds:
            figures |= _sound_figures(container, sounds[0])
        if not container.streams.video and not sounds:
            return None
        return ("video" if container.streams.video else "sound"), figures


def _video_figures(path: Path) -> dict[str, Any]:
    from mien.media.video import VideoReader

    video = VideoReader(path)
    height, width = video.size
    return {
        "video": video.codec,
        "width": width,
        "height": height,
        "fps": round(video.fps, 3),
        "frames": video.n_frames,
        "duration": None if video.duration is None else _seconds(video.duration),
    }


def _sound_figures(container: Any, stream: Any) -> dict[str, Any]:
    import av

    duration = None
    if stream.duration:
        duration = float(stream.duration * stream.time_base)
    elif container.duration:
        duration = container.duration / av.time_base
    return {
        "sound": stream.codec_context.name,
        "sample rate": stream.codec_context.sample_rate,
        "channels": stream.codec_context.layout.nb_channels,
        "sound length": None if duration is None else _seconds(duration),
    }


def _frames(folder: Path) -> dict[str, Any]:
    pictures = sorted(folder.glob("frame_*.png"))
    if not pictures:
        raise InputError(f"{folder}: a folder without frames", "name a file")
    found = _picture(pictures[0])
    return {"frames": len(pictures)} | (found[1] if found else {})


def _shape(array: Any) -> str:
    return f"{' × '.join(map(str, array.shape)) or 'scalar'} {array.dtype}"


def _seconds(value: float) -> float:
    return round(value, 3)


def _readable(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_readable(item)}" for name, item in value.items() if item is not None) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)
