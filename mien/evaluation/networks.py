"""Networks that judge pictures, on weights that the user brings: LPIPS, features for FID, face embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import FormatError, InputError, needs_torch
from mien.types import Array, Frame

if TYPE_CHECKING:
    from torch import Tensor

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # LPIPS' own form of ImageNet's mean and deviation
_ALEXNET = ((0, 3, 64, 11, 4, 2), (3, 64, 192, 5, 1, 2), (6, 192, 384, 3, 1, 1), (8, 384, 256, 3, 1, 1),
            (10, 256, 256, 3, 1, 1))  # fmt: skip
# Five points of a face in a picture of 112 px: eyes, nose tip, mouth corners, the viewer's left first (ArcFace's).
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
_EYES, _NOSE, _CORNERS = (468, 473), 4, (61, 291)


class Lpips:
    """LPIPS 0.1 with AlexNet (Zhang et al. 2018): ``Σ_layers mean_pixels w · (f - g)²`` of unit-length features.

    Args:
        backbone: torchvision's AlexNet (``alexnet-owt-7be5be79.pth``).
        linear: the paper's weights of the features (``alex.pth`` of its program, v0.1).

    Raises:
        InputError: if a file is missing or does not fit.
        MissingExtraError: if PyTorch is missing.
    """

    def __init__(self, backbone: Path, linear: Path) -> None:
        with needs_torch("LPIPS"):
            import torch
            from torch import nn
        from mien.media.weights import load_tensors

        weights, lines = load_tensors(backbone), load_tensors(linear)
        self._torch = torch
        self._convolutions = []
        try:
            for place, n_in, n_out, side, stride, padding in _ALEXNET:
                layer = nn.Conv2d(n_in, n_out, side, stride, padding)
                layer.load_state_dict({n: weights[f"features.{place}.{n}"] for n in ("weight", "bias")})
                self._convolutions.append(layer.eval().requires_grad_(False))
            self._lines = [lines[f"lin{i}.model.1.weight"] for i in range(len(_ALEXNET))]
        except (KeyError, RuntimeError) as error:
            raise FormatError(
                f"{backbone}, {linear}: do not fit LPIPS with AlexNet ({str(error).splitlines()[0]})",
                "give torchvision's AlexNet and the alex.pth of LPIPS 0.1",
            ) from error

    def __call__(self, truth: Frame, other: Frame) -> float:
        """Distance of two pictures of one size; 0 for equal ones."""
        with self._torch.no_grad():
            layers = zip(self._features(truth), self._features(other), self._lines, strict=True)
            return float(sum((((a - b) ** 2) * line).sum(1).mean() for a, b, line in layers))

    def _features(self, frame: Frame) -> list[Tensor]:
        torch = self._torch
        x = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1))).float()[None] / 127.5 - 1
        x = (x - torch.tensor(_SHIFT).view(1, 3, 1, 1)) / torch.tensor(_SCALE).view(1, 3, 1, 1)
        found = []
        for i, convolution in enumerate(self._convolutions):
            x = torch.relu(convolution(torch.nn.functional.max_pool2d(x, 3, 2) if i in (1, 2) else x))
            found.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
        return found


class OnnxFeatures:
    """Features of pictures by any network in ONNX, for FID: ``(1, 3, 299, 299)`` RGB in [-1, 1] to ``(1, D, ...)``.

    Raises:
        InputError: if the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        import cv2

        if not path.is_file():
            raise InputError(f"{path}: no such file", "check the path")
        try:
            self._network = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise FormatError(f"{path}: no network that OpenCV can run", "give one in ONNX") from error

    def __call__(self, frame: Frame) -> Array:
        """``(D,)``; what the network leaves of height and width is averaged."""
        import cv2

        self._network.setInput(cv2.dnn.blobFromImage(frame, 1 / 127.5, (299, 299), (127.5, 127.5, 127.5)))
        features = np.asarray(self._network.forward(), np.float32)[0]
        return np.asarray(features.reshape(features.shape[0], -1).mean(1), np.float32)


class FaceEmbedding:
    """Who it is, as numbers, by OpenCV's SFace (``face_recognition_sface_2021dec.onnx``, Apache-2.0).

    Raises:
        InputError: if the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        import cv2

        if not path.is_file():
            raise InputError(f"{path}: no such file", "SFace comes from github.com/opencv/opencv_zoo")
        try:
            self._network: Any = cv2.FaceRecognizerSF.create(str(path), "")
        except cv2.error as error:
            raise FormatError(f"{path}: not SFace in ONNX", "give face_recognition_sface_2021dec.onnx") from error

    def __call__(self, frame: Frame, landmarks: Array) -> Array:
        """``(128,)`` of the face with these ``(478, 2 or 3)`` landmarks, cut out as the network learned it."""
        import cv2

        crop = aligned_face(frame, landmarks)
        return np.asarray(self._network.feature(cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)), np.float32).ravel()


def aligned_face(frame: Frame, landmarks: Array) -> Frame:
    """``(112, 112, 3)``: the face turned and scaled so that eyes, nose and mouth corners stand where ArcFace's do."""
    import cv2

    points: Sequence[int] = (*_EYES, _NOSE, *_CORNERS)
    transform, _ = cv2.estimateAffinePartial2D(landmarks[list(points), :2].astype(np.float32), _TEMPLATE)
    return np.asarray(cv2.warpAffine(frame, transform, (112, 112)), np.uint8)
