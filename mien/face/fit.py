"""Meshes to coefficients: whose face it is and how it moves, with what is left unexplained.

VOCA and other networks answer with vertices; animators and other networks want coefficients. Nothing is hidden in the
step between: every function returns how far its answer is from the vertices it was given.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.face.rig import Rig
from mien.face.solve import jaw_and_expression, non_negative, ridge
from mien.types import Array, FaceIdentity, FaceMotion

SCAN_NOISE = 1e-4
"""Metres: how exactly the vertices of a scan or a network are to be met."""


def fit_identity(rig: Rig, vertices: Array, noise: float = SCAN_NOISE) -> tuple[FaceIdentity, float]:
    """The identity coefficients of a neutral mesh, by least squares with a normal prior.

    Args:
        rig: the rig whose vertices these are, in its order.
        vertices: ``(V, 3)`` m, neutral, at zero pose.
        noise: how exactly they are to be met, metres.

    Returns:
        The identity, whose ``residual`` makes ``rig.neutral`` equal to ``vertices``; and the RMS length of that
        residual in metres, which is what the coefficients alone do not explain.

    Raises:
        ValueError: if the number of vertices is another.
    """
    if vertices.shape != rig.template.shape:
        raise ValueError(f"vertices: expected {rig.template.shape}, got {vertices.shape}")
    basis = rig.identity_basis.reshape(len(rig.identity_basis), -1).astype(np.float64)
    change = (vertices - rig.template).astype(np.float64)
    betas = ridge(basis, change.reshape(1, -1), noise)[0]
    left = change - (betas @ basis).reshape(-1, 3)
    return FaceIdentity(rig.name, betas, left), float(np.sqrt((left**2).sum(-1).mean()))


def fit_motion(
    rig: Rig, vertices: Array, fps: float, identity: FaceIdentity | None = None, noise: float = SCAN_NOISE
) -> tuple[FaceMotion, Array]:
    """Expression and jaw of a sequence of meshes whose head stands still.

    On a rig with joints expression and jaw are solved for together (see :func:`mien.face.solve.jaw_and_expression`);
    on others the weights of the named expressions, none below zero.

    Args:
        rig: the rig whose vertices these are, in its order.
        vertices: ``(T, V, 3)`` m.
        fps: of the sequence.
        identity: whose face it is, see :func:`fit_identity`.
        noise: how exactly they are to be met, metres.

    Returns:
        The motion, and for each frame the RMS distance ``(T,)`` in metres that it leaves.

    Raises:
        ValueError: if the number of vertices is another.
    """
    if vertices.shape[1:] != rig.template.shape:
        raise ValueError(f"vertices: expected (T, {rig.n_vertices}, 3), got {vertices.shape}")
    still = FaceMotion.zeros(len(vertices), fps, rig.name, rig.expression_names)
    neutral, basis = rig.neutral(identity), rig.expressions_for(identity)
    if rig.skeleton is not None:
        every = np.arange(rig.n_vertices, dtype=np.int32)
        expression, jaw, left = jaw_and_expression(rig.skeleton, neutral, basis, vertices, every, noise)
        return replace(still, expression=expression, jaw_pose=jaw), left
    flat = basis.reshape(len(basis), -1).astype(np.float64)
    change = (vertices - neutral).astype(np.float64).reshape(len(vertices), -1)
    axes, triangle = np.linalg.qr(flat.T)  # the same minimum with as many rows as shapes instead of three per vertex
    weights = non_negative(triangle.T, change @ axes)
    rest = (change - weights @ flat).reshape(vertices.shape)
    return replace(still, expression=weights.astype(np.float32)), np.sqrt((rest**2).sum(-1).mean(-1)).astype(np.float32)
