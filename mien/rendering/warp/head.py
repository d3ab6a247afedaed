"""Everything around the face: hair, ears, neck and background as one coarse, soft grid.

The head is an ellipsoid fitted around the face mesh. Inside it the picture turns rigidly with the head; outward the
movement dies away smoothly, downwards over neck and shoulders, outwards over the background, so that nothing tears and
nothing beyond the head's surroundings moves at all. Movements of the face's outline (a dropping jaw) are carried on in
the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mien.rendering.raster import compiled, invert_displacement, spread_grid
from mien.types import Array

_CELLS_PER_HEAD = 36
_NOTICEABLE = 0.06  # pixels
_EXPRESSION_REACH = 0.38  # how far beyond the outline a jaw or brow moves its surroundings, in face heights
_STIFF, _STILL = 1.1, 1.85  # ellipsoid radii up to which the picture moves with the head, and from which it rests
_HAIR_STIFF, _HAIR_STILL = 1.7, 2.4  # the same where the person is known to reach further: hair and hats
_CHIN, _NECK = 0.90, 1.5  # the same downwards from the middle of the skull, in half head heights
_SHOULDERS = 0.4, 0.9  # from here on downwards, in the same measure, and
_BESIDE = 0.8, 1.4  # from here on sideways, in half head widths, a head that rolls leaves what is there alone
_ROLLS = 0.02  # radians
_EDGE = 0.10  # face heights: how softly the background beside the person takes part


@dataclass(frozen=True)
class HeadFrame:
    """The head in the photo, in picture space (pixels, y down, z towards the viewer).

    Attributes:
        rotation: ``(3, 3)`` head axes (right in the picture, up, out of the face) as columns.
        pivot: ``(3,)`` the base of the skull, about which the head turns.
        centre: ``(3,)`` middle of the skull.
        radii: ``(3,)`` half width, height and depth of the head with its hair.
        height: forehead to chin.
    """

    rotation: Array
    pivot: Array
    centre: Array
    radii: Array
    height: float


def head_frame(points: Array) -> HeadFrame:
    """The head around a face whose landmarks ``(478, 3)`` are given in picture space."""
    forehead, chin, right_ear, left_ear = points[10], points[152], points[234], points[454]
    height, width = float(np.linalg.norm(forehead - chin)), float(np.linalg.norm(left_ear - right_ear))
    right = (left_ear - right_ear) / width
    up = forehead - chin
    up = up - right * (up @ right)
    up /= np.linalg.norm(up)
    out = np.cross(right, -up)  # y runs down: the mirror image of a right-handed frame
    out *= np.sign(out[2]) or 1.0
    ears = (left_ear + right_ear) / 2
    middle = (forehead + chin) / 2
    depth = (ears - middle) @ out
    return HeadFrame(
        rotation=np.stack([right, up, out], 1).astype(np.float32),
        pivot=(ears - 0.10 * height * up - 0.10 * height * out).astype(np.float32),
        centre=(middle + 0.17 * height * up + (depth - 0.05 * height) * out).astype(np.float32),
        radii=np.array([0.62 * width, 0.70 * height, 0.58 * height], np.float32),
        height=height,
    )


def ellipsoid(
    frame: HeadFrame, grid: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """Radius (1 on the silhouette) and front depth of the head's ellipsoid at each grid point."""
    axes = frame.rotation / frame.radii
    q = (axes @ axes.T).astype(np.float64)
    offset = grid - frame.centre[:2]
    flat = q[:2, :2] - np.outer(q[:2, 2], q[2, :2]) / q[2, 2]
    radius = np.sqrt(np.maximum(np.einsum("...i,ij,...j->...", offset, flat, offset), 0))
    middle = -(offset @ q[:2, 2]) / q[2, 2]
    # Beyond the silhouette the depth goes on falling, so that the movement stays smooth there.
    front = np.sqrt(np.maximum(1 - np.minimum(radius, 1) ** 2, 0) / q[2, 2]) + middle / np.maximum(radius, 1)
    return radius, front + frame.centre[2]


def _smoothstep(low: float, high: float, x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * t * (t * (6 * t - 15) + 10))


