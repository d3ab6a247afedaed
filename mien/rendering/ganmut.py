"""GANmut: the emotion of a face picture, chosen in a learned plane.

Paper: d'Apolito, Paudel, Huang, Romero, Van Gool, "GANmut: Learning Interpretable Conditional Space for Gamut of
Emotions", CVPR 2021, 568-577.

What is here: both conditional spaces (linear "GANmut", Gaussian "GGANmut", each in two or three dimensions), generator
and discriminator under the official names, so that a user's ``<iteration>-G.ckpt`` loads strictly (the learned weights
may not be used commercially and are not part of mien); the sampling of codes and every term of both losses; an editor
that takes RGB crops.

Where the paper's parts stand:
    the space of directions, one per emotion, strength along it: :class:`LinearGenerator`;
    the space of Gaussians, one per emotion: :class:`GaussianGenerator`;
    critic, emotion and code heads: :class:`Discriminator`; losses: :func:`discriminator_loss` (both spaces),
    :func:`linear_generator_loss`, :func:`gaussian_generator_loss`, :func:`gradient_penalty`, :func:`r1_penalty`.

The plane is learned; it is not valence and arousal, though a similar order of emotions came out.

Deviations, each for a reason:
    the official programs never leave training mode, so the norms use each picture's own statistics; that is what the
    weights were made for. :class:`GanmutEditor` does so whatever mode the network is in, and leaves the stored
    statistics, which nothing reads, as they are;
    the mean of a Gaussian is always tanh(mu); the official code forgets the tanh when it is asked for a label;
    random directions of the three-dimensional linear space cover the sphere; the official ones one octant of it;
    the code that leads back to the original in the cycle is the plain code of its label and strength; the official
    code sends it through the training sampler, which adds noise and replaces the first five by random directions.
Kept, because published weights depend on it: covariances of the three-dimensional Gaussian space overlap in memory (see
:meth:`GaussianGenerator.covariances`) and may be indefinite, so its distances may be negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.engine import Engine, fast
from mien.errors import FormatError, InputError
from mien.media.weights import load_header, load_state, load_tensors, save_weights
from mien.types import Array, Emotion, Frame

LABELS: tuple[Emotion, ...] = (
    Emotion.NEUTRAL, Emotion.HAPPY, Emotion.SAD, Emotion.SURPRISE, Emotion.FEAR, Emotion.DISGUST, Emotion.ANGER,
)  # fmt: skip
"""What the seven classes are, in order: AffectNet's 0 to 6."""


