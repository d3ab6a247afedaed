"""Lips and lids that meet: gaps between paired landmarks follow the rig's gaps and never turn inside out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from mien.types import Array, Frame

Index = npt.NDArray[np.int32]

_SEAL = 0.005  # face heights: lips this close touch, for they are soft
_SPREAD = 0.035  # face heights: how far a corrected lid or lip takes its surroundings along
_SURE = 0.012  # face heights: rig gaps above this tell how far the photo's lids or lips are open


class Closure:
    """One pair of edges that can meet."""

    def __init__(
        self,
        points: Array,
        rig_points: Array,
        pairs: Index,
        up: Array,
        height: float,
        upper_share: float,
        *,
        soft: bool = False,
    ) -> None:
        """Remember the gaps at rest.

        Args:
            points: ``(478, 3)`` landmarks in the photo, picture space.
            rig_points: ``(478, 3)`` the rig's landmarks at rest, picture space.
            pairs: ``(N, 2)`` upper and lower landmarks.
            up: ``(3,)`` the head's up in picture space.
            height: of the face in pixels.
            upper_share: how much of a correction the upper edge makes: all of it on lids, half on lips.
            soft: the edges touch at rest and are soft: small gaps stay shut.
        """
        axis = up[:2] / (np.linalg.norm(up[:2]) + 1e-6)
        self._axis = np.array([axis[0], axis[1], 0], np.float32)
        self._upper, self._lower = pairs[:, 0], pairs[:, 1]
        self._gap = (points[self._upper] - points[self._lower]) @ self._axis
        self._rig_gap = (rig_points[self._upper] - rig_points[self._lower]) @ self._axis
        self._seal = _SEAL * height if soft else 0.0
        self._sure = _SURE * height
        upper, lower = (_carry(points, pairs[:, k], pairs[:, 1 - k], height) for k in (0, 1))
        self._carry = np.asarray(upper_share * upper - (1 - upper_share) * lower, np.float32)

    def apply(self, expression: Array) -> None:
        """Correct the landmarks' displacements ``(478, 3)`` in place."""
        moved = (expression[self._upper] - expression[self._lower]) @ self._axis
        rig_gap = self._rig_gap + moved
        added = self._gap + moved
        # Where the rig is surely open at rest, closing is proportional, so that rig and photo reach zero together.
        scaled = np.maximum(self._gap, 0) * np.clip(rig_gap / np.maximum(self._rig_gap, 1e-3), 0, 1)
        sure = np.clip(self._rig_gap / self._sure, 0, 1) * (moved < 0)
        wanted = np.maximum(added + (scaled - added) * sure, np.minimum(self._gap, 0.0))
        if self._seal:
            opened = np.maximum(wanted - np.maximum(self._gap, 0), 0)
            wanted = np.maximum(self._gap, 0) + opened * opened / (opened + self._seal)
            wanted = np.minimum(wanted, np.maximum(added, 0))
        expression += (self._carry @ (wanted - added))[:, None] * self._axis

    def _now(self, expression: Array) -> Array:
        return np.asarray(self._gap + (expression[self._upper] - expression[self._lower]) @ self._axis, np.float32)

    def closed(self, expression: Array) -> float:
        """How far the edges have closed, 0 as in the photo (or wider), 1 when they meet."""
        before = float(np.maximum(self._gap, 0).sum())
        after = float(np.maximum(self._now(expression), 0).sum())
        return min(max(1 - after / before, 0.0), 1.0) if before > 0 else 0.0

    def growth(self, expression: Array, loop: Index) -> Array:
        """``(len(loop),)`` pixels by which the gap at each landmark of the opening has grown; 0 in its corners."""
        grown = dict.fromkeys(loop.tolist(), 0.0)
        for upper, lower, more in zip(self._upper, self._lower, self._now(expression) - self._gap, strict=True):
            grown[int(upper)] = grown[int(lower)] = float(more)
        return np.array([grown[vertex] for vertex in loop.tolist()], np.float32)


def _carry(points: Array, edge: Index, other: Index, height: float) -> Array:
    """``(478, N)``: how a shift of each edge landmark carries on to those around, but not to the other edge."""
    distance = np.linalg.norm(points[:, None, :2] - points[None, edge, :2], axis=-1)
    near = np.exp(-((distance / (_SPREAD * height)) ** 2))
    weights = near / np.maximum(near.sum(1, keepdims=True), 1e-9) * near.max(1, keepdims=True)
    middle = (points[edge, :2].mean(0) + points[other, :2].mean(0)) / 2
    away = points[edge, :2].mean(0) - middle
    away /= np.linalg.norm(away) + 1e-6
    beyond = np.clip(((points[:, :2] - middle) @ away) / (0.01 * height), 0, 1)
    weights *= beyond[:, None]
    weights[other] = 0
    weights[edge] = np.eye(len(edge))
    return np.asarray(weights, np.float32)


def close_lips(photo: Frame, landmarks: Array, pairs: Index, height: float) -> Array:
    """Put both inner lips of a closed mouth on the dark line between them, so that they part exactly there.

    Args:
        photo: the whole picture.
        landmarks: ``(478, 3)``.
        pairs: ``(N, 2)`` upper and lower inner lip.
        height: of the face in pixels.

    Returns:
        The landmarks, those of the inner lips moved.
    """
    upper, lower = landmarks[pairs[:, 0], :2], landmarks[pairs[:, 1], :2]
    middle = (upper + lower) / 2
    along = np.gradient(middle, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-6
    steps = np.linspace(-1, 1, 25)
    reach = 0.018 * height
    at = middle[:, None] + steps[None, :, None] * reach * across[:, None]
    low = np.maximum(np.floor(at.reshape(-1, 2).min(0)).astype(int) - 4, 0)
    high = np.minimum(np.ceil(at.reshape(-1, 2).max(0)).astype(int) + 5, [photo.shape[1], photo.shape[0]])
    if (high - low < 3).any():
        return landmarks
    patch = photo[low[1] : high[1], low[0] : high[0]].astype(np.float32).mean(-1)
    patch = gaussian_filter(patch, max(0.5, 0.004 * height))
    profile = map_coordinates(patch, [at[..., 1] - low[1], at[..., 0] - low[0]], order=1, mode="nearest")
    contrast = max(float(np.ptp(profile)), 1.0)
    cost = (profile - profile.min(1, keepdims=True)) / contrast + 0.25 * steps**2
    best = steps[cost.argmin(1)]
    best = np.convolve(np.pad(best, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    seam = middle + best[:, None] * reach * across
    moved = landmarks.copy()
    moved[pairs[:, 0], :2] = seam
    moved[pairs[:, 1], :2] = seam
    return moved
