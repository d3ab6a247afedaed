"""Changes to a sequence of meshes, as VOCA's edit tool makes them: another shape, a moving head, blinks.

They take the meshes of each frame as the template and add to it, so they work on what a network answered as well as
on any rig's own output; :func:`edited` makes the same changes to a motion. Source: Cudeiro et al., "Capture, Learning,
and Synthesis of 3D Speaking Styles", CVPR 2019, and its published program's behaviour.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.errors import InputError
from mien.face.rig import Rig, retarget
from mien.rotations import compose, matrix_from_axis_angle
from mien.types import Array, FaceMotion

BLINK_DURATION = 0.25
"""Seconds: a third to close, a third closed, a third to open."""


def change_shape(rig: Rig, vertices: Array, index: int, amount: float = 3.0) -> Array:
    """Let one identity direction grow to ``amount`` standard deviations at half time and go back.

    Args:
        rig: whose ``identity_basis`` it is.
        vertices: ``(T, V, 3)`` m at zero pose.
        index: of the direction.
        amount: standard deviations.

    Returns:
        ``(T, V, 3)`` m.
    """
    ramp = 1 - np.abs(np.linspace(-1, 1, len(vertices)))
    change = (ramp * amount)[:, None, None] * rig.identity_basis[index]
    return np.asarray(vertices + change, np.float32)


def turn_head(rig: Rig, vertices: Array, axis: int, angle: float = 0.52) -> Array:
    """Turn the head to one side and to the other: 0, +angle, 0, -angle, 0 over the clip.

    Args:
        rig: with joints its neck turns, else the whole mesh about the model's origin.
        vertices: ``(T, V, 3)`` m at zero pose.
        axis: 0 nods, 1 turns, 2 tilts.
        angle: rad.

    Returns:
        ``(T, V, 3)`` m.
    """
    turn = _swing(len(vertices), axis, angle)
    if rig.skeleton is None:
        return np.asarray(vertices @ matrix_from_axis_angle(turn).transpose(0, 2, 1), np.float32)
    rotations = np.zeros((len(vertices), len(rig.skeleton.joint_names), 3), np.float32)
    rotations[:, rig.skeleton.joint_names.index("neck")] = turn
    return rig.skeleton.pose(vertices, rotations)


def add_blinks(vertices: Array, closed: Array, count: int, fps: float = 60.0) -> Array:
    """Add blinks at equal distances; one that would not end within the clip is left out.

    Args:
        vertices: ``(T, V, 3)`` m at zero pose.
        closed: ``(V, 3)`` m, what closing both eyes does to the mesh: on the built-in rig and on ICT the sum of
            ``eyeBlinkLeft`` and ``eyeBlinkRight``; on FLAME a combination of expressions, or eyelid offsets.
        count: number of blinks.
        fps: of the sequence.

    Returns:
        ``(T, V, 3)`` m.
    """
    return np.asarray(vertices + _blinks(len(vertices), count, fps)[:, None, None] * closed, np.float32)


def edited(
    motion: FaceMotion,
    rig: Rig,
    *,
    shape: tuple[int, float] | None = None,
    head: tuple[int, float] | None = None,
    blinks: int = 0,
) -> FaceMotion:
    """The same changes to a motion: a growing shape becomes offsets, a turning head its pose, blinks its expressions.

    Args:
        motion: on ``rig``.
        rig: what moves; if it has no blink of its own, the one of the builtin rig is carried to it.
        shape: identity direction and standard deviations, see :func:`change_shape`.
        head: axis and angle in rad, see :func:`turn_head`; turned before whatever the head does already.
        blinks: how many.

    Raises:
        InputError: if the rig has no such direction, or no way to blink.
    """
    n = len(motion)
    if shape is not None:
        if not 0 <= shape[0] < len(rig.identity_basis):
            raise InputError(f"no shape {shape[0]}", f"rig {rig.name} has 0 to {len(rig.identity_basis) - 1}")
        before = np.zeros((n, rig.n_vertices, 3), np.float32) if motion.offsets is None else motion.offsets
        motion = replace(motion, offsets=change_shape(rig, before, *shape))
    if head is not None:
        motion = replace(motion, head_pose=compose(motion.head_pose, _swing(n, *head)))
    if blinks:
        names, shut = _shut_eyes(rig)
        weights = dict.fromkeys(rig.expression_names, np.zeros(n, np.float32))
        weights |= dict(zip(motion.expression_names, motion.expression.T, strict=True))
        amount = _blinks(n, blinks, motion.fps)
        for name, weight in zip(names, shut, strict=True):
            own = weights[name]
            weights[name] = np.maximum(own, amount) if len(names) == 2 else own + amount * weight
        columns = np.stack([weights[name] for name in rig.expression_names], 1)
        motion = replace(motion, expression_names=rig.expression_names, expression=columns)
    return motion


def _shut_eyes(rig: Rig) -> tuple[tuple[str, ...], Array]:
    """Names and weights of the expressions that close both eyes."""
    lids = ("eyeBlinkLeft", "eyeBlinkRight")
    if set(lids) <= set(rig.expression_names):
        return lids, np.ones(2, np.float32)
    carried, _ = retarget(FaceMotion.zeros(1, 1.0).with_columns(dict.fromkeys(lids, 1.0)), rig)
    return rig.expression_names, carried.expression[0]


def _swing(n_frames: int, axis: int, angle: float) -> Array:
    """``(T, 3)`` rad: 0, +angle, 0, -angle, 0 about one axis."""
    turn = np.zeros((n_frames, 3), np.float32)
    turn[:, axis] = angle * np.interp(np.linspace(0, 4, n_frames), [0, 1, 2, 3, 4], [0, 1, 0, -1, 0])
    return turn


def _blinks(n_frames: int, count: int, fps: float) -> Array:
    """``(T,)`` in [0, 1]: blinks at equal distances; one that would not end within the clip is left out."""
    third = max(1, round(BLINK_DURATION * fps / 3))
    blink = np.interp(np.arange(3 * third + 1), [0, third, 2 * third, 3 * third], [0, 1, 1, 0])
    amount = np.zeros(n_frames, np.float32)
    for k in range(1, count + 1):
        start = k * n_frames // (count + 1)
        if start + len(blink) <= n_frames:
            amount[start : start + len(blink)] = np.maximum(amount[start : start + len(blink)], blink)
    return amount
