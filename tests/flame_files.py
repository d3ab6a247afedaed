"""Made-up FLAME files in the official layout, as small as can be."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from mien.face.flame import JOINT_NAMES, Embedding, FlameLandmarks, FlameModel
from mien.face.rig import load_rig
from mien.face.skinning import Skeleton


def flame_content(n_vertices: int = 40, n_expressions: int = 6, seed: int = 0) -> dict[str, Any]:
    """What a model file holds; the upper half follows the root, the lower half the jaw."""
    random = np.random.default_rng(seed)
    template = random.normal(0, 0.05, (n_vertices, 3))
    template = template[np.argsort(-template[:, 1])]
    jaw = np.linspace(0, 1, n_vertices) > 0.5
    regressor = random.random((5, n_vertices)) * (random.random((5, n_vertices)) < 0.3) + 1e-3
    return {
        "v_template": template,
        "f": random.integers(0, n_vertices, (30, 3)).astype(np.uint32),
        "shapedirs": random.normal(0, 0.002, (n_vertices, 3, 300 + n_expressions)),
        "posedirs": random.normal(0, 1e-3, (n_vertices, 3, 36)),
        "J_regressor": scipy.sparse.csc_matrix(regressor / regressor.sum(1, keepdims=True)),
        "weights": np.stack([~jaw, jaw * 0, jaw, jaw * 0, jaw * 0], 1).astype(float),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "J": np.zeros((5, 3)),
        "bs_type": "lrotmin",
        "bs_style": "lbs",
    }


def write_flame_pickle(path: Path, **changes: Any) -> Path:
    """A model file; ``None`` leaves an entry out."""
    content = {key: value for key, value in (flame_content() | changes).items() if value is not None}
    path.write_bytes(pickle.dumps(content, 2))
    return path


def talking_flame() -> FlameModel:
    """The built-in face in FLAME's form: its jaw on a joint, its other expressions mixed so that none has a meaning."""
    rig = load_rig()
    random = np.random.default_rng(0)
    others = rig.expression_basis[[not name.startswith("jaw") for name in rig.expression_names]]
    mixed = np.tensordot(np.linalg.qr(random.normal(size=(len(others), len(others))))[0], others, 1)
    jaw = np.clip(-rig.expression_basis[rig.expression_index["jawOpen"]][:, 1] / 0.03, 0, 1)
    weights = np.zeros((rig.n_vertices, 5), np.float32)
    weights[:, 1], weights[:, 2] = 1 - jaw, jaw
    places = [(0, -0.15, 0), (0, -0.06, 0), (0, 0, 0.02), (0.031, 0.036, 0.08), (-0.031, 0.036, 0.08)]
    skeleton = Skeleton(
        JOINT_NAMES,
        np.array([-1, 0, 1, 1, 1], np.int32),
        np.stack([_regressor(rig.template, place) for place in places]),
        weights,
        np.zeros((36, rig.n_vertices, 3), np.float32),
    )
    full = _on_vertices(rig.landmark_indices_68, rig.triangles)
    contour = Embedding(np.tile(full.triangles[:17], (79, 1)), np.tile(full.weights[:17], (79, 1, 1)))
    landmarks = FlameLandmarks(Embedding(full.triangles[17:], full.weights[17:]), contour, full)
    return FlameModel(rig.template, rig.triangles, rig.identity_basis, mixed, skeleton, {"name": "made up"}, landmarks)


def _regressor(template: np.ndarray, place: tuple[float, ...]) -> np.ndarray:
    """A row that makes a point of the eight nearest vertices."""
    near = np.argsort(np.linalg.norm(template - place, axis=1))[:8]
    row = np.zeros(len(template), np.float32)
    row[near] = np.linalg.lstsq(np.vstack([template[near].T, np.ones(8)]), np.array([*place, 1]), rcond=None)[0]
    return row


def _on_vertices(vertices: np.ndarray, triangles: np.ndarray) -> Embedding:
    chosen = np.array([np.flatnonzero((triangles == vertex).any(1))[0] for vertex in vertices])
    return Embedding(chosen, (triangles[chosen] == vertices[:, None]).astype(np.float32))
