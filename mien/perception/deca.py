"""DECA's coarse encoder: one picture of a face in, FLAME coefficients, camera and light out.

Paper: Feng, Feng, Black, Bolkart, "Learning an Animatable Detailed 3D Face Model from In-The-Wild Images", SIGGRAPH
2021.

What is here: the coarse encoder ``E_flame`` (ResNet-50, He et al. 2016, and two linear layers) under the official
names, so that a user's ``deca_model.tar`` (non-commercial, not part of mien) loads strictly; its 236 coefficients by
name; its crop. The detail branch (``E_detail``, ``D_detail``) is not: mien takes expression, jaw and shape from DECA.

Deviations, each for a reason:
    coefficients are named fields, not positions in a vector;
    a checkpoint that lacks a weight is an error; the official code goes on with random weights;
    the file is read without unpickling foreign objects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.media.weights import load_state, load_tensors
from mien.types import Array, FaceMotion, Frame


@dataclass(frozen=True)
class DecaConfig:
    """The published encoder.

    Attributes:
        parts: coefficients in the order of the output, with how many numbers each has.
        blocks: bottlenecks per stage of the ResNet.
        size: side of the picture in px.
        margin: side of the crop over the mean side of the box of the 68 landmarks: 1.1 for what the box leaves out of
            the head, 1.25 around it.
    """

    parts: tuple[tuple[str, int], ...] = (
        ("betas", 100),
        ("texture", 50),
        ("expression", 50),
        ("head_pose", 3),
        ("jaw_pose", 3),
        ("camera", 3),
        ("light", 27),
    )
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    size: int = 224
    margin: tuple[float, float] = (1.1, 1.25)

    @property
    def n_coefficients(self) -> int:
        """236."""
        return sum(n for _, n in self.parts)


# ------------------------------------------------------------------------------------------------------------ layers


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions beside a shortcut."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = 4 * width
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.downsample = (
            nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
            if stride > 1 or n_in != n_out
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(N, n_in, H, W)`` to ``(N, 4 width, H / stride, W / stride)``."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """The network of He et al. without its classifier."""

    def __init__(self, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        n_in = 64
        for stage, n_blocks in enumerate(blocks):
            width = 64 * 2**stage
            layers = []
            for block in range(n_blocks):
                layers.append(Bottleneck(n_in, width, stride=2 if stage > 0 and block == 0 else 1))
                n_in = 4 * width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.n_stages, self.n_features = len(blocks), n_in

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, 224, 224)`` to ``(N, 2048)``."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for stage in range(self.n_stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x.mean((2, 3))


# ----------------------------------------------------------------------------------------------------------- network


class DecaEncoder(nn.Module):
    """``E_flame``; attribute names are those of the official state dict."""

    def __init__(self, config: DecaConfig | None = None) -> None:
        super().__init__()
        self.config = config or DecaConfig()
        self.encoder = ResNet50(self.config.blocks)
        self.layers = nn.Sequential(
            nn.Linear(self.encoder.n_features, 1024), nn.ReLU(), nn.Linear(1024, self.config.n_coefficients)
        )

    def forward(self, images: Tensor) -> Tensor:
        """``(N, 3, 224, 224)`` RGB in [0, 1], no ImageNet normalisation, to ``(N, 236)``."""
        coefficients: Tensor = self.layers(self.encoder(images))
        return coefficients


# ----------------------------------------------------------------------------------------------------------- adapter


@dataclass(frozen=True, eq=False)
class DecaCoefficients:
    """What DECA says about ``T`` pictures, in FLAME's terms.

    Attributes:
        betas: ``(T, 100)`` identity, the first of FLAME's 300, standard deviations.
        texture: ``(T, 50)`` albedo coefficients.
        expression: ``(T, 50)`` the first of FLAME's 100, standard deviations.
        head_pose: ``(T, 3)`` axis-angle, rad, in FLAME's space.
        jaw_pose: ``(T, 3)`` axis-angle, rad; component 0 opens the mouth.
        camera: ``(T, 3)`` scale, tx, ty: a vertex ``v`` appears at ``scale (v_xy + t)``, y negated, in a crop whose
            sides are -1 and 1.
        light: ``(T, 9, 3)`` spherical harmonics of order 0 to 2 per colour.
    """

    betas: Array
    texture: Array
    expression: Array
    head_pose: Array
    jaw_pose: Array
    camera: Array
    light: Array

    @classmethod
    def from_vector(cls, vector: Array, config: DecaConfig | None = None) -> DecaCoefficients:
        """``(T, 236)`` taken apart.

        Raises:
            ValueError: if there are not 236 columns.
        """
        config = config or DecaConfig()
        if vector.ndim != 2 or vector.shape[1] != config.n_coefficients:
            raise ValueError(f"coefficients: expected (T, {config.n_coefficients}), got {vector.shape}")
        ends = np.cumsum([n for _, n in config.parts])[:-1]
        parts = dict(zip((name for name, _ in config.parts), np.split(vector, ends, axis=1), strict=True))
        parts["light"] = parts["light"].reshape(-1, 9, 3)
        return cls(**parts)

    def vector(self) -> Array:
        """``(T, 236)`` in DECA's order."""
        n = len(self.betas)
        return np.concatenate([getattr(self, name).reshape(n, -1) for name, _ in DecaConfig().parts], 1)

    def motion(self, fps: float) -> FaceMotion:
        """Expression and rotations over time on the FLAME rig; the camera's shift is not a translation in metres."""
        n, n_expressions = self.expression.shape
        still = FaceMotion.zeros(n, fps, "flame", [f"expression_{i:02d}" for i in range(n_expressions)])
        return replace(still, expression=self.expression, jaw_pose=self.jaw_pose, head_pose=self.head_pose)


def crop_from_image(landmarks_68: Array, config: DecaConfig | None = None) -> Array:
    """``(2, 3)`` map of picture to crop pixels: DECA's square around ``(68, 2)`` landmarks, px."""
    config = config or DecaConfig()
    low, high = landmarks_68[:, :2].min(0), landmarks_68[:, :2].max(0)
    head, around = config.margin
    side = max(int(float((high - low).mean()) * head * around), 1)
    scale = (config.size - 1) / side
    shift = (config.size - 1) / 2 - scale * (low + high) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)


class DecaReader:
    """A loaded encoder that reads pictures.

    Args:
        network: in eval mode.
    """

    def __init__(self, network: DecaEncoder) -> None:
        self._network = network

    def __call__(self, frame: Frame, landmarks_68: Array) -> DecaCoefficients:
        """The face with the landmarks ``(68, 2)`` px in a picture ``(H, W, 3)``."""
        import cv2

        config = self._network.config
        crop = cv2.warpAffine(frame, crop_from_image(landmarks_68, config), (config.size, config.size))
        image = torch.from_numpy(crop).permute(2, 0, 1)[None].float().div(255)
        with torch.inference_mode():
            return DecaCoefficients.from_vector(np.asarray(self._network(image).numpy()), config)


# ----------------------------------------------------------------------------------------------------------- loading


def load_deca(path: str | Path) -> DecaEncoder:
    """The coarse encoder from the user's ``deca_model.tar``, in eval mode.

    Raises:
        InputError: if the file is missing.
        FormatError: if it holds no ``E_flame`` of DECA, is damaged, or would have to be unpickled.
    """
    network = DecaEncoder()
    load_state(network, load_tensors(path, part="E_flame"), path, what="DECA")
    return network.eval()
