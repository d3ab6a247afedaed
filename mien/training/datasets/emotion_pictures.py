"""Labelled pictures of faces: a folder per label, or a table of path, label, valence and arousal."""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.direction import ALIASES
from mien.errors import FormatError, InputError
from mien.media.image import read_image, require_file, write_image
from mien.progress import Progress, track
from mien.types import Array, Emotion, Frame

if TYPE_CHECKING:
    from mien.perception.landmarks import MediapipeBackend

log = logging.getLogger(__name__)

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"))

_TABLE = ("path", "label")


@dataclass(frozen=True)
class LabelledPicture:
    """One picture and what it shows.

    Attributes:
        path: of the file.
        label: which emotion.
        valence: in [-1, 1], or NaN if nobody said.
        arousal: likewise.
    """

    path: Path
    label: Emotion
    valence: float = float("nan")
    arousal: float = float("nan")


def open_pictures(data: Path) -> tuple[LabelledPicture, ...]:
    """What a folder of folders named by labels, or a ``.csv`` table, lists.

    The table has columns ``path`` (relative to the table) and ``label``, and may have ``valence`` and ``arousal``.

    Raises:
        InputError: if there is nothing, or a label is unknown.
        FormatError: if the table is damaged.
    """
    found = _from_table(data) if data.suffix.lower() == ".csv" else _from_folders(data)
    if not found:
        raise InputError(f"{data}: lists no pictures", "give a folder per label, or a table of path and label")
    return tuple(found)


def is_clean(picture: LabelledPicture) -> bool:
    """Whether label and valence-arousal agree, by the rules with which AffectNet's test set was cleaned for EmoNet."""
    v, a = picture.valence, picture.arousal
    strength = float(np.hypot(v, a))
    match picture.label:
        case Emotion.NEUTRAL:
            return strength < 0.2
        case Emotion.HAPPY:
            return v > 0 and strength > 0.2
        case Emotion.SURPRISE | Emotion.ANGER:
            return a > 0 and strength > 0.2
        case Emotion.FEAR:
            return a >= 0 and v <= 0 and strength > 0.2
        case Emotion.DISGUST:
            return v < 0 and strength > 0.3
        case _:  # sad, contempt
            return v < 0 and strength > 0.2


def _from_folders(data: Path) -> list[LabelledPicture]:
    if not data.is_dir():
        raise InputError(f"{data}: no such folder", "give a folder with a folder per label, or a .csv table")
    return [
        LabelledPicture(path, _label(folder.name, folder))
        for folder in sorted(data.iterdir())
        if folder.is_dir()
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in PICTURES
    ]


def _from_table(data: Path) -> list[LabelledPicture]:
    require_file(data, "table")
    try:
        with data.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{data}: no table of comma-separated values ({error})") from error
    if rows and any(name not in rows[0] for name in _TABLE):
        raise FormatError(f"{data}: has no columns {' and '.join(_TABLE)}", "name them in the first line")
    found = []
    for line, row in enumerate(rows, 2):
        place = f"{data}, line {line}"
        try:
            v, a = (float(row.get(name) or "nan") for name in ("valence", "arousal"))
        except ValueError as error:
            raise FormatError(f"{place}: valence or arousal is no number ({error})") from error
        if max(abs(v), abs(a)) > 1 or np.isnan(v) != np.isnan(a):
            raise FormatError(f"{place}: valence {v:g} and arousal {a:g}", "give both from -1 to 1, or neither")
        found.append(LabelledPicture(data.parent / (row["path"] or ""), _label(row["label"] or "", place), v, a))
    return found


def _label(name: str, place: object) -> Emotion:
    plain = name.strip().lower()
    try:
        return Emotion(ALIASES.get(plain, plain))
    except ValueError:
        raise InputError(f"{place}: no emotion {name!r}", f"there are {', '.join(Emotion)}") from None


class FaceCrops:
    """Square crops around the faces of labelled pictures, made once and kept in a folder.

    The face fills the middle as in EmoNet's evaluation; around it are pixels enough to turn, shift and scale it.

    Args:
        folder: where they are kept.
        pictures: what they are made of; those without a face are left out.
        progress: sees a stage ``"faces"``.

    Attributes:
        pictures: those with a face.

    Raises:
        InputError: if no picture shows a face.
    """

    SIDE = 384
    INNER = 256
    """The middle of this side is the crop of the evaluation, px."""

    def __init__(self, folder: Path, pictures: Sequence[LabelledPicture], progress: Progress | None = None) -> None:
        from mien.perception.landmarks import MediapipeBackend

        folder.mkdir(parents=True, exist_ok=True)
        backend = MediapipeBackend()
        self._paths: list[Path] = []
        kept: list[LabelledPicture] = []
        for picture in track(pictures, progress, "faces", len(pictures)):
            path = folder / f"{_mark(picture.path)}.png"
            if not path.exists() and not path.with_suffix(".none").exists():
                self._make(path, picture.path, backend)
            if path.exists():
                kept.append(picture)
                self._paths.append(path)
            else:
                log.warning("%s: no face found; left out", picture.path)
        self.pictures = tuple(kept)
        if not kept:
            raise InputError(f"none of {len(pictures)} pictures shows a face", "give pictures of faces")

    def _make(self, path: Path, source: Path, backend: MediapipeBackend) -> None:
        picture = read_image(source)
        faces = backend.detect(picture)
        if faces:
            write_image(path, self._cut(picture, faces[0]))
        else:
            path.with_suffix(".none").touch()

    def _cut(self, picture: Frame, landmarks: Array) -> Frame:
        """``(SIDE, SIDE, 3)`` the crop around the face with these landmarks ``(478, 3)`` px."""
        from mien.face.rig import load_rig
        from mien.perception.emonet import EmoNetConfig, crop_face

        config = EmoNetConfig(size=self.SIDE, crop=EmoNetConfig().crop * self.SIDE / self.INNER)
        return crop_face(picture, landmarks[load_rig().landmark_indices_68], config)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Frame:
        """``(SIDE, SIDE, 3)``."""
        return read_image(self._paths[index])


def _mark(path: Path) -> str:
    """A name that no other file has, nor this one after a change."""
    about = require_file(path, "picture").stat()
    return hashlib.sha256(f"{path.resolve()}|{about.st_size}|{about.st_mtime_ns}".encode()).hexdigest()[:20]
