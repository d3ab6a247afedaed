"""Where to cut a tracked face out of its clip, and how sharp it is there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.face.rig import load_rig
from mien.perception.geometry import project
from mien.types import Array, FaceIdentity, FaceMotion, Frame

_MARGIN = 2.0
"""Side of the square over the height of the face at rest, forehead to chin: hair above, an opened jaw below."""
_RAISE = 0.12
"""The square's middle lies above the face's middle by this share of its height: there is more hair than throat."""
_ROOM = 0.06
"""A face that strays from its middle by less than this share of the side, and grows by less than twice it, stays in a
square that does not move at all."""
_FOLLOW = 0.5
"""Standard deviation in seconds of the bell that smooths the way of a square which must move."""
_BLOCK = 512


def face_boxes(
    identity: FaceIdentity, motion: FaceMotion, cameras: Array, shots: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """``(T, 3)`` left, top and side in px of a square around the head, steady within each shot.

    The face is taken as it would be at rest, so that speech does not move the square.

    Args:
        identity: whose face.
        motion: ``T`` frames on the builtin rig.
        cameras: ``(T, 3)`` as in :class:`~mien.types.Portrait`.
        shots: first frame of every shot.
    """
    low, high = (np.empty((len(motion), 2), np.float32) for _ in range(2))
    still = motion.with_columns(dict.fromkeys(motion.expression_names, 0))
    for start in range(0, len(motion), _BLOCK):
        part = slice(start, start + _BLOCK)
        points = project(load_rig(), identity, still[part], cameras[part])[..., :2]
        low[part], high[part] = points.min(1), points.max(1)
    height = (high - low)[:, 1]
    middle = (low + high) / 2 - np.stack([0 * height, _RAISE * height], 1)
    boxes = np.empty((len(motion), 3), np.float32)
    for start, end in zip(shots, (*shots[1:], len(motion)), strict=True):
        shot = slice(start, end)
        side = np.exp(_steady(np.log(_MARGIN * height[shot, None]), _ROOM, motion.fps)[:, 0])
        centre = _steady(middle[shot] / side[:, None].mean(), _ROOM, motion.fps) * side[:, None].mean()
        boxes[shot] = np.column_stack([centre - side[:, None] / 2, side])
    return boxes


def _steady(curves: Array, room: float, fps: float) -> npt.NDArray[np.float64]:
    """``(T, D)`` held at the middle of their range if that is within ``room``, else smoothed; each column by itself."""
    from scipy.ndimage import gaussian_filter1d

    curves = np.asarray(curves, np.float64)
    low, high = curves.min(0), curves.max(0)
    smoothed = gaussian_filter1d(curves, _FOLLOW * fps, axis=0, mode="nearest")
    return np.asarray(np.where(high - low <= 2 * room, (low + high) / 2, smoothed))


def sharpness(crop: Frame) -> float:
    """Fine detail in the middle half of a crop: standard deviation of its Laplacian over that of its grey levels."""
    import cv2

    height, width = crop.shape[:2]
    middle = crop[height // 4 : height - height // 4, width // 4 : width - width // 4]
    grey = cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).std() / max(float(grey.std()), 1.0))
