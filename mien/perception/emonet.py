"""EmoNet: valence, arousal and an emotion label from a picture of a face.

Paper: Toisoul, Kossaifi, Bulat, Tzimiropoulos, Pantic, "Estimation of continuous valence and arousal levels from
faces in naturalistic conditions", Nature Machine Intelligence 3 (2021), 42-50.

What is here: the network under the official names, so that a user's ``emonet_5.pth`` or ``emonet_8.pth`` (CC BY-NC-ND
4.0, not part of mien) loads strictly; its loss; the crop its figures were measured with; a reader of whole clips.

Where the paper's parts stand:
    face alignment trunk of two hourglasses, attention by its heat maps, emotion head: :class:`EmoNet`;
    cross entropy, squared error, 1 - PCC and 1 - CCC, shaken together with random weights: :func:`emonet_loss`;
    temporal weighting of the last five outputs: :func:`weighted_over_time`.

Deviations, each for a reason:
    labels are names. The official five-class weights were trained for neutral, happy, sad, surprise, *anger*; the
    official demo calls the last one fear;
    a face is always cropped as in the official evaluation (1.82 times the box of its 68 landmarks); the official demos
    stretch a detector's box, on which the network reads other values;
    valence and arousal are limited to [-1, 1], as in the paper's metrics (the network itself is linear);
    the temporal weighting starts from the first output instead of from zero, which shrinks the first four;
    a checkpoint loads strictly and without unpickling foreign objects; the official code skips what does not fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.engine import Engine, engine_of, fast
from mien.media.weights import load_state, load_tensors
from mien.types import Array, Emotion, EmotionTrack, Frame

LABELS_8: tuple[Emotion, ...] = tuple(Emotion)
"""Columns of the eight-class network: AffectNet's order."""

LABELS_5: tuple[Emotion, ...] = (
    Emotion.NEUTRAL, Emotion.HAPPY, Emotion.SAD, Emotion.SURPRISE, Emotion.ANGER,
)  # fmt: skip
"""Columns of the five-class network: AffectNet's classes 0, 1, 2, 3 and 6."""

TEMPORAL_WEIGHTS = (0.1, 0.1, 0.15, 0.25, 0.4)
"""Weights of the last five outputs, the newest last."""


@dataclass(frozen=True)
class EmoNetConfig:
    """The published network.

    Attributes:
        labels: what the class outputs mean, in order.
        n_landmarks: heat maps of the trunk.
        channels: width of trunk and head.
        depth: levels of an hourglass.
        size: side of the picture in px.
        crop: side of the crop over the mean side of the box of the landmarks.
    """

    labels: tuple[Emotion, ...] = LABELS_8
    n_landmarks: int = 68
    channels: int = 256
    depth: int = 4
    size: int = 256
    crop: float = 200 / 110


# ------------------------------------------------------------------------------------------------------------ layers


