"""A head that leaves its place takes the body along, and the background gives way.

What the neck does not bear (a lean, a step, coming nearer) is a shift and a growth of the whole person. How much every
place of the picture takes part is found on a coarse grid: all at the head, nothing at the border that the person
leaves, for nobody knows what comes after it, and in between as evenly as can be, the person stiffer than the
background. On the side that the person goes to the background may slide out of the picture. How far all this may go
follows from how much it stretches the picture where it stretches most: far in a wide picture, little in a close-up.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import spsolve

from mien.rendering.warp.head import HeadFrame, HeadLayer, ellipsoid, outside_polygon
from mien.types import Array

Grid = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]

_CELLS, _NODES = 8, 2500  # per face height at least, and more up to about so many in all
_SIDE, _DOWN = 3.0, 4.5  # face heights around the middle of the skull that take part: to the sides and up, and down
_OUTLINE = 0.04  # face heights around the face that move as one with it
_SKULL, _HAIR, _NECK = 0.9, 1.4, 1.6  # as far as these reach if there is a person, in radii of the skull's ellipsoid
_MARGIN = 0.2  # face heights before a border that a head leaves in which all but the face may stretch
_SURE = 1.5  # factor on the mask: its soft edge is person
_STIFF = 20.0  # how much more than the background a person resists stretching
_EVEN, _ROUNDS = 4, 6  # power of the stretching that is made small; 2 would let it gather around the head
_BEYOND = 1.0  # face heights that the background may be thought to go on beyond the border ahead
_WHOLLY = 0.95  # places that take part by this share do so wholly
_LOOSE, _FIRM = (0.6, 4.0), (0.3, 1.0)  # how much shorter and how much longer background and clothes, and hair and
_PATCH = 0.4  # neck, may become, as a share of what they are, on average over so many face heights
_FREE = 0.8  # of the most that a picture bears, this is free; beyond, ever less

_TURNS = (0, 2, 1, 3)
"""Quarter turns against the clock that make the ways right, left, down and up lead to the right."""


class Lean:
    """How a picture gives way.

    Attributes:
        layer: the picture, as far as it takes part.
    """

    def __init__(
        self,
        frame: HeadFrame,
        points: Array,
        oval: npt.NDArray[np.int32],
        shape: tuple[int, int],
        person_mask: Array | None,
    ) -> None:
        """Find who takes part; the arguments are those of :class:`HeadLayer`."""
        size = np.array(shape[::-1])
        low = np.floor(frame.centre[:2] - _SIDE * frame.height).astype(int)
        high = np.ceil(frame.centre[:2] + np.array([_SIDE, _DOWN]) * frame.height).astype(int)
        rests = [*(low > 0), *(high < size)]  # where the box ends within the picture
        low, high = np.maximum(low, 0), np.minimum(high, size)
        cells = max(_CELLS, math.sqrt(_NODES / float(np.prod((high - low) / frame.height))))
        n = np.maximum(np.ceil((high - low) * cells / frame.height), 4).astype(int)
        start, cell = low - 0.5, (high - low) / n
        columns, rows = (np.arange(n[k] + 1) * cell[k] + start[k] for k in (0, 1))
        grid = np.stack(np.meshgrid(columns, rows), -1)
        radius = ellipsoid(frame, grid)[0]
        face = outside_polygon(grid, points[oval, :2]) < _OUTLINE * frame.height
        person = (face | (radius < _SKULL)).astype(np.float32)
        if person_mask is not None:
            seen = cv2.GaussianBlur(person_mask, (0, 0), float(cell.mean()) / 2)
            person = np.maximum(person, np.clip(_SURE * _sampled(seen, grid), 0, 1))
        head = face | ((radius < _HAIR) & (person > 0.5))
        resting = np.zeros_like(head)
        resting[:, 0], resting[0], resting[:, -1], resting[-1] = rests
        hold, margin = float(cell.mean()) / (_BEYOND * frame.height), math.ceil(_MARGIN * cells)
        shares = []
        for turns in _TURNS:
            kinds = np.rot90(np.stack([face, head, resting], -1), turns)
            shares.append(np.rot90(_share(kinds, np.rot90(person, turns), hold, margin), -turns))
        arms, unit = grid - frame.pivot[:2], np.ones_like(grid)
        ways = (unit * [1, 0], unit * [-1, 0], unit * [0, 1], unit * [0, -1], arms, -arms)
        firm, patch = person * (radius < _NECK), round(_PATCH * cells)
        self._rooms = np.array([_room(_give_way(np.stack(shares), way), firm, cell, patch) for way in ways])
        self.layer = HeadLayer(frame, points, oval, shape, person_mask, (*low.tolist(), *high.tolist()))
        at = (self.layer.grid - start) / cell
        self._shares = np.stack([np.minimum(_sampled(share, at) / np.float32(_WHOLLY), 1) for share in shares])
        self._arms = np.asarray(self.layer.grid - frame.pivot[:2], np.float32)

    def limited(self, shift: Grid, growth: Grid) -> Array:
        """The share ``(T,)`` of shifts ``(T, 2)`` px and growths ``(T,)`` (0 is none) that the picture bears."""
        wish = np.concatenate([shift, growth[:, None]], 1)
        load = np.abs(wish / np.where(wish > 0, self._rooms[::2], self._rooms[1::2]))
        return eased(np.hypot(load[:, 0] + load[:, 2], load[:, 1] + load[:, 2]), _FREE, 1)

    def move(self, change: Array, growth: float, shift: Array, expression: Array) -> tuple[int, int, int, int]:
        """Move the layer.

        Args:
            change: as in :meth:`HeadLayer.move`, what the head does; ``growth`` and ``shift`` come on top.
            growth: of head and body, 0 is none.
            shift: ``(2,)`` pixels, of head and body.
            expression: as in :meth:`HeadLayer.move`.

        Returns:
            As :meth:`HeadLayer.move`.
        """
        return self.layer.move(change, expression, _give_way(self._shares, growth * self._arms + shift))


def eased(size: Grid, free: float, most: float) -> Array:
    """The share of sizes that is left if they are free up to one, and beyond it ever less so, never past the other."""
    less = free + (most - free) * np.tanh((size - free) / (most - free))
    return np.asarray(np.where(size > free, less / np.maximum(size, free), 1), np.float32)


def _sampled(values: Grid, at: Grid) -> Array:
    """Values ``(h, w)`` at places ``(..., 2)``, x first; beyond the border that of the border."""
    x, y = (np.asarray(at[..., k], np.float32) for k in (0, 1))
    return np.asarray(
        cv2.remap(np.asarray(values, np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _give_way(shares: Grid, wish: Grid) -> Array:
    """``(..., 2)`` how far places go that take part by the shares ``(4, ...)`` in a wish ``(..., 2)``."""
    right, left, down, up = shares
    x, y = wish[..., 0], wish[..., 1]
    return np.stack([np.where(x > 0, right, left) * x, np.where(y > 0, down, up) * y], -1).astype(np.float32)


def _room(moved: Grid, firm: Grid, cell: Grid, patch: int) -> float:
    """How many times a movement could be made before it presses or stretches a patch by more than that bears."""
    most = 0.0
    for axis in (0, 1):
        stretch = np.diff(moved[..., axis], axis=1 - axis) / cell[axis]
        here = np.minimum(firm[:, 1:], firm[:, :-1]) if axis == 0 else np.minimum(firm[1:], firm[:-1])
        shorter, longer = (loose + (tight - loose) * here for loose, tight in zip(_LOOSE, _FIRM, strict=True))
        load = np.abs(stretch) / np.where(stretch < 0, shorter, longer)
        most = max(most, float(cv2.blur(load, (patch, patch), borderType=cv2.BORDER_REPLICATE).max()))
    return 1 / most


def _share(kinds: Mask, person: Grid, hold: float, margin: int) -> Grid:
    """How much each place takes part on a way to the right.

    The sum of stretching to a power is made least, by rounds of a linear problem whose stiffness follows the stretching
    found before (iteratively reweighted least squares).

    Args:
        kinds: ``(h, w, 3)`` the face, which surely takes part; the head, which does as well unless it touches the
            border behind; what surely does not.
        person: ``(h, w)`` in [0, 1].
        hold: how firmly the background holds on to the border ahead, compared to two neighbours.
        margin: cells before the border behind in which ``head`` may stretch.
    """
    face, core, resting = (np.array(kinds[..., k], order="C") for k in range(3))
    n = core.size
    resting[:, 0] = True  # what comes after that border, nobody knows
    core[:, :margin] = face[:, :margin]
    core &= ~resting
    holds = np.zeros(core.shape)
    holds[:, -1] = hold * (1 - person[:, -1])
    ahead, known = holds.ravel(), core.ravel().astype(np.float64)
    share = known.copy()
    free = np.flatnonzero(~(core | resting))
    index = np.arange(n).reshape(core.shape)
    start = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    end = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    stiff = _STIFF ** person.ravel()
    plain = np.sqrt(stiff[start] * stiff[end])
    bond, spring = plain, ahead
    for _ in range(_ROUNDS):
        rows, columns = np.concatenate([start, end, index.ravel()]), np.concatenate([end, start, index.ravel()])
        around = np.bincount(start, bond, n) + np.bincount(end, bond, n) + spring
        system = sparse.csr_matrix((np.concatenate([-bond, -bond, around]), (rows, columns)), shape=(n, n))[free]
        share[free] = spsolve(system[:, free].tocsc(), -(system @ known))
        steep = np.hypot(*np.gradient(share.reshape(core.shape))).ravel() + 1e-3
        bond = np.sqrt(bond * plain * ((steep[start] + steep[end]) / 2) ** (_EVEN - 2))
        spring = np.sqrt(spring * ahead * (hold * share + 1e-3) ** (_EVEN - 2))
    return share.reshape(core.shape)
