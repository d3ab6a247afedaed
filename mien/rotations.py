"""Rotations in the one representation mien exchanges: axis-angle vectors in radians.

Convention: ``(..., 3)``; direction = axis (right-handed), length = angle; ``(0, 0.2, 0)`` turns +z towards +x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

Array = npt.NDArray[np.float32]


def _rotations(axis_angle: npt.ArrayLike) -> Rotation:
    from scipy.spatial.transform import Rotation  # half a second to import, so only when a rotation is wanted

    return Rotation.from_rotvec(np.asarray(axis_angle, np.float64).reshape(-1, 3))


def matrix_from_axis_angle(axis_angle: npt.ArrayLike, dtype: type = np.float32) -> npt.NDArray[Any]:
    """``(..., 3)`` axis-angle to ``(..., 3, 3)`` matrices acting on column vectors."""
    matrices = _rotations(axis_angle).as_matrix()
    return np.asarray(matrices.reshape(*np.shape(axis_angle), 3), dtype)


def axis_angle_from_matrix(matrix: npt.ArrayLike) -> Array:
    """``(..., 3, 3)`` rotation matrices to ``(..., 3)`` axis-angle with angles in [0, π]."""
    from scipy.spatial.transform import Rotation

    matrices = np.asarray(matrix, np.float64)
    vectors = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec()
    return np.asarray(vectors.reshape(matrices.shape[:-1]), np.float32)


def quaternion_from_axis_angle(axis_angle: npt.ArrayLike) -> Array:
    """A ``(T, 3)`` sequence to unit quaternions ``(T, 4)``, x y z w, each on the side of the one before it."""
    quaternions = np.asarray(_rotations(axis_angle).as_quat(), np.float64)
    flips = np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0)
    quaternions[1:] *= np.cumprod(flips)[:, None]
    return np.asarray(quaternions, np.float32)


def compose(second: npt.ArrayLike, first: npt.ArrayLike) -> Array:
    """The rotation that applies ``first`` and then ``second``; both ``(..., 3)`` and broadcastable."""
    a, b = np.broadcast_arrays(np.asarray(second, np.float64), np.asarray(first, np.float64))
    both = _rotations(a) * _rotations(b)
    return np.asarray(both.as_rotvec().reshape(a.shape), np.float32)


def slerp_sequence(axis_angle: npt.ArrayLike, at: npt.ArrayLike) -> Array:
    """A ``(T, ..., 3)`` sequence read at fractional frames ``at`` ``(N,)`` in [0, T - 1], on the shortest arcs."""
    sequence = np.asarray(axis_angle, np.float64)
    position = np.asarray(at, np.float64)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, len(sequence) - 1)
    start = _rotations(sequence[low])
    step = (start.inv() * _rotations(sequence[high])).as_rotvec()
    per_frame = step.size // (3 * max(len(position), 1))
    fraction = np.repeat(position - low, per_frame)[:, None]
    between = (start * _rotations(step * fraction)).as_rotvec()
    return np.asarray(between.reshape(len(position), *sequence.shape[1:]), np.float32)
