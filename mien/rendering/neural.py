"""head2head: drawings of a face's geometry become photographs of one person, frame after frame.

Papers: Koujan, Doukas, Roussos, Zafeiriou, "Head2Head: Video-based Neural Head Synthesis", FG 2020; Doukas, Koujan,
Sharmanska, Roussos, Zafeiriou, "Head2Head++: Deep Facial Attributes Re-Targeting", T-BIOM 2021. The same generator
draws only the face in Paraperas Papantoniou, Filntisis, Maragos, Roussos, "Neural Emotion Director", CVPR 2022 (NED).

What it does. A frame is drawn from the conditions of three frames (positions on the face as colours, eyes; NED adds
the shaded shape and a face mask), the current one last, and from the two frames drawn before it. Two encoders of the
same layout are summed, then come four residual blocks and the way up again. One network is one person.

What is here, under the official names, so that official checkpoints load strictly:
    the generator of both papers: :class:`Generator` with :data:`HEAD2HEAD` or :data:`NED`;
    the discriminators of frames, mouths, eyes, and of three frames in a row with their flow: :class:`Discriminator`;
    least squares and hinge, feature matching, the masked difference to the frame before moved by the flow, the window
    of the mouth, the choice of frames at three speeds: section "losses" (the perceptual term: ``rendering/vgg.py``);
    frame after frame of a clip: :class:`NeuralRenderer`.
``tests/rendering/test_neural.py`` compares every output with numbers of the official classes.

Deviations, each for a reason:
    the official programs never call ``eval()``, so each picture is normalised by its own statistics although running
    ones are stored. Here that is so in both modes and only ``train()`` updates the stored ones; ``stored_statistics``
    gives what ``eval()`` would have done;
    nothing was drawn before the first frame. Official: zeros, of which instance norm makes amplified rounding noise.
    Exactly calculated that whole encoder then gives zero, so it is left out (:meth:`Generator.forward`);
    the condition before a clip's start is its first one; official programs leave the first two frames out.

Convention: pictures are ``(N, C, H, W)``; conditions and masks in [0, 1], photographs in [-1, 1]; flow in px, x first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.errors import FormatError
from mien.media.weights import load_state, load_tensors
from mien.types import Array, Frame

Scales = list[list[Tensor]]
"""What a discriminator says: for each scale, the full one first, its features and at last its map of scores."""


@dataclass(frozen=True)
class NeuralConfig:
    """A generator.

    Attributes:
        condition_planes: of one frame: position colours 3, eyes 3, and in NED the shaded shape 3.
        masked: whether a face mask follows as one more plane; outside the current one the picture is -1.
        n_frames: conditions that are seen; one frame less is seen of what was drawn.
        width: channels at full size; they double with each halving.
        n_halvings: of the size.
        n_blocks: residual blocks on the way, the larger half of them in the encoders.
        stored_statistics: whether ``eval()`` normalises by the stored statistics instead of the picture's own.
    """

    condition_planes: int = 6
    masked: bool = False
    n_frames: int = 3
    width: int = 64
    n_halvings: int = 3
    n_blocks: int = 9
    stored_statistics: bool = False

    @property
    def planes(self) -> int:
        """Planes of one frame's condition, with the mask."""
        return self.condition_planes + self.masked


HEAD2HEAD = NeuralConfig()
"""head2head and head2head++."""

NED = NeuralConfig(condition_planes=9, masked=True)
"""The face renderer of the Neural Emotion Director."""

VARIANTS = {"head2head": HEAD2HEAD, "ned": NED}
"""The generators by the names that files and options have for them."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """A discriminator.

    Attributes:
        n_planes: that are looked at: condition and photograph, or three photographs and two flows.
        mask_plane: the plane of the input that is not looked at, in NED the face mask.
        width: channels of the first layer.
        n_halvings: of the size, in each scale.
        n_scales: sizes of the picture, each half of the one before.
        stored_statistics: as in :class:`NeuralConfig`.
    """

    n_planes: int = 9
    mask_plane: int | None = None
    width: int = 64
    n_halvings: int = 3
    n_scales: int = 2
    stored_statistics: bool = False


FRAME_DISCRIMINATOR = DiscriminatorConfig()
"""head2head's of whole frames, and of the mouth and each eye in windows."""

TEMPORAL_DISCRIMINATOR = DiscriminatorConfig(n_planes=13)
"""head2head's of three frames and the two flows between them, one for each of :data:`TEMPORAL_STEPS`."""