class ConvBlock(nn.Module):
    """Three convolutions, each fed by the one before, side by side in the output; plus a shortcut."""

    chains = (("bn1", "relu", "conv1"), ("bn2", "relu", "conv2"), ("bn3", "relu", "conv3"))
    """Layers that follow one another, for the engine."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        half, quarter = n_out // 2, n_out // 4
        self.relu = nn.ReLU(inplace=True)
        self.bn1 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.downsample = (
            nn.Sequential(nn.BatchNorm2d(n_in), nn.ReLU(), nn.Conv2d(n_in, n_out, 1, bias=False))
            if n_in != n_out
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(N, n_in, H, W)`` to ``(N, n_out, H, W)``."""
        first = self.conv1(self.relu(self.bn1(x)))
        second = self.conv2(self.relu(self.bn2(first)))
        third = self.conv3(self.relu(self.bn3(second)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.cat([first, second, third], 1).add_(shortcut)


class HourGlass(nn.Module):
    """Down ``depth`` octaves and up again, with a branch that stays at each level."""

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        self.depth = depth
        for level in range(depth, 0, -1):
            for branch in ("b1", "b2", "b3"):
                self.add_module(f"{branch}_{level}", ConvBlock(channels, channels))
        self.b2_plus_1 = ConvBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same shape."""
        return self._level(self.depth, x)

    def _level(self, level: int, x: Tensor) -> Tensor:
        block = self.get_submodule
        low = block(f"b2_{level}")(F.max_pool2d(x, 2))
        low = self._level(level - 1, low) if level > 1 else self.b2_plus_1(low)
        low = block(f"b3_{level}")(low)
        kept: Tensor = block(f"b1_{level}")(x)
        return kept + F.interpolate(low, scale_factor=2.0, mode="nearest")


# ----------------------------------------------------------------------------------------------------------- network


class EmoNetOutput(NamedTuple):
    """What the network says about ``N`` pictures; all linear.

    Attributes:
        expression: ``(N, labels)`` logits.
        valence: ``(N,)``, unlimited.
        arousal: ``(N,)``, unlimited.
        heatmap: ``(N, 68, 64, 64)`` where the landmarks are.
    """

    expression: Tensor
    valence: Tensor
    arousal: Tensor
    heatmap: Tensor


class EmoNet(nn.Module):
    """Trunk, attention and head; attribute names are those of the official state dict."""

    chains = (("conv1", "bn1", "relu"), ("conv_last0", "bn_end0", "relu"), ("conv_last1", "bn_end1", "relu"))
    """Layers that follow one another, for the engine."""

    fine = ("conv_last0", "conv_last1", "conv1x1_input_emo_2")
    """Convolutions of few, wide values: in 8 bits they would add most of the error of all, and save little."""

    def __init__(self, config: EmoNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or EmoNetConfig()
        n, n_landmarks = self.config.channels, self.config.n_landmarks
        self.relu = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(3, n // 4, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(n // 4)
        self.conv2 = ConvBlock(n // 4, n // 2)
        self.conv3 = ConvBlock(n // 2, n // 2)
        self.conv4 = ConvBlock(n // 2, n)
        for stack in (0, 1):
            self.add_module(f"m{stack}", HourGlass(self.config.depth, n))
            self.add_module(f"top_m_{stack}", ConvBlock(n, n))
            self.add_module(f"conv_last{stack}", nn.Conv2d(n, n, 1))
            self.add_module(f"bn_end{stack}", nn.BatchNorm2d(n))
            self.add_module(f"l{stack}", nn.Conv2d(n, n_landmarks, 1))
        self.bl0 = nn.Conv2d(n, n, 1)
        self.al0 = nn.Conv2d(n_landmarks, n, 1)
        self.conv1x1_input_emo_2 = nn.Conv2d(3 * n, n, 1)
        self.emo_net_2 = nn.Sequential(*(layer for _ in range(4) for layer in (ConvBlock(n, n), nn.MaxPool2d(2))))
        self.emo_fc_2 = nn.Sequential(
            nn.Linear(n, n // 2), nn.BatchNorm1d(n // 2), nn.ReLU(), nn.Linear(n // 2, len(self.config.labels) + 2)
        )

    def forward(self, images: Tensor) -> EmoNetOutput:
        """``(N, 3, 256, 256)`` RGB in [0, 1], no further normalisation."""
        features, stacks, heatmap = self.trunk(images)
        # Where the face's parts are, (N, 1, 64, 64). Sums are made in float32 whatever the rest computes in.
        attention = heatmap.float().sum(1, keepdim=True).to(heatmap.dtype)
        x = torch.cat([features, *(stack * attention for stack in stacks)], 1)  # (N, 768, 64, 64)
        x = self.emo_net_2(self.conv1x1_input_emo_2(x))  # (N, 256, 4, 4)
        values = self.emo_fc_2(x.float().mean((2, 3)))
        return EmoNetOutput(values[:, :-2], values[:, -2], values[:, -1], heatmap)

    def trunk(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Low features, those of both hourglasses, all ``(N, 256, 64, 64)``, and the last heat maps."""
        part = self.get_submodule
        x = self.relu(self.bn1(self.conv1(images)))
        features = self.conv4(self.conv3(F.max_pool2d(self.conv2(x), 2)))
        previous, stacks, heatmap = features, [], features
        for stack in (0, 1):
            x = part(f"top_m_{stack}")(part(f"m{stack}")(previous))
            x = self.relu(part(f"bn_end{stack}")(part(f"conv_last{stack}")(x)))
            heatmap = part(f"l{stack}")(x)
            if stack == 0:
                x = self.bl0(x)
                previous = previous + x + self.al0(heatmap)
            stacks.append(x)
        return features, stacks, heatmap

    def head(self) -> list[nn.Module]:
        """The parts that learn emotion; the trunk stays as it was trained on landmarks."""
        return [self.conv1x1_input_emo_2, self.emo_net_2, self.emo_fc_2]


# ------------------------------------------------------------------------------------------------------------ losses


def one_minus_pcc(prediction: Tensor, truth: Tensor) -> Tensor:
    """1 - Pearson correlation over the batch, mean over valence and arousal; ``(N, 2)`` each."""
    p, t = prediction - prediction.mean(0), truth - truth.mean(0)
    scale = (p.square().mean(0) * t.square().mean(0)).clamp_min(1e-12).sqrt()
    return 1 - ((p * t).mean(0) / scale).mean()


def one_minus_ccc(prediction: Tensor, truth: Tensor) -> Tensor:
    """1 - concordance correlation over the batch, mean over valence and arousal; ``(N, 2)`` each (Lin 1989)."""
    p_mean, t_mean = prediction.mean(0), truth.mean(0)
    covariance = ((prediction - p_mean) * (truth - t_mean)).mean(0)
    spread = prediction.var(0, correction=0) + truth.var(0, correction=0) + (p_mean - t_mean).square()
    return 1 - (2 * covariance / spread.clamp_min(1e-6)).mean()


def emonet_loss(
    output: EmoNetOutput, classes: Tensor, va: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The training loss of one batch (paper, "shake-shake regularization of the losses").

    Cross entropy + ``(a MSE + b (1 - PCC) + c (1 - CCC)) / (a + b + c)`` where a, b and c are drawn anew from U(0, 1);
    the squared error is summed over valence and arousal.

    Args:
        output: what the network said.
        classes: ``(N,)`` indices into the network's labels.
        va: ``(N, 2)`` valence and arousal in [-1, 1]; rows of NaN are unknown and count for the class alone.
        generator: draws a, b and c.

    Returns:
        The loss and its four parts by name, for the log.
    """
    cross_entropy = F.cross_entropy(output.expression, classes)
    known = ~va.isnan().any(1)
    if known.sum() < 2:  # nothing to correlate
        return cross_entropy, {"cross_entropy": cross_entropy}
    said, va = torch.stack([output.valence, output.arousal], 1)[known], va[known]
    parts = {
        "cross_entropy": cross_entropy,
        "mse": (said - va).square().mean(0).sum(),
        "pcc": one_minus_pcc(said, va),
        "ccc": one_minus_ccc(said, va),
    }
    a, b, c = torch.rand(3, generator=generator).tolist()
    regression = (a * parts["mse"] + b * parts["pcc"] + c * parts["ccc"]) / max(a + b + c, 1e-6)
    return cross_entropy + regression, parts


# ----------------------------------------------------------------------------------------------------------- adapter


def crop_from_image(landmarks_68: Array, config: EmoNetConfig | None = None) -> Array:
    """``(2, 3)`` map of picture to crop pixels for one face.

    Args:
        landmarks_68: ``(68, 2)`` px.
        config: decides crop and size.
    """
    config = config or EmoNetConfig()
    low, high = landmarks_68[:, :2].min(0), landmarks_68[:, :2].max(0)
    scale = config.size / max(config.crop * float((high - low).mean()), 1e-6)
    shift = config.size / 2 - scale * (low + high) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)


def crop_face(frame: Frame, landmarks_68: Array, config: EmoNetConfig | None = None) -> Frame:
    """The square picture of one face that the network wants, black where the frame ends."""
    import cv2

    config = config or EmoNetConfig()
    matrix = crop_from_image(landmarks_68, config)
    return np.asarray(cv2.warpAffine(frame, matrix, (config.size, config.size)), np.uint8)


def weighted_over_time(values: Array) -> Array:
    """Each row as the weighted mean of itself and the four before it; ``(T, D)`` outputs of one clip.

    Rows before the first count as the first.
    """
    reach = len(TEMPORAL_WEIGHTS) - 1
    padded = np.concatenate([np.repeat(values[:1], reach, 0), values])
    n = len(values)
    return np.asarray(sum(w * padded[i : i + n] for i, w in enumerate(TEMPORAL_WEIGHTS)), np.float32)


class EmoNetReader:
    """A loaded network that reads clips.

    Args:
        network: in eval mode.
        engine: see :mod:`mien.engine`.
    """

    def __init__(self, network: EmoNet, engine: Engine = "auto") -> None:
        self.config = network.config
        self._network = fast(network, engine, keep=("emo_fc_2",), openvino=True)
        self.engine = engine_of(self._network)

    def __call__(
        self,
        frames: Iterable[Frame],
        landmarks_68: Sequence[Array] | Array,
        fps: float,
        *,
        smooth: bool = False,
        batch: int = 4,
    ) -> EmotionTrack:
        """Valence, arousal and labels of one face over time.

        Args:
            frames: pictures ``(H, W, 3)`` as they stream by.
            landmarks_68: ``(T, 68, 2)`` px of the face in each of them.
            fps: frames per second.
            smooth: whether to weigh each output with the four before it.
            batch: pictures that go through the network together; it does not change what they get.
        """
        return self.track(self.outputs(frames, landmarks_68, batch=batch), fps, smooth=smooth)

    def outputs(self, frames: Iterable[Frame], landmarks_68: Sequence[Array] | Array, *, batch: int = 4) -> Array:
        """``(T, labels + 2)`` of some frames: logits, valence, arousal as the network says them."""
        crops = (crop_face(frame, points, self.config) for frame, points in zip(frames, landmarks_68, strict=False))
        groups = iter(lambda: list(islice(crops, batch)), [])
        rows = [self.raw(np.stack(group)) for group in groups]
        return np.concatenate(rows) if rows else np.zeros((0, len(self.config.labels) + 2), np.float32)

    def track(self, outputs: Array, fps: float, *, smooth: bool = False) -> EmotionTrack:
        """The outputs of a whole clip as valence, arousal and probabilities."""
        if smooth and len(outputs):
            outputs = weighted_over_time(outputs)
        return track_from_outputs(outputs, self.config.labels, fps)

    def raw(self, crops: Frame) -> Array:
        """``(N, 256, 256, 3)`` crops to ``(N, labels + 2)``: logits, valence, arousal as the network says them."""
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).float().div(255)
        with torch.inference_mode():
            output = self._network(images)
        return np.asarray(torch.cat([output.expression, output.valence[:, None], output.arousal[:, None]], 1).numpy())


def track_from_outputs(values: Array, labels: tuple[Emotion, ...], fps: float) -> EmotionTrack:
    """``(T, labels + 2)`` linear outputs as valence and arousal in [-1, 1] and probabilities by name."""
    logits = values[:, :-2] - values[:, :-2].max(1, keepdims=True)
    shares = np.exp(logits)
    return EmotionTrack(
        va=np.clip(values[:, -2:], -1, 1), fps=fps, labels=labels, probabilities=shares / shares.sum(1, keepdims=True)
    )


# ----------------------------------------------------------------------------------------------------------- loading


def load_emonet(path: str | Path) -> EmoNet:
    """The network with the user's official weights, in eval mode.

    The number of classes is read from the file: five or eight. Keys may carry the official prefix ``module.``.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is no EmoNet, is damaged, or would have to be unpickled.
    """
    tensors = load_tensors(path)
    weight = next((value for key, value in tensors.items() if key.endswith("emo_fc_2.3.weight")), None)
    n_classes = 0 if weight is None else len(weight) - 2
    labels = LABELS_5 if n_classes == len(LABELS_5) else LABELS_8
    network = EmoNet(EmoNetConfig(labels=labels))
    load_state(network, tensors, path, what="EmoNet")
    return network.eval()
