"""Tying each of the 478 landmarks to a point of the ICT face, so that ICT's shapes can be read off there.

The mean of tracked neutral faces, for this is where mediapipe really puts its landmarks, is carried onto the ICT
neutral in three steps: a similarity and then a biharmonic spline through correspondences that mean the same on both
(lip and lid contours, ridge of the nose); and closest points on the surface, smoothed over the mesh. Each landmark ends
as barycentric weights in one ICT triangle. Lips are tied to their own side of the opening, whatever is nearer in space.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sparse
from scipy.interpolate import RBFInterpolator
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from rigbuild import topology as topo
from rigbuild.sources import ICT_FACE, Array, Ict, Index, Mesh

N_SURFACE = 468
N_LANDMARKS = 478
SURFACE_STEPS = 12
CANDIDATES = 60


@dataclass(frozen=True)
class Binding:
    """For each of the 468 surface landmarks the ``corners`` (468, 3) of an ICT triangle and ``weights`` (468, 3)."""

    corners: Index
    weights: Array

    def sample(self, field: Array) -> Array:
        """``field`` (..., V_ict, 3) read at the landmarks: (..., 468, 3)."""
        return np.einsum("...kcx,kc->...kx", field[..., self.corners, :], self.weights)


def similarity(source: Array, target: Array) -> tuple[float, Array, Array]:
    """Scale, rotation and translation that take ``source`` to ``target`` (Umeyama 1991, eqs. 40-42)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((s * sign).sum() / (a**2).sum())
    return scale, rotation, target.mean(0) - scale * rotation @ source.mean(0)


def mirror_landmarks(canonical: Mesh) -> Index:
    """For each of the 478 landmarks the one on the other side of the face."""
    flipped = canonical.vertices * [-1, 1, 1]
    mirror = cKDTree(canonical.vertices).query(flipped)[1]
    irises = [473, 476, 475, 474, 477, 468, 471, 470, 469, 472]
    return np.concatenate([mirror, irises]).astype(np.int64)


