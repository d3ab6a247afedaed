"""Linear blend skinning: vertices that follow a tree of joints.

The formula of SMPL (Loper et al. 2015, equations 2 to 10) and FLAME (Li et al. 2017, equation 1):

    J  = joint_regressor · v                                     where the joints stand
    v' = v + pose_basis · vec(R_1 - I, ..., R_n - I)             correctives; the root has none
    G_j = G_parent(j) · [R_j | J_j - J_parent(j)]                the chain from the root
    v_i'' = Σ_j w_ij · G_j · [R: I | t: -J_j] · v_i'             the blend
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.rotations import matrix_from_axis_angle
from mien.types import Array

Index = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False, repr=False)
class Skeleton:
    """Joints of a mesh and how its vertices follow them.

    Attributes:
        joint_names: ``J`` names, the root first, every joint after its parent.
        parents: ``(J,)`` index of the parent; -1 for the root.
        joint_regressor: ``(J, V)`` joints as weighted means of vertices.
        skinning_weights: ``(V, J)``, each row summing to 1.
        pose_basis: ``(9 (J - 1), V, 3)`` m per unit of each entry of the rotation matrices minus identity, row by row,
            without the root's.
    """

    joint_names: tuple[str, ...]
    parents: Index
    joint_regressor: Array
    skinning_weights: Array
    pose_basis: Array

    def joints(self, vertices: Array) -> Array:
        """``(T, J, 3)`` m: where the joints stand in ``(T, V, 3)`` vertices at zero pose."""
        return np.asarray(np.einsum("jv,tvx->tjx", self.joint_regressor, vertices, optimize=True), np.float32)

    def pose(self, vertices: Array, rotations: Array) -> Array:
        """Bend a mesh.

        Args:
            vertices: ``(T, V, 3)`` m at zero pose.
            rotations: ``(T, J, 3)`` rad, axis-angle of every joint relative to its parent.

        Returns:
            ``(T, V, 3)`` m.
        """
        matrices = matrix_from_axis_angle(rotations)
        turns, shifts = self.transforms(matrices, self.joints(vertices))
        moved = vertices + self.correctives(matrices)
        # One matrix per vertex instead of one product per joint and vertex.
        blended = self.skinning_weights @ np.concatenate([turns.reshape(*turns.shape[:2], 9), shifts], 2)
        linear = blended[..., :9].reshape(*blended.shape[:2], 3, 3)
        return np.asarray((linear @ moved[..., None])[..., 0] + blended[..., 9:], np.float32)

    def correctives(self, matrices: Array) -> Array:
        """``(T, V, 3)`` m that rotations ``(T, J, 3, 3)`` add to the mesh before it is bent."""
        feature = (matrices[:, 1:] - np.eye(3, dtype=np.float32)).reshape(len(matrices), -1)
        return np.asarray(np.tensordot(feature, self.pose_basis, 1), np.float32)

    def transforms(self, matrices: Array, joints: Array) -> tuple[Array, Array]:
        """What each joint does to a point at zero pose: turn ``(T, J, 3, 3)``, then shift ``(T, J, 3)`` m."""
        turns, places = np.empty_like(matrices), np.empty_like(joints)
        for joint, parent in enumerate(self.parents):
            if parent < 0:
                turns[:, joint], places[:, joint] = matrices[:, joint], joints[:, joint]
                continue
            turns[:, joint] = turns[:, parent] @ matrices[:, joint]
            bone = joints[:, joint] - joints[:, parent]
            places[:, joint] = places[:, parent] + np.einsum("txy,ty->tx", turns[:, parent], bone)
        return turns, places - np.einsum("tjxy,tjy->tjx", turns, joints)
