"""What a person looked like: some frames of theirs, warped by the face mesh onto a pose that is wanted.

For each wanted frame the memory looks for frames with nearly the same mouth and for frames with nearly the same eyes,
heads held alike, and warps them: inside the face by the mesh, around it by a field that fades to nothing towards the
border. The pictures are mixed with weights that fall to zero at the first frame that is not taken, so that the mix
changes without a jump when one frame takes the place of another.

Convention: window pixels as in :mod:`mien.rendering.conditioning`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mien.face.rig import Rig
from mien.rendering.conditioning import Condition, Conditioner
from mien.rendering.raster import compiled
from mien.types import Array, FaceMotion, Frame

N_POINTS = 478
"""Vertices of the built-in rig that the face is warped by: the landmarks."""

_TAKEN = 3  # frames mixed for the mouth, and as many for the eyes
_CELL = 8  # px between the points of the field around the face
_BORDER = 8  # points along each side of the window that stand still
_LIDS_COUNT, _GAZE_MM, _POSE_MM = 1.5, 8.5, 30.0  # what lids, a radian of gaze and a radian of turn count, mm


@dataclass(frozen=True, eq=False)
class FaceKeys:
    """What frames are compared by; distances are about millimetres of skin.

    Attributes:
        mouth: ``(T, D)``.
        eyes: ``(T, D)``.
    """

    mouth: Array
    eyes: Array

    def __len__(self) -> int:
        return len(self.mouth)

    def __getitem__(self, index: npt.NDArray[np.int64] | list[int]) -> FaceKeys:
        return FaceKeys(self.mouth[index], self.eyes[index])


def face_keys(rig: Rig, motion: FaceMotion) -> FaceKeys:
    """The keys of every frame of a motion; whose face it is does not matter."""
    contours = rig.contours
    lips = np.concatenate([contours["lips_outer"], contours["lips_inner"]])
    lids = np.concatenate([contours["eye_left"], contours["eye_right"]])
    columns = [rig.expression_index[name] for name in motion.expression_names]

    def moved(vertices: npt.NDArray[np.int32]) -> Array:
        basis = rig.expression_basis[columns][:, vertices].reshape(len(columns), -1)
        return np.asarray(motion.expression @ basis * (1000 / np.sqrt(len(vertices))), np.float32)

    pose = motion.head_pose * _POSE_MM
    gaze = motion.eye_pose.reshape(len(motion), -1) * _GAZE_MM
    return FaceKeys(np.concatenate([moved(lips), pose], 1), np.concatenate([moved(lids) * _LIDS_COUNT, gaze, pose], 1))


def spread_out(keys: FaceKeys, n: int) -> npt.NDArray[np.int64]:
    """Rows of ``n`` frames that lie far from each other: each next one is the farthest from those there already."""
    every = np.concatenate([keys.mouth, keys.eyes], 1)
    taken = [int(((every - every.mean(0)) ** 2).sum(1).argmin())]
    distance = ((every - every[taken[0]]) ** 2).sum(1)
    while len(taken) < min(n, len(every)):
        taken.append(int(distance.argmax()))
        distance = np.minimum(distance, ((every - every[taken[-1]]) ** 2).sum(1))
    return np.sort(np.array(taken, np.int64))


@dataclass(frozen=True, eq=False)
class Choice:
    """Frames of the memory for one wanted frame: first those for the mouth, then those for the eyes.

    Attributes:
        frames: ``(2 n,)`` rows.
        weights: ``(2 n,)``, each half sums to 1.
    """

    frames: npt.NDArray[np.int64]
    weights: Array


@dataclass(frozen=True, eq=False)
class FaceMemory:
    """Frames of one person.

    Attributes:
        pictures: ``(M, S, S, 3)`` uint8.
        points: ``(M, 478, 3)`` px, where the landmarks were seen in each.
        modelled: the same, where each frame's motion says they are.
        keys: of each.
    """

    pictures: Frame
    points: Array
    modelled: Array
    keys: FaceKeys

    def choose(self, mouth: Array, eyes: Array, allowed: npt.NDArray[np.bool_] | None = None) -> Choice:
        """The frames nearest to the keys of a wanted one.

        Args:
            mouth: ``(D,)``.
            eyes: ``(D,)``.
            allowed: ``(M,)`` which may be taken; all if ``None``.
        """
        frames, weights = [], []
        for wanted, there in ((mouth, self.keys.mouth), (eyes, self.keys.eyes)):
            distance = ((there - wanted) ** 2).sum(1)
            if allowed is not None:
                distance = np.where(allowed, distance, np.inf)
            order = np.argsort(distance, kind="stable")[: _TAKEN + 1]
            near = np.sqrt(distance[order])
            weight = np.maximum(near[-1] - near[:-1], 0) if len(near) > 1 else np.ones(1)
            weight = np.where(np.isfinite(weight), weight, 0) + 1e-3
            frames.append(order[: len(weight)])
            weights.append(weight / weight.sum())
        return Choice(np.concatenate(frames), np.concatenate(weights).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Recalled:
    """What the memory shows of one wanted frame.

    Attributes:
        mixed: ``(S, S, 3)`` in [0, 1], the warped frames mixed.
        nearest: ``(S, S, 3)`` in [0, 1], of each half of the face the nearest frame alone.
        condition: the geometry images.
    """

    mixed: Array
    nearest: Array
    condition: Condition


class Recaller:
    """Warps remembered frames onto wanted poses."""

    def __init__(self, rig: Rig, size: int) -> None:
        """Prepare what is the same for all frames.

        Args:
            rig: the built-in one.
            size: side of the window, px; a multiple of 8.
        """
        self._conditioner = Conditioner(rig, size)
        self._oval = rig.contours["face_oval"]
        lower = rig.region("mouth") + rig.region("jaw") + 0.5 * rig.region("cheek") + 0.3 * rig.region("nose")
        self._lower = np.asarray(np.clip(lower[:N_POINTS], 0, 1), np.float32)[:, None]
        along = np.arange(_BORDER) * (size / _BORDER)
        zero, full = np.zeros(_BORDER), np.full(_BORDER, float(size))
        sides = ((along, zero), (full, along), (size - along, full), (zero, size - along))
        self._border = np.concatenate([np.stack(side, 1) for side in sides]).astype(np.float32)
        cells = np.arange(size // _CELL + 1, dtype=np.float32) * _CELL
        self._grid = np.stack(np.meshgrid(cells, cells), -1).reshape(-1, 2)

    def recall(self, memory: FaceMemory, choice: Choice, points: Array, *, modelled: bool) -> Recalled:
        """The chosen frames as one picture of the wanted pose.

        Args:
            memory: what is remembered.
            choice: of it.
            points: ``(478, 3)`` px, the landmarks as wanted.
            modelled: whether they come from a motion alone, not from landmarks seen in a picture; what a model errs
                by cancels out if it errs alike here and in the memory.
        """
        # Per vertex: for each frame where it lies there, relative to here; and how much of the lower face it is.
        known = memory.modelled if modelled else memory.points
        there = known[choice.frames, :, :2] - points[None, :, :2]
        carried = np.concatenate([there.transpose(1, 0, 2).reshape(N_POINTS, -1), self._lower], 1)
        condition = self._conditioner.draw(points, carried)
        size, n = self._conditioner.size, len(choice.frames)
        around = self._around(points[self._oval, :2], carried[self._oval])
        places = np.empty((n, size, size, 2), np.float32)
        lower = np.empty((size, size), np.float32)
        _find_places(condition.carried, condition.mask, around, _CELL, places, lower)
        seen = np.empty((n, size, size, 3), np.uint8)
        for row, place, picture in zip(choice.frames, places, seen, strict=True):
            cv2.remap(memory.pictures[row], place, None, cv2.INTER_LINEAR, picture, cv2.BORDER_REPLICATE)
        both = np.empty((size, size, 6), np.float32)
        _mix(seen, choice.weights, lower, both)
        return Recalled(both[..., :3], both[..., 3:], condition)

    def _around(self, oval: Array, values: Array) -> Array:
        """``(g, g, A)`` the values of the face's outline spread over the window; displacements end at its border.

        Shepard's interpolation with the fourth power of the distance.
        """
        at = np.concatenate([oval, self._border])
        fixed = np.zeros((len(self._border), values.shape[1]), np.float32)
        fixed[:, -1] = 0.5
        squared = (self._grid**2).sum(1)[:, None] + (at**2).sum(1) - 2 * self._grid @ at.T
        weights = 1 / (np.maximum(squared, 0) + 4) ** 2
        weights /= weights.sum(1, keepdims=True)
        side = round(len(self._grid) ** 0.5)
        return np.asarray(weights @ np.concatenate([values, fixed]), np.float32).reshape(side, side, -1)


@compiled
def _find_places(drawn: Array, mask: Array, grid: Array, cell: int, places: Array, lower: Array) -> None:
    """Where each pixel comes from in each frame: as drawn on the face, as the coarse grid says around it.

    Args:
        drawn: ``(S, S, 2 n + 1)`` n displacements and the share of the lower face, where ``mask`` is 1.
        mask: ``(S, S)``.
        grid: ``(g, g, 2 n + 1)`` the same for the surroundings, its first point on the first pixel.
        cell: pixels between its points.
        places: ``(n, S, S, 2)``, overwritten.
        lower: ``(S, S)``, overwritten.
    """
    height, width, n_values = drawn.shape
    values = np.empty(n_values, np.float32)
    for y in range(height):
        i = y // cell
        v = np.float32(y - i * cell) / np.float32(cell)
        for x in range(width):
            if mask[y, x] == 0:
                j = x // cell
                u = np.float32(x - j * cell) / np.float32(cell)
                for k in range(n_values):
                    above = grid[i, j, k] + (grid[i, j + 1, k] - grid[i, j, k]) * u
                    below = grid[i + 1, j, k] + (grid[i + 1, j + 1, k] - grid[i + 1, j, k]) * u
                    values[k] = above + (below - above) * v
            else:
                for k in range(n_values):
                    values[k] = drawn[y, x, k]
            for k in range(n_values // 2):
                places[k, y, x, 0] = np.float32(x) + values[2 * k]
                places[k, y, x, 1] = np.float32(y) + values[2 * k + 1]
            lower[y, x] = values[n_values - 1]


@compiled
def _mix(seen: Frame, weights: Array, lower: Array, out: Array) -> None:
    """Mix warped frames, the first half of them on the lower face, the others on the upper.

    Args:
        seen: ``(2 n, S, S, 3)``.
        weights: ``(2 n,)``.
        lower: ``(S, S)`` share of the lower face.
        out: ``(S, S, 6)`` in [0, 1], overwritten: the mix, and the first frame of each half alone.
    """
    half, height, width = len(seen) // 2, seen.shape[1], seen.shape[2]
    one, full = np.float32(1), np.float32(255)
    for y in range(height):
        for x in range(width):
            low = lower[y, x]
            high = one - low
            for k in range(3):
                mouth, eyes = np.float32(0), np.float32(0)
                for n in range(half):
                    mouth += weights[n] * np.float32(seen[n, y, x, k])
                    eyes += weights[half + n] * np.float32(seen[half + n, y, x, k])
                out[y, x, k] = (low * mouth + high * eyes) / full
                out[y, x, 3 + k] = (low * np.float32(seen[0, y, x, k]) + high * np.float32(seen[half, y, x, k])) / full
