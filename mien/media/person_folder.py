"""A person's folder: clips of one person, tracked, cropped and read; ``mien prepare`` makes it, methods learn from it.

    manifest.json            what the folder is and which clips it holds; written last, so what has one is whole
    clips/NAME.npz           one row per frame: motion, cameras, landmarks, emotion, action units, crop boxes
    clips/NAME/000000.jpg    one square picture of the face per frame
    clips/NAME.flac          the clip's sound, if it has any; its first sample stands at the first picture
    report.json, report.png  how good the material is
    dsm/, renderer/          runs of ``mien train dsm`` and ``mien train renderer``, where redirect looks for them

Nothing is pickled. Arrays have the shapes and units of the types they become.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.assets import load_npz
from mien.errors import FormatError, InputError
from mien.media.output import atomic_output
from mien.types import ActionUnits, Array, Emotion, EmotionTrack, FaceIdentity, FaceMotion, Frame

PERSON_FORMAT = 1
"""Version of the folder's layout."""

MANIFEST, CLIPS = "manifest.json", "clips"

DECODER_RUN, DECODER_FILE = "dsm", "dsm.safetensors"
"""Folder of the run that learns a person's moods, and in it the finished decoder."""

RENDERER_RUN, FAST_FILE, NEURAL_FILE = "renderer", "person.safetensors", "head2head.safetensors"
"""Folder of the run that learns to draw a person, and in it the finished one, by method."""

_REMEDY = "make the folder with `mien prepare`"
_MOTION = ("expression", "jaw_pose", "head_pose", "eye_pose", "translation")


@dataclass(frozen=True, eq=False)
class PersonClip:
    """One clip of the person; everything has a row per frame.

    Attributes:
        folder: the person's folder.
        name: file name inside the folder.
        source: name of the video it was made of.
        sha256: of that video.
        size: height and width of the video's pictures.
        motion: on the builtin rig, absolute.
        identity: the person's neutral face as this clip shows it.
        cameras: ``(T, 3)`` as in :class:`~mien.types.Portrait`, in px of the video.
        landmarks: ``(T, 478, 3)`` px of the video.
        found: ``(T,)`` False where no face was seen and the row is a guess between its neighbours.
        emotion: valence, arousal and label shares.
        units: action units.
        boxes: ``(T, 3)`` left, top and side of the square that the crop shows, in px of the video; it may reach beyond
            the picture.
        sharpness: ``(T,)`` standard deviation of the crop's Laplacian over that of its grey levels; more is sharper.
        shots: first frame of every shot; the first is 0.
        blinks: ``(B, 2)`` start and end of every blink, seconds.
        quality: figures about the clip by name.
    """

    folder: Path
    name: str
    source: str
    sha256: str
    size: tuple[int, int]
    motion: FaceMotion
    identity: FaceIdentity
    cameras: Array
    landmarks: Array
    found: npt.NDArray[np.bool_]
    emotion: EmotionTrack
    units: ActionUnits
    boxes: Array
    sharpness: Array
    shots: tuple[int, ...]
    blinks: Array
    quality: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.motion)

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.motion.fps

    @property
    def va(self) -> Array:
        """``(T, 2)`` valence and arousal."""
        return self.emotion.va

    @property
    def shot(self) -> npt.NDArray[np.int64]:
        """``(T,)`` which shot each frame belongs to, counted from 0."""
        return np.searchsorted(self.shots, np.arange(len(self)), side="right") - 1

    @property
    def sound(self) -> Path | None:
        """The clip's sound file, or ``None`` if it is silent."""
        path = sound_path(self.folder, self.name)
        return path if path.exists() else None

    def crop(self, index: int) -> Frame:
        """``(size, size, 3)`` RGB: the face in one frame.

        Raises:
            FormatError: if the picture is missing or damaged.
        """
        return read_crop(crop_path(self.folder, self.name, index))


@dataclass(frozen=True, eq=False)
class Person:
    """A person's folder, opened.

    Attributes:
        folder: where it is.
        made_with: version of mien.
        crop_size: side of the crops, px.
        settings: with which options it was made.
        clips: in the order they were given.
    """

    folder: Path
    made_with: str
    crop_size: int
    settings: Mapping[str, Any]
    clips: tuple[PersonClip, ...]


def crop_path(folder: Path, name: str, index: int) -> Path:
    """Where the crop of one frame is."""
    return folder / CLIPS / name / f"{index:06d}.jpg"


