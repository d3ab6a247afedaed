"""How a moving face changes its light: the ratio of the shading after and before, from the normals of its surface.

The portrait's light is fitted once as ambient plus one distant lamp (Lambert) to the photo's brightness over the face.
A moved face then changes brightness by the quotient of that model after and before, which leaves the photo's own skin
untouched (the ratio image of Liu, Shan & Zhang, "Expressive expression mapping with ratio images", SIGGRAPH 2001).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from mien.rendering.raster import Integers, vertex_normals
from mien.types import Array, Frame

_DARKEN, _BRIGHTEN = 0.25, 0.12  # the largest changes of brightness, approached softly
_EMPHASIS = 1.1  # a mesh of 468 points flattens the skin's real relief


class Shading:
    """The light on one portrait."""

    def __init__(self, photo: Frame, points: Array, triangles: Integers, still: Array) -> None:
        """Fit the light.

        Args:
            photo: the whole picture.
            points: ``(468, 3)`` landmarks at rest in picture space.
            triangles: of the landmarks.
            still: ``(468,)`` in [0, 1], 0 where the shading must not change (lids, lip borders, the outline).
        """
        # Triangles run counter-clockwise with y up, hence clockwise with y down: turned over, normals face the viewer.
        self._triangles: Integers = np.ascontiguousarray(triangles[:, ::-1], np.int32)
        self._still = still
        self._smooth = _one_ring(triangles, len(points))
        normals = self._normals(points)
        height, width = photo.shape[:2]
        columns = np.clip(np.rint(points[:, 0]).astype(int), 0, width - 1)
        rows = np.clip(np.rint(points[:, 1]).astype(int), 0, height - 1)
        brightness = self._smooth @ photo[rows, columns].astype(np.float64).mean(-1)
        design = np.concatenate([np.ones((len(points), 1)), normals], 1)
        facing = np.maximum(normals[:, 2], 0) * still
        ridge = np.diag([0.0, 1.0, 1.0, 1.0]) * 0.02 * facing.sum()
        light = np.linalg.solve(design.T @ (design * facing[:, None]) + ridge, design.T @ (brightness * facing))
        mean = float(np.average(brightness, weights=facing + 1e-6))
        # A lamp from above makes folds readable; photos with flat light get a little of it.
        light[2] -= 0.15 * mean
        self._light = np.asarray(light / max(mean, 1.0), np.float32)
        self._relative = still / self._shade(normals)

    def change(self, points: Array) -> Array:
        """``(468,)`` relative change of brightness for moved landmarks in picture space."""
        ratio = self._shade(self._normals(points)) * self._relative - self._still
        ratio = self._smooth @ ratio
        limit = np.where(ratio > 0, np.float32(_BRIGHTEN), np.float32(_DARKEN))
        return np.asarray(limit * np.tanh(_EMPHASIS * ratio / limit), np.float32)

    def _shade(self, normals: Array) -> Array:
        return np.asarray(np.maximum(self._light[0] + normals @ self._light[1:], np.float32(0.25)))

    def _normals(self, points: Array) -> Array:
        normals = np.empty((len(points), 3), np.float32)
        vertex_normals(np.ascontiguousarray(points, np.float32), self._triangles, normals)
        return normals


def _one_ring(triangles: Integers, n: int) -> Any:
    """Sparse matrix that averages each vertex with its neighbours, half and half."""
    pairs = np.concatenate([triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    near = sparse.csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    mean = sparse.diags(1 / np.maximum(np.asarray(near.sum(1)).ravel(), 1)) @ near
    return (0.5 * sparse.identity(n) + 0.5 * mean).tocsr().astype(np.float32)
