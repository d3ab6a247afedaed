"""Renderers of a filmed face: every frame of a video is its own portrait, moved from what it shows to what is wanted.

A renderer takes the tracked frames one by one and gives whole pictures back, so a long video never stands in memory.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np

from mien.rendering.warp import WarpRenderer
from mien.rotations import compose
from mien.types import FaceMotion, Frame, Portrait

T = TypeVar("T")
R = TypeVar("R")


class VideoRenderer(Protocol):
    """Draws the face of a video in another motion."""

    @property
    def recurrent(self) -> bool:
        """Whether a frame depends on the ones drawn before it."""

    def render(self, portraits: Iterable[Portrait], motion: FaceMotion) -> Iterator[Frame]:
        """The video's frames with the face moved, in order; each is the caller's to keep.

        Args:
            portraits: the tracked frames of the video, each with its own landmarks, motion and camera.
            motion: what the face shall do, absolute, a row per portrait. A row that equals the frame's own motion
                gives the frame back as it is, byte for byte.

        Raises:
            ValueError: if there are more portraits than rows, or the motion is on another rig.
        """


class WarpVideoRenderer:
    """Moves the pixels of each frame by the difference between the wanted motion and its own; needs no training.

    Frames do not depend on each other, so several are drawn at a time, one per processor core.
    """

    recurrent = False

    def render(self, portraits: Iterable[Portrait], motion: FaceMotion) -> Iterator[Frame]:
        """See :meth:`VideoRenderer.render`."""
        return in_order(lambda pair: _moved(*pair), _with_rows(portraits, motion), os.cpu_count() or 1)


def from_frame(start: int, draw: Callable[[int], Iterator[T]], *, recurrent: bool) -> Iterator[T]:
    """Frames from number ``start`` on; where each depends on those before it, those are drawn once more.

    Args:
        start: the first frame wanted.
        draw: gives the frames from a number on.
        recurrent: whether a frame depends on the ones drawn before it.
    """
    first = 0 if recurrent else start
    return islice(draw(first), start - first, None)


def is_own(portrait: Portrait, row: FaceMotion) -> bool:
    """Whether one frame of motion is exactly what the portrait shows."""
    own = portrait.rest
    return own.expression_names == row.expression_names and all(
        np.array_equal(getattr(own, name), getattr(row, name))
        for name in ("expression", "jaw_pose", "head_pose", "eye_pose", "translation")
    )


def relative(row: FaceMotion, rest: FaceMotion) -> FaceMotion:
    """One frame of absolute motion as the change from ``rest`` that :class:`WarpRenderer` takes.

    Raises:
        ValueError: if the two are on different rigs.
    """
    if (row.rig, row.expression_names) != (rest.rig, rest.expression_names):
        raise ValueError(f"motion: on rig {row.rig!r}, but the video was tracked on {rest.rig!r}; retarget it")
    return replace(
        row,
        expression=row.expression - rest.expression,
        jaw_pose=row.jaw_pose - rest.jaw_pose,
        head_pose=compose(-rest.head_pose, row.head_pose),
        eye_pose=row.eye_pose - rest.eye_pose,
        translation=row.translation - rest.translation,
    )


def _moved(portrait: Portrait, row: FaceMotion) -> Frame:
    if is_own(portrait, row):
        return portrait.image
    return next(WarpRenderer(portrait, filmed=True).render(relative(row, portrait.rest)))


def _with_rows(portraits: Iterable[Portrait], motion: FaceMotion) -> Iterator[tuple[Portrait, FaceMotion]]:
    for index, portrait in enumerate(portraits):
        if index >= len(motion):
            raise ValueError(f"motion: {len(motion)} rows, but there are more frames")
        yield portrait, motion[index : index + 1]


def in_order(work: Callable[[T], R], items: Iterable[T], n_workers: int) -> Iterator[R]:
    """``map`` over threads: results in order, and only a few items are taken ahead of the result that is wanted."""
    with ThreadPoolExecutor(n_workers) as pool:
        ahead: deque[Future[R]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) > n_workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for each in ahead:
                each.cancel()
