"""Changes to a sequence of meshes, as VOCA's edit tool makes them: another shape, a moving head, blinks.

They take the meshes of each frame as the template and add to it, so they work on what a network answered as well as
on any rig's own output. Source: Cudeiro et al., "Capture, Learning, and Synthesis of 3D Speaking Styles", CVPR 2019,
and its published program's behaviour.
"""

from __future__ import annotations

import numpy as np

from mien.face.rig import Rig
from mien.rotations import matrix_from_axis_angle
from mien.types import Array

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
    phase = np.linspace(0, 4, len(vertices))
    turn = np.zeros((len(vertices), 3), np.float32)
    turn[:, axis] = angle * np.interp(phase, [0, 1, 2, 3, 4], [0, 1, 0, -1, 0])
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
    third = max(1, round(BLINK_DURATION * fps / 3))
    blink = np.interp(np.arange(3 * third + 1), [0, third, 2 * third, 3 * third], [0, 1, 1, 0])
    amount = np.zeros(len(vertices))
    for k in range(1, count + 1):
        start = k * len(vertices) // (count + 1)
        if start + len(blink) <= len(vertices):
            amount[start : start + len(blink)] = np.maximum(amount[start : start + len(blink)], blink)
    return np.asarray(vertices + amount[:, None, None] * closed, np.float32)
