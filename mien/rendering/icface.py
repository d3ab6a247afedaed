"""ICface: a face picture moved by action units and head rotation.

Paper: Tripathy, Kannala, Rahtu, "ICface: Interpretable and Controllable Face Reenactment Using GANs", WACV 2020
(arXiv 1904.01909).

What is here: the neutraliser and the animator, the encoder that an older release put in front of both, and the
discriminator, under the official names, so that a user's ``latest_net_GN.pth`` and ``latest_net_G.pth`` load strictly
(custom licence, non-commercial, not part of mien); the twenty controls by name; the losses; an animator of RGB crops.

Where the paper's parts stand:
    neutraliser G_N and animator G_A: :class:`ResnetGenerator`, twice; discriminator: :class:`Discriminator`;
    losses: :func:`discriminator_loss`, :func:`animator_loss`, :func:`neutraliser_loss`. No training code was ever
    released; they follow what the release's left-over files show, whose weights may not be the paper's.

Deviations, each for a reason:
    controls are taken by name from action units and a head rotation; the official code takes columns 296 to 298 and 679
    to 695 of a table, whatever they are;
    controls are limited to [0, 1], all the networks have seen;
    the neutral picture is made once per portrait, with action units of exactly zero; the official code makes it anew
    for every frame, with the driving action units over 100,000;
    a checkpoint loads strictly; the official code skips what does not fit, in silence;
    cross entropy is taken of logits and a neutral face is one that looks ahead, unless a loss is asked for
    ``as_published``: then it is taken of probabilities, and neutral pulls the head to the end of its range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.engine import Engine, fast
from mien.errors import FormatError, InputError
from mien.media.weights import load_header, load_state, load_tensors, save_weights
from mien.rendering.vgg import Vgg19, perceptual_loss
from mien.rotations import matrix_from_axis_angle
from mien.types import ActionUnits, Array, Frame

ROTATIONS: tuple[str, ...] = ("pitch", "yaw", "roll")
"""The first three controls, OpenFace's ``pose_Rx``, ``pose_Ry`` and ``pose_Rz``."""

UNITS: tuple[str, ...] = (
    "AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU10", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23", "AU25",
    "AU26", "AU45",
)  # fmt: skip
"""The other seventeen controls, OpenFace's ``AU01_r`` to ``AU45_r``."""


CARD = "mien.icface"
"""Under this name a file of mien says what its numbers mean."""


@dataclass(frozen=True)
class IcfaceConfig:
    """The published networks.

    Attributes:
        channels: width of the generators' first layer.
        n_blocks: residual blocks of a generator.
        size: side of the picture in px.
        rotation_range: rad; turned by this much either way, a rotation control is at 0 or 1. The release's weights were
            trained with 0.7, those of the older release with 0.5.
        discriminator_channels: width of the discriminator's first layer.
        n_identities: people in the training data.
    """

    channels: int = 128
    n_blocks: int = 6
    size: int = 128
    rotation_range: float = 0.7
    discriminator_channels: int = 256
    n_identities: int = 939


# ------------------------------------------------------------------------------------------------------------ layers


class ResnetBlock(nn.Module):
    """Two 3 by 3 convolutions on mirrored borders beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Dropout(0.5),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same shape."""
        refined: Tensor = self.conv_block(x)
        return x + refined


