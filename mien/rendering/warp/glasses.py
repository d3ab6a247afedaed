"""Spectacles are rigid: where their frame lies, the skin's expression does not take the picture along.

A frame shows as a thin dark line. Two things together tell it from brows, lashes, shadows and folds: it crosses the
bridge of the nose without a gap, and it runs around both eyes at a distance that no lid reaches.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mien.types import Array, Frame

_SCALE = 100  # samples from eye to eye
_WIDTH, _HEIGHT, _EYE_ROW = 240, 160, 72
_LINE = 25  # samples: thicker than any frame
_BRIDGE, _AROUND = 0.2, 0.16  # contrast that a frame has on the bridge, and around the eyes for four fifths of the way
_FRAME = 0.12  # contrast of what belongs to a frame
_RADII = (25, 56)  # samples from the middle of an eye between which a frame may run
_LIDS = 20  # samples from the middle of an eye to its sides: so far everything is free
_WIDE = 1.5  # by how much what is free is wider than high
_STIFF, _SOFT = 6, 26  # samples from the frame up to which skin stays with it, and from which it is free


def stiffness(photo: Frame, landmarks: Array, points: Array) -> Array | None:
    """How much of their expression points on the face lose to the frame of spectacles.

    Args:
        photo: the whole picture.
        landmarks: ``(478, 2 or more)`` pixels.
        points: ``(N, 2)`` pixels.

    Returns:
        ``(N,)`` in [0, 1], or ``None`` if the face wears no spectacles.
    """
    eyes = np.stack([landmarks[[33, 133], :2].mean(0), landmarks[[362, 263], :2].mean(0)])
    distance = float(np.linalg.norm(eyes[1] - eyes[0]))
    if distance < 12:
        return None
    across = (eyes[1] - eyes[0]) / _SCALE
    down = np.array([-across[1], across[0]])
    corner = eyes.mean(0) - across * _WIDTH / 2 - down * _EYE_ROW
    places = np.stack([across, down, corner], 1).astype(np.float32)
    contrast = _contrast(photo, places, distance)
    if not _worn(contrast):
        return None
    frame = _frame(contrast)
    away = cv2.distanceTransform((~frame).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    stiff = np.clip((_SOFT - away) / (_SOFT - _STIFF), 0, 1) * np.clip((_from_eyes(_WIDE) - _LIDS) / 8, 0, 1)
    stiff = np.asarray(stiff * stiff * (3 - 2 * stiff), np.float32)
    stiff[0], stiff[-1], stiff[:, 0], stiff[:, -1] = 0, 0, 0, 0
    at = ((points - corner) @ np.linalg.inv(places[:, :2]).T).astype(np.float32)
    values = cv2.remap(stiff, at[:, :1], at[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values[:, 0], np.float32)


def _contrast(photo: Frame, places: Array, distance: float) -> Array:
    """``(H, W)`` by how much each place is darker than what lies on both sides of it, as a share."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if distance > _SCALE:
        grey = cv2.GaussianBlur(grey, (0, 0), 0.5 * distance / _SCALE)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(grey, places, (_WIDTH, _HEIGHT), flags=how, borderMode=cv2.BORDER_REPLICATE)
    closed = [cv2.morphologyEx(seen, cv2.MORPH_CLOSE, np.ones(size, np.uint8)) for size in ((_LINE, 1), (1, _LINE))]
    return np.asarray(np.max([(each - seen) / np.maximum(each, 30) for each in closed], axis=0), np.float32)


def _worn(contrast: Array) -> bool:
    middle, reach = _WIDTH // 2, np.arange(*_RADII)
    bridge = contrast[40:105, middle - 10 : middle + 11].max(0)
    if bridge.min() < _BRIDGE:
        return False
    for side in (-1, 1):
        rays = []
        for angle in np.deg2rad(np.arange(0, 151, 10)):  # from the temple downwards and to the nose
            columns = np.rint(middle + side * (_SCALE / 2 + reach * np.cos(angle))).astype(int)
            rows = np.rint(_EYE_ROW + reach * np.sin(angle)).astype(int)
            rays.append(contrast[rows, np.clip(columns, 0, _WIDTH - 1)].max())
        if np.percentile(rays, 20) < _AROUND:
            return False
    return True


def _frame(contrast: Array) -> npt.NDArray[np.bool_]:
    """What hangs together with the bridge and is not the eyes."""
    dark = (contrast > _FRAME) & (_from_eyes(_WIDE) > _LIDS + 3) & (_from_eyes() < _RADII[1] + 10)
    _, labels = cv2.connectedComponents(dark.astype(np.uint8))
    crossing = labels[40:105, _WIDTH // 2 - 10 : _WIDTH // 2 + 11]
    return np.asarray(np.isin(labels, np.unique(crossing[crossing > 0])))


def _from_eyes(height: float = 1) -> npt.NDArray[np.floating]:
    """``(H, W)`` samples to the middle of the nearer eye, those up and down counted as so many."""
    y, x = np.mgrid[:_HEIGHT, :_WIDTH]
    away = [np.hypot(x - _WIDTH / 2 - side * _SCALE / 2, height * (y - _EYE_ROW)) for side in (-1, 1)]
    return np.asarray(np.min(away, axis=0))