def sound_path(folder: Path, name: str) -> Path:
    """Where the sound of a clip is."""
    return folder / CLIPS / f"{name}.flac"


def clip_path(folder: Path, name: str) -> Path:
    """Where the rows of a clip are."""
    return folder / CLIPS / f"{name}.npz"


def clip_name(path: Path) -> str:
    """The name in the folder of a video: letters, digits, dots and dashes of its file name."""
    return re.sub(r"[^\w.-]+", "_", path.stem).strip("._") or "clip"


def crop_from_image(box: npt.ArrayLike, size: int) -> Array:
    """``(2, 3)`` map of points of the video's picture to points of the crop.

    Convention: as in landmarks, (0, 0) is the outer corner of the first pixel. With ``x, y`` in picture pixels,
    ``crop = crop_from_image(box, size) @ (x, y, 1)``.

    Args:
        box: left, top and side in px.
        size: side of the crop, px.
    """
    left, top, side = np.asarray(box, np.float64)
    scale = size / side
    return np.array([[scale, 0, -left * scale], [0, scale, -top * scale]], np.float32)


def cut_crop(frame: Frame, box: npt.ArrayLike, size: int) -> Frame:
    """``(size, size, 3)``: the square ``box`` of a picture; beyond the picture its edge is repeated.

    A large face is first reduced by a whole number, each new pixel the mean of the old ones, so that nothing flickers.
    """
    import cv2

    left, top, side = np.asarray(box, np.float64)
    factor = max(1, int(side // size))
    height, width = frame.shape[:2]
    x, y = (int(np.clip(np.floor(start), 0, end - 1)) for start, end in ((left, width), (top, height)))
    right, bottom = (
        int(np.clip(np.ceil(start + side) + factor, 1, end)) for start, end in ((left, width), (top, height))
    )
    region = frame[y : max(bottom, y + 1), x : max(right, x + 1)]
    if factor > 1:
        small = tuple(max(1, length // factor) for length in (region.shape[1], region.shape[0]))
        region = cv2.resize(region[: small[1] * factor, : small[0] * factor], small, interpolation=cv2.INTER_AREA)
    scale = factor * size / side  # of the reduced region, whose pixels' centres are whole numbers
    shift = [scale * (0.5 + (start - edge) / factor) - 0.5 for start, edge in ((x, left), (y, top))]
    crop_from_region = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    crop = cv2.warpAffine(region, crop_from_region, (size, size), flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def read_crop(path: Path) -> Frame:
    """One crop.

    Raises:
        FormatError: if it is missing or damaged.
    """
    import cv2

    try:
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        picture = None
    if picture is None:
        raise FormatError(f"{path}: the crop is missing or damaged", _REMEDY)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def write_crop(path: Path, crop: Frame) -> None:
    """One crop as JPEG of quality 95.

    Raises:
        OSError: if the place cannot be written.
    """
    import cv2

    done, content = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    path.write_bytes(content.tobytes())


def write_clip(clip: PersonClip) -> None:
    """The rows of one clip into its person's folder; whole or not at all.

    Raises:
        OSError: if the place cannot be written.
    """
    header = {
        "format": "mien.PersonClip",
        "version": PERSON_FORMAT,
        "source": clip.source,
        "sha256": clip.sha256,
        "size": clip.size,
        "fps": clip.fps,
        "rig": clip.motion.rig,
        "names": clip.motion.expression_names,
        "labels": clip.emotion.labels,
        "units": clip.units.names,
        "shots": clip.shots,
        "quality": dict(clip.quality),
    }
    shares = clip.emotion.probabilities
    arrays = {
        **{name: getattr(clip.motion, name) for name in _MOTION},
        "betas": clip.identity.betas,
        "residual": clip.identity.residual,
        "cameras": clip.cameras,
        "landmarks": clip.landmarks,
        "found": clip.found,
        "va": clip.emotion.va,
        "labels": np.zeros((len(clip), 0), np.float32) if shares is None else shares,
        "units": clip.units.values,
        "boxes": clip.boxes,
        "sharpness": clip.sharpness,
        "shot": clip.shot,
        "blinks": clip.blinks,
    }
    with atomic_output(clip_path(clip.folder, clip.name)) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


def read_clip(folder: Path, name: str) -> PersonClip:
    """The rows of one clip.

    Raises:
        FormatError: if the file is missing, damaged, something else, or of a newer format.
    """
    path = clip_path(folder, name)
    try:
        header, arrays = load_npz(path)
        _check_format(path, header, "mien.PersonClip")
        fps, n = float(header["fps"]), len(arrays["va"])
        motion = FaceMotion(
            fps=fps,
            rig=header["rig"],
            expression_names=tuple(header["names"]),
            **{name: arrays[name] for name in _MOTION},
        )
        labels = tuple(Emotion(label) for label in header["labels"])
        clip = PersonClip(
            folder=folder,
            name=name,
            source=str(header["source"]),
            sha256=str(header["sha256"]),
            size=(int(header["size"][0]), int(header["size"][1])),
            motion=motion,
            identity=FaceIdentity(motion.rig, arrays["betas"], arrays["residual"]),
            cameras=_rows(arrays["cameras"], (n, 3)),
            landmarks=_rows(arrays["landmarks"], (n, 478, 3)),
            found=_rows(arrays["found"], (n,)).astype(np.bool_),
            emotion=EmotionTrack(arrays["va"], fps, labels, arrays["labels"] if labels else None),
            units=ActionUnits(arrays["units"], tuple(header["units"]), fps),
            boxes=_rows(arrays["boxes"], (n, 3)),
            sharpness=_rows(arrays["sharpness"], (n,)),
            shots=tuple(int(start) for start in header["shots"]),
            blinks=_rows(arrays["blinks"], (len(arrays["blinks"]), 2)),
            quality=dict(header["quality"]),
        )
        if len(motion) != n:
            raise ValueError(f"{len(motion)} rows of motion, {n} of emotion")
    except FormatError:
        raise
    except (InputError, KeyError, ValueError, TypeError, IndexError) as error:
        raise FormatError(f"{path}: the clip is missing or damaged ({error})", _REMEDY) from error
    return clip


def _rows(array: npt.NDArray[Any], shape: tuple[int, ...]) -> Array:
    if array.shape != shape:
        raise ValueError(f"expected shape {shape}, got {array.shape}")
    return np.asarray(array, np.float32)


def write_manifest(
    folder: Path, crop_size: int, settings: Mapping[str, Any], clips: Sequence[PersonClip], version: str
) -> None:
    """The manifest, with which a folder is finished.

    Raises:
        OSError: if the place cannot be written.
    """
    content = {
        "format": "mien.Person",
        "version": PERSON_FORMAT,
        "mien": version,
        "settings": dict(settings),
        "crop_size": crop_size,
        "clips": [
            {
                "name": clip.name,
                "source": clip.source,
                "sha256": clip.sha256,
                "fps": clip.fps,
                "n_frames": len(clip),
                "shots": clip.shots,
                "size": clip.size,
                "quality": dict(clip.quality),
            }
            for clip in clips
        ],
    }
    with atomic_output(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_person(folder: str | Path) -> Person:
    """Open a folder that ``mien prepare`` has finished.

    Raises:
        InputError: if there is no such folder.
        FormatError: if it is something else, unfinished, damaged, or of a newer format.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", _REMEDY)
    path = folder / MANIFEST
    if not path.exists():
        raise FormatError(
            f"{folder}: is no finished folder of a person", f"`mien prepare VIDEO... -o {folder}` makes or finishes one"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        _check_format(path, manifest, "mien.Person")
        entries = [(str(entry["name"]), int(entry["n_frames"])) for entry in manifest["clips"]]
        made_with, crop_size = str(manifest["mien"]), int(manifest["crop_size"])
        settings = dict(manifest["settings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: damaged ({error})", _REMEDY) from error
    return Person(folder, made_with, crop_size, settings, tuple(_listed(folder, entries)))


def _listed(folder: Path, entries: Sequence[tuple[str, int]]) -> Iterator[PersonClip]:
    for name, n_frames in entries:
        clip = read_clip(folder, name)
        if len(clip) != n_frames:
            raise FormatError(f"{clip_path(folder, name)}: {len(clip)} frames, the manifest says {n_frames}", _REMEDY)
        yield clip


def _check_format(path: Path, header: Mapping[str, Any], wanted: str) -> None:
    if header.get("format") != wanted:
        raise FormatError(f"{path}: is no {wanted.removeprefix('mien.')} file of mien", _REMEDY)
    if not isinstance(header.get("version"), int) or header["version"] > PERSON_FORMAT:
        raise FormatError(f"{path}: of format {header.get('version')}, newer than this mien reads", "update mien")
