"""Lips and lids that meet: gaps between paired landmarks follow the rig's gaps and never turn inside out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from mien.rendering.raster import compiled
from mien.types import Array, Frame

Index = npt.NDArray[np.int32]

_SEAL = 0.005  # face heights: lips this close touch, for they are soft
_SPREAD = 0.035  # face heights: how far a corrected lid or lip takes its surroundings along
_JAW = 0.6  # further by this share of an open mouth's gap: a jaw closes with its lip
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
        opened: Array | None = None,
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
            opened: ``(478, 3)`` how the expression at rest has moved the landmarks, if without it the edges meet.
        """
        axis = up[:2] / (np.linalg.norm(up[:2]) + 1e-6)
        self._axis = np.asarray(axis, np.float32)
        self._pairs = np.ascontiguousarray(pairs, np.int32)
        self._gap, self._rig_gap = (
            np.asarray((each[pairs[:, 0], :2] - each[pairs[:, 1], :2]) @ self._axis, np.float32)
            for each in (points, rig_points)
        )
        # A face whose photo shows it open has some of the gap in its shape; without the expression it is closed.
        by_expression = self._rig_gap if opened is None else (opened[pairs[:, 0], :2] - opened[pairs[:, 1], :2]) @ axis
        self._from_rest = np.minimum(self._rig_gap, np.maximum(by_expression, 0)).astype(np.float32)
        self._height = height
        self._seal = _SEAL * height if soft else 0.0
        reach = _SPREAD * height + (0.0 if opened is None else _JAW * max(float(self._gap.max()), 0.0))
        upper, lower = (_carry(points, pairs[:, k], pairs[:, 1 - k], height, reach) for k in (0, 1))
        self._carry = np.asarray(upper_share * upper - (1 - upper_share) * lower, np.float32)
        self._open = float(np.maximum(self._gap, 0).sum())
        self._pair_of = np.full(len(points), -1)
        self._pair_of[pairs] = np.arange(len(pairs))[:, None]

    def apply(self, expression: Array, *, measured: bool = False) -> Array:
        """Correct the landmarks' displacements in place.

        Args:
            expression: ``(478, 3)``.
            measured: the displacements are those of a filmed face, not only of the rig's expressions.

        Returns:
            ``(N,)`` the gaps that are left, pixels.
        """
        now = np.empty_like(self._gap)
        rig_gap = self._rig_gap if measured else self._from_rest
        sure = np.clip(rig_gap / np.float32(_SURE * self._height), 0, 1)
        _close(expression, self._pairs, self._axis, self._gap, rig_gap, sure, self._seal, self._carry, now)
        return now

    def closed(self, now: Array) -> float:
        """How far edges with these gaps have closed, 0 as in the photo (or wider), 1 when they meet."""
        return min(max(1 - float(np.maximum(now, 0).sum()) / self._open, 0.0), 1.0) if self._open > 0 else 0.0

    def growth(self, now: Array, loop: Index) -> Array:
        """``(len(loop),)`` pixels by which the gap at each landmark of the opening has grown; 0 in its corners."""
        pair = self._pair_of[loop]
        return np.where(pair < 0, np.float32(0), (now - self._gap)[pair])


@compiled
def _close(
    expression: Array,
    pairs: Index,
    axis: Array,
    gap: Array,
    rig_gap: Array,
    sure: Array,
    seal: float,
    carry: Array,
    now: Array,
) -> None:
    """Correct displacements, fill in the gaps that are left; see :meth:`Closure.apply`."""
    corrections = np.empty(len(pairs), np.float32)
    for k in range(len(pairs)):
        upper, lower = expression[pairs[k, 0]], expression[pairs[k, 1]]
        moved = (upper[0] - lower[0]) * axis[0] + (upper[1] - lower[1]) * axis[1]
        wanted = added = gap[k] + moved
        at_rest = max(gap[k], 0.0)
        if moved < 0:
            # Where the rig is surely open at rest, closing is proportional, so that rig and photo reach zero together.
            scaled = at_rest * min(max((rig_gap[k] + moved) / max(rig_gap[k], 1e-3), 0.0), 1.0)
            wanted += (scaled - added) * sure[k]
        wanted = max(wanted, min(gap[k], 0.0))
        if seal > 0:
            opened = max(wanted - at_rest, 0.0)
            wanted = min(at_rest + opened * opened / (opened + seal), max(added, 0.0))
        now[k], corrections[k] = wanted, wanted - added
    for vertex in range(len(expression)):
        shift = np.float32(0)
        for k in range(len(pairs)):
            shift += carry[vertex, k] * corrections[k]
        expression[vertex, 0] += shift * axis[0]
        expression[vertex, 1] += shift * axis[1]


def _carry(points: Array, edge: Index, other: Index, height: float, reach: float) -> Array:
    """``(478, N)``: how a shift of each edge landmark carries on to those around, but not to the other edge."""
    distance = np.linalg.norm(points[:, None, :2] - points[None, edge, :2], axis=-1)
    near = np.exp(-((distance / reach) ** 2))
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