def _start(module: nn.Module) -> None:
    """Initial weights of pix2pix."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


# ---------------------------------------------------------------------------------------------------------- networks


class ResnetGenerator(nn.Module):
    """pix2pix's generator, fed with the controls as extra planes: neutraliser and animator alike."""

    def __init__(self, config: IcfaceConfig | None = None) -> None:
        super().__init__()
        config = config or IcfaceConfig()
        n, n_in = config.channels, 3 + len(ROTATIONS) + len(UNITS)
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(n_in, n, 7, bias=False), nn.BatchNorm2d(n), nn.ReLU(),
            nn.Conv2d(n, 2 * n, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(2 * n), nn.ReLU(),
            nn.Conv2d(2 * n, 4 * n, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4 * n), nn.ReLU(),
            *(ResnetBlock(4 * n) for _ in range(config.n_blocks)),
            nn.ConvTranspose2d(4 * n, 2 * n, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.BatchNorm2d(2 * n), nn.ReLU(),
            nn.ConvTranspose2d(2 * n, n, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.BatchNorm2d(n), nn.ReLU(),
            nn.ReflectionPad2d(3), nn.Conv2d(n, 3, 7), nn.Tanh(),
        )  # fmt: skip
        self.apply(_start)

    def forward(self, images: Tensor, controls: Tensor) -> Tensor:
        """Faces ``(N, 3, 128, 128)``, RGB in [-1, 1], and controls ``(N, 20)`` in [0, 1] to faces of the same kind."""
        planes = controls[:, :, None, None].expand(-1, -1, *images.shape[2:])
        moved: Tensor = self.model(torch.cat([images, planes], 1))
        return moved


class ImageEncoder(nn.Module):
    """What the older release put before both generators."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
            nn.Conv2d(128, 3, 3, padding=1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` in [-1, 1] to the same shape and range."""
        encoded: Tensor = self.features(images)
        return encoded


class Icface(nn.Module):
    """Both generators, and the older release's encoder if there is one."""

    def __init__(self, config: IcfaceConfig | None = None, encoder: ImageEncoder | None = None) -> None:
        super().__init__()
        self.config = config or IcfaceConfig()
        self.neutraliser = ResnetGenerator(self.config)
        self.animator = ResnetGenerator(self.config)
        self.encoder = encoder

    def neutral(self, images: Tensor) -> Tensor:
        """Faces ``(N, 3, 128, 128)`` at rest, looking ahead."""
        return self.neutralise(images, neutral_controls().to(images).expand(len(images), -1))

    def neutralise(self, images: Tensor, controls: Tensor) -> Tensor:
        """:meth:`neutral` with the controls given."""
        neutral: Tensor = self.neutraliser(self.encoded(images), controls)
        return neutral

    def animate(self, neutral: Tensor, controls: Tensor) -> Tensor:
        """Neutral faces ``(N, 3, 128, 128)`` moved by controls ``(N, 20)``."""
        moved: Tensor = self.animator(self.encoded(neutral), controls)
        return moved

    def encoded(self, images: Tensor) -> Tensor:
        """What both generators are given: the pictures themselves, or in the older release what the encoder says."""
        return images if self.encoder is None else self.encoder(images)


class Judgement(NamedTuple):
    """What the discriminator says about ``N`` pictures.

    Attributes:
        realness: ``(N, 1, 7, 7)``, 1 for real and 0 for generated.
        controls: ``(N, 20)`` in [0, 1], as read off the picture.
        identity: ``(N, people)`` logits.
    """

    realness: Tensor
    controls: Tensor
    identity: Tensor


class Discriminator(nn.Module):
    """A patch discriminator that also reads controls and identity."""

    def __init__(self, config: IcfaceConfig | None = None) -> None:
        super().__init__()
        config = config or IcfaceConfig()
        n = config.discriminator_channels
        self.model = nn.Sequential(
            nn.Conv2d(3, n, 3, 1, 1), nn.Conv2d(n, n, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(n, 2 * n, 3, 1, 1, bias=False), nn.Conv2d(2 * n, 2 * n, 3, 2, 1, bias=False), nn.ReLU(),
            nn.Conv2d(2 * n, 4 * n, 3, 1, 1, bias=False), nn.Conv2d(4 * n, 4 * n, 3, 2, 1, bias=False), nn.ReLU(),
            nn.Conv2d(4 * n, 8 * n, 3, 1, 1, bias=False), nn.ReLU(),
            nn.Conv2d(8 * n, 8 * n, 3, 1, 1), nn.Conv2d(8 * n, 128, 3, 2, 1),
        )  # fmt: skip
        n_flat = 128 * (config.size // 16) ** 2
        self.conv1 = nn.Conv2d(128, 1, 4, padding=1)
        self.conv2 = nn.Linear(n_flat, len(ROTATIONS) + len(UNITS))  # the official name of a linear layer
        self.aux_layer = nn.Sequential(nn.Linear(n_flat, config.n_identities))
        self.apply(_start)

    def forward(self, images: Tensor) -> Judgement:
        """``(N, 3, 128, 128)`` RGB in [-1, 1]."""
        x = self.model(images)
        flat = x.flatten(1)
        return Judgement(self.conv1(x), torch.sigmoid(self.conv2(flat)), self.aux_layer(flat))


# ------------------------------------------------------------------------------------------------------------ losses


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; the defaults are those of the release's left-over files.

    Attributes:
        controls: the controls read off a picture against those asked for (L1, over the batch size as well).
        driven: the neutral picture, moved, against the driving frame (L1).
        identity: whose face it is.
        picture: reenacted against the driving frame; neutral against what the animator makes of it at rest (L1).
        slope: of the discriminator at real pictures, squared.
        perceptual: neutral against the driving frame.
    """

    controls: float = 10.0
    driven: float = 10.0
    identity: float = 10.0
    picture: float = 10.0
    slope: float = 0.05
    perceptual: float = 0.1


def discriminator_loss(
    discriminator: Discriminator,
    images: Tensor,
    controls: Tensor,
    identity: Tensor,
    reenacted: Tensor,
    neutral: Tensor,
    weights: LossWeights | None = None,
    *,
    as_published: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The discriminator's loss.

    Args:
        discriminator: in training.
        images: real pictures ``(N, 3, 128, 128)``.
        controls: ``(N, 20)`` theirs.
        identity: ``(N,)`` indices of the people in them.
        reenacted: by the animator; no gradient flows into it.
        neutral: by the neutraliser; no gradient flows into it.
        weights: of the terms.
        as_published: keep the official quirks (see the top of this file).

    Returns:
        The loss and its weighted terms by name.
    """
    weights = weights or LossWeights()
    images = images.detach().requires_grad_()
    real = discriminator(images)
    slope: Tensor = torch.autograd.grad(real.realness.sum(), images, create_graph=True)[0]
    terms = {
        "real": _realness_loss(real, 1),
        "identity": weights.identity * _identity_loss(real, identity, as_published),
        "controls": weights.controls * _controls_loss(real, controls),
        "slope": weights.slope * slope.square().flatten(1).sum(1).mean(),
        "reenacted": _realness_loss(discriminator(reenacted.detach()), 0),
        "neutral": _realness_loss(discriminator(neutral.detach()), 0),
    }
    return _sum(terms), terms


def animator_loss(
    judgement: Judgement,
    reenacted: Tensor,
    driving: Tensor,
    controls: Tensor,
    identity: Tensor,
    weights: LossWeights | None = None,
    *,
    as_published: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of the animator.

    Args:
        judgement: of the reenacted pictures.
        reenacted: the portrait moved by the controls of the driving frame, ``(N, 3, 128, 128)``.
        driving: frames of the same people.
        controls: ``(N, 20)`` of the driving frames.
        identity: ``(N,)`` indices of the people.
        weights: of the terms.
        as_published: keep the official quirks.

    Returns:
        The loss and its weighted terms by name.
    """
    weights = weights or LossWeights()
    terms = {
        "real": _realness_loss(judgement, 1),
        "picture": weights.picture * F.l1_loss(reenacted, driving),
        "controls": weights.controls * _controls_loss(judgement, controls),
        "identity": weights.identity * _identity_loss(judgement, identity, as_published),
    }
    return _sum(terms), terms


def neutraliser_loss(
    judgement: Judgement,
    neutral: Tensor,
    driving: Tensor,
    controls: Tensor,
    identity: Tensor,
    animate: Callable[[Tensor, Tensor], Tensor],
    vgg: Vgg19 | None,
    weights: LossWeights | None = None,
    *,
    as_published: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of the neutraliser.

    Args:
        judgement: of the neutral pictures.
        neutral: what it made, ``(N, 3, 128, 128)``.
        driving: frames of the same people.
        controls: ``(N, 20)`` of the driving frames.
        identity: ``(N,)`` indices of the people.
        animate: moves a neutral picture by controls (:meth:`Icface.animate`).
        vgg: with ImageNet weights; without it the perceptual term is left out.
        weights: of the terms.
        as_published: keep the official quirks.

    Returns:
        The loss and its weighted terms by name.
    """
    weights = weights or LossWeights()
    at_rest = neutral_controls().to(neutral).expand(len(neutral), -1)
    asked = torch.zeros_like(at_rest) if as_published else at_rest
    with torch.no_grad():  # the animator says what rest looks like, the neutraliser follows
        rested = animate(neutral, at_rest)
    terms = {
        "real": _realness_loss(judgement, 1),
        "controls": weights.controls * _controls_loss(judgement, asked),
        "picture": weights.picture * F.l1_loss(neutral, rested),
        "driven": weights.driven * F.l1_loss(animate(neutral, controls), driving),
        "identity": weights.identity * _identity_loss(judgement, identity, as_published),
    }
    if vgg is not None:
        terms["perceptual"] = weights.perceptual * perceptual_loss(vgg, neutral, driving)
    return _sum(terms), terms


def _realness_loss(judgement: Judgement, wanted: float) -> Tensor:
    """Least squares (Mao et al. 2017)."""
    return (judgement.realness - wanted).square().mean()


def _controls_loss(judgement: Judgement, controls: Tensor) -> Tensor:
    return F.l1_loss(judgement.controls, controls) / len(controls)


def _identity_loss(judgement: Judgement, identity: Tensor, as_published: bool) -> Tensor:
    # Published: probabilities go where logits belong, so that even certainty costs nearly as much as a guess.
    return F.cross_entropy(judgement.identity.softmax(1) if as_published else judgement.identity, identity)


def _sum(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


# ----------------------------------------------------------------------------------------------------------- adapter


def neutral_controls() -> Tensor:
    """``(20,)`` controls of a face at rest that looks ahead."""
    return torch.tensor([0.5] * len(ROTATIONS) + [0.0] * len(UNITS))


def rotations_from_head_pose(head_pose: Array) -> Array:
    """``(T, 3)`` pitch, yaw and roll in rad, in OpenFace's sense, of axis-angle vectors ``(T, 3)``.

    Convention: rotation matrix = Rx(pitch) Ry(yaw) Rz(roll) with x to the viewer's right, y down, z away from the
    camera. So nodding down is a positive pitch, turning to the viewer's left a positive yaw, and tilting clockwise as
    the viewer sees it a positive roll; a mere turn ``(0, 0.2, 0)`` to the viewer's right is a yaw of -0.2.
    """
    matrix = matrix_from_axis_angle(head_pose)
    pitch = np.arctan2(-matrix[:, 1, 2], matrix[:, 2, 2])
    yaw = np.arcsin(np.clip(matrix[:, 0, 2], -1, 1))
    roll = np.arctan2(-matrix[:, 0, 1], matrix[:, 0, 0])
    return np.stack([pitch, -yaw, -roll], 1).astype(np.float32)


def controls_from(action_units: ActionUnits, head_pose: Array, config: IcfaceConfig | None = None) -> Array:
    """``(T, 20)`` controls in [0, 1]: three rotations, then the action units of :data:`UNITS`.

    Args:
        action_units: at least those of :data:`UNITS`, in any order.
        head_pose: ``(T, 3)`` rad, axis-angle.
        config: brings the range of rotations.

    Raises:
        InputError: if an action unit is missing.
        ValueError: if lengths differ.
    """
    missing = [name for name in UNITS if name not in action_units.names]
    if missing:
        raise InputError(f"ICface needs {', '.join(UNITS)}; missing: {', '.join(missing)}", "add them, as 0 if unknown")
    if len(action_units) != len(head_pose):
        raise ValueError(f"head_pose: expected {len(action_units)} rows like action_units, got {len(head_pose)}")
    reach = (config or IcfaceConfig()).rotation_range
    turned = (rotations_from_head_pose(head_pose) + reach) / (2 * reach)
    units = action_units.values[:, [action_units.names.index(name) for name in UNITS]]
    return np.asarray(np.clip(np.concatenate([turned, units], 1), 0, 1), np.float32)


def as_tensor(faces: Frame) -> Tensor:
    """Pictures ``(N, S, S, 3)`` as the networks see them, ``(N, 3, S, S)`` in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(faces)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


class IcfaceRenderer:
    """One portrait, ready to move; its neutral picture is made once, here.

    Args:
        network: with learned weights; it is put in eval mode.
        crop: square RGB crop of a face, ``(S, S, 3)``.
        engine: what the animator computes in.

    Raises:
        ValueError: if the crop is not square.
    """

    def __init__(self, network: Icface, crop: Frame, engine: Engine = "auto") -> None:
        from PIL import Image

        side = crop.shape[0]
        if crop.shape != (side, side, 3):
            raise ValueError(f"crop: expected (S, S, 3), got {crop.shape}")
        self._config, self._side, size = network.config, side, network.config.size
        small = np.array(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
        self._device = next(network.parameters()).device
        with torch.inference_mode():
            self._neutral = network.eval().neutral(as_tensor(small[None]).to(self._device))
            self._encoded = network.encoded(self._neutral)
        self._animator = fast(network.animator, engine)

    @property
    def neutral(self) -> Frame:
        """``(S, S, 3)`` the portrait at rest, looking ahead."""
        return self._frame(self._neutral[0])

    def render(self, action_units: ActionUnits, head_pose: Array, batch: int = 1) -> Iterator[Frame]:
        """Frames ``(S, S, 3)``, one per row of the controls (:func:`controls_from`).

        Args:
            action_units: at least those of :data:`UNITS`.
            head_pose: ``(T, 3)`` rad, axis-angle.
            batch: frames that go through the network together; it does not change what they show.
        """
        controls = torch.from_numpy(controls_from(action_units, head_pose, self._config))
        for start in range(0, len(controls), batch):
            rows = controls[start : start + batch]
            with torch.inference_mode():
                encoded = self._encoded.expand(len(rows), -1, -1, -1)
                moved = self._animator.eval()(encoded, rows.to(self._device))
            yield from map(self._frame, moved)

    def _frame(self, image: Tensor) -> Frame:
        from PIL import Image

        pixels = image.cpu().add(1).mul(127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        restored = Image.fromarray(pixels).resize((self._side, self._side), Image.Resampling.BICUBIC)
        return np.array(restored, np.uint8)


# ----------------------------------------------------------------------------------------------------------- loading

ANIMATOR_FILE, NEUTRALISER_FILE, ENCODER_FILE = "latest_net_G.pth", "latest_net_GN.pth", "latest_net_I_E.pth"
"""What the official files are called."""


def load_icface(path: str | Path) -> Icface:
    """Both generators with the user's weights, in eval mode.

    Args:
        path: the folder with the official files, either release (the encoder is there in the older one only, and makes
            the range of rotations 0.5 rad); or one ``.safetensors`` with the state of :class:`Icface`.

    Raises:
        InputError: if the folder or a file is missing.
        FormatError: if a file is not what its name says, is damaged, or would have to be unpickled.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        tensors = load_tensors(path)
        network = _network_for(
            path, tensors, "animator.", has_encoder=any(key.startswith("encoder.") for key in tensors)
        )
        card = load_header(path, CARD)
        reach = card.get("rotation_range", network.config.rotation_range)
        network.config = replace(network.config, size=card.get("size", IcfaceConfig.size), rotation_range=reach)
        load_state(network, tensors, path, what="ICface")
        return network.eval()
    if path.is_file():
        raise FormatError(
            f"{path}: ICface needs two files", f"give the folder that holds {ANIMATOR_FILE} and {NEUTRALISER_FILE}"
        )
    if not path.is_dir():
        raise InputError(f"{path}: no such folder", f"give the folder that holds {ANIMATOR_FILE}")
    tensors = _official(path / ANIMATOR_FILE)
    network = _network_for(path / ANIMATOR_FILE, tensors, "", has_encoder=(path / ENCODER_FILE).exists())
    parts = {ANIMATOR_FILE: network.animator, NEUTRALISER_FILE: network.neutraliser, ENCODER_FILE: network.encoder}
    for name, part in parts.items():
        if part is None:
            continue
        found = tensors if name == ANIMATOR_FILE else _official(path / name)
        counters = {key: value for key, value in part.state_dict().items() if key.endswith("num_batches_tracked")}
        load_state(part, counters | found, path / name, what="ICface")  # torch before 0.4.1 kept no counters
    return network.eval()


def save_icface(path: str | Path, network: Icface) -> None:
    """Write what :func:`load_icface` reads as one ``.safetensors``, with the names of its controls.

    Raises:
        OutputError: if the place cannot be written.
    """
    config = network.config
    card = {"controls": [*ROTATIONS, *UNITS], "size": config.size, "rotation_range": config.rotation_range}
    save_weights(path, network.state_dict(), CARD, card)


def _official(path: Path) -> dict[str, Tensor]:
    """The state dict of an official file: beside the optimiser's in the newer release, alone in the older."""
    try:
        return load_tensors(path, "state_dict")
    except FormatError:
        return load_tensors(path)


def _network_for(path: Path, tensors: dict[str, Tensor], prefix: str, *, has_encoder: bool) -> Icface:
    """An empty network as wide and deep as the animator in the file."""
    first = tensors.get(f"{prefix}model.1.weight")
    if first is None or first.ndim != 4:
        raise FormatError(f"{path}: is no ICface checkpoint, it lacks {prefix}model.1.weight", "use the official file")
    config = IcfaceConfig(
        channels=len(first),
        n_blocks=sum(key.startswith(prefix) and key.endswith("conv_block.1.weight") for key in tensors),
        rotation_range=0.5 if has_encoder else IcfaceConfig.rotation_range,
    )
    return Icface(config, ImageEncoder() if has_encoder else None)
