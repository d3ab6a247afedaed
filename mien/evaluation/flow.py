"""What moved between two pictures of one face at one moment of speech: brows and lips by optical flow.

Landmark networks read a shape they know into every picture: the same gap looks larger to them between lips that a
smile has widened, and by other amounts to each of them. Optical flow compares pixels. Where both pictures are drawn
from one photo, as in the leakage matrix, it tells lips and brows apart from what is around them more finely than
landmarks do (docs/evaluate.md has the comparison); landmarks only say where to look.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.types import Array

Grey = npt.NDArray[np.uint8]
"""``(H, W)``."""

_BROWS = ((70, 63, 105, 66, 107, 46, 53, 52, 65, 55), (300, 293, 334, 296, 336, 276, 283, 282, 295, 285))
_STEADY = [168, 6, 197, 195, 127, 356, 234, 454, 10, 338, 297, 332, 284, 251, 109, 67, 103, 54, 21]  # nose, oval
_EYE_CORNERS = [33, 263]
# Outer and inner edge of the middle of the upper and of the lower lip, from the subject's right.
_LIPS = (((39, 37, 0, 267, 269), (81, 82, 13, 312, 311)), ((181, 84, 17, 314, 405), (178, 87, 14, 317, 402)))
_MOUTH = [61, 291, 0, 17]
_MOUTH_CORNERS = [61, 291]
_CORNER_PX = 15  # a corner is a patch so wide
_FACE_ENDS = [10, 152]
_EVERY = 7  # pixels of a brow or lip are looked at; all of them say the same and take longer
_MARGIN = 0.12  # face heights around what is looked at
_FACE_PX = 800  # pictures are looked at as if the face were so high: flow's patches are then finer than a lip
PARTING = np.array([0.78, 0.13, 0.05], np.float32)
"""How much each part of :func:`lip_motion` tells of lips that part, by drawings of seven faces (docs/evaluate.md)."""


def brow_rises(before: Grey, after: Grey, points: Array, points_after: Array) -> Array:
    """``(2,)`` pixels by which the subject's right and left brow have risen, less what the head did.

    The mean over each brow, upwards as the face stands (across the line through the eyes), less the flow of points
    that no expression moves; there and back, for a brow that comes down folds the skin between it and the eye.

    Args:
        before: one picture.
        after: the other.
        points: ``(478, 3)`` landmarks in the first.
        points_after: in the other.
    """
    looked_at = [*_STEADY, *_BROWS[0], *_BROWS[1]]
    return _there_and_back(_risen, looked_at, before, after, points, points_after)


def lip_parting(before: Grey, after: Grey, points: Array, points_after: Array) -> float:
    """Pixels by which the middle of the lips has come apart; negative where it has closed.

    By :func:`lip_motion`, each part by its weight in :data:`PARTING`.

    Args:
        before: one picture.
        after: the other.
        points: ``(478, 3)`` landmarks in the first.
        points_after: in the other.
    """
    return float(lip_motion(before, after, points, points_after) @ PARTING)


def lip_motion(before: Grey, after: Grey, points: Array, points_after: Array) -> Array:
    """``(3,)`` pixels by which inner and outer edges of the lips part and the corners rise above the inner ones.

    Upwards as the face stands; there and back, for what opens is seen only from one side. Arguments as in
    :func:`lip_parting`.
    """
    return _there_and_back(_lips_moved, _MOUTH, before, after, points, points_after)


def _there_and_back(
    moved: Callable[[Array, Array], Array],
    looked_at: list[int],
    before: Grey,
    after: Grey,
    points: Array,
    points_after: Array,
) -> Array:
    """Pixels that ``moved`` says of the flow and the points, from both sides."""
    around = np.concatenate([points[looked_at], points_after[looked_at]])
    (first, second), near, zoom = _near(around, points, before, after)
    there = moved(_flow(first, second), near)
    back = moved(_flow(second, first), near + (points_after - points) * np.float32(zoom))
    return (there - back) / np.float32(2 * zoom)


def _near(around: Array, points: Array, *pictures: Grey) -> tuple[list[Grey], Array, float]:
    """The box around some points with a margin, in pictures as large as if the face were :data:`_FACE_PX` high.

    Returns:
        The cut pictures, all points in them, and how many times as large they are.
    """
    import cv2

    height = float(np.linalg.norm(np.subtract(*points[_FACE_ENDS, :2])))
    zoom = max(_FACE_PX / max(height, 1.0), 1.0)
    left, top = np.maximum(around[:, :2].min(0) - _MARGIN * height, 0).astype(int)
    right, bottom = np.maximum(around[:, :2].max(0) + _MARGIN * height, 1).astype(int)
    cut = [
        np.asarray(
            cv2.resize(p[top:bottom, left:right], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC), np.uint8
        )
        for p in pictures
    ]
    return cut, ((points - np.array([left, top, 0], np.float32)) * np.float32(zoom)).astype(np.float32), zoom


def _risen(flow: Array, points: Array) -> Array:
    """``(2,)`` rise of the brows."""
    import cv2

    still = points[_STEADY, :2]
    column, row = np.clip(np.round(still), 0, np.array(flow.shape[1::-1]) - 1).astype(int).T
    head, _ = cv2.estimateAffinePartial2D(still, still + flow[row, column], method=cv2.LMEDS)
    rises = []
    for brow in _BROWS:
        places, moved = _within(flow, cv2.convexHull(points[list(brow), :2])[:, 0])
        rises.append((moved - _shifts(head, places)).mean(0) @ _upwards(points))
    return np.array(rises, np.float32)


def _lips_moved(flow: Array, points: Array) -> Array:
    """``(3,)`` how far the edges of the lips part, by how their bodies move, and the corners rise.

    The middle of a lip moves farther than its inner edge and a frown thins it, while the edge itself borders on what
    opens: the affine motion of the body says where the edges go, and the corners say how lips bend meanwhile.
    """
    import cv2

    inner, outer = [], []
    for far, near in _LIPS:
        lip = points[[*far, *near[::-1]], :2]
        places, moved = _within(flow, lip)
        body, _ = cv2.estimateAffine2D(places, places + moved, method=cv2.LMEDS)
        inner.append(_shifts(body, points[list(near[::2]), :2]).mean(0))
        outer.append(_shifts(body, points[list(far[::2]), :2]).mean(0))
    column, row = np.clip(np.round(points[_MOUTH_CORNERS, :2]), 0, np.array(flow.shape[1::-1]) - 1).astype(int).T
    corners = cv2.blur(flow, (_CORNER_PX, _CORNER_PX))[row, column].mean(0)
    parts = np.stack([inner[0] - inner[1], outer[0] - outer[1], corners - np.mean(inner, axis=0)])
    return np.asarray(parts @ _upwards(points), np.float32)


def _within(flow: Array, polygon: Array) -> tuple[Array, Array]:
    """Places ``(N, 2)`` in a polygon, every seventh pixel, and their flow ``(N, 2)``."""
    import cv2

    mask = np.zeros(flow.shape[:2], np.uint8)
    corners = np.clip(np.round(polygon), 0, np.array(mask.shape[::-1]) - 1)
    cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    rows, columns = (i[::_EVERY] for i in np.nonzero(mask))
    return np.stack([columns, rows], 1).astype(np.float32), flow[rows, columns]


def _shifts(motion: Array | None, places: Array) -> Array:
    """``(N, 2)`` pixels by which a planar motion ``(2, 3)`` moves places; nothing without one."""
    return np.zeros_like(places) if motion is None else places @ motion[:, :2].T + motion[:, 2] - places


def _upwards(points: Array) -> Array:
    """``(2,)`` unit vector across the line through the outer corners of the eyes."""
    right, left = points[_EYE_CORNERS, :2]
    along = (left - right) / max(float(np.linalg.norm(left - right)), 1e-6)
    return np.array([along[1], -along[0]], np.float32)  # y points down in pictures


def _flow(before: Grey, after: Grey) -> Array:
    """``(H, W, 2)`` pixels by which each pixel has moved (Kroeger et al. 2016)."""
    return np.asarray(_dense().calc(before, after, None), np.float32)


@cache
def _dense() -> Any:
    import cv2

    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