NED_DISCRIMINATOR = DiscriminatorConfig(n_planes=12, mask_plane=9)
"""NED's of whole frames and of the mouth; its input has 13 planes."""

TEMPORAL_STEPS = (1, 3, 9)
"""Frames between the three that a temporal discriminator sees."""

MOUTH_WINDOW = 72
"""Side of the window that the mouth discriminator sees, px of a picture of 256."""


@dataclass(frozen=True)
class NeuralLossWeights:
    """How much each term counts beside the adversarial ones, which count 1; the official defaults."""

    feature_matching: float = 10.0
    perceptual: float = 10.0
    flow: float = 10.0


# ------------------------------------------------------------------------------------------------------------ layers


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm whose ``eval()`` still uses the picture's own statistics, unless the stored ones are asked for."""

    def __init__(self, channels: int, stored: bool) -> None:
        super().__init__(channels, affine=False, track_running_stats=True)
        self.stored = stored

    def train(self, mode: bool = True) -> InstanceNorm:
        """Set the mode; where it may not use the stored statistics, ``eval()`` only leaves them alone."""
        self.momentum = 0.1 if mode else 0.0
        return super().train(mode or not self.stored)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut. The official class has its layers under two names; both are in a state dict."""

    def __init__(self, channels: int, stored: bool) -> None:
        super().__init__()
        self.resnetblock_sequential = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), InstanceNorm(channels, stored), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), InstanceNorm(channels, stored),
        )  # fmt: skip
        self.conv_block = self.resnetblock_sequential

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same shape."""
        change: Tensor = self.conv_block(x)
        return x + change


