"""What tracked faces and the teacher change about ICT's shapes.

Two steps, each only where it has something to say:

* correct: the displacements of tracked landmarks are regressed on the teacher's coefficients, with ICT's shapes as
  the prior mean and their size as its spread (ridge towards the prior, so what the clips do not show stays ICT's).
* calibrate: each shape is scaled until the teacher, shown the rig itself with that weight at 1, answers ``TARGET``.

A corrected shape is kept only if the teacher, shown the rig, still tells it from the others as well as the prior, and
if calibration does not have to blow it up: then the clips showed the score without the movement (a speaker's vowels
scored as smiles), and there was nothing to learn. Sizes keep within :func:`size_limits`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse

from mien.face.regions import regions_of_expression
from mien.types import ARKIT_NAMES
from rigbuild.binding import N_SURFACE, side_share, similarity
from rigbuild.sources import Array, Index, Mesh
from rigbuild.teacher import Clip, Teacher

STABLE = (
    10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356, 33, 133,
    362, 263, 116, 345, 34, 264, 143, 372, 1, 2, 98, 327, 193, 417, 122, 351, 196, 419, 3, 248,
)  # fmt: skip
"""Landmarks over bone that expressions hardly move: they tell head motion from expression."""
PRIOR_WEIGHT = 1e-4
"""Ridge weight. With one of the three speakers left out, the best of 1e-6 … 3e-3 is 1e-5 (54.8 % of the motion
explained; 1e-4: 52.8 %, ICT alone: 38.8 %); on the check clips it is 1e-4. The stronger prior was taken."""
SMOOTHING_STEPS = 3
SMALLEST_SPREAD = 1e-5
OTHER_SIDE = 0.15
TARGET = 0.8
"""The teacher's score that weight 1 should get: its scores saturate, and 1 is never reached."""
SCALES = np.linspace(0.5, 1.6, 8)
ANSWERS = 0.1
"""The teacher is taken to know a shape if its score passes this at the largest scale."""
PURITY_LOSS = 0.05
BLOWN_UP = 1.25
SMALLEST, LARGEST = 0.6, 0.012
NOT_LEARNED = ("mouthClose",)
"""Told by geometry alone (it undoes jawOpen); the teacher never scores it."""


@dataclass(frozen=True)
class Motion:
    """``moves`` (N, 468, 3) m, landmarks off their clip's mean, and ``weights`` (N, 52), the teacher's likewise."""

    moves: Array
    weights: Array


def motion(clips: list[Clip], neutral: Array) -> Motion:
    """The expression part of the clips' motion, head motion taken out over ``STABLE``."""
    moves, weights = [], []
    stable = list(STABLE)
    for clip in clips:
        if len(clip.landmarks) < 10:
            continue
        aligned = []
        for face in clip.landmarks:
            scale, rotation, shift = similarity(face[stable], neutral[stable])
            aligned.append(scale * face[:N_SURFACE] @ rotation.T + shift)
        moves.append(np.array(aligned) - np.mean(aligned, 0))
        weights.append(clip.coefficients - clip.coefficients.mean(0))
    return Motion(np.concatenate(moves), np.concatenate(weights))


def explained(seen: Motion, shapes: Array) -> float:
    """The share of the motion in the picture plane that ``shapes`` explain with the teacher's weights."""
    return 1 - _energy(seen.moves - np.einsum("fk,kvx->fvx", seen.weights, shapes)) / _energy(seen.moves)


def _energy(field: Array) -> float:
    return float((field[..., :2] ** 2).sum())


def correct(prior: Array, seen: Motion, canonical: Mesh, mirror: Index, twins: list[int]) -> Array:
    """Maximum a posteriori shapes ``(52, 468, 3)``; every frame is used together with its mirror image."""
    moves = np.concatenate([seen.moves, seen.moves[:, mirror] * [-1, 1, 1]])
    weights = np.concatenate([seen.weights, seen.weights[:, twins]])
    left_over = moves - np.einsum("fk,kvx->fvx", weights, prior)
    gram = weights.T @ weights
    target = np.einsum("fk,fvx->vkx", weights, left_over)
    spread = np.linalg.norm(prior, axis=-1).T
    average = _average(canonical)
    for _ in range(SMOOTHING_STEPS):
        spread = average @ spread
    spread *= own_side(canonical)
    shapes = prior.copy()
    for vertex, sizes in enumerate(np.maximum(spread, SMALLEST_SPREAD)):
        shapes[:, vertex] += np.linalg.solve(gram + PRIOR_WEIGHT * np.diag(sizes**-2), target[vertex])
    for name in NOT_LEARNED:
        shapes[ARKIT_NAMES.index(name)] = prior[ARKIT_NAMES.index(name)]
    return shapes


