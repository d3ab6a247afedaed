"""Made-up FLAME files in the official layout, as small as can be."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse


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