def _encoder(n_in: int, config: NeuralConfig) -> nn.Sequential:
    stored, channels = config.stored_statistics, config.width
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(n_in, channels, 7), InstanceNorm(channels, stored), nn.ReLU()]
    for _ in range(config.n_halvings):
        down = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
        layers += [down, InstanceNorm(2 * channels, stored), nn.ReLU()]
        channels *= 2
    layers += [ResidualBlock(channels, stored) for _ in range(config.n_blocks - config.n_blocks // 2)]
    return nn.Sequential(*layers)


def _decoder(config: NeuralConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = config.width * 2**config.n_halvings
    for _ in range(config.n_halvings):
        up = nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1)
        layers += [up, InstanceNorm(channels // 2, config.stored_statistics), nn.ReLU()]
        channels //= 2
    return nn.Sequential(*layers)


# ---------------------------------------------------------------------------------------------------------- networks


class Generator(nn.Module):
    """Conditions and the frames before to a photograph; 70.8 million parameters as published."""

    def __init__(self, config: NeuralConfig = HEAD2HEAD) -> None:
        super().__init__()
        self.config = config
        channels = config.width * 2**config.n_halvings
        self.model_down_seg = _encoder(config.n_frames * config.condition_planes, config)
        self.model_down_img = _encoder((config.n_frames - 1) * 3, config)
        self.model_res_img = nn.Sequential(
            *(ResidualBlock(channels, config.stored_statistics) for _ in range(config.n_blocks // 2))
        )
        self.model_up_img = _decoder(config)
        self.model_final_img = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(config.width, 3, 7), nn.Tanh())
        initialise(self)

    def forward(self, condition: Tensor, previous: Tensor | None) -> Tensor:
        """Draw one frame.

        Args:
            condition: ``(N, n_frames * planes, H, W)`` in [0, 1], oldest frame first; H and W are multiples of 8.
            previous: ``(N, (n_frames - 1) * 3, H, W)`` in [-1, 1], what was drawn before, oldest first, zeros where
                nothing was; ``None`` for nothing at all. That gives what zeros would if numbers had no rounding errors:
                a constant picture stays constant through a convolution, and instance norm makes it zero.

        Returns:
            ``(N, 3, H, W)`` in [-1, 1].
        """
        self._check(condition)
        condition, mask = self._split(condition)
        encoded = self.model_down_seg(condition)  # (N, 512, H / 8, W / 8)
        if previous is not None:
            encoded = encoded + self.model_down_img(previous)
        picture: Tensor = self.model_final_img(self.model_up_img(self.model_res_img(encoded)))
        return picture if mask is None else picture * mask - (1 - mask)

    def _split(self, condition: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.config.masked:
            return condition, None
        frames = condition.view(len(condition), self.config.n_frames, self.config.planes, *condition.shape[2:])
        return frames[:, :, :-1].flatten(1, 2), frames[:, -1, -1:]

    def _check(self, condition: Tensor) -> None:
        planes, step = self.config.n_frames * self.config.planes, 2**self.config.n_halvings
        if condition.ndim != 4 or condition.shape[1] != planes or any(side % step for side in condition.shape[2:]):
            raise ValueError(
                f"condition: expected (N, {planes}, H, W) with sides that are multiples of {step}, "
                f"got {tuple(condition.shape)}"
            )


class Discriminator(nn.Module):
    """Judges patches of a picture at several sizes. ``scale1`` sees the full size, ``scale0`` half of it."""

    def __init__(self, config: DiscriminatorConfig = FRAME_DISCRIMINATOR) -> None:
        super().__init__()
        self.config = config
        for scale in range(config.n_scales):
            for number, layer in enumerate(self._layers()):
                self.add_module(f"scale{scale}_layer{number}", layer)
        initialise(self)

    def _layers(self) -> list[nn.Sequential]:
        config = self.config
        channels = config.width
        layers = [nn.Sequential(nn.Conv2d(config.n_planes, channels, 4, 2, 2), nn.LeakyReLU(0.2))]
        for number in range(1, config.n_halvings + 1):
            wider = min(2 * channels, 512)
            stride = 2 if number < config.n_halvings else 1
            norm = InstanceNorm(wider, config.stored_statistics)
            layers.append(nn.Sequential(nn.Conv2d(channels, wider, 4, stride, 2), norm, nn.LeakyReLU(0.2)))
            channels = wider
        return [*layers, nn.Sequential(nn.Conv2d(channels, 1, 4, 1, 2))]

    def forward(self, pictures: Tensor) -> Scales:
        """``(N, n_planes, H, W)``, one plane more where a mask plane is left out, to features and scores."""
        plane = self.config.mask_plane
        x = pictures if plane is None else torch.cat([pictures[:, :plane], pictures[:, plane + 1 :]], 1)
        said: Scales = []
        for scale in reversed(range(self.config.n_scales)):
            features = [x]
            for number in range(self.config.n_halvings + 2):
                features.append(self.get_submodule(f"scale{scale}_layer{number}")(features[-1]))
            said.append(features[1:])
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return said


def initialise(network: nn.Module) -> None:
    """Weights of all convolutions from N(0, 0.02), as the official programs start."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.02)


# ------------------------------------------------------------------------------------------------------------ losses

GanMode = Literal["least_squares", "hinge"]


def discriminator_loss(real: Scales, fake: Scales, mode: GanMode = "least_squares") -> tuple[Tensor, Tensor]:
    """What a discriminator wants less of, for real and for drawn pictures; it is trained on half their sum.

    Least squares (Mao et al. 2017): (score - 1)² and score²; hinge: max(0, 1 - score) and max(0, 1 + score). Means over
    the map, summed over scales.
    """
    if mode == "least_squares":
        pairs = [((r[-1] - 1).square(), f[-1].square()) for r, f in zip(real, fake, strict=True)]
    else:
        pairs = [(F.relu(1 - r[-1]), F.relu(1 + f[-1])) for r, f in zip(real, fake, strict=True)]
    return _sum([r.mean() for r, _ in pairs]), _sum([f.mean() for _, f in pairs])


def generator_loss(fake: Scales, mode: GanMode = "least_squares") -> Tensor:
    """What the generator wants less of: (score - 1)², with hinge -score; mean over the map, summed over scales."""
    scores = [scale[-1] for scale in fake]
    return _sum([(s - 1).square().mean() if mode == "least_squares" else -s.mean() for s in scores])


def feature_matching(real: Scales, fake: Scales) -> Tensor:
    """Distance between what a discriminator sees in real and in drawn pictures (pix2pixHD, section 3.3).

    Mean absolute difference of each layer but the last, times 4 / layers; mean over scales. No gradient flows into
    ``real``.
    """
    terms = [
        F.l1_loss(f, r.detach()) * (4 / (len(fakes) - 1))
        for reals, fakes in zip(real, fake, strict=True)
        for r, f in zip(reals[:-1], fakes[:-1], strict=True)
    ]
    return _sum(terms) / len(fake)


def masked_l1(pictures: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean over *all* pixels of the absolute difference where ``mask`` is 1."""
    return F.l1_loss(pictures * mask, target * mask)


def warp(pictures: Tensor, flow: Tensor) -> Tensor:
    """``out(x) = pictures(x + flow(x))``, bilinear, the border goes on outside; ``flow`` is ``(N, 2, H, W)`` px."""
    height, width = flow.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device), indexing="ij"
    )
    at_x, at_y = x + flow[:, 0], y + flow[:, 1]
    grid = torch.stack([2 * at_x / max(width - 1, 1) - 1, 2 * at_y / max(height - 1, 1) - 1], -1)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=True)


def flow_loss(fake: Tensor, fake_before: Tensor, real: Tensor, real_before: Tensor, flow: Tensor) -> Tensor:
    """Distance between a drawn frame and the drawn one before it, moved by the flow of the real ones.

    It counts where the flow can be trusted: where the squared error (summed over colours) of the real frame before,
    moved likewise, is below 0.02.

    Args:
        fake: ``(N, 3, H, W)`` drawn.
        fake_before: the frame drawn before it.
        real: the frame filmed.
        real_before: the one before it.
        flow: ``(N, 2, H, W)`` px from a pixel of the frame to the same point in the frame before.
    """
    trusted = (real - warp(real_before, flow)).square().sum(1, keepdim=True) < 0.02
    return masked_l1(fake, warp(fake_before, flow), trusted.to(fake.dtype))


def temporal_pictures(frames: Tensor, flows: Tensor) -> Tensor:
    """``(N, 3, 3, H, W)`` frames and ``(N, 2, 2, H, W)`` flows in px as a temporal discriminator's 13 planes."""
    return torch.cat([frames.flatten(1, 2), flows.flatten(1, 2) / 20], 1)


def temporal_groups(n_seen: int, n_new: int, step: int) -> list[tuple[int, int, int]]:
    """Which frames a temporal discriminator sees after ``n_new`` frames arrived and ``n_seen`` are there in all.

    Args:
        n_seen: frames of the clip so far, the new ones included.
        n_new: of them new.
        step: frames between two of a group, one of :data:`TEMPORAL_STEPS`.

    Returns:
        Groups of three frame numbers, the newest group first; the last frames of groups are three frames apart.
    """
    span = 2 * step
    ends = range(n_seen - 1, n_seen - 1 - min(n_seen - span, n_new), -3)
    return [(end - span, end - step, end) for end in ends]


def window_around(points: Array, size: int = MOUTH_WINDOW, frame: tuple[int, int] = (256, 256)) -> tuple[int, int]:
    """Left and top of the square window around the median of landmarks, moved so that it lies in the frame.

    Args:
        points: ``(N, 2)`` px, x first: the mouth's or an eye's.
        size: side of the window, px.
        frame: height and width of the picture, px.
    """
    x, y = np.median(points, 0)
    left, top = (int(np.clip(int(c) - size // 2, 0, side - size)) for c, side in ((x, frame[1]), (y, frame[0])))
    return left, top


def cut(pictures: Tensor, corners: Sequence[tuple[int, int]], size: int = MOUTH_WINDOW) -> Tensor:
    """The windows at ``corners`` (left, top), one for each of ``(N, C, H, W)``, to ``(N, C, size, size)``."""
    return torch.stack(
        [p[:, top : top + size, left : left + size] for p, (left, top) in zip(pictures, corners, strict=True)]
    )


def _sum(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum()


# ----------------------------------------------------------------------------------------------------------- adapter


class NeuralRenderer:
    """A trained generator that draws clips.

    Args:
        network: on the device to compute on; a :class:`Generator`, or what :func:`mien.engine.fast` made of one.
        config: of the generator; its own if ``None``.
    """

    def __init__(self, network: nn.Module, config: NeuralConfig | None = None) -> None:
        self.network = network.eval()
        if config is None:
            assert isinstance(network, Generator)
            config = network.config
        self.config = config

    def render(self, conditions: Iterable[Array]) -> Iterator[Frame]:
        """Every frame of a clip, as the conditions stream by.

        Args:
            conditions: one per frame, ``(H, W, planes)`` in [0, 1].

        Yields:
            ``(H, W, 3)`` uint8 RGB for each condition. Memory stays flat; a clip cut short gives the same frames.
        """
        config = self.config
        seen: deque[Tensor] = deque(maxlen=config.n_frames)
        drawn: deque[Tensor] = deque(maxlen=config.n_frames - 1)
        for condition in conditions:
            picture = self._step(condition, seen, drawn)
            yield np.asarray(picture, np.uint8)

    @torch.inference_mode()  # not around the loop: the mode would stay on in the caller between two frames
    def _step(self, condition: Array, seen: deque[Tensor], drawn: deque[Tensor]) -> Frame:
        config = self.config
        if condition.ndim != 3 or condition.shape[2] != config.planes:
            raise ValueError(f"condition: expected (H, W, {config.planes}), got {condition.shape}")
        device = next(self.network.parameters()).device
        newest = torch.from_numpy(np.array(condition, np.float32)).to(device).permute(2, 0, 1)[None]
        seen.extend([newest] * (1 if seen else config.n_frames))
        before = None
        if drawn:
            missing = config.n_frames - 1 - len(drawn)
            before = torch.cat([torch.zeros_like(drawn[0])] * missing + list(drawn), 1)
        picture = self.network(torch.cat(list(seen), 1), before)
        drawn.append(picture)
        return np.asarray(((picture[0] + 1) * 127.5).round().permute(1, 2, 0).cpu().numpy(), np.uint8)


# ----------------------------------------------------------------------------------------------------------- loading

_GENERATORS = {config.n_frames * config.condition_planes: config for config in (HEAD2HEAD, NED)}
_DISCRIMINATORS = {c.n_planes: c for c in (FRAME_DISCRIMINATOR, TEMPORAL_DISCRIMINATOR, NED_DISCRIMINATOR)}
_TWINS = (".resnetblock_sequential.", ".conv_block.")  # names of the same layers of a residual block


def with_twins(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A generator's state dict with the layers of residual blocks under both names, where it has them under one."""
    complete = dict(state)
    for one, other in (_TWINS, reversed(_TWINS)):
        complete |= {name.replace(one, other): value for name, value in state.items() if one in name}
    return complete


def without_twins(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A generator's state dict with those layers under one name only."""
    return {name: value for name, value in state.items() if _TWINS[0] not in name}


def load_generator(path: str | Path, *, stored_statistics: bool = False) -> Generator:
    """A generator with the weights of one person, in eval mode.

    The file tells by its first layer whether it is head2head's or NED's. Of the two names that a residual block's
    layers have in official files one is enough.

    Args:
        path: official ``latest_net_G.pth`` or ``<epoch>_net_G.pth``, or the same tensors as ``.safetensors``.
        stored_statistics: see :class:`NeuralConfig`; the official programs do not use them.

    Raises:
        InputError: if the file is missing.
        FormatError: if it holds no such generator, or more than tensors.
    """
    what = "head2head or NED generator"
    tensors = with_twins(load_tensors(path))
    config = _GENERATORS[_planes(tensors, "model_down_seg.1.weight", path, what, _GENERATORS)]
    network = Generator(replace(config, stored_statistics=stored_statistics))
    load_state(network, tensors, path, what)
    return network.eval()


def load_discriminator(path: str | Path) -> Discriminator:
    """A discriminator for further training: of frames, mouths or eyes, temporal, or NED's, as its first layer tells.

    Args:
        path: official ``<epoch>_net_{D,Dm,De,D_T0,D_T1,D_T2}.pth``, or the same tensors as ``.safetensors``.

    Raises:
        InputError: if the file is missing.
        FormatError: if it holds no such discriminator, or more than tensors.
    """
    what = "head2head or NED discriminator"
    tensors = load_tensors(path)
    network = Discriminator(_DISCRIMINATORS[_planes(tensors, "scale0_layer0.0.weight", path, what, _DISCRIMINATORS)])
    load_state(network, tensors, path, what)
    return network


def _planes(tensors: dict[str, Tensor], key: str, path: str | Path, what: str, known: Iterable[int]) -> int:
    """How many planes the first layer takes, if it is one of the known numbers."""
    weight = tensors.get(key)
    if weight is None or weight.ndim != 4:
        raise FormatError(f"{path}: is no {what} checkpoint, it lacks {key}", "use the official file")
    if weight.shape[1] not in known:
        numbers = ", ".join(str(number) for number in known)
        raise FormatError(
            f"{path}: is no {what} checkpoint, its first layer takes {weight.shape[1]} planes", f"known: {numbers}"
        )
    return weight.shape[1]
