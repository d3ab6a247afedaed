"""Reenactment: what one face does, done by another.

Relative, as Siarohin et al., "First Order Motion Model for Image Animation", 2019, and LivePortrait (Guo et al., 2024)
do it: the change since a reference frame of the driver is added to the portrait's own expression, so that neither the
driver's looks nor the tracker's habits get in. Absolute: the portrait shows what the driver shows.

What the rig's expressions cannot say (the exact course of lips and lids) comes along as offsets of the surface. A clip
that drives its own first frame is thereby led along its own landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mien.face.rig import Rig, load_rig
from mien.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from mien.types import Array, FaceIdentity, FaceMotion

_LIDS = (0.6, 1.6)
"""Portraits with smaller or larger eyes than the driver's move their lids this many times as far, at least and most."""

_OPEN = 0.1
"""A mouth that begins more open than the photo's by this weight of a shape is taken for open."""

_BLOCK = 64
_OPENERS = (
    "jawOpen", "mouthFunnel", "mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight",
)  # fmt: skip
_BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")


@dataclass(frozen=True, eq=False)
class Driver:
    """What moves a portrait.

    Attributes:
        motion: ``(T)`` frames on the builtin rig, absolute.
        sizes: ``(T,)`` how large the head looks, pixels per metre; all 1 if unknown.
        identity: whose motion it is, if it was filmed.
        detail: ``(T, 478, 3)`` metres at zero pose that the landmarks show beyond the rig's expressions, if filmed.
    """

    motion: FaceMotion
    sizes: Array
    identity: FaceIdentity | None = None
    detail: Array | None = None


