"""Measures of faces in the picture plane.

Landmarks are ``(..., 478, 2 or 3)`` pixels in mediapipe's order, or ``(..., 68, 2 or 3)`` in iBUG's where it says so.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.types import Array

# mediapipe's numbers: outer eye corners, inner lip middles, forehead middle and chin.
_OUTER_EYE_CORNERS = (33, 263)
_INNER_LIP_PAIRS = ((81, 178), (13, 14), (311, 402))
_FACE_ENDS = (10, 152)
# Corners, then pairs of upper and lower lid; the subject's right eye first.
_LIDS = (((33, 133), ((160, 144), (158, 153))), ((263, 362), ((387, 373), (385, 380))))
_RIGID = [168, 6, 197, 195, 33, 133, 362, 263, 127, 356, 234, 454]  # nose bridge, eye corners, temples
_BROWS = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))  # the subject's right, left

MOUTH_68 = slice(48, 68)
"""iBUG's numbers of the lips."""
_EYE_CORNERS_68 = (36, 45)


def _distance(landmarks: Array, a: int, b: int) -> Array:
    return np.asarray(np.linalg.norm(landmarks[..., a, :2] - landmarks[..., b, :2], axis=-1), np.float32)


def face_height(landmarks: Array) -> Array:
    """``(...)`` forehead middle to chin, px."""
    return _distance(landmarks, *_FACE_ENDS)


def eye_distance(landmarks: Array) -> Array:
    """``(...)`` between the outer eye corners, px."""
    return _distance(landmarks, *_OUTER_EYE_CORNERS)


def lip_aperture(landmarks: Array) -> Array:
    """``(...)`` mean gap between the inner lips at three places over the face height; 0 when closed, no unit."""
    gaps = [_distance(landmarks, upper, lower) for upper, lower in _INNER_LIP_PAIRS]
    return np.asarray(np.mean(gaps, axis=0) / face_height(landmarks), np.float32)


def eye_openness(landmarks: Array) -> Array:
    """``(..., 2)`` eye aspect ratio of the subject's right and left eye, no unit.

    Mean of two distances between the lids over the distance of the corners (Soukupová and Čech 2016); about 0.3 open,
    0.05 to 0.1 shut.
    """
    sides = []
    for corners, pairs in _LIDS:
        gaps = np.mean([_distance(landmarks, *pair) for pair in pairs], axis=0)
        sides.append(gaps / np.maximum(_distance(landmarks, *corners), 1e-6))
    return np.asarray(np.stack(sides, -1), np.float32)


def brow_heights(landmarks: Array) -> Array:
    """``(..., 2)`` of the subject's right and left brow over the line through the outer eye corners.

    Mean distance of five points of a brow from that line, in outer eye distances; up is positive.
    """
    right, left = (landmarks[..., i, :2] for i in _OUTER_EYE_CORNERS)
    along = left - right
    length = np.maximum(np.linalg.norm(along, axis=-1), 1e-6)
    up = np.stack([along[..., 1], -along[..., 0]], -1) / length[..., None]  # y points down in pictures
    heights = [((landmarks[..., brow, :2].mean(-2) - right) * up).sum(-1) / length for brow in map(list, _BROWS)]
    return np.asarray(np.stack(heights, -1), np.float32)


def landmark_distance(truth: Array, other: Array) -> float:
    """Mean Euclidean distance of landmarks over the eye distance of ``truth``, in per cent; nothing is aligned."""
    error = np.linalg.norm(truth[..., :2] - other[..., :2], axis=-1).mean(-1)
    return float(np.mean(error / eye_distance(truth)) * 100)


