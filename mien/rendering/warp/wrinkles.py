"""Folds that a 468-point mesh is too coarse to make: soft dark lines on the skin that come with certain expressions.

Each fold is a line through landmarks, drawn once into a small map of brightness changes that lies on the photo; an
expression fades it in. Hair, glasses and beards are left out, a photo that shows the expression already has its folds.
Which expression makes which fold follows the Facial Action Coding System (Ekman, Friesen & Hager, 2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.rendering.raster import Integers, compiled
from mien.types import Array, Frame

_MAP_HEIGHT = 176  # samples from the top of the forehead to the chin, at most
_DEPTH = 0.22  # the largest darkening
_FOLD_REACH = 5.0  # widths of a fold's line beyond which nothing changes
_UNDO = 0.4  # how much of a fold that the photo shows can be smoothed away

Point = tuple[int, ...]
"""A landmark, or the middle between several."""


@dataclass(frozen=True)
class _Fold:
    line: tuple[Point, ...]
    width: float  # of the dark line, face heights
    weights: dict[str, float]  # strength per weight of each expression; more than 1 together is 1


def _fold(line: tuple[Point | int, ...], width: float, **weights: float) -> _Fold:
    return _Fold(tuple(point if isinstance(point, tuple) else (point,) for point in line), width, weights)


_BROWS = ((70, 63), (63, 105), (105, 66), (66, 107), (9,), (336, 296), (296, 334), (334, 293), (293, 300))
_HAIRLINE = (54, 103, 67, 109, 10, 338, 297, 332, 284)


def _forehead_folds() -> list[_Fold]:
    folds = []
    for up in (1, 2):  # shares of the way to the hairline: one third, two thirds
        row = tuple(brow * (3 - up) + (hair,) * (2 * up) if len(brow) == 2 else brow * 2 * (3 - up) + (hair,) * 2 * up
                    for brow, hair in zip(_BROWS, _HAIRLINE, strict=True))  # fmt: skip
        folds += [
            _fold(row[3:6], 0.012, browInnerUp=0.9),
            _fold(row[4:8], 0.012, browOuterUpLeft=0.8),
            _fold(row[1:5], 0.012, browOuterUpRight=0.8),
        ]
    return folds


FOLDS: tuple[_Fold, ...] = (
    # nasolabial: from the wing of the nose around the corner of the mouth
    _fold((358, 423, 426, 436, (432, 436)), 0.018, mouthSmileLeft=0.8, noseSneerLeft=0.9, mouthUpperUpLeft=0.5),
    _fold((129, 203, 206, 216, (212, 216)), 0.018, mouthSmileRight=0.8, noseSneerRight=0.9, mouthUpperUpRight=0.5),
    # the frown between the brows
    _fold(((336, 9), (285, 8)), 0.013, browDownLeft=1.0),
    _fold(((107, 9), (55, 8)), 0.013, browDownRight=1.0),
    # across the root of the nose
    _fold((193, (168, 6), 417), 0.014, noseSneerLeft=0.25, noseSneerRight=0.25),
    *_forehead_folds(),
    # below the eyes
    _fold((448, 449, 450, 451, 452), 0.012, cheekSquintLeft=0.7, eyeSquintLeft=0.4),
    _fold((228, 229, 230, 231, 232), 0.012, cheekSquintRight=0.7, eyeSquintRight=0.4),
    # from the corners of the mouth downwards
    _fold(((291, 410), (422, 291), (422, 424)), 0.020, mouthFrownLeft=1.0),
    _fold(((61, 186), (202, 61), (202, 204)), 0.020, mouthFrownRight=1.0),
    # above the chin
    _fold(
        (204, (106, 182), (83, 18), (18, 313), (335, 406), 424),
        0.020,
        mouthShrugLower=1.0,
        mouthFrownLeft=0.2,
        mouthFrownRight=0.2,
    ),
)


class Wrinkles:
    """The folds of one portrait.

    Attributes:
        left, top: place of the map's first sample in the photo, pixels.
        scale: samples per pixel.
    """

    def __init__(self, photo: Frame, points: Array, expression_names: tuple[str, ...]) -> None:
        """Draw every fold's map.

        Args:
            photo: the whole picture.
            points: ``(478, 2)`` landmarks in the photo, pixels.
            expression_names: order of the weights that :meth:`change` gets.
        """
        low, high = points.min(0) - 4, points.max(0) + 4
        self.left, self.top = float(low[0]), float(low[1])
        height = float(np.linalg.norm(points[10] - points[152]))
        self.scale = min(1.0, _MAP_HEIGHT / height)
        columns, rows = (int(np.ceil(n * self.scale)) + 1 for n in (high - low))
        x, y = np.meshgrid(self.left + np.arange(columns) / self.scale, self.top + np.arange(rows) / self.scale)
        places = np.stack([x, y], -1).astype(np.float32)
        bare = _bare_skin(photo, points, places)
        self._maps = np.stack([_draw(fold, points, places, height) * bare for fold in FOLDS])
        self._boxes = np.array([_box(each) for each in self._maps], np.int32)
        self._weights = np.zeros((len(FOLDS), len(expression_names)), np.float32)
        for index, fold in enumerate(FOLDS):
            for name, weight in fold.weights.items():
                if name in expression_names:
                    self._weights[index, expression_names.index(name)] = weight

    def change(self, rest: Array, weights: Array) -> Array | None:
        """``(h, w)`` relative change of brightness for expression weights, or ``None`` if there is none."""
        change = np.zeros_like(self._maps[0])
        return change if _lay(self._weights, rest, weights, self._maps, self._boxes, change) else None


@compiled
def _lay(folds: Array, rest: Array, weights: Array, maps: Array, boxes: Integers, change: Array) -> bool:
    """Add up the folds that are stronger or weaker than at rest; True if there are any."""
    zero, one, least = np.float32(0), np.float32(1), np.float32(-1.5 * _DEPTH)
    anything = False
    for index in range(len(folds)):
        before, after = zero, zero
        for k in range(len(weights)):
            before += folds[index, k] * rest[k]
            after += folds[index, k] * weights[k]
        strength = min(after, one) - min(before, one)
        if strength < zero:
            strength *= np.float32(_UNDO)
        if abs(strength) <= np.float32(0.01):
            continue
        anything = True
        top, bottom, left, right = boxes[index]
        for y in range(top, bottom):
            row, drawn = change[y], maps[index, y]
            for x in range(left, right):
                row[x] = max(row[x] + strength * drawn[x], least)
    return anything


def _box(values: Array) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of where a map is not nothing."""
    there = np.abs(values) > 0.002
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _draw(fold: _Fold, points: Array, places: Array, height: float) -> Array:
    """The fold at full strength: dark in its valley, a little light on the bulge above it, thin at both ends."""
    line = np.stack([points[list(landmarks)].mean(0) for landmarks in fold.line])
    width = fold.width * height
    drawn = np.zeros(places.shape[:2], np.float32)
    low, high = line.min(0) - _FOLD_REACH * width, line.max(0) + _FOLD_REACH * width
    columns = slice(*np.searchsorted(places[0, :, 0], [low[0], high[0]]))
    rows = slice(*np.searchsorted(places[:, 0, 1], [low[1], high[1]]))
    places = places[rows, columns]
    lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    start = np.concatenate([[0], np.cumsum(lengths)])
    nearest = np.full(places.shape[:2], np.inf, np.float32)
    along = np.zeros(places.shape[:2], np.float32)
    side = np.zeros(places.shape[:2], np.float32)
    for i in range(len(lengths)):
        edge = (line[i + 1] - line[i]) / max(float(lengths[i]), 1e-6)
        offset = places - line[i]
        t = np.clip(offset @ edge, 0, lengths[i])
        distance = np.linalg.norm(offset - t[..., None] * edge, axis=-1)
        closer = distance < nearest
        nearest = np.where(closer, distance, nearest)
        along = np.where(closer, (start[i] + t) / max(float(start[-1]), 1e-6), along)
        side = np.where(closer, np.sign(offset[..., 0] * edge[1] - offset[..., 1] * edge[0]), side)
    valley = 0.5 * np.exp(-((nearest / (0.45 * width)) ** 2)) + 0.5 * np.exp(-((nearest / (1.3 * width)) ** 2))
    bulge = np.exp(-(((nearest - 2.2 * width) / (1.2 * width)) ** 2)) * 0.22
    ends = np.sqrt(np.maximum(np.sin(np.pi * np.clip(along, 0.03, 0.97)), 0))
    drawn[rows, columns] = _DEPTH * (bulge * np.abs(side) - valley) * ends
    return drawn


def _bare_skin(photo: Frame, points: Array, places: Array) -> Array:
    """``(h, w)`` in [0, 1]: 1 where the photo looks like this person's skin."""
    import cv2
    from scipy.ndimage import gaussian_filter

    x, y = (np.ascontiguousarray(places[..., k]) for k in range(2))
    colour = cv2.remap(photo, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    face = np.zeros(places.shape[:2], np.uint8)
    scale = (places.shape[1] - 1) / max(float(np.ptp(places[0, :, 0])), 1e-6)
    hull = cv2.convexHull(((points - places[0, 0]) * scale).astype(np.int32))
    cv2.fillConvexPoly(face, hull, 1)
    skin = np.median(colour[face > 0], axis=0)
    brightness = colour.mean(-1) / max(float(skin.mean()), 1.0)
    # Shaded skin is darker, hair is darker still; a lit forehead may be half as bright again.
    likely = np.clip((brightness - 0.42) / 0.2, 0, 1) * np.clip((1.9 - brightness) / 0.3, 0, 1) * face
    return np.asarray(gaussian_filter(likely, 1.5), np.float32)
