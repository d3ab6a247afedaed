"""The skin of the photographed face as a fine mesh in picture space, and how it follows the rig's coarse one.

Convention: picture space is pixels, x right, y down, z towards the viewer in the same unit.

From the rig's landmarks to the surface: a narrow rim is added around the eyes and the mouth that moves rigidly with
the edge, so that lashes and lip borders keep their width when the skin beside them stretches; then every triangle is
split in four. Displacements of the new vertices follow the butterfly rule inside (Dyn, Levin & Gregory, "A butterfly
subdivision scheme", 1990) and the four-point rule along edges, so that lids and lips are curves, not polygons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from mien.face.rig import Rig
from mien.rendering.raster import compiled
from mien.types import Array

Index = npt.NDArray[np.int32]

HOLES = ("lips_inner", "eye_left", "eye_right")
"""Contours behind which there is something else than skin."""

_RIM = {"lips_inner": 0.008, "eye_left": 0.012, "eye_right": 0.012}
"""Width of the rigid rim in parts of the face height."""

_OPACITY_BY_RING = (0.0, 0.4, 0.85, 1.0)
"""How much the surface overrules the head layer, by steps away from the face's outline."""


@dataclass(frozen=True)
class Surface:
    """The fine mesh.

    Attributes:
        rest: ``(N, 2)`` where each vertex lies in the photo, pixels.
        follow: sparse ``(N, 478)``: displacements of the surface from displacements of the landmarks.
        triangles: ``(F, 3)``, the fillings of eyes and mouth included.
        opacity: ``(N,)`` in [0, 1], how much the surface overrules the head layer.
        lid: ``(N,)`` 2 on the edge of an upper lid, 1 at its lashes, 0 above its crease, 1 on the edge of
            a lower lid; negative on the right eye.
        contours: closed loops of vertices by name, as the rig orders them, twice as fine.
    """

    rest: Array
    follow: Any
    triangles: Index
    opacity: Array
    lid: Array
    contours: dict[str, Index]

    def move(self, changes: Array, points: Array, values: Array) -> None:
        """Carry changes of the landmarks over to the surface.

        Args:
            changes: ``(478, 4)`` displacement x, y, z, and change of brightness.
            points: ``(N, 3)`` vertices in picture space, moved in place.
            values: ``(N, 5)`` as :func:`~mien.rendering.raster.blend_places` wants them: where each vertex comes from
                and its brightness are filled in.
        """
        _follow(self.follow.indptr, self.follow.indices, self.follow.data, changes, points, values)


@compiled
def _follow(starts: Index, landmarks: Index, weights: Array, changes: Array, points: Array, values: Array) -> None:
    """See :meth:`Surface.move`; the first three are the arrays of a sparse matrix by rows."""
    zero = np.float32(0)
    for vertex in range(len(points)):
        x, y, z, brightness = zero, zero, zero, zero
        for k in range(starts[vertex], starts[vertex + 1]):
            change, weight = changes[landmarks[k]], weights[k]
            x += weight * change[0]
            y += weight * change[1]
            z += weight * change[2]
            brightness += weight * change[3]
        points[vertex, 0] += x
        points[vertex, 1] += y
        points[vertex, 2] += z
        values[vertex, 0], values[vertex, 1], values[vertex, 3] = -x, -y, brightness


def build_surface(rig: Rig, landmarks: Array) -> Surface:
    """The surface of a face whose landmarks ``(478, 3)`` are known in picture space."""
    triangles = np.asarray(rig.triangles)
    triangles = triangles[(triangles < 468).all(1)].astype(np.int32)
    filled = np.zeros(len(triangles), np.bool_)
    for name in HOLES:
        filled |= np.isin(triangles, rig.contours[name]).all(1)
    skin, fill = triangles[~filled], triangles[filled]

    face_height = float(np.linalg.norm(landmarks[10] - landmarks[152]))
    rest = np.array(landmarks[:, :2], np.float32)
    owner = np.arange(len(rest))
    rims = []
    for name in HOLES:
        rest, owner, skin, rim = _add_rim(rest, owner, skin, rig.contours[name], _RIM[name] * face_height)
        rims.append(rim)
    skin = np.concatenate([skin, *rims])
    follow = sparse.csr_matrix((np.ones(len(owner)), (np.arange(len(owner)), owner)), shape=(len(owner), 478))
    opacity = _opacity(skin, len(rest), rig.contours["face_oval"])

    lid = np.zeros(len(rest), np.float32)
    for side, sign in (("left", 1), ("right", -1)):
        upper, lower = rig.closures[f"eye_{side}"].T
        lid[np.isin(owner, upper)] = sign
        lid[upper] = 2 * sign
        lid[np.isin(owner, lower)] = 0.6 * sign
        lid[lower] = sign

    split, triangles, edge_vertex = _split(skin, fill, len(rest))
    contours = {}
    for name in HOLES:
        loop = rig.contours[name]
        middles = [edge_vertex[min(a, b), max(a, b)] for a, b in zip(loop, np.roll(loop, -1), strict=True)]
        contours[name] = np.stack([loop, np.asarray(middles)], 1).reshape(-1).astype(np.int32)
    return Surface(
        rest=np.asarray(split @ rest, np.float32),
        follow=(split @ follow).tocsr().astype(np.float32),
        triangles=triangles,
        opacity=np.clip(split @ opacity, 0, 1).astype(np.float32),
        lid=np.asarray(split @ lid, np.float32),
        contours=contours,
    )


