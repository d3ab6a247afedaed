"""A person renderer at work: in a film, frame by frame, or by a motion alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mien.face.rig import Rig
from mien.rendering.composite import Paster
from mien.rendering.conditioning import in_window, screen_points
from mien.rendering.memory import N_POINTS, FaceKeys, face_keys
from mien.rendering.video import from_frame, is_own, relative
from mien.rotations import matrix_from_axis_angle
from mien.types import Array, FaceIdentity, FaceMotion, Frame, Portrait


@dataclass(frozen=True, eq=False)
class Framing:
    """How a person's face lies in the windows that a network was trained on.

    Attributes:
        side: of the window, metres at the face's distance.
        middle: ``(3,)`` the window's middle in the head's own metres.
        camera: ``(3,)`` as in :class:`~mien.types.Portrait`, for a window that stands still, in px as landmarks have
            them.
    """

    side: float
    middle: Array
    camera: Array

    def box(self, motion: FaceMotion, camera: Array) -> Array:
        """``(3,)`` left, top and side in picture px of the window for one frame of motion."""
        place = matrix_from_axis_angle(motion.head_pose[0]) @ self.middle + motion.translation[0]
        side = self.side * float(camera[0])
        middle = camera[1:] + place[:2] * np.array([1, -1]) * camera[0]
        return np.array([middle[0] - side / 2, middle[1] - side / 2, side], np.float32)


@dataclass(frozen=True, eq=False)
class Wanted:
    """One window to draw.

    Attributes:
        points: ``(478, 3)`` window px, the landmarks as they shall lie.
        keys: of the one frame.
        modelled: whether the points come from a motion alone, not from landmarks seen in a picture.
        own: ``(478, 3)`` window px, where the film's frame has them; ``None`` without a film.
    """

    points: Array
    keys: FaceKeys
    modelled: bool
    own: Array | None = None


class WindowRenderer(Protocol):
    """Draws one person's face into windows."""

    @property
    def rig(self) -> Rig:
        """That the motion is on."""

    @property
    def size(self) -> int:
        """Side of a window, px."""

    @property
    def identity(self) -> FaceIdentity:
        """Whose face."""

    @property
    def framing(self) -> Framing:
        """Of the windows."""

    @property
    def recurrent(self) -> bool:
        """Whether a window depends on the ones drawn before it."""

    def windows(self, wanted: Iterable[Wanted]) -> Iterator[Frame]:
        """``(size, size, 3)`` for every window wanted, in order."""

    def covered(self, wanted: Wanted) -> Array | None:
        """``(size, size)`` 1 where the window is drawn and 0 where it stays black; ``None`` if it is drawn whole."""


def draw_motion(renderer: WindowRenderer, motion: FaceMotion, start: int = 0) -> Iterator[Frame]:
    """The person in a motion, ``(size, size, 3)`` windows: hair, neck and ground as the network has learned them.

    NED's variant of head2head has learned none: its face is on black.

    Args:
        renderer: of the person.
        motion: absolute, on the renderer's rig; it is moved so that the head stays in the middle on the whole.
        start: the first frame wanted.

    Raises:
        ValueError: if the motion is on another rig.
    """
    rig, camera = renderer.rig, renderer.framing.camera
    keys = face_keys(rig, motion)
    middle = np.median(motion.translation, 0)

    def wanted(first: int) -> Iterator[Wanted]:
        for index in range(first, len(motion)):
            row = motion[index : index + 1]
            points = screen_points(rig, renderer.identity, row, camera[None])[0, :N_POINTS]
            points[:, :2] -= middle[:2] * np.array([1, -1], np.float32) * camera[0] + np.float32(0.5)
            yield Wanted(points, keys[[index]], modelled=True)

    return from_frame(start, lambda first: renderer.windows(wanted(first)), recurrent=renderer.recurrent)


class PersonVideoRenderer:
    """A :class:`~mien.rendering.video.VideoRenderer`: draws the face anew and puts it back into each frame.

    Args:
        renderer: of the person in the video.
    """

    def __init__(self, renderer: WindowRenderer) -> None:
        self._renderer = renderer
        self._paster = Paster(renderer.rig, renderer.size)

    @property
    def recurrent(self) -> bool:
        """See :attr:`~mien.rendering.video.VideoRenderer.recurrent`."""
        return self._renderer.recurrent

    def render(self, portraits: Iterable[Portrait], motion: FaceMotion) -> Iterator[Frame]:
        """See :meth:`~mien.rendering.video.VideoRenderer.render`."""
        jobs: list[_Job] = []  # of frames that are asked for but not yet drawn
        keys = face_keys(self._renderer.rig, motion)

        def asked() -> Iterator[Wanted]:
            for index, portrait in enumerate(portraits):
                if index >= len(motion):
                    raise ValueError(f"motion: {len(motion)} rows, but there are more frames")
                job = self._job(portrait, motion[index : index + 1], keys[[index]])
                jobs.append(job)
                yield job.wanted

        for drawn in self._renderer.windows(asked()):
            job = jobs.pop(0)
            yield job.portrait.image if job.rests else self._pasted(job, drawn)

    def _job(self, portrait: Portrait, row: FaceMotion, keys: FaceKeys) -> _Job:
        rig, rest = self._renderer.rig, portrait.rest
        relative(row, rest)  # complains if the two are on different rigs
        box = self._renderer.framing.box(rest, portrait.camera)
        modelled = [
            in_window(screen_points(rig, portrait.identity, m, portrait.camera[None])[0, :N_POINTS], box, self._size)
            for m in (rest, row)
        ]
        own = modelled[0].copy()
        seen = portrait.landmarks.astype(np.float32)
        own[:, :2] = in_window(seen, box, self._size)[:, :2]
        wanted = Wanted(own + modelled[1] - modelled[0], keys, modelled=False, own=own)
        return _Job(portrait, box, own, wanted, is_own(portrait, row))

    @property
    def _size(self) -> int:
        return self._renderer.size

    def _pasted(self, job: _Job, drawn: Frame) -> Frame:
        covered = self._renderer.covered(job.wanted)
        return self._paster.paste(job.portrait.image, drawn, job.box, job.own, job.wanted.points, covered)


@dataclass(frozen=True, eq=False)
class _Job:
    portrait: Portrait
    box: Array
    own: Array
    wanted: Wanted
    rests: bool