def side_share(surface: Array) -> Array:
    """How much of a point belongs to the subject's left: a smooth step over the middle 16 mm."""
    t = np.clip(0.5 + surface[:, 0] / 0.016, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def mirror_surface(vertices: Array) -> Index:
    """For each vertex of a symmetric mesh the one on the other side."""
    return np.asarray(cKDTree(vertices).query(vertices * [-1, 1, 1])[1], np.int64)


def _edge_path(ict: Ict, stops: Index) -> Array:
    """Points along the shortest way over the edges of the ICT face through ``stops``."""
    n = ICT_FACE.stop
    triangles = ict.triangles[(ict.triangles < n).all(1)]
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    length = np.linalg.norm(ict.neutral[edges[:, 0]] - ict.neutral[edges[:, 1]], axis=1)
    graph = sparse.csr_matrix((length, (edges[:, 0], edges[:, 1])), shape=(n, n))
    graph = graph.maximum(graph.T)
    path = [int(stops[0])]
    for start, end in pairwise(stops):
        _, before = dijkstra(graph, indices=start, return_predecessors=True)
        leg = [int(end)]
        while leg[-1] != start:
            leg.append(int(before[leg[-1]]))
        path += leg[-2::-1]
    return np.array(path)


def _resample(points: Array, fractions: Array) -> Array:
    """Points at ``fractions`` of the length of a polyline."""
    length = np.concatenate([[0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    return np.stack([np.interp(fractions * length[-1], length, points[:, k]) for k in range(3)], 1)


def _fractions(points: Array) -> Array:
    length = np.concatenate([[0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    return length / length[-1]


def correspondences(neutral: Array, ict: Ict) -> dict[int, Array]:
    """Landmarks whose place on the ICT face is known by meaning."""
    marks = ict.landmarks_68
    known: dict[int, Array] = {}

    def contour(landmarks: tuple[int, ...], stops: list[int]) -> None:
        path = ict.neutral[_edge_path(ict, marks[stops])]
        for index, point in zip(landmarks, _resample(path, _fractions(neutral[list(landmarks)])), strict=True):
            known[index] = point

    contour(topo.LIPS_OUTER_UPPER, [48, 49, 50, 51, 52, 53, 54])
    contour(topo.LIPS_OUTER_LOWER, [48, 59, 58, 57, 56, 55, 54])
    contour(topo.LIPS_INNER_UPPER, [60, 61, 62, 63, 64])
    contour(topo.LIPS_INNER_LOWER, [60, 67, 66, 65, 64])
    contour(topo.EYE_UPPER["right"], [36, 37, 38, 39])
    contour(topo.EYE_LOWER["right"], [36, 41, 40, 39])
    contour(topo.EYE_UPPER["left"], [45, 44, 43, 42])
    contour(topo.EYE_LOWER["left"], [45, 46, 47, 42])
    for rings in (topo.LIP_RINGS_UPPER, topo.LIP_RINGS_LOWER):
        outer, *between, inner = rings
        for step, ring in enumerate(between, start=1):
            share = step / (len(rings) - 1)
            for index, start, end in zip(ring, outer, inner, strict=True):
                known[index] = (1 - share) * known[start] + share * known[end]
    for landmark, point in zip((168, 197, 5, 4, 2), (27, 28, 29, 30, 33), strict=True):
        known[landmark] = ict.neutral[marks[point]]
    return known


def closest_on_surface(points: Array, vertices: Array, triangles: Index) -> tuple[Index, Array]:
    """The nearest triangle of each point and barycentric weights (Ericson 2005, Real-Time Collision Detection 5.1.5).

    Solved as the minimum over the triangle's interior, three edges and three corners among the nearest candidates.
    """
    centres = vertices[triangles].mean(1)
    near = cKDTree(centres).query(points, min(CANDIDATES, len(triangles)))[1]
    a, b, c = (vertices[triangles[near, k]] for k in range(3))
    p = points[:, None]
    ab, ac, ap = b - a, c - a, p - a
    d = [(x * y).sum(-1) for x, y in ((ab, ab), (ab, ac), (ac, ac), (ap, ab), (ap, ac))]
    det = np.maximum(d[0] * d[2] - d[1] ** 2, 1e-18)
    v = (d[2] * d[3] - d[1] * d[4]) / det
    w = (d[0] * d[4] - d[1] * d[3]) / det
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    options = [np.stack([1 - v - w, v, w], -1)]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        corners = (a, b, c)
        edge = corners[j] - corners[i]
        t = np.clip(((p - corners[i]) * edge).sum(-1) / np.maximum((edge**2).sum(-1), 1e-18), 0, 1)
        weights = np.zeros((*t.shape, 3))
        weights[..., i], weights[..., j] = 1 - t, t
        options.append(weights)
    stacked = np.stack(options)
    reached = np.einsum("onkc,nkcx->onkx", stacked, vertices[triangles[near]])
    distance = ((reached - p) ** 2).sum(-1)
    distance[0][~inside] = np.inf
    flat = distance.transpose(1, 0, 2).reshape(len(points), -1)
    option, candidate = np.divmod(flat.argmin(1), near.shape[1])
    rows = np.arange(len(points))
    return near[rows, candidate], stacked[option, rows, candidate]


def bind(canonical: Mesh, neutral: Array, ict: Ict) -> Binding:
    """The binding of the 468 surface landmarks, symmetric by construction (the subject's right side decides).

    Args:
        canonical: gives the triangles.
        neutral: ``(468, 3)`` m, the mean of tracked neutral faces, symmetric.
        ict: the target.
    """
    known = correspondences(neutral, ict)
    index = np.array(list(known))
    target = np.array(list(known.values()))
    scale, rotation, shift = similarity(neutral[index], target)
    moved = scale * neutral @ rotation.T + shift
    spline = RBFInterpolator(moved[index], target - moved[index], kernel="linear", smoothing=0)
    moved = moved + spline(moved)

    face = ict.triangles[(ict.triangles < ICT_FACE.stop).all(1)]
    allowed = _allowed_triangles(ict, face)
    edges = np.concatenate(
        [canonical.triangles[:, [0, 1]], canonical.triangles[:, [1, 2]], canonical.triangles[:, [2, 0]]]
    )
    neighbours = sparse.csr_matrix((np.ones(len(edges)), edges.T), shape=(N_SURFACE, N_SURFACE))
    neighbours = neighbours.maximum(neighbours.T)
    average = sparse.diags(1 / np.asarray(neighbours.sum(1)).ravel()) @ neighbours
    free = np.setdiff1d(np.arange(N_SURFACE), index)
    for _ in range(SURFACE_STEPS):
        triangle, weights = _closest(moved, ict.neutral, face, allowed)
        pull = np.einsum("kc,kcx->kx", weights, ict.neutral[face[triangle]]) - moved
        smooth = pull
        for _ in range(3):
            smooth = 0.5 * smooth + 0.5 * (average @ smooth)
        moved[free] += smooth[free]
    triangle, weights = _closest(moved, ict.neutral, face, allowed)
    return _symmetric(Binding(face[triangle], weights), canonical, ict)


def _closest(
    points: Array, vertices: Array, face: Index, allowed: dict[str, tuple[Index, Index]]
) -> tuple[Index, Array]:
    triangle, weights = closest_on_surface(points, vertices, face)
    for landmarks, subset in allowed.values():
        found, found_weights = closest_on_surface(points[landmarks], vertices, face[subset])
        triangle[landmarks], weights[landmarks] = subset[found], found_weights
    return triangle, weights


def _allowed_triangles(ict: Ict, face: Index) -> dict[str, tuple[Index, Index]]:
    """Landmarks of each lip with the triangles of its own side, told apart by how jawOpen moves them."""
    jaw = ict.expressions["jawOpen"][face].mean(1)[:, 1]
    centre = ict.neutral[face].mean(1)
    mouth = np.linalg.norm((centre - ict.neutral[ict.landmarks_68[[62, 66]]].mean(0)) * [0.55, 1, 0.6], axis=1) < 0.022
    lowest = jaw[mouth].min()
    lips = {
        "upper": (topo.LIP_RINGS_UPPER, mouth & (jaw > 0.5 * lowest)),
        "lower": (topo.LIP_RINGS_LOWER, mouth & (jaw < 0.2 * lowest)),
    }
    result = {}
    for name, (rings, mask) in lips.items():
        landmarks = np.unique([index for ring in rings for index in ring[1:-1]])
        result[f"lip_{name}"] = (landmarks, np.flatnonzero(mask))
    return result


def _symmetric(binding: Binding, canonical: Mesh, ict: Ict) -> Binding:
    mirror = mirror_landmarks(canonical)[:N_SURFACE]
    twin = mirror_surface(ict.neutral[ICT_FACE])
    right = np.flatnonzero(canonical.vertices[:, 0] < 0)
    corners, weights = binding.corners.copy(), binding.weights.copy()
    corners[mirror[right]] = twin[binding.corners[right]]
    weights[mirror[right]] = binding.weights[right]
    return Binding(corners, weights)