class HeadLayer:
    """The coarse grid around the head.

    Attributes:
        left, top, width, height: the part of the picture that can move at all, pixels.
        cell: pixels between grid points.
        grid: ``(gh, gw, 2)`` the grid's points, pixels.
    """

    def __init__(
        self,
        frame: HeadFrame,
        points: Array,
        oval: npt.NDArray[np.int32],
        shape: tuple[int, int],
        person_mask: Array | None,
        box: tuple[int, int, int, int] | None = None,
    ) -> None:
        """Lay the grid.

        Args:
            frame: the head.
            points: ``(478, 3)`` landmarks in picture space.
            oval: the face's outline, in order.
            shape: height and width of the picture.
            person_mask: of the portrait; with it hair moves as far as it reaches and the background less.
            box: left, top, right, bottom of what can move, pixels; as far as a head reaches if ``None``.
        """
        self._frame = frame
        if box is None:
            extent = _HAIR_STILL * float(max(frame.radii[0], frame.radii[1], frame.radii[2]))
            low = np.maximum(np.floor(frame.centre[:2] - extent), 0).astype(int)
            high = np.minimum(np.ceil(frame.centre[:2] + extent), [shape[1], shape[0]]).astype(int)
            box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        self.left, self.top = box[:2]
        self.width, self.height = box[2] - self.left, box[3] - self.top
        self.cell = max(2, round(2 * float(frame.radii[1]) / _CELLS_PER_HEAD))
        # Grid points are the middles of cells, as picture scaling counts; one cell more on every side.
        columns, rows = (-(-n // self.cell) + 2 for n in (self.width, self.height))
        x, y = ((np.arange(n) - 0.5) * self.cell - 0.5 for n in (columns, rows))
        x, y = np.meshgrid(self.left + x, self.top + y)
        self.grid = grid = np.stack([x, y], -1)

        radius, front = ellipsoid(frame, grid)
        outside = outside_polygon(grid, points[oval, :2])
        carry, oval_depth = _carry(grid, points, oval)
        near = 1 - _smoothstep(0.0, 0.3 * frame.height, outside)
        depth = front + (oval_depth - front) * near
        weight = self._head_weight(grid, radius, person_mask)
        self._shares = weight.ravel(), (weight * (1 - self._shoulders(grid))).ravel()
        # From the pivot to each grid point, times how much it turns with the head; the fourth column is for shifts.
        arms = np.concatenate([grid, depth[..., None]], -1) - frame.pivot
        arms = np.concatenate([arms, np.ones_like(depth)[..., None]], -1) * weight[..., None]
        self._arms = arms.reshape(-1, 4).astype(np.float32)
        self._from_pivot = ((grid - frame.pivot[:2]) @ [1, 1j]).ravel()
        reach = (1 - _smoothstep(0.0, _EXPRESSION_REACH * frame.height, outside)).reshape(-1)
        self._reached = np.flatnonzero(reach)
        self._carry = carry[self._reached] * reach[self._reached, None].astype(np.float32)
        self._oval = oval
        self._backward = np.zeros((rows, columns, 2), np.float32)
        # First and last column that moves in each row of the grid; the first one lies beyond the last if none does.
        self._spans = np.zeros((rows, 2), np.int32)

    def _head_weight(
        self, grid: npt.NDArray[np.floating], radius: npt.NDArray[np.floating], person_mask: Array | None
    ) -> npt.NDArray[np.floating]:
        """How much each grid point turns with the head, in [0, 1]."""
        frame = self._frame
        neck = 1 - _smoothstep(_CHIN, _NECK, self._below(grid))
        bare = 1 - _smoothstep(_STIFF, _STILL, radius)
        if person_mask is None:
            return bare * neck
        hair = 1 - _smoothstep(_HAIR_STIFF, _HAIR_STILL, radius)
        coarse = tuple(max(n // self.cell, 1) for n in person_mask.shape[::-1])
        soft = cv2.resize(person_mask, coarse, interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(soft, (0, 0), _EDGE * frame.height / self.cell)
        scale = np.array(coarse) / person_mask.shape[::-1]
        x, y = (((grid[..., k] + 0.5) * scale[k] - 0.5).astype(np.float32) for k in range(2))
        person = np.clip(cv2.remap(soft, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) * 2, 0, 1)
        # Inside the skull's ellipsoid the head is certain, whatever the mask says.
        person = np.maximum(person, 1 - _smoothstep(0.9, 1.3, radius))
        return np.asarray(hair * person * neck)

    def _below(self, grid: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """How far each grid point lies below the middle of the skull, in half head heights."""
        up = self._frame.rotation[:2, 1] / (np.linalg.norm(self._frame.rotation[:2, 1]) + 1e-6)
        return np.asarray(-((grid - self._frame.centre[:2]) @ up) / self._frame.radii[1])

    def _shoulders(self, grid: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """How surely each grid point is beside the neck, in [0, 1]."""
        right = self._frame.rotation[:2, 0] / (np.linalg.norm(self._frame.rotation[:2, 0]) + 1e-6)
        beside = np.abs((grid - self._frame.centre[:2]) @ right) / self._frame.radii[0]
        return _smoothstep(*_SHOULDERS, self._below(grid)) * _smoothstep(*_BESIDE, beside)

    def move(self, change: Array, expression: Array, further: Array | None = None) -> tuple[int, int, int, int]:
        """Move the grid.

        Args:
            change: ``(2, 4)`` what the head does in picture space: its turn and growth less the identity, and pixels.
            expression: ``(478, 2)`` pixels, displacements of the landmarks by the expression.
            further: ``(gh, gw, 2)`` pixels by which the grid moves beside.

        Returns:
            Left, top, right, bottom of what moves, picture pixels; all equal if nothing does.
        """
        forward = self._arms @ change.T
        roll = float(np.arctan2(change[1, 0] - change[0, 1], 2 + change[0, 0] + change[1, 1]))
        if abs(roll) > _ROLLS:
            forward += self._bend(roll)
        forward[self._reached] += self._carry @ expression[self._oval]
        if further is not None:
            forward += further.reshape(forward.shape)
        invert_displacement(forward.reshape(self._backward.shape), self.cell, self._backward)
        _find_spans(self._backward, self._spans)
        rows = np.flatnonzero(self._spans[:, 1] >= self._spans[:, 0])
        if not len(rows):
            return self.left, self.top, self.left, self.top
        left, right = self._bounds(self._spans)
        return (
            left,
            self.top + max(int(rows[0]) - 2, 0) * self.cell,
            right,
            min(self.top + (int(rows[-1]) + 1) * self.cell, self.top + self.height),
        )

    def _bend(self, roll: float) -> Array:
        """``(gh * gw, 2)`` pixels that a roll lacks where it dies away.

        There it is a smaller roll; the straight way towards where a whole one leads would press things together.
        """
        whole, partly = self._shares
        lacking = self._from_pivot * (np.exp(1j * roll * partly) - 1 - whole * (np.exp(1j * roll) - 1))
        return np.stack([lacking.real, lacking.imag], 1).astype(np.float32)

    def columns(self, top: int, bottom: int) -> tuple[int, int]:
        """Left and right of what moves between two rows of the picture, after :meth:`move`; equal if nothing does."""
        low, high = ((row - self.top) // self.cell for row in (top, bottom))
        return self._bounds(self._spans[max(low - 1, 0) : high + 3])

    def _bounds(self, spans: npt.NDArray[np.int32]) -> tuple[int, int]:
        """Picture columns between which some rows of the grid move."""
        first, last = int(spans[:, 0].min()), int(spans[:, 1].max())
        if first > last:
            return self.left, self.left
        left = self.left + max(first - 2, 0) * self.cell
        return left, min(self.left + (last + 1) * self.cell, self.left + self.width)

    def places(self, left: int, top: int, out: Array) -> None:
        """The picture x and y that each pixel of a box within the layer shows, into ``out``, ``(h, w, 2)``."""
        spread_grid(self._backward, self.cell, self.left, self.top, left, top, out)


@compiled
def _find_spans(backward: Array, spans: npt.NDArray[np.int32]) -> None:
    """The first and the last column of each row that moves noticeably."""
    rows, columns = backward.shape[:2]
    for i in range(rows):
        spans[i, 0], spans[i, 1] = columns, -1
        for j in range(columns):
            if abs(backward[i, j, 0]) > _NOTICEABLE or abs(backward[i, j, 1]) > _NOTICEABLE:
                spans[i, 0], spans[i, 1] = min(spans[i, 0], j), j


def outside_polygon(grid: npt.NDArray[np.floating], polygon: Array) -> npt.NDArray[np.floating]:
    """Distance to a polygon in pixels, 0 inside."""
    inside = np.zeros(grid.shape[:2], np.bool_)
    nearest = np.full(grid.shape[:2], np.inf)
    for a, b in zip(polygon.astype(np.float64), np.roll(polygon, -1, 0).astype(np.float64), strict=True):
        edge = b - a
        t = np.clip(((grid - a) @ edge) / (edge @ edge + 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(grid - a - t[..., None] * edge, axis=-1))
        crosses = (a[1] > grid[..., 1]) != (b[1] > grid[..., 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            x = a[0] + (grid[..., 1] - a[1]) / edge[1] * edge[0]
        inside ^= crosses & (grid[..., 0] < x)
    return np.where(inside, 0.0, nearest)


def _carry(
    grid: npt.NDArray[np.floating], points: Array, oval: npt.NDArray[np.int32]
) -> tuple[Array, npt.NDArray[np.floating]]:
    """Weights ``(gh * gw, n_oval)`` of the outline's points at each grid point (Shepard), and the outline's depth."""
    distance = np.linalg.norm(grid.reshape(-1, 1, 2) - points[oval, :2], axis=-1)
    weights = 1 / (distance**2 + (0.02 * np.ptp(points[oval, 1])) ** 2) ** 2
    weights /= weights.sum(1, keepdims=True)
    return weights.astype(np.float32), (weights @ points[oval, 2]).reshape(grid.shape[:2])