@dataclass(frozen=True)
class GanmutConfig:
    """The published networks.

    Attributes:
        space: of directions (``"linear"``) or of Gaussians.
        code_dim: 2 for the plane; 3 for the published variants in space.
        channels: width of the first layer of both networks.
        n_blocks: residual blocks of the generator.
        size: side of the picture in px.
        n_random: per batch, pictures that get a random direction instead of a label's (linear space).
        noise: standard deviation added to the code of a label in training (linear space).
    """

    space: Literal["linear", "gaussian"] = "linear"
    code_dim: int = 2
    channels: int = 64
    n_blocks: int = 6
    size: int = 128
    n_random: int = 5
    noise: float = 0.075


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; the defaults are the linear space's.

    Attributes:
        classes: emotion, for both networks.
        reconstruction: cycle, L1.
        regulariser: gradient penalty or R1.
        code: the code as the discriminator reads it off generated pictures.
        strength: of the emotion (linear space; the authors' launch scripts used 4).
        means: pictures made at the Gaussians' means show those emotions (Gaussian space).
    """

    classes: float = 1.0
    reconstruction: float = 10.0
    regulariser: float = 10.0
    code: float = 1.0
    strength: float = 1.0
    means: float = 0.5


GAUSSIAN_WEIGHTS = LossWeights(classes=2.0)
"""The published weights of the Gaussian space."""

CARD = "mien.ganmut"
"""Under this name a file of mien says what its numbers mean."""

SHOWN = 0.2
"""The least strength that counts as showing an emotion; neutral codes stay within it."""


# ------------------------------------------------------------------------------------------------------------ layers


def _norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)


class ResidualBlock(nn.Module):
    """Two 3 by 3 convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), _norm(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), _norm(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same shape."""
        refined: Tensor = self.main(x)
        return x + refined


# ---------------------------------------------------------------------------------------------------------- networks


class Generator(nn.Module):
    """StarGAN's generator, fed with the code as extra planes; the subclass brings the space of codes.

    Args:
        config: sizes.
        space: the learned parts of the space under their official names.
    """

    def __init__(self, config: GanmutConfig, space: Mapping[str, nn.Linear]) -> None:
        super().__init__()
        self.config = config
        for name, part in space.items():
            self.add_module(name, part)
        n = config.channels
        self.main = nn.Sequential(
            nn.Conv2d(3 + config.code_dim, n, 7, padding=3, bias=False), _norm(n), nn.ReLU(),
            nn.Conv2d(n, 2 * n, 4, stride=2, padding=1, bias=False), _norm(2 * n), nn.ReLU(),
            nn.Conv2d(2 * n, 4 * n, 4, stride=2, padding=1, bias=False), _norm(4 * n), nn.ReLU(),
            *(ResidualBlock(4 * n) for _ in range(config.n_blocks)),
            nn.ConvTranspose2d(4 * n, 2 * n, 4, stride=2, padding=1, bias=False), _norm(2 * n), nn.ReLU(),
            nn.ConvTranspose2d(2 * n, n, 4, stride=2, padding=1, bias=False), _norm(n), nn.ReLU(),
            nn.Conv2d(n, 3, 7, padding=3, bias=False), nn.Tanh(),
        )  # fmt: skip

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Faces ``(N, 3, 128, 128)``, BGR in [-1, 1], and codes ``(N, D)`` to edited faces of the same kind."""
        planes = codes[:, :, None, None].expand(-1, -1, *images.shape[2:])
        edited: Tensor = self.main(torch.cat([images, planes], 1))
        return edited

    def emotion_codes(self) -> Tensor:
        """``(7, D)`` where the emotions of :data:`LABELS` lie at full strength."""
        raise NotImplementedError


class LinearGenerator(Generator):
    """A direction per emotion; neutral is the origin and strength the distance from it."""

    axes: nn.Linear

    def __init__(self, config: GanmutConfig | None = None) -> None:
        config = config or GanmutConfig("linear")
        axes = nn.Linear(config.code_dim, len(LABELS) - 1)  # its bias is in the official file but never used
        with torch.no_grad():
            axes.weight.mul_(1e-4)
        super().__init__(config, {"axes": axes})

    def emotion_codes(self) -> Tensor:
        """``(7, D)``: the origin, then six unit vectors."""
        return torch.cat([self.axes.weight.new_zeros(1, self.config.code_dim), F.normalize(self.axes.weight)])

    def codes(self, labels: Tensor, strengths: Tensor) -> Tensor:
        """``(N, D)`` codes of ``(N,)`` indices into :data:`LABELS` at ``(N,)`` strengths in [0, 1]."""
        return strengths[:, None] * self.emotion_codes()[labels]

    def training_codes(self, labels: Tensor, random: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Codes ``(N, D)`` to train with and their strengths ``(N,)``.

        Strengths are drawn from U(0.2, 1), for neutral from U(0, 0.2); codes get noise; the first ``n_random`` point
        anywhere, so that the plane between the emotions is trained too.
        """
        n, n_random, device = len(labels), min(self.config.n_random, len(labels)), labels.device
        drawn = SHOWN + (1 - SHOWN) * torch.rand(n, generator=random, device=device)
        strengths = strengths_for(labels, drawn)
        noise = self.config.noise * torch.randn(n, self.config.code_dim, generator=random, device=device)
        directions = torch.randn(n_random, self.config.code_dim, generator=random, device=device)
        anywhere = strengths[:n_random, None] * F.normalize(directions)
        return torch.cat([anywhere, (self.codes(labels, strengths) + noise)[n_random:]]), strengths


class GaussianGenerator(Generator):
    """A Gaussian per emotion, neutral included; all of [-1, 1] to the power D is in use."""

    mu: nn.Linear
    covariance_axes: nn.Linear
    covariance_angles: nn.Linear
    covariances_list: nn.Linear

    def __init__(self, config: GanmutConfig | None = None) -> None:
        config = config or GanmutConfig("gaussian")
        n, d = len(LABELS), config.code_dim
        mu = nn.Linear(d, n, bias=False)
        if d == 2:
            angles, axes = nn.Linear(n, 1, bias=False), nn.Linear(d, n, bias=False)
            nn.init.zeros_(angles.weight)
            nn.init.ones_(axes.weight)
            super().__init__(config, {"covariance_angles": angles, "covariance_axes": axes, "mu": mu})
        else:
            super().__init__(config, {"covariances_list": nn.Linear(n * d, d, bias=False), "mu": mu})

    def emotion_codes(self) -> Tensor:
        """``(7, D)`` means of the Gaussians."""
        return torch.tanh(self.mu.weight)

    def covariances(self) -> Tensor:
        """``(7, D, D)``.

        In the plane ``R diag(|axes|) R^T`` with R turned by the angle. In three dimensions ``M + M^T``, where the three
        columns of M begin at column k of one long matrix for emotion k, so that neighbours share two of them.
        """
        if self.config.code_dim == 2:
            angles = self.covariance_angles.weight[0]
            cos, sin = angles.cos(), angles.sin()
            turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
            return turn @ torch.diag_embed(self.covariance_axes.weight.abs()) @ turn.mT
        d = self.config.code_dim
        columns = torch.stack([self.covariances_list.weight[:, k : k + d] for k in range(len(LABELS))])
        return columns + columns.mT

    def distances(self, codes: Tensor) -> Tensor:
        """``(N, 7)`` squared Mahalanobis distances of codes ``(N, D)`` from the emotions."""
        away = codes[:, None] - self.emotion_codes()
        return torch.einsum("nki,kij,nkj->nk", away, torch.linalg.inv(self.covariances()), away)

    def training_codes(self, n: int, random: torch.Generator | None = None) -> Tensor:
        """``(n, D)`` codes to train with: the seven means, then anything from U(-1, 1).

        Raises:
            ValueError: if ``n`` is below seven.
        """
        if n < len(LABELS):
            raise ValueError(f"n: expected a batch of at least {len(LABELS)}, one per emotion, got {n}")
        means = self.emotion_codes()
        drawn = torch.rand(n - len(LABELS), means.shape[1], generator=random, device=means.device)
        return torch.cat([means, 2 * drawn - 1])


class Judgement(NamedTuple):
    """What the discriminator says about ``N`` pictures.

    Attributes:
        critic: ``(N, 1, 2, 2)``, large for what looks real.
        logits: ``(N, 7)`` emotions.
        codes: ``(N, D)`` the code it reads off the picture.
    """

    critic: Tensor
    logits: Tensor
    codes: Tensor


class Discriminator(nn.Module):
    """StarGAN's discriminator with a head for the code; in the Gaussian space one head says emotion and code."""

    def __init__(self, config: GanmutConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GanmutConfig()
        widths = [3, *(config.channels * 2**i for i in range(6))]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), nn.LeakyReLU(0.01)]
        self.main = nn.Sequential(*layers)
        n, left, n_labels = widths[-1], config.size // 2**6, len(LABELS)
        joint = config.space == "gaussian"
        self.conv1 = nn.Conv2d(n, 1, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(n, n_labels + (config.code_dim if joint else 0), left, bias=False)
        self.conv3 = None if joint else nn.Conv2d(n, config.code_dim, left, bias=False)

    def forward(self, images: Tensor) -> Judgement:
        """``(N, 3, 128, 128)`` BGR in [-1, 1]."""
        x = self.main(images)
        said = self.conv2(x).flatten(1)
        codes = said[:, len(LABELS) :] if self.conv3 is None else self.conv3(x).flatten(1)
        return Judgement(self.conv1(x), said[:, : len(LABELS)], codes)


# ------------------------------------------------------------------------------------------------------------ losses


def strengths_for(labels: Tensor, drawn: Tensor) -> Tensor:
    """Strengths ``(N,)`` drawn from [0.2, 1]; those of neutral faces are stretched to [0, 0.2]."""
    return torch.where(labels == 0, SHOWN * (drawn - SHOWN) / (1 - SHOWN), drawn)


def strengths_seen(logits: Tensor) -> Tensor:
    """``(N,)`` probability of the likeliest emotion: how strongly a real picture shows its emotion (cycle)."""
    return logits.softmax(1).amax(1)


def gradient_penalty(discriminator: Discriminator, images: Tensor) -> Tensor:
    """Mean of (norm of the critic's slope - 1) squared (Gulrajani et al. 2017).

    Args:
        discriminator: the critic.
        images: mixtures of a real and a generated picture each, in random proportion.
    """
    steepness: Tensor = torch.linalg.vector_norm(_slope(discriminator, images), dim=1)
    return (steepness - 1).square().mean()


def r1_penalty(discriminator: Discriminator, images: Tensor) -> Tensor:
    """Half the mean squared norm of the critic's slope at real pictures (Mescheder et al. 2018)."""
    return 0.5 * _slope(discriminator, images).square().sum(1).mean()


def _slope(discriminator: Discriminator, images: Tensor) -> Tensor:
    """``(N, pixels)`` gradient of the summed critic map at each picture."""
    images = images.detach().requires_grad_()
    slope: Tensor = torch.autograd.grad(discriminator(images).critic.sum(), images, create_graph=True)[0]
    return slope.flatten(1)


def discriminator_loss(
    real: Judgement, fake: Judgement, labels: Tensor, codes: Tensor, regulariser: Tensor, weights: LossWeights
) -> tuple[Tensor, dict[str, Tensor]]:
    """The discriminator's loss in either space (Wasserstein, emotion, code, regulariser).

    Args:
        real: of real pictures.
        fake: of generated ones, made without gradient.
        labels: ``(N,)`` true emotions of the real pictures.
        codes: ``(N, D)`` what the generator was given; no gradient flows into them.
        regulariser: :func:`gradient_penalty` or :func:`r1_penalty`.
        weights: of the terms.

    Returns:
        The loss, and its terms before weighting by name, for the log.
    """
    terms = {
        "real": -real.critic.mean(),
        "fake": fake.critic.mean(),
        "classes": F.cross_entropy(real.logits, labels),
        "code": F.mse_loss(fake.codes, codes.detach()),
        "regulariser": regulariser,
    }
    loss = terms["real"] + terms["fake"] + weights.classes * terms["classes"] + weights.code * terms["code"]
    return loss + weights.regulariser * regulariser, terms


def linear_generator_loss(
    fake: Judgement,
    images: Tensor,
    cycled: Tensor,
    labels: Tensor,
    codes: Tensor,
    strengths: Tensor,
    weights: LossWeights,
    n_random: int = 5,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The generator's loss in the linear space.

    Args:
        fake: of generated pictures.
        images: the originals.
        cycled: generated from the generated ones with the originals' codes.
        labels: ``(N,)`` the emotions asked for.
        codes: ``(N, D)`` the codes asked for.
        strengths: ``(N,)`` their strengths.
        weights: of the terms.
        n_random: pictures at the front whose label does not count, for their direction was random.

    Returns:
        The loss, and its terms before weighting by name.
    """
    shown = (strengths > SHOWN).to(strengths.dtype)
    off = (strengths_seen(fake.logits) - strengths).square()
    terms = {
        "fake": -fake.critic.mean(),
        "reconstruction": F.l1_loss(cycled, images),
        "classes": F.cross_entropy(fake.logits[n_random:], labels[n_random:]),
        "strength": (shown * off).sum() / shown.sum().clamp_min(1),  # a batch of neutral ones has no strength to miss
        "code": F.mse_loss(fake.codes, codes),
    }
    loss = terms["fake"] + weights.reconstruction * terms["reconstruction"] + weights.classes * terms["classes"]
    return loss + weights.strength * terms["strength"] + weights.code * terms["code"], terms


def gaussian_generator_loss(
    fake: Judgement, images: Tensor, cycled: Tensor, distances: Tensor, weights: LossWeights = GAUSSIAN_WEIGHTS
) -> tuple[Tensor, dict[str, Tensor]]:
    """The generator's loss in the Gaussian space; means and covariances learn through ``distances``.

    Args:
        fake: of generated pictures, the first seven made at the means.
        images: the originals.
        cycled: generated from the generated ones with the codes that the discriminator reads off the originals.
        distances: ``(N, 7)`` of the codes asked for.
        weights: of the terms.

    Returns:
        The loss, and its terms before weighting by name.
    """
    asked, seen = (-distances).log_softmax(1), fake.logits.log_softmax(1)
    n = len(LABELS)
    terms = {
        "fake": -fake.critic.mean(),
        "reconstruction": F.l1_loss(cycled, images),
        "classes": _divergence(asked, seen) + _divergence(seen, asked),
        "means": F.cross_entropy(fake.logits[:n], torch.arange(n, device=images.device)),
    }
    loss = terms["fake"] + weights.reconstruction * terms["reconstruction"]
    return loss + weights.classes * terms["classes"] + weights.means * terms["means"], terms


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """Kullback-Leibler divergence of p from q, both ``(N, L)`` logarithms, mean over N."""
    return (p.exp() * (p - q)).sum(1).mean()


# ----------------------------------------------------------------------------------------------------------- adapter


def code_from_polar(theta: float, rho: float) -> Array:
    """``(2,)`` emotion code of an angle in radians and a distance from the origin (0 to 1, at most about 1.2)."""
    return np.array([rho * np.cos(theta), rho * np.sin(theta)], np.float32)


def as_tensor(faces: Frame) -> Tensor:
    """RGB pictures ``(N, S, S, 3)`` as the networks see them, ``(N, 3, S, S)`` BGR in [-1, 1]."""
    return torch.from_numpy(faces[..., ::-1].copy()).permute(0, 3, 1, 2).float().div(127.5).sub(1)


class GanmutEditor:
    """A loaded generator that edits pictures.

    Args:
        generator: with learned weights; from now on in training mode, with its stored statistics left alone.
        engine: what it computes in.
    """

    def __init__(self, generator: Generator, engine: Engine = "auto") -> None:
        self.config = generator.config
        for module in generator.modules():
            if isinstance(module, nn.InstanceNorm2d):
                module.momentum = 0.0  # a picture leaves no trace in the stored statistics
        with torch.inference_mode():
            points = generator.emotion_codes().cpu().numpy()
        self._generator = fast(generator, engine)
        self.emotions: dict[Emotion, Array] = dict(zip(LABELS, points, strict=True))
        """Where each emotion lies at full strength, ``(D,)``."""

    def emotion_code(self, emotion: str, intensity: float = 1.0) -> Array:
        """``(D,)`` code on the straight way from neutral (intensity 0) to an emotion (1).

        Raises:
            InputError: if the emotion is none of the seven, or the intensity outside [0, 1].
        """
        if emotion not in self.emotions:
            raise InputError(f"emotion {emotion!r} is not in GANmut's space", f"choose from {', '.join(self.emotions)}")
        if not 0 <= intensity <= 1:
            raise InputError(f"intensity {intensity:g} of {emotion} is outside 0 to 1", "give a value between 0 and 1")
        neutral = self.emotions[Emotion.NEUTRAL]
        return neutral + np.float32(intensity) * (self.emotions[Emotion(emotion)] - neutral)

    def restyle(self, crop: Frame, emotion_code: npt.ArrayLike) -> Frame:
        """A square RGB crop of a face with the emotion of a code ``(D,)``, in its own size."""
        edited: Frame = self.restyle_batch(crop[None], np.asarray(emotion_code, np.float32)[None])[0]
        return edited

    def restyle_batch(self, crops: Frame, emotion_codes: npt.ArrayLike) -> Frame:
        """Crops ``(N, S, S, 3)`` with codes ``(N, D)``; one crop goes with many codes, one code with many crops.

        Raises:
            ValueError: if crops are not square, or the numbers do not fit.
        """
        import cv2

        codes = torch.tensor(np.asarray(emotion_codes, np.float32))
        n, side, shape = max(len(crops), len(codes)), crops.shape[1], crops.shape[1:]
        if shape != (side, side, 3):
            raise ValueError(f"crops: expected (N, S, S, 3), got {crops.shape}")
        if codes.shape[1:] != (self.config.code_dim,) or {len(crops), len(codes)} - {1, n}:
            raise ValueError(f"emotion_codes: expected ({n} or 1, {self.config.code_dim}), got {tuple(codes.shape)}")
        size = (self.config.size, self.config.size)
        shrink = cv2.INTER_AREA if side > self.config.size else cv2.INTER_LINEAR
        small = np.stack([cv2.resize(crop, size, interpolation=shrink) for crop in crops])
        images = as_tensor(small)
        device = next(self._generator.parameters()).device
        with torch.inference_mode():
            edited = self._generator.train()(
                images.expand(n, -1, -1, -1).to(device), codes.expand(n, -1).to(device)
            ).cpu()
        pictures = edited.add(1).mul(127.5).round().to(torch.uint8).flip(1).permute(0, 2, 3, 1).contiguous().numpy()
        restored = [cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC) for picture in pictures]
        return np.asarray(restored, np.uint8)


# ----------------------------------------------------------------------------------------------------------- loading


def load_ganmut(path: str | Path) -> LinearGenerator | GaussianGenerator:
    """The generator with the user's weights, from an official ``<iteration>-G.ckpt`` or ``.safetensors``.

    Space, dimension and width are read from the file. The network is in training mode, as the official one always is.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is no GANmut generator, is damaged, or would have to be unpickled.
    """
    tensors = load_tensors(path)
    if {"conv1.weight", "conv2.weight"} <= tensors.keys():
        raise FormatError(f"{path}: is GANmut's discriminator", "use the file that ends in -G.ckpt beside it")
    space = next((tensors[key] for key in ("axes.weight", "mu.weight") if key in tensors), None)
    first = tensors.get("main.0.weight")
    if space is None or first is None or space.ndim != 2 or first.ndim != 4 or space.shape[1] not in (2, 3):
        raise FormatError(f"{path}: is no GANmut checkpoint, it lacks a space of emotions", "use the official file")
    linear = "axes.weight" in tensors
    config = GanmutConfig(
        space="linear" if linear else "gaussian",
        code_dim=space.shape[1],
        channels=first.shape[0],
        n_blocks=sum(key.endswith(".main.0.weight") for key in tensors),
        size=load_header(path, CARD).get("size", GanmutConfig.size),
    )
    generator = LinearGenerator(config) if linear else GaussianGenerator(config)
    load_state(generator, tensors, path, what="GANmut")
    return generator


def save_ganmut(path: str | Path, generator: Generator) -> None:
    """Write what :func:`load_ganmut` reads as ``.safetensors``; where each emotion lies stands in it by name.

    Raises:
        OutputError: if the place cannot be written.
    """
    with torch.no_grad():
        codes = generator.emotion_codes().cpu().tolist()
    emotions = {label.value: code for label, code in zip(LABELS, codes, strict=True)}
    card = {"space": generator.config.space, "size": generator.config.size, "emotions": emotions}
    save_weights(path, generator.state_dict(), CARD, card)