@dataclass(frozen=True)
class Manner:
    """How a portrait follows.

    Attributes:
        relative: the change since the reference frame is added to the portrait; else it shows what the driver shows.
        head, gaze, blink: whether these follow.
        strength: factor on what the expression changes.
    """

    relative: bool = True
    head: bool = True
    gaze: bool = True
    blink: bool = True
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class Followed:
    """A driver's motion for one portrait.

    Attributes:
        motion: relative to the portrait's rest, without translation and offsets.
        shift: ``(T, 2)`` metres that the middle of the face goes, x right and y up in the picture.
        nearer: ``(T,)`` how many times as large as in the photo the head looks.
        offsets: ``(T, 478, 3)`` metres beyond the rig's expressions, or ``None``.
    """

    motion: FaceMotion
    shift: Array
    nearer: Array
    offsets: Array | None

    def blocks(self, translation: Array, start: int = 0) -> Iterator[FaceMotion]:
        """The motion with its translation ``(T, 3)`` and offsets, some frames at a time, for offsets are large.

        Args:
            translation: metres.
            start: the first frame wanted.
        """
        rig, motion = load_rig(self.motion.rig), replace(self.motion, translation=translation)
        for first in range(start // _BLOCK * _BLOCK, len(motion), _BLOCK):
            block = slice(first, first + _BLOCK)
            offsets = None if self.offsets is None else rig.extend(self.offsets[block])
            yield replace(motion[block], offsets=offsets)[max(0, start - first) :]

    def swelled(self, index: int, strengths: Array, fps: float) -> Followed:
        """One of the frames with each of the strengths ``(N,)``, 0 being the portrait as it is."""
        one = self.motion[index : index + 1]

        def scaled(values: Array) -> Array:
            return np.asarray(strengths.reshape(-1, *[1] * (values.ndim - 1)) * values, np.float32)

        names = ("expression", "jaw_pose", "head_pose", "eye_pose", "translation")
        changed: dict[str, Array] = {name: scaled(getattr(one, name)) for name in names}
        return Followed(
            motion=replace(one, fps=fps, **changed),  # type: ignore[arg-type]
            shift=scaled(self.shift[index : index + 1]),
            nearer=1 + scaled(self.nearer[index : index + 1] - 1),
            offsets=None if self.offsets is None else scaled(self.offsets[index : index + 1]),
        )


def calmest(motion: FaceMotion) -> int:
    """The frame in which the face is nearest to rest and looks ahead."""
    effort = (motion.expression**2).sum(1) + (motion.head_pose**2).sum(1) + (motion.eye_pose**2).sum((1, 2))
    return int(effort.argmin())


def follow(driver: Driver, rest: FaceMotion, identity: FaceIdentity, manner: Manner, reference: int = 0) -> Followed:
    """What a portrait is to do.

    Args:
        driver: whom it follows.
        rest: one frame, what the portrait shows.
        identity: whose portrait it is.
        manner: how it follows.
        reference: the driver's frame that stands for the portrait as it is; always so for the place of the head.
    """
    motion = driver.motion
    own = motion[reference : reference + 1]
    start = own if manner.relative else rest
    expression = _expression(motion, own, rest, manner.relative) * np.float32(manner.strength)
    if not manner.blink:
        expression[:, [motion.expression_names.index(name) for name in _BLINKS]] = 0
    still = np.zeros_like(motion.head_pose)
    turned = np.swapaxes(matrix_from_axis_angle(start.head_pose), 1, 2) @ matrix_from_axis_angle(motion.head_pose)
    gaze = motion.eye_pose - start.eye_pose
    shift, nearer = _place(driver, reference)
    if not manner.head:
        shift, nearer = np.zeros_like(shift), np.ones_like(nearer)
    return Followed(
        motion=replace(
            motion,
            expression=expression,
            head_pose=axis_angle_from_matrix(turned) if manner.head else still,
            eye_pose=gaze if manner.gaze else np.zeros_like(gaze),
            translation=still,
            offsets=None,
        ),
        shift=shift,
        nearer=nearer,
        offsets=_detail(driver, identity, manner, reference),
    )


def _expression(motion: FaceMotion, own: FaceMotion, rest: FaceMotion, relative: bool) -> Array:
    """``(T, E)`` to be added to the portrait's weights."""
    if not relative:
        return np.array(motion.expression - rest.expression)
    start = np.array(own.expression)
    for name in _OPENERS:  # a driver who begins in mid-word must still open lips that are closed in the photo
        column, shown = motion.expression_names.index(name), float(rest.column(name)[0])
        if start[0, column] > shown + _OPEN:
            start[0, column] = shown
    change = np.array(motion.expression - start)
    for name in _BLINKS:  # as far as the driver's lids have closed of the way they could, so that shut is shut
        column = motion.expression_names.index(name)
        closing = np.maximum(change[:, column], 0) / max(1 - float(own.expression[0, column]), 0.05)
        room = 1 - rest.column(name)[0]
        change[:, column] = np.where(change[:, column] > 0, np.minimum(closing, 1) * room, change[:, column])
    return change


def _place(driver: Driver, reference: int) -> tuple[Array, Array]:
    """Where the middle of the face goes ``(T, 2)`` m, and its size ``(T,)``, against the reference frame."""
    rig, motion = load_rig(driver.motion.rig), driver.motion
    nearer = driver.sizes / driver.sizes[reference]
    middle = rig.neutral(driver.identity)[:468].mean(0)
    at = (matrix_from_axis_angle(motion.head_pose) @ middle + motion.translation) * nearer[:, None]
    return (at - at[reference])[:, :2].astype(np.float32), nearer.astype(np.float32)


def _detail(driver: Driver, identity: FaceIdentity, manner: Manner, reference: int) -> Array | None:
    if driver.detail is None or not manner.relative:
        return None
    rig = load_rig(driver.motion.rig)
    share = np.full(rig.n_vertices, manner.strength, np.float32)
    for side in ("left", "right"):
        ratio = _lid_gap(rig, identity, side) / max(_lid_gap(rig, driver.identity, side), 1e-6)
        factor = float(np.clip(ratio, *_LIDS)) if manner.blink else 0.0
        share *= 1 + (factor - 1) * rig.region(f"eye_{side}")
    return np.asarray((driver.detail - driver.detail[reference]) * share[:478, None], np.float32)


def _lid_gap(rig: Rig, identity: FaceIdentity | None, side: str) -> float:
    pairs: npt.NDArray[np.int32] = rig.closures[f"eye_{side}"]
    neutral = rig.neutral(identity)
    return float(np.linalg.norm(neutral[pairs[:, 0]] - neutral[pairs[:, 1]], axis=1).mean())
