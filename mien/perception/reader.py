"""The expression reader: 478 landmarks in, ARKit's 52 weights out, by a small network that runs in NumPy.

It is a student of the blendshape network in MediaPipe's Face Landmarker bundle (``scripts/train_reader.py`` teaches it,
``data/expression_reader.md`` says on what and how well). Like its teacher it sees a flat picture of the points that
matter for expression; position, size and roll in the picture are taken out first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mien.assets import load_shipped
from mien.errors import AssetError
from mien.types import ARKIT_NAMES, Array

READER_FORMAT = 1
"""Version of the ``.npz`` layout that ``scripts/train_reader.py`` writes."""

# Points that hardly move with expression: forehead, nose bridge and the four corners of the eyes.
_ANCHORS = np.array([10, 109, 338, 67, 297, 168, 6, 197, 195, 133, 362, 33, 263, 127, 356, 234, 454])
_EYE_CORNERS = (33, 263)


@dataclass(frozen=True, eq=False)
class ExpressionReader:
    """A trained network.

    Attributes:
        points: ``(P,)`` indices of the landmarks it looks at.
        mean: ``(2 P,)`` subtracted from the flattened points.
        scale: ``(2 P,)`` the points are divided by it afterwards.
        weights: one ``(n_in, n_out)`` matrix per layer.
        biases: one ``(n_out,)`` vector per layer.
    """

    points: npt.NDArray[np.int32]
    mean: Array
    scale: Array
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    def __call__(self, landmarks: npt.ArrayLike) -> Array:
        """``(T, 478, 3)`` landmarks to ``(T, 52)`` weights in [0, 1] under :data:`~mien.types.ARKIT_NAMES`."""
        points = upright(np.asarray(landmarks, np.float32)[..., :2])[:, self.points]
        values = (points.reshape(len(points), -1) - self.mean) / self.scale
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = np.maximum(values @ weight + bias, 0)
        return np.asarray(1 / (1 + np.exp(-(values @ self.weights[-1] + self.biases[-1]))), np.float32)


def upright(points: Array) -> Array:
    """Landmarks ``(T, 478, 2)`` with the head upright, centred, and of unit size.

    The roll is that of the line through the outer corners of the eyes; centre and size are those of points that hardly
    move with expression, so an open jaw does not shrink the rest of the face.
    """
    across = points[:, _EYE_CORNERS[1]] - points[:, _EYE_CORNERS[0]]
    cos, sin = (across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)).T
    turn = np.stack([np.stack([cos, sin], axis=-1), np.stack([-sin, cos], axis=-1)], axis=1)
    anchors = points[:, _ANCHORS]
    centre = anchors.mean(axis=1, keepdims=True)
    size = np.sqrt(((anchors - centre) ** 2).sum(axis=2).mean(axis=1))[:, None, None]
    return np.asarray((points - centre) @ turn.transpose(0, 2, 1) / np.maximum(size, 1e-6), np.float32)


@lru_cache(maxsize=1)
def load_reader() -> ExpressionReader:
    """The network that ships with mien.

    Raises:
        AssetError: if its file is missing or damaged.
    """
    header, arrays = load_shipped("mien.perception", "expression_reader.npz", "mien.ExpressionReader", READER_FORMAT)
    if tuple(header["names"]) != ARKIT_NAMES:
        raise AssetError("the expression reader's outputs are not ARKit's 52 names", "install mien again")
    layers = range(header["n_layers"])
    return ExpressionReader(
        points=arrays["points"],
        mean=arrays["mean"],
        scale=arrays["scale"],
        weights=tuple(np.asarray(arrays[f"weight_{i}"], np.float32) for i in layers),
        biases=tuple(np.asarray(arrays[f"bias_{i}"], np.float32) for i in layers),
    )
