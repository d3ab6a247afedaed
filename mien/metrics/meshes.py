"""Measures of 3D faces in dense correspondence; vertices in metres."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from mien.types import Array

Vertices = npt.NDArray[np.integer]


def lip_vertex_error(truth: Array, other: Array, lips: Vertices, form: Literal["mm", "squared"] = "mm") -> float:
    """LVE: mean over frames of the largest error of a lip vertex.

    ``"mm"``: ``mean_t max_v |x - y|`` in millimetres. ``"squared"``: ``mean_t max_v |x - y|²`` in m², the form of
    CodeTalker's and FaceFormer's programs (their tables call 1e-5 of it "mm"). Never compare one with the other.

    Args:
        truth: ``(T, V, 3)`` metres.
        other: the same shape.
        lips: indices of the lip vertices.
        form: which of the two.
    """
    squares = ((truth[:, lips].astype(np.float64) - other[:, lips]) ** 2).sum(-1)
    if form == "squared":
        return float(squares.max(axis=1).mean())
    return float(1000 * np.sqrt(squares.max(axis=1)).mean())


def mean_vertex_error(truth: Array, other: Array) -> float:
    """MVE: mean over frames and vertices of ``|x - y|``, in mm."""
    return float(1000 * np.linalg.norm(truth.astype(np.float64) - other, axis=-1).mean())


def upper_face_dynamics(truth: Array, other: Array, template: Array, upper: Vertices) -> float:
    """FDD: how much less the upper face moves than in truth, ``mean_v (std_t |x - x0|² - std_t |y - x0|²)`` in m².

    Signed, as in CodeTalker's program (Xing et al. 2023, equation 7): positive when ``other`` moves too little. Take
    the absolute value for FaceDiffuser's variant.

    Args:
        truth: ``(T, V, 3)`` metres.
        other: the same shape.
        template: ``(V, 3)``, the face at rest.
        upper: indices of the vertices of forehead and eye region.
    """

    def dynamics(vertices: Array) -> npt.NDArray[np.float64]:
        moved = vertices[:, upper].astype(np.float64) - template[upper]
        return np.asarray((moved**2).sum(-1).std(axis=0))

    return float((dynamics(truth) - dynamics(other)).mean())
