"""SMIRK's encoder: one picture of a face in; FLAME coefficients, lids and camera out.

Paper: Retsinas, Filntisis, Danecek, Abrevaya, Roussos, Bolkart, Maragos, "3D Facial Expressions through
Analysis-by-Neural-Synthesis", CVPR 2024.

What is here: the three encoders (MobileNetV3 in its minimal form, Howard et al. 2019, and one linear layer each) under
the official names, so that a user's ``SMIRK_em1.pt`` loads strictly; their outputs by name; the crop of the official
demo. The image generator, which only training needs, is not.

Deviations, each for a reason:
    the backbones are written out; the official program takes them from timm;
    outputs are named fields; a checkpoint that lacks a weight is an error; nothing is unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.media.weights import load_state, load_tensors, part_of
from mien.types import Array, FaceMotion, Frame

Stage = tuple[tuple[int, int, int], ...]
"""Blocks as (channels inside, channels out, stride)."""

SMALL: tuple[int, tuple[Stage, ...], int] = (
    2,
    (
        ((72, 24, 2), (88, 24, 1)),
        ((96, 40, 2), (240, 40, 1), (240, 40, 1)),
        ((120, 48, 1), (144, 48, 1)),
        ((288, 96, 2), (576, 96, 1), (576, 96, 1)),
    ),
    576,
)
LARGE: tuple[int, tuple[Stage, ...], int] = (
    1,
    (
        ((64, 24, 2), (72, 24, 1)),
        ((72, 40, 2), (120, 40, 1), (120, 40, 1)),
        ((240, 80, 2), (200, 80, 1), (184, 80, 1), (184, 80, 1)),
        ((480, 112, 1), (672, 112, 1)),
        ((672, 160, 2), (960, 160, 1), (960, 160, 1)),
    ),
    960,
)
"""MobileNetV3 minimal: stride of the first block, stages, features at the end."""

PICTURE, MARGIN = 224, 1.4
"""Side of the crop in px, and over the mean side of the box of all landmarks."""

_EPS = 1e-3  # of batch norm, as in TensorFlow


# ------------------------------------------------------------------------------------------------------------ layers


class SameConv(nn.Conv2d):
    """A 3x3 convolution padded as TensorFlow does: where the sum is odd, one more pixel after than before."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to sides divided by the stride, rounded up."""
        stride = int(self.stride[0])
        sums = [max((-(-side // stride) - 1) * stride + 3 - side, 0) for side in x.shape[2:]]
        (top, left), (bottom, right) = [s // 2 for s in sums], [s - s // 2 for s in sums]
        return super().forward(F.pad(x, (left, right, top, bottom)))


class DepthwiseBlock(nn.Module):
    """A convolution per channel, then one across channels."""

    def __init__(self, n: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = SameConv(n, n, 3, stride, groups=n, bias=False)
        self.bn1 = nn.BatchNorm2d(n, eps=_EPS)
        self.conv_pw = nn.Conv2d(n, n, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n, eps=_EPS)
        self.has_shortcut = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """``(N, n, H, W)`` to ``(N, n, H / stride, W / stride)``."""
        y: Tensor = self.bn2(self.conv_pw(F.relu(self.bn1(self.conv_dw(x)))))
        return y + x if self.has_shortcut else y


class InvertedBlock(nn.Module):
    """Many channels inside, few outside."""

    def __init__(self, n_in: int, inside: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv_pw = nn.Conv2d(n_in, inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside, eps=_EPS)
        self.conv_dw = SameConv(inside, inside, 3, stride, groups=inside, bias=False)
        self.bn2 = nn.BatchNorm2d(inside, eps=_EPS)
        self.conv_pwl = nn.Conv2d(inside, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out, eps=_EPS)
        self.has_shortcut = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        """``(N, n_in, H, W)`` to ``(N, n_out, H / stride, W / stride)``."""
        wide = F.relu(self.bn2(self.conv_dw(F.relu(self.bn1(self.conv_pw(x))))))
        y: Tensor = self.bn3(self.conv_pwl(wide))
        return y + x if self.has_shortcut else y


class LastBlock(nn.Module):
    """A convolution across channels."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, n_in, H, W)`` to ``(N, n_out, H, W)``."""
        y: Tensor = F.relu(self.bn1(self.conv(x)))
        return y


class MobileNetV3(nn.Module):
    """The minimal network of Howard et al. under timm's names, without its classifier."""

    def __init__(self, layout: tuple[int, tuple[Stage, ...], int]) -> None:
        super().__init__()
        first, stages, n_features = layout
        n = 16
        self.conv_stem = SameConv(3, n, 3, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(n, eps=_EPS)
        parts: list[nn.Module] = [nn.Sequential(DepthwiseBlock(n, first))]
        for stage in stages:
            blocks = []
            for inside, n_out, stride in stage:
                blocks.append(InvertedBlock(n, inside, n_out, stride))
                n = n_out
            parts.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*parts, nn.Sequential(LastBlock(n, n_features)))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, 224, 224)`` to ``(N, features)``."""
        features: Tensor = self.blocks(F.relu(self.bn1(self.conv_stem(x))))
        return features.mean((2, 3))


# ----------------------------------------------------------------------------------------------------------- network


class SmirkEncoder(nn.Module):
    """Three encoders; attribute names are those of the official state dict."""

    def __init__(self) -> None:
        super().__init__()
        for name, layout, head, n in (
            ("pose_encoder", SMALL, "pose_cam_layers", 6),
            ("shape_encoder", LARGE, "shape_layers", 300),
            ("expression_encoder", LARGE, "expression_layers", 55),
        ):
            linear = nn.Sequential(nn.Linear(layout[2], n))
            self.add_module(name, nn.ModuleDict({"encoder": MobileNetV3(layout), head: linear}))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """``(N, 3, 224, 224)`` RGB in [0, 1] to the fields of :class:`SmirkCoefficients`."""
        pose, shape, expression = (self._said(name, images) for name in ("pose", "shape", "expression"))
        return {
            "betas": shape,
            "expression": expression[:, :50],
            "head_pose": pose[:, :3],
            "jaw_pose": torch.cat([F.relu(expression[:, 52:53]), expression[:, 53:].clamp(-0.2, 0.2)], 1),
            "eyelids": expression[:, 50:52].clamp(0, 1),
            "camera": pose[:, 3:],
        }

    def _said(self, name: str, images: Tensor) -> Tensor:
        encoder, head = self.get_submodule(f"{name}_encoder").children()
        values: Tensor = head(encoder(images))
        return values


# ----------------------------------------------------------------------------------------------------------- adapter


@dataclass(frozen=True, eq=False)
class SmirkCoefficients:
    """What SMIRK says about ``T`` pictures, in FLAME's terms.

    Attributes:
        betas: ``(T, 300)`` identity, standard deviations.
        expression: ``(T, 50)`` the first of FLAME's 100, standard deviations.
        head_pose: ``(T, 3)`` axis-angle, rad, in FLAME's space.
        jaw_pose: ``(T, 3)`` axis-angle, rad; component 0 opens the mouth.
        eyelids: ``(T, 2)`` in [0, 1], how much of SMIRK's lid offsets is added, left first.
        camera: ``(T, 3)`` scale, tx, ty, as in DECA.
    """

    betas: Array
    expression: Array
    head_pose: Array
    jaw_pose: Array
    eyelids: Array
    camera: Array

    def motion(self, fps: float) -> FaceMotion:
        """Expression and rotations over time on the FLAME rig, which has no lids of SMIRK's kind."""
        n, n_expressions = self.expression.shape
        still = FaceMotion.zeros(n, fps, "flame", [f"expression_{i:02d}" for i in range(n_expressions)])
        return replace(still, expression=self.expression, jaw_pose=self.jaw_pose, head_pose=self.head_pose)


def crop_from_image(landmarks: Array) -> Array:
    """``(2, 3)`` map of picture to crop pixels: SMIRK's square around ``(478, 2)`` landmarks, px."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    side = max(int(float((high - low).mean()) * MARGIN), 1)
    scale = (PICTURE - 1) / side
    shift = (PICTURE - 1) / 2 - scale * (low + high) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)


class SmirkReader:
    """A loaded encoder that reads pictures.

    Args:
        network: in eval mode.
    """

    def __init__(self, network: SmirkEncoder) -> None:
        self._network = network

    def __call__(self, frame: Frame, landmarks: Array) -> SmirkCoefficients:
        """The face with mediapipe's landmarks ``(478, 2 or 3)`` px in a picture ``(H, W, 3)``."""
        import cv2

        crop = cv2.warpAffine(frame, crop_from_image(landmarks), (PICTURE, PICTURE))
        image = torch.from_numpy(crop).permute(2, 0, 1)[None].float().div(255)
        with torch.inference_mode():
            return SmirkCoefficients(**{name: value.numpy() for name, value in self._network(image).items()})


# ----------------------------------------------------------------------------------------------------------- loading


def load_smirk(path: str | Path) -> SmirkEncoder:
    """The encoders from the user's ``SMIRK_em1.pt``, in eval mode; the generator in the same file is left.

    Raises:
        InputError: if the file is missing.
        FormatError: if it holds no encoder of SMIRK, is damaged, or would have to be unpickled.
    """
    network = SmirkEncoder()
    load_state(network, part_of(load_tensors(path), "smirk_encoder."), path, what="SMIRK")
    return network.eval()