def centred_distance(truth_68: Array, other_68: Array, *, mouth: bool = False, per_cent: bool = False) -> float:
    """F-LMD, or M-LMD of the lips alone: mean distance of landmarks after each set is moved to its own middle.

    ``mean_t mean_k |(x - mean x) - (y - mean y)|``: the form of EAT's program (Gan et al. 2023), which moves but does
    not rescale. Tables that divide by the face's size cannot be compared with it.

    Args:
        truth_68: ``(T, 68, 2 or 3)`` px in iBUG's order.
        other_68: the same shape.
        mouth: points 48 to 67 alone (M-LMD) instead of all 68 (F-LMD).
        per_cent: divide by the distance of the outer eye corners of ``truth_68`` and give per cent, which does not
            depend on the size of the picture; else px.
    """
    points = MOUTH_68 if mouth else slice(None)

    def centred(landmarks: Array) -> npt.NDArray[np.float64]:
        chosen = np.asarray(landmarks, np.float64)[..., points, :2]
        return np.asarray(chosen - chosen.mean(-2, keepdims=True))

    error = np.linalg.norm(centred(truth_68) - centred(other_68), axis=-1).mean(-1)
    if per_cent:
        error = error / _distance(truth_68, *_EYE_CORNERS_68) * 100
    return float(error.mean())


def silent_lip_stability(aperture: npt.ArrayLike, level: npt.ArrayLike) -> float:
    """How much lips move in silence: deviation of the aperture in silent frames over that in speech, no unit.

    Own definition. 0 is a still mouth in pauses, 1 one that moves as much as in speech; NaN if fewer than five frames
    are silent or spoken, or the mouth does not move in speech either.

    Args:
        aperture: ``(T,)`` as :func:`lip_aperture` gives it.
        level: ``(T,)`` dB of the sound relative to the clip's speech level (:func:`mien.metrics.sound_level`); below
            -45 is silence, above -25 speech.
    """
    gap, loud = np.asarray(aperture, np.float64), np.asarray(level, np.float64)
    silent, spoken = gap[loud < -45], gap[loud > -25]
    if min(len(silent), len(spoken)) < 5 or spoken.std() < 1e-6:
        return float("nan")
    return float(silent.std() / spoken.std())


def head_angles(landmarks: Array, reference: Array | None = None) -> Array:
    """``(T, 3)`` degrees of the head's pitch, yaw and roll against a reference pose, the clip's middle by default.

    The rotation (Kabsch 1976) of points that no expression moves (nose bridge, eye corners, temples), depth as
    mediapipe gives it, as an axis-angle vector. Pitch is positive downwards, yaw to the subject's left, roll
    counter-clockwise as the viewer sees it.

    Args:
        landmarks: ``(T, 478, 3)`` px.
        reference: ``(478, 3)`` px.
    """
    turn, _, _ = _rigid_motion(landmarks, reference)
    axis = np.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], -1)
    sine = np.linalg.norm(axis, axis=-1) / 2
    angle = np.arctan2(sine, (np.trace(turn, axis1=1, axis2=2) - 1) / 2)
    return np.asarray(np.rad2deg(axis / 2 * (angle / np.maximum(sine, 1e-12))[:, None]) * (1, -1, -1), np.float32)


def steadied(landmarks: Array, reference: Array | None = None) -> Array:
    """``(T, 478, 3)`` px as if the head had stayed in the reference pose (the clip's middle), with its expression.

    Turned, scaled and shifted back by what :func:`head_angles` finds, so that a lip gap or a brow's height does not
    change because the head nods.
    """
    turn, scale, middle = _rigid_motion(landmarks, reference)
    points = np.asarray(landmarks, np.float64)
    centred = (points - points[:, _RIGID].mean(1, keepdims=True)) / scale[:, None, None]
    return np.asarray(np.einsum("tki,tij->tkj", centred, turn) + middle, np.float32)


def _rigid_motion(
    landmarks: Array, reference: Array | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rotations ``(T, 3, 3)`` and scales ``(T,)`` of the rigid points against the reference; its middle ``(3,)``."""
    points = np.asarray(landmarks, np.float64)[:, _RIGID]
    still = np.median(points, axis=0) if reference is None else np.asarray(reference, np.float64)[_RIGID]
    middle = still.mean(0)
    centred, still = points - points.mean(1, keepdims=True), still - middle
    u, _, vt = np.linalg.svd(np.einsum("tki,kj->tij", centred, still))
    u[:, :, -1] *= np.sign(np.linalg.det(u @ vt))[:, None]
    scale = np.linalg.norm(centred, axis=(1, 2)) / np.linalg.norm(still)
    return u @ vt, scale, middle
