"""What lies beside the repository where there is any: private material, and numbers computed by official programs."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SHARED = Path(__file__).parents[2] / "shared"
DATA, REFERENCE = SHARED / "data", SHARED / "reference"
FACE_LANDMARKER = DATA / "weights" / "mediapipe" / "face_landmarker.task"

NEUTRAL_PORTRAITS = (
    "anitalker_ai/aiface3.png",
    "anitalker_ai/aiface4.png",
    "liveportrait/s0.jpg",
    "liveportrait/s9.jpg",
)
"""Below ``DATA / "portraits"``: people who look neither way, whom every emotion has to be put on."""


def stored(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a reference and what is said about them; without it the test is skipped."""
    path = REFERENCE / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the parity reference {name} is not beside the repository")
    with np.load(path.with_suffix(".npz")) as file:
        return dict(file), json.loads(path.read_text(encoding="utf-8"))


class Reference:
    """Weights by rule, inputs and expected outputs of one system; see the ``README.md`` in its folder."""

    def __init__(self, name: str) -> None:
        self.arrays, self.info = stored(name)
        spec = importlib.util.spec_from_file_location("reference_fill", REFERENCE / "fill.py")
        assert spec is not None and spec.loader is not None
        self.fill: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.fill)

    def state(self, network: str) -> dict[str, Any]:
        """The filled state dict of one network under the official keys."""
        return dict(self.fill.state_dict_from_json(self.info, network))

    def input(self, name: str) -> np.ndarray:
        return self.arrays[f"in/{name}"]

    def relative_error(self, name: str, value: np.ndarray) -> float:
        """Largest difference to the expected output over the output's largest magnitude."""
        meta = self.info["outputs"][name]
        assert list(value.shape) == meta["shape"], name
        expected = self.arrays[f"out/{name}"]
        difference = np.abs(self.fill.take_subset(value, meta["subset"]).astype(np.float64) - expected).max()
        return float(difference / meta["stats"]["absmax"])
