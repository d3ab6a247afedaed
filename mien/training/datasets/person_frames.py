"""The frames of a person's folder as renderers learn from them: crops, where the face lies in them, what moves it.

Each clip is split by time: the first 70 % is trained on, the next 5 % says when to stop, the last quarter is left for
the report. Frames without a face are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import InputError
from mien.face.rig import Rig, load_rig
from mien.media.person_folder import Person, PersonClip, load_person
from mien.rendering.conditioning import in_window, screen_points
from mien.rendering.memory import N_POINTS, FaceKeys, face_keys
from mien.rendering.person import Framing
from mien.rotations import matrix_from_axis_angle
from mien.types import Array, Frame

Rows = npt.NDArray[np.int64]

LEARN, STOP, REPORT = range(3)
"""What the frames of a part are for: to train on, to say when to stop, to report on."""

_STOP_FROM, _REPORT_FROM = 0.70, 0.75  # of a clip
_LEAST = 40  # frames to train on
_BLOCK = 64


@dataclass(frozen=True, eq=False)
class PersonFrames:
    """All frames in one row of numbers, clip after clip.

    Attributes:
        person: the folder.
        size: side of the crops, px.
        clip: ``(T,)`` which clip each is of.
        index: ``(T,)`` its number in the clip.
        part: ``(T,)`` :data:`LEARN`, :data:`STOP` or :data:`REPORT`, -1 without a face.
        points: ``(T, 478, 3)`` px of the crop, the landmarks as seen; z as the motion says.
        modelled: ``(T, 478, 3)`` the same as the motion says.
        keys: what frames are compared by.
    """

    person: Person
    size: int
    clip: Rows
    index: Rows
    part: Rows
    points: Array
    modelled: Array
    keys: FaceKeys

    def __len__(self) -> int:
        return len(self.clip)

    def rows(self, part: int) -> Rows:
        """The frames of a part."""
        return np.nonzero(self.part == part)[0]

    @cached_property
    def goes_on(self) -> npt.NDArray[np.bool_]:
        """``(T,)`` whether the next frame shows the next moment of the same shot, in the same part."""
        shot = np.concatenate([clip.shot for clip in self.person.clips])
        same = (np.diff(self.clip) == 0) & (np.diff(shot) == 0) & (np.diff(self.part) == 0) & (self.part[1:] >= 0)
        return np.append(same, False)

    def crop(self, row: int) -> Frame:
        """``(size, size, 3)``.

        Raises:
            FormatError: if the picture is missing or damaged.
        """
        clip: PersonClip = self.person.clips[self.clip[row]]
        return clip.crop(int(self.index[row]))

    @property
    def rig(self) -> Rig:
        """The rig that the motion is on."""
        return load_rig(self.person.clips[0].motion.rig)


def open_frames(folder: Path) -> PersonFrames:
    """The frames of a folder that ``mien prepare`` has made.

    Raises:
        InputError: if it shows too few frames of the face, or is missing.
        FormatError: if it is damaged, or no such folder.
    """
    person = load_person(folder)
    size = person.crop_size
    if size % 16:
        raise InputError(f"{folder}: crops of {size} px", "prepare it with a crop size that is a multiple of 16")
    clips = person.clips
    part = np.concatenate([_parts(clip.found) for clip in clips])
    n_learn = int((part == LEARN).sum())
    if n_learn < _LEAST:
        raise InputError(
            f"{folder}: {n_learn} frames to train on, at least {_LEAST} are needed",
            "prepare longer clips of the person",
        )
    rig = load_rig(clips[0].motion.rig)
    keys = [face_keys(rig, clip.motion) for clip in clips]
    modelled = np.concatenate([points for clip in clips for points in _modelled(rig, clip, size)])
    seen = np.concatenate([clip.landmarks[..., :2] for clip in clips])
    boxes = np.concatenate([clip.boxes for clip in clips])
    points = modelled.copy()
    points[..., :2] = (seen - boxes[:, None, :2]) * (size / boxes[:, None, 2:]) - 0.5
    return PersonFrames(
        person,
        size,
        np.repeat(np.arange(len(clips)), [len(clip) for clip in clips]),
        np.concatenate([np.arange(len(clip)) for clip in clips]),
        part,
        points,
        modelled,
        FaceKeys(np.concatenate([k.mouth for k in keys]), np.concatenate([k.eyes for k in keys])),
    )


def framing(frames: PersonFrames) -> Framing:
    """How the face lies in the crops, as a rule: the middle in the head's own coordinates, by least squares."""
    sides, rows, places, cameras = [], [], [], []
    for clip in frames.person.clips:
        scale, boxes = clip.cameras[:, 0], clip.boxes
        sides.append(boxes[:, 2] / scale)
        middle = (boxes[:, :2] + boxes[:, 2:] / 2 - clip.cameras[:, 1:]) / scale[:, None] * np.array([1, -1])
        places.append(middle - clip.motion.translation[:, :2])
        rows.append(matrix_from_axis_angle(clip.motion.head_pose)[:, :2])
        cameras.append(_in_crops(clip.cameras, boxes, frames.size))
    matrix, wanted = np.concatenate(rows).reshape(-1, 3), np.concatenate(places).reshape(-1)
    # A head that hardly turns does not tell how deep its middle lies; then it is on the face's surface.
    steady = 0.1 * len(wanted)
    guess = np.array([0, 0, float(frames.rig.template[:, 2].mean())])
    middle = np.linalg.solve(matrix.T @ matrix + steady * np.eye(3), matrix.T @ wanted + steady * guess)
    camera = np.median(np.concatenate(cameras), 0)
    return Framing(
        float(np.median(np.concatenate(sides))), np.asarray(middle, np.float32), np.asarray(camera, np.float32)
    )


def _in_crops(cameras: Array, boxes: Array, size: int) -> Array:
    """``(T, 3)`` cameras of the crops themselves."""
    scale = size / boxes[:, 2]
    place = (cameras[:, 1:] - boxes[:, :2]) * scale[:, None]
    return np.concatenate([cameras[:, :1] * scale[:, None], place], 1)


def _parts(found: npt.NDArray[np.bool_]) -> Rows:
    at = np.arange(len(found)) / len(found)
    return np.where(found, np.digitize(at, [_STOP_FROM, _REPORT_FROM]), -1)


def _modelled(rig: Rig, clip: PersonClip, size: int) -> Iterator[Array]:
    for start in range(0, len(clip), _BLOCK):
        block = slice(start, start + _BLOCK)
        screen = screen_points(rig, clip.identity, clip.motion[block], clip.cameras[block])[:, :N_POINTS]
        yield np.stack([in_window(points, box, size) for points, box in zip(screen, clip.boxes[block], strict=True)])
