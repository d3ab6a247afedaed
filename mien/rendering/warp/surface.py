"""The skin of the photographed face as a fine mesh in picture space, and how it follows the rig's coarse one.

Convention: picture space is pixels, x right, y down, z towards the viewer in the same unit.

From the rig's landmarks to the surface: a narrow rim is added around the eyes and the mouth that moves rigidly with
the edge, so that lashes and lip borders keep their width when the skin beside them stretches; then every triangle is
split in four. Displacements of the new vertices follow the butterfly rule inside (Dyn, Levin & Gregory, "A butterfly
subdivision scheme", 1990) and the four-point rule along edges, so that lids and lips are curves, not polygons.
"""

from __future__ import annotations

from collections.abc import Callable
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

_FADE = 0.08
"""Face heights inwards from the face's outline, seen from the front, over which the surface comes to overrule the head
layer: narrow on the forehead, where brows must move as a whole, wide on cheeks that turn away."""


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
    opacity = _opacity(rig)[owner]

    lid = np.zeros(len(rest), np.float32)
    for side, sign in (("left", 1), ("right", -1)):
        upper, lower = rig.closures[f"eye_{side}"].T
        lid[np.isin(owner, upper)] = sign
        lid[upper] = 2 * sign
        lid[np.isin(owner, lower)] = 0.6 * sign
        lid[lower] = sign

    split, triangles, between = _split(skin, fill, len(rest))
    contours = {}
    for name in HOLES:
        loop = rig.contours[name]
        contours[name] = np.stack([loop, between(loop, np.roll(loop, -1))], 1).reshape(-1).astype(np.int32)
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


def _opacity(rig: Rig) -> Array:
    """``(478,)`` by how far each landmark lies from the face's outline; the brows are well inside."""
    points = rig.template[:478, :2]
    away = np.linalg.norm(points[:, None] - points[rig.contours["face_oval"]], axis=-1).min(1)
    height = np.linalg.norm(points[10] - points[152])
    return np.asarray(np.clip(away / (_FADE * height), 0, 1), np.float32)


def _split(skin: Index, fill: Index, n_vertices: int) -> tuple[Any, Index, Callable[[Index, Index], Index]]:
    """Split every triangle in four; ``(matrix, triangles, what finds the vertices between ends of edges)``."""
    corners = np.concatenate([skin, fill])
    keys, first, edge_at = np.unique(_keys(corners, np.roll(corners, -1, 1), n_vertices), True, True)
    # Edges are numbered as they are met, so that neighbours in the picture are neighbours in memory.
    order = np.argsort(first)
    numbers = np.argsort(order)
    a, b = np.divmod(keys[order], n_vertices)
    edges = numbers[edge_at.reshape(corners.shape)]

    def between(starts: Index, ends: Index) -> Index:
        return np.asarray(numbers[np.searchsorted(keys, _keys(starts, ends, n_vertices))], np.int32)

    opposite = _opposite(skin, edges[: len(skin)], len(keys))
    sides = (opposite >= 0).sum(1)
    # Along a border that does not branch each vertex has two neighbours, so their sum less the one gives the other.
    on_border = np.flatnonzero(sides == 1)
    ends, others = (np.concatenate([p[on_border], q[on_border]]) for p, q in ((a, b), (b, a)))
    degree, neighbours = np.bincount(ends, minlength=n_vertices), np.bincount(ends, others, n_vertices).astype(np.int64)
    border = (sides == 1) & (degree[a] == 2) & (degree[b] == 2)
    # In the same way the wings: the vertices beyond the other four edges of the two triangles that meet at an edge.
    inside = np.flatnonzero(sides == 2)
    wings, winged = [], np.ones(len(inside), np.bool_)
    for corner in opposite[inside].T:
        for end, other in ((a[inside], b[inside]), (b[inside], a[inside])):
            beside = between(end, corner)
            wings.append(opposite[beside].sum(1) - other)
            winged &= sides[beside] == 2
    butterfly = np.zeros(len(keys), np.bool_)
    butterfly[inside[winged]] = True
    plain = ~butterfly & ~border

    rules = [(plain, (a[plain], b[plain]), 1 / 2), (border, (a[border], b[border]), 9 / 16)]
    rules += [(border, (neighbours[a[border]] - b[border], neighbours[b[border]] - a[border]), -1 / 16)]
    rules += [(butterfly, (a[butterfly], b[butterfly]), 1 / 2), (butterfly, tuple(opposite[butterfly].T), 1 / 8)]
    rules += [(butterfly, tuple(wing[winged] for wing in wings), -1 / 16)]
    old = np.arange(n_vertices)
    rows, columns, weights = [old], [old], [np.ones(n_vertices)]
    for where, sources, weight in rules:
        for source in sources:
            rows.append(n_vertices + np.flatnonzero(where))
            columns.append(source)
            weights.append(np.full(len(source), weight))
    place = (np.concatenate(rows), np.concatenate(columns))
    matrix = sparse.csr_matrix((np.concatenate(weights), place), shape=(n_vertices + len(keys), n_vertices))

    (p, q, r), (pq, qr, rp) = corners.T, (n_vertices + edges).T
    fine = np.stack([p, pq, rp, pq, q, qr, rp, qr, r, pq, qr, rp], 1).reshape(-1, 3)
    return matrix, fine.astype(np.int32), lambda starts, ends: n_vertices + between(starts, ends)


def _keys(starts: Index, ends: Index, n_vertices: int) -> npt.NDArray[np.int64]:
    """One number for each edge, whichever way it runs."""
    return np.minimum(starts, ends).astype(np.int64) * n_vertices + np.maximum(starts, ends)


def _opposite(skin: Index, edges: npt.NDArray[np.int64], n_edges: int) -> npt.NDArray[np.int64]:
    """``(n_edges, 2)`` the corners of the skin's triangles that face each edge; -1 where there is none."""
    facing = np.full((n_edges, 2), -1)
    edge, corner = edges.reshape(-1), np.roll(skin, 1, 1).reshape(-1)
    order = np.argsort(edge, kind="stable")
    again = np.concatenate([[False], np.diff(edge[order]) == 0]).astype(np.int64)
    facing[edge[order], again] = corner[order]
    return facing