def own_side(canonical: Mesh) -> Array:
    """``(468, 52)``: 1 on the side a shape is named for, falling to ``OTHER_SIDE`` across the middle.

    People seldom move one side alone, so the clips cannot tell a shape's halves; the name can.
    """
    left = side_share(canonical.vertices)
    shares = np.ones((N_SURFACE, len(ARKIT_NAMES)))
    for index, name in enumerate(ARKIT_NAMES):
        if len(regions_of_expression(name)) == 1:
            side = left if name.endswith("Left") else 1 - left
            shares[:, index] = OTHER_SIDE + (1 - OTHER_SIDE) * side
    return shares


def _average(canonical: Mesh) -> sparse.csr_matrix:
    """Each landmark's mean with its neighbours."""
    edges = np.concatenate(
        [canonical.triangles[:, [0, 1]], canonical.triangles[:, [1, 2]], canonical.triangles[:, [2, 0]]]
    )
    near = sparse.csr_matrix((np.ones(len(edges)), edges.T), shape=(N_SURFACE, N_SURFACE))
    near = ((near + near.T) > 0).astype(float) + sparse.eye(N_SURFACE)
    return sparse.csr_matrix(sparse.diags(1 / np.asarray(near.sum(1)).ravel()) @ near)


def answers(teacher: Teacher, shapes: Array, faces: Array, scales: Array) -> Array:
    """``(52, 52)``: what the teacher says more than at rest when shape ``row`` is on, mean over ``faces``."""
    moved = faces[:, None] + np.zeros((1, len(shapes), 1, 1))
    moved[:, :, :N_SURFACE] += scales[:, None, None] * shapes
    scores = teacher(moved.reshape(-1, *faces.shape[1:])).reshape(len(faces), len(shapes), len(ARKIT_NAMES))
    return np.asarray((scores - teacher(faces)[:, None]).mean(0))


def calibrate(teacher: Teacher, shapes: Array, faces: Array, twins: list[int]) -> Array:
    """``(52,)`` scales at which the teacher's own score is ``TARGET``; 1 where it does not know the shape."""
    n = len(shapes)
    rest = teacher(faces).mean(0)
    own = np.array([np.diag(answers(teacher, shapes, faces, np.full(n, s))) for s in SCALES]) + rest
    own = np.maximum.accumulate(0.5 * (own + own[:, twins]), axis=0)
    known = own[-1] - 0.5 * (rest + rest[twins]) > ANSWERS
    known[[ARKIT_NAMES.index(name) for name in NOT_LEARNED]] = False
    return np.array([np.interp(TARGET, own[:, k], SCALES) if known[k] else 1.0 for k in range(n)])


def purity(answer: Array, twins: list[int]) -> Array:
    """``(52,)``: the share of its own name (and its twin's) in all that the teacher says about each shape."""
    index = np.arange(len(answer))
    own = np.abs(answer[index, index])
    own = own + np.where(np.array(twins) == index, 0, np.abs(answer[index, twins]))
    return np.asarray(np.abs(answer[index, index]) / np.maximum(np.abs(answer).sum(1), 1e-9) * (own > ANSWERS))


def size(shapes: Array) -> Array:
    """``(52,)`` m: the largest displacement of each shape, no less than a hundredth of a millimetre."""
    return np.asarray(np.maximum(np.linalg.norm(shapes, axis=-1).max(1), 1e-5))


def size_limits(prior: Array) -> tuple[Array, Array]:
    """``(52,)`` m each: a shape may shrink to 60 % of ICT's, grow to 12 mm (as far as skin goes), or stay as it was."""
    return SMALLEST * size(prior), np.maximum(LARGEST, size(prior))


@dataclass(frozen=True)
class Learned:
    """The shapes before they are closed, and how they came about."""

    shapes: Array
    corrected: list[bool]
    scales: Array


def learn(
    prior: Array, seen: Motion, faces: Array, teacher: Teacher, canonical: Mesh, mirror: Index, twins: list[int]
) -> Learned:
    """ICT's shapes, corrected where tracked faces teach better and scaled to the teacher."""
    candidates = [prior, correct(prior, seen, canonical, mirror, twins)]
    scales = [calibrate(teacher, shapes, faces, twins) for shapes in candidates]
    pure = [
        purity(answers(teacher, shapes, faces, scale), twins) for shapes, scale in zip(candidates, scales, strict=True)
    ]
    pure = [0.5 * (p + p[twins]) for p in pure]
    better = (pure[1] >= pure[0] - PURITY_LOSS) & (scales[1] <= BLOWN_UP * scales[0])
    low, high = size_limits(prior)
    scales = [np.clip(scale, low / size(c), high / size(c)) for scale, c in zip(scales, candidates, strict=True)]
    shapes = np.where(better[:, None, None], candidates[1] * scales[1][:, None, None], prior * scales[0][:, None, None])
    return Learned(shapes, better.tolist(), np.where(better, scales[1], scales[0]))