def _add_rim(
    rest: Array, owner: npt.NDArray[np.intp], skin: Index, loop: Index, width: float
) -> tuple[Array, npt.NDArray[np.intp], Index, Index]:
    """Give the skin around a hole an edge of its own, ``width`` pixels outside the hole's contour."""
    around = {int(vertex): set[int]() for vertex in loop}
    for triangle in skin:
        for vertex in triangle:
            if int(vertex) in around:
                around[int(vertex)].update(int(other) for other in triangle if int(other) not in around)
    tangent = rest[np.roll(loop, -1)] - rest[np.roll(loop, 1)]
    outward = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6
    outward *= np.sign(((rest[loop] - rest[loop].mean(0)) * outward).sum())
    offsets = []
    for vertex, direction in zip(loop, outward, strict=True):
        near = min((float(np.linalg.norm(rest[other] - rest[vertex])) for other in around[int(vertex)]), default=0.0)
        offsets.append(direction * min(width, 0.4 * near))
    copies = len(rest) + np.arange(len(loop), dtype=np.int32)
    moved = np.arange(len(rest), dtype=np.int32)
    moved[loop] = copies
    following, next_copies = np.roll(loop, -1), np.roll(copies, -1)
    rim = np.concatenate([np.stack([loop, copies, next_copies], 1), np.stack([loop, next_copies, following], 1)])
    rest = np.concatenate([rest, rest[loop] + np.asarray(offsets, np.float32)])
    return rest, np.concatenate([owner, owner[loop]]), moved[skin], rim.astype(np.int32)


def _opacity(skin: Index, n_vertices: int, oval: Index) -> Array:
    """Opacity by the number of edges between a vertex and the face's outline."""
    ring = np.full(n_vertices, len(_OPACITY_BY_RING) - 1)
    ring[oval] = 0
    for step in range(1, len(_OPACITY_BY_RING)):
        touching = skin[(ring[skin] < step).any(1)]
        ring[touching] = np.minimum(ring[touching], step)
    return np.array([_OPACITY_BY_RING[step] for step in ring], np.float32)


def _split(skin: Index, fill: Index, n_vertices: int) -> tuple[Any, Index, dict[tuple[int, int], int]]:
    """Split every triangle in four; ``(matrix, triangles, vertex of each edge)``."""
    opposite: dict[tuple[int, int], list[int]] = {}
    for triangle in skin.tolist():
        for k in range(3):
            a, b, c = triangle[k], triangle[(k + 1) % 3], triangle[(k + 2) % 3]
            opposite.setdefault((min(a, b), max(a, b)), []).append(c)
    border: dict[int, list[int]] = {}
    for (a, b), corners in opposite.items():
        if len(corners) == 1:
            border.setdefault(a, []).append(b)
            border.setdefault(b, []).append(a)

    def wing(a: int, b: int, corner: int) -> int | None:
        """The vertex beyond edge ``a, b`` as seen from ``corner``."""
        corners = opposite.get((min(a, b), max(a, b)), [])
        return next((other for other in corners if other != corner), None)

    def middle(a: int, b: int) -> dict[int, float]:
        corners = opposite.get((min(a, b), max(a, b)), [])
        if len(corners) == 1:
            before, after = _along(border, a, b), _along(border, b, a)
            if before is not None and after is not None:
                return {a: 9 / 16, b: 9 / 16, before: -1 / 16, after: -1 / 16}
        if len(corners) == 2:
            wings = [wing(end, corner, other) for corner in corners for end, other in ((a, b), (b, a))]
            if all(w is not None for w in wings):
                weights = {a: 0.5, b: 0.5, corners[0]: 1 / 8, corners[1]: 1 / 8}
                for w in wings:
                    weights[w] = weights.get(w, 0.0) - 1 / 16  # type: ignore[arg-type, index]
                return weights
        return {a: 0.5, b: 0.5}

    edge_vertex: dict[tuple[int, int], int] = {}
    rows, columns, weights = list(range(n_vertices)), list(range(n_vertices)), [1.0] * n_vertices
    fine = []
    for triangle in np.concatenate([skin, fill]).tolist():
        middles = []
        for k in range(3):
            a, b = triangle[k], triangle[(k + 1) % 3]
            key = (min(a, b), max(a, b))
            if key not in edge_vertex:
                edge_vertex[key] = n_vertices + len(edge_vertex)
                for column, weight in middle(*key).items():
                    rows.append(edge_vertex[key])
                    columns.append(column)
                    weights.append(weight)
            middles.append(edge_vertex[key])
        (a, b, c), (ab, bc, ca) = triangle, middles
        fine += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    total = n_vertices + len(edge_vertex)
    matrix = sparse.csr_matrix((weights, (rows, columns)), shape=(total, n_vertices))
    return matrix, np.asarray(fine, np.int32), edge_vertex


def _along(border: dict[int, list[int]], at: int, coming_from: int) -> int | None:
    """The next vertex along a border, if the border does not branch there."""
    near = [vertex for vertex in border.get(at, []) if vertex != coming_from]
    return near[0] if len(near) == 1 else None
