"""Least squares behind fitting and retargeting: which coefficients bring vertices where they are wanted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.face.skinning import Skeleton
from mien.rotations import matrix_from_axis_angle
from mien.types import Array

Index = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]

_MOST_STEPS = 25
_CHUNK = 64
_STEP = 1e-3  # rad, of the difference quotient


def ridge(basis: Doubles, targets: Doubles, noise: float) -> Doubles:
    """Coefficients ``(T, K)`` with a standard normal prior, for ``targets`` known to within ``noise`` metres.

    Args:
        basis: ``(K, D)``.
        targets: ``(T, D)``.
        noise: standard deviation of the targets' error; it keeps directions apart that look alike.
    """
    gram = basis @ basis.T + noise**2 * np.eye(len(basis))
    return np.asarray(np.linalg.solve(gram, basis @ targets.T).T)


def non_negative(basis: Doubles, targets: Doubles) -> Doubles:
    """Coefficients ``(T, K)``, none below zero, of a ``(K, D)`` basis for targets ``(T, D)``."""
    from scipy.optimize import nnls

    return np.array([nnls(basis.T, target)[0] for target in targets]).reshape(len(targets), len(basis))


def jaw_and_expression(
    skeleton: Skeleton, neutral: Array, basis: Array, targets: npt.ArrayLike, at: Index, noise: float
) -> tuple[Array, Array, Array]:
    """Expression and jaw of a mesh with joints for the wanted places of some of its vertices.

    Gauss-Newton steps: for a given jaw the posed mesh is linear in the expression, so every step carries the distances
    that are left back to the zero pose and solves there for the expression and three jaw angles together.

    Args:
        skeleton: with a joint ``"jaw"``.
        neutral: ``(V, 3)`` m.
        basis: ``(E, V, 3)`` m per standard deviation.
        targets: ``(T, N, 3)`` m, posed by the jaw alone.
        at: ``(N,)`` the vertices that ``targets`` are about.
        noise: see :func:`ridge`.

    Returns:
        Expression ``(T, E)``, jaw ``(T, 3)`` rad, and the RMS distance ``(T,)`` in metres that is left.
    """
    solver = _JawSolver(skeleton, neutral, basis, at, noise)
    wanted = np.asarray(targets)
    parts = [solver.solve(wanted[i : i + _CHUNK].astype(np.float64)) for i in range(0, len(wanted), _CHUNK)]
    if not parts:
        return np.zeros((0, len(basis)), np.float32), np.zeros((0, 3), np.float32), np.zeros(0, np.float32)
    expression, jaw, left = (np.concatenate(kind).astype(np.float32) for kind in zip(*parts, strict=True))
    return expression, jaw, left


class _JawSolver:
    def __init__(self, skeleton: Skeleton, neutral: Array, basis: Array, at: Index, noise: float) -> None:
        self._jaw = skeleton.joint_names.index("jaw")
        self._skeleton = skeleton
        self._weights = skeleton.skinning_weights[at].astype(np.float64)
        self._correctives = skeleton.pose_basis[:, at].astype(np.float64)
        self._neutral = neutral[at].astype(np.float64)
        self._basis = basis[:, at].reshape(len(basis), -1).astype(np.float64)
        self._joints = skeleton.joints(neutral[None])[0].astype(np.float64)
        self._joint_basis = skeleton.joints(basis).astype(np.float64)
        self._ridge = noise**2
        self._inverse = np.linalg.inv(self._basis @ self._basis.T + self._ridge * np.eye(len(basis)))

    def solve(self, targets: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        n = len(targets)
        expression, jaw = np.zeros((n, len(self._basis))), np.zeros((n, 3))
        for _ in range(_MOST_STEPS):
            posed, linear = self._pose(expression, jaw)
            back: Doubles = np.asarray(np.linalg.inv(linear), np.float64)
            rest = self._back(back, targets - posed)
            slopes = []
            for axis in range(3):
                nudged = jaw.copy()
                nudged[:, axis] += _STEP
                slopes.append(self._back(back, (self._pose(expression, nudged)[0] - posed) / _STEP))
            slope = np.stack(slopes, 1)  # (T, 3, 3N)
            by_expression = rest @ self._basis.T - self._ridge * expression
            by_jaw = np.einsum("tkd,td->tk", slope, rest) - self._ridge * jaw
            mixed = slope @ self._basis.T
            own = slope @ slope.transpose(0, 2, 1) + self._ridge * np.eye(3)
            shared = mixed @ self._inverse
            step = np.linalg.solve(
                own - shared @ mixed.transpose(0, 2, 1),
                (by_jaw - np.einsum("tke,te->tk", shared, by_expression))[..., None],
            )[..., 0]
            step = np.clip(step, -0.3, 0.3)
            change = (by_expression - np.einsum("tk,tke->te", step, mixed)) @ self._inverse
            jaw, expression = jaw + step, expression + change
            if np.abs(step).max() < 1e-6 and np.abs(change).max() < 1e-4:
                break
        rest = targets - self._pose(expression, jaw)[0]
        return expression, jaw, np.sqrt((rest**2).sum(-1).mean(-1))

    def _pose(self, expression: Doubles, jaw: Doubles) -> tuple[Doubles, Doubles]:
        """The vertices ``(T, N, 3)``, and the matrix ``(T, N, 3, 3)`` that each of them has been turned by."""
        rotations = np.zeros((len(jaw), len(self._skeleton.joint_names), 3))
        rotations[:, self._jaw] = jaw
        matrices = matrix_from_axis_angle(rotations, np.float64)
        joints = self._joints + np.tensordot(expression, self._joint_basis, 1)
        turns, shifts = self._skeleton.transforms(matrices, joints)
        feature = (matrices[:, 1:] - np.eye(3)).reshape(len(jaw), -1)
        moved = self._neutral + (expression @ self._basis).reshape(len(jaw), -1, 3)
        moved += np.tensordot(feature, self._correctives, 1)
        linear = np.einsum("nj,tjxy->tnxy", self._weights, turns, optimize=True)
        return (linear @ moved[..., None])[..., 0] + self._weights @ shifts, linear

    @staticmethod
    def _back(inverse: Doubles, offsets: Doubles) -> Doubles:
        return np.asarray((inverse @ offsets[..., None])[..., 0].reshape(len(offsets), -1))
