"""NED: the emotion of a face in motion becomes another one, and its mouth still says the same.

Paper: Paraperas Papantoniou, Filntisis, Maragos, Roussos, "Neural Emotion Director: Speech-preserving semantic control
of facial expressions in 'in-the-wild' videos", CVPR 2022. This file is its emotion manipulator; its face renderer is a
variant of head2head.

What it does. A frame is 51 numbers, how far the jaw is open and 50 FLAME expressions. Windows of ten frames are
translated towards a *style*, 16 numbers. A style comes from a label (mapping network, fed with noise) or from a
reference clip (style encoder). The windows, one per frame, are blended with a Gaussian.

What is here, under the official names, so that official checkpoints load strictly:
    mapping network, style encoder, translator (officially "generator") and discriminator;
    the losses: least squares, style, cycle and the correlation of the jaw with the source's, section "losses";
    the geometric median of a clip's styles: :func:`geometric_median`; the blend: :func:`blend`;
    whole motions by label or by reference: :class:`NedEditor`.
``tests/motion/test_ned.py`` compares outputs, losses and gradients with numbers of the official classes.

Deviations, each for a reason:
    labels are names; the official program takes an index into its own order;
    noise is drawn with a seed; officially every run of label mode differs;
    *intensity* (not in the paper) blends source and translation; 0 is the source itself;
    the correlation of the jaw has a least size of the movement: a still jaw gives NaN officially;
    in the first and last nine frames all windows that exist are blended; officially only the first or last one
    counts, which leaves a step ten frames into the clip (``official_edges`` gives it);
    a style per window may be given, where the original has equal parts with hard switches;
    clips shorter than a window are translated in one piece; the official program wants ten frames.

Convention: time first; the jaw's opening in rad comes first in a frame, then the expressions in the rig's order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.errors import FormatError, InputError
from mien.media.weights import load_header, load_state, load_tensors, part_of, save_weights
from mien.motion.ned_reversible import FEELING, label_index
from mien.types import Array, Emotion, FaceMotion

_BLOCK = 512  # windows translated at a time, so that memory stays flat
NED_FORMAT = 1
"""Version of what :func:`save_ned` writes."""

_HEADER = "mien.ned"
_LEAST_MOVEMENT = 1e-3  # rad, length of ten centred jaw values: a fiftieth of a degree is tracking noise


@dataclass(frozen=True)
class NedConfig:
    """Sizes as published, and what the columns mean.

    Attributes:
        emotions: in the order of the networks.
        rig: name of the rig the motion must be of.
        expression_names: the expressions that are translated; all others stay.
        jaw_expression: the expression that opens the jaw, on rigs where one does; ``None``: ``jaw_pose``'s component 0.
        style_dim: numbers of a style.
        latent_dim: numbers of noise.
        window: frames that are translated together.
        sigma: width of the Gaussian that blends windows, frames.
        width: of the translator's layers, 512 as published.
        reader_width: of the layers of style encoder and discriminator, 512 as published.
        residual: whether the translator says what changes instead of what results; not so as published.
    """

    emotions: tuple[Emotion, ...] = (
        Emotion.NEUTRAL, Emotion.ANGER, Emotion.DISGUST, Emotion.FEAR, Emotion.HAPPY, Emotion.SAD, Emotion.SURPRISE,
    )  # fmt: skip
    rig: str = "flame"
    expression_names: tuple[str, ...] = tuple(f"expression_{number:02d}" for number in range(50))
    jaw_expression: str | None = None
    style_dim: int = 16
    latent_dim: int = 4
    window: int = 10
    sigma: float = 1.85
    width: int = 512
    reader_width: int = 512
    residual: bool = False

    @property
    def n_values(self) -> int:
        """Numbers of a frame: jaw and expressions."""
        return 1 + len(self.expression_names)


def builtin_config(width: int = 64, reader_width: int = 128) -> NedConfig:
    """NED on the built-in rig, as small as its forty-one numbers allow; the translator says what changes."""
    return NedConfig(
        rig="builtin", expression_names=FEELING, jaw_expression="jawOpen", style_dim=32, width=width,
        reader_width=reader_width, residual=True,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- networks


class MappingNetwork(nn.Module):
    """Noise and a label to a style: one trunk, and a branch for each emotion."""

    def __init__(self, config: NedConfig) -> None:
        super().__init__()
        n = 64
        self.shared = _dense(config.latent_dim, n, n, n, end=nn.ReLU())
        self.unshared = nn.ModuleList(_dense(n, n, config.style_dim) for _ in config.emotions)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """``(B, latent_dim)`` and ``(B,)`` indices of emotions to ``(B, style_dim)``."""
        return _pick(self.all_styles(noise), labels)

    def all_styles(self, noise: Tensor) -> Tensor:
        """``(B, latent_dim)`` to the styles of all emotions ``(B, n_emotions, style_dim)``."""
        shared = self.shared(noise)
        return torch.stack([branch(shared) for branch in self.unshared], 1)


class _WindowReader(nn.Module):
    """Frames to values: dense layers, a recurrent net that reads both ways, dense layers; mean over the window."""

    def __init__(self, config: NedConfig, n_out: int) -> None:
        super().__init__()
        n = config.reader_width
        self.seq1 = _dense(config.n_values, n, n // 2, end=nn.ReLU())
        self.LSTM = nn.LSTM(n // 2, n // 4, num_layers=2, batch_first=True, bidirectional=True)
        self.seq2 = _dense(n // 2, n // 4, n // 8, n_out)

    def read(self, windows: Tensor) -> Tensor:
        """``(B, N, n_values)``, any N, to ``(B, n_out)``."""
        hidden, _ = self.LSTM(self.seq1(windows))  # (B, N, reader_width / 2)
        values: Tensor = self.seq2(hidden)
        return values.mean(1)


class StyleEncoder(_WindowReader):
    """A window to its style."""

    def __init__(self, config: NedConfig) -> None:
        super().__init__(config, config.style_dim)

    def forward(self, windows: Tensor) -> Tensor:
        """``(B, N, n_values)`` to ``(B, style_dim)``."""
        return self.read(windows)


class Discriminator(_WindowReader):
    """How much a window looks like a real one of an emotion."""

    def __init__(self, config: NedConfig) -> None:
        super().__init__(config, len(config.emotions))

    def forward(self, windows: Tensor, labels: Tensor) -> Tensor:
        """``(B, N, n_values)`` and ``(B,)`` indices of emotions to scores ``(B,)``."""
        return _pick(self.read(windows), labels)


class Translator(nn.Module):
    """A window and a style to the window in that style; officially "generator"."""

    def __init__(self, config: NedConfig) -> None:
        super().__init__()
        n = config.width
        self.residual = config.residual
        self.seq1 = _dense(config.n_values + config.style_dim, n, n, end=nn.ReLU())
        self.LSTM = nn.LSTM(n, n, num_layers=2, batch_first=True, bidirectional=True)
        self.seq2 = _dense(2 * n, 2 * n, 2 * n, config.n_values)

    def forward(self, windows: Tensor, style: Tensor) -> Tensor:
        """``(B, N, n_values)``, any N, and ``(B, style_dim)`` to ``(B, N, n_values)``."""
        repeated = style[:, None].expand(-1, windows.shape[1], -1)
        hidden, _ = self.LSTM(self.seq1(torch.cat([windows, repeated], 2)))  # (B, N, 2 width)
        translated: Tensor = self.seq2(hidden)
        return windows + translated if self.residual else translated


class NedNetworks(nn.Module):
    """The four networks under the names that they have in the official checkpoint."""

    def __init__(self, config: NedConfig | None = None) -> None:
        super().__init__()
        self.config = config or NedConfig()
        self.generator = Translator(self.config)
        self.mapping_network = MappingNetwork(self.config)
        self.style_encoder = StyleEncoder(self.config)
        self.discriminator = Discriminator(self.config)
        for module in self.modules():
            if isinstance(module, nn.Linear):  # He et al. 2015, as in the official program
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        if self.config.residual:  # nothing changes to begin with
            last = self.generator.seq2[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)


def _dense(*sizes: int, end: nn.Module | None = None) -> nn.Sequential:
    """Linear layers with rectifiers between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1], *([end] if end is not None else []))


def _pick(values: Tensor, labels: Tensor) -> Tensor:
    """``(B, n_emotions, ...)`` to the entry of each row's label ``(B, ...)``."""
    return values[torch.arange(len(labels), device=labels.device), labels]


# ------------------------------------------------------------------------------------------------------------ losses


@dataclass(frozen=True)
class NedLossWeights:
    """How much each term counts beside the adversarial one, which counts 1."""

    style: float = 1.0
    cycle: float = 1.0
    mouth: float = 1.0


def discriminator_loss(real: Tensor, fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Least squares: (score - 1)² of real windows plus score² of translated ones; scores ``(B,)``; with the parts."""
    parts = {"real": (real - 1).square().mean(), "fake": fake.square().mean()}
    return parts["real"] + parts["fake"], parts


def jaw_correlation(windows: Tensor, others: Tensor) -> Tensor:
    """Pearson correlation over time of how far the jaws are open, mean over ``(B, N, n_values)`` windows.

    It knows neither size nor offset of the movement. A jaw that hardly moves correlates with nothing: the length of its
    centred values counts as a thousandth of a radian at least, which keeps values and gradients finite.
    """
    a, b = (x[..., 0] - x[..., 0].mean(1, keepdim=True) for x in (windows, others))
    lengths = [x.square().sum(1).clamp_min(_LEAST_MOVEMENT**2).sqrt() for x in (a, b)]
    return ((a * b).sum(1) / (lengths[0] * lengths[1])).mean()


def translation_loss(
    source: Tensor,
    fake: Tensor,
    cycled: Tensor,
    style: Tensor,
    style_seen: Tensor,
    score: Tensor,
    weights: NedLossWeights | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What translator, mapping network and style encoder want less of; the paper's terms.

    Args:
        source: ``(B, N, n_values)`` windows.
        fake: the same, translated.
        cycled: translated back to the source's style.
        style: ``(B, style_dim)`` that was asked for.
        style_seen: ``(B, style_dim)`` that the encoder sees in ``fake``.
        score: ``(B,)`` of the discriminator for ``fake``.
        weights: of the terms.

    Returns:
        The loss and its parts; ``mouth``, the sum of two correlations, is subtracted.
    """
    weights = weights or NedLossWeights()
    parts = {
        "adversarial": (score - 1).square().mean(),
        "style": F.l1_loss(style_seen, style),
        "cycle": F.l1_loss(cycled, source),
        "mouth": jaw_correlation(source, fake) + jaw_correlation(fake, cycled),
    }
    total = parts["adversarial"] + weights.style * parts["style"] + weights.cycle * parts["cycle"]
    return total - weights.mouth * parts["mouth"], parts


def discriminator_step(
    nets: NedNetworks, windows: Tensor, labels: Tensor, targets: Tensor, cue: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The discriminator's loss of a batch; no gradient reaches the other networks.

    Args:
        nets: all four.
        windows: ``(B, N, n_values)`` real ones.
        labels: ``(B,)`` their emotions.
        targets: ``(B,)`` the emotions to translate to.
        cue: what gives the style: noise ``(B, latent_dim)`` or reference windows ``(B, N, n_values)``.
    """
    with torch.no_grad():
        fake = nets.generator(windows, cue_style(nets, cue, targets))
    return discriminator_loss(nets.discriminator(windows, labels), nets.discriminator(fake, targets))


def translation_step(
    nets: NedNetworks, windows: Tensor, targets: Tensor, cue: Tensor, weights: NedLossWeights | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The other networks' loss of a batch; arguments as in :func:`discriminator_step`.

    With noise, translator, mapping network and style encoder are trained on it; with references the translator only.
    """
    style = cue_style(nets, cue, targets)
    fake = nets.generator(windows, style)
    score, style_seen = nets.discriminator(fake, targets), nets.style_encoder(fake)
    cycled = nets.generator(fake, nets.style_encoder(windows))
    return translation_loss(windows, fake, cycled, style, style_seen, score, weights)


def cue_style(nets: NedNetworks, cue: Tensor, targets: Tensor) -> Tensor:
    """Styles ``(B, style_dim)`` from noise ``(B, latent_dim)`` and labels, or from reference windows ``(B, N, .)``."""
    style: Tensor = nets.mapping_network(cue, targets) if cue.ndim == 2 else nets.style_encoder(cue)
    return style


# ----------------------------------------------------------------------------------------------------- whole sequences


def geometric_median(points: npt.ArrayLike, tolerance: float = 1e-5) -> npt.NDArray[np.float64]:
    """The point with the least sum of distances to ``(N, D)`` points; a few odd ones hardly move it.

    Weiszfeld's iteration from the mean, with Vardi and Zhang's step (PNAS 2000) where it meets a point, until a step is
    shorter than ``tolerance``.
    """
    cloud = np.asarray(points, np.float64)
    here: npt.NDArray[np.float64] = cloud.mean(0)
    for _ in range(1000):  # a handful is enough; NaN would never end
        distances = np.linalg.norm(cloud - here, axis=1)
        apart = distances > 0
        if not apart.any():
            break
        pulls = 1 / distances[apart]
        target = pulls @ cloud[apart] / pulls.sum()
        met = len(cloud) - np.count_nonzero(apart)
        if met:
            force = float(np.linalg.norm(pulls @ (cloud[apart] - here)))
            stay = min(1.0, met / max(force, 1e-300))
            target = (1 - stay) * target + stay * here
        step, here = float(np.linalg.norm(target - here)), target
        if step < tolerance:
            break
    return here


def gaussian_weights(window: int = 10, sigma: float = 1.85) -> npt.NDArray[np.float64]:
    """``(window,)`` weights of the blend, symmetric, summing to 1.

    The two middle frames of an even window count as lying in the middle, as in the published numbers: 0.214 each of ten
    where a plain Gaussian has 0.209.
    """
    at = np.arange(window) - (window - 1) / 2
    at[np.abs(at) < 1] = 0
    weights = np.exp(-0.5 * (at / sigma) ** 2)
    return np.asarray(weights / weights.sum())


def blend(
    blocks: Iterable[Array], weights: npt.ArrayLike, shape: tuple[int, int], *, official_edges: bool = False
) -> Array:
    """Overlapping windows to one sequence.

    Args:
        blocks: the windows, one starting at each frame, as they come: ``(B, N, D)``, together ``T - N + 1``.
        weights: ``(N,)`` of a window's frames; divided by what they sum to at each frame of the sequence.
        shape: ``(T, D)`` of the sequence.
        official_edges: whether the first and the last ``N - 1`` frames come from the first and the last window alone.

    Returns:
        ``(T, D)``; every frame is covered.
    """
    share = np.asarray(weights, np.float64)
    total, sums, start = np.zeros(shape), np.zeros((shape[0], 1)), 0
    ends: list[Array] = []
    for pieces in blocks:
        for place, weight in enumerate(share):
            covered = slice(start + place, start + place + len(pieces))
            total[covered] += weight * pieces[:, place]
            sums[covered] += weight
        start += len(pieces)
        ends = [*ends[:1], pieces[0], pieces[-1]]
    sequence = (total / sums).astype(np.float32)
    edge = len(share) - 1
    if official_edges and edge:
        sequence[:edge], sequence[-edge:] = ends[0][:edge], ends[-1][-edge:]
    return sequence


class NedEditor:
    """Loaded networks that change motions.

    Args:
        networks: on the device to compute on.
    """

    def __init__(self, networks: NedNetworks) -> None:
        self.networks = networks.eval()
        self.config = networks.config

    def label_style(self, emotion: Emotion | str, seed: int = 0) -> Array:
        """``(style_dim,)``: one way of showing an emotion; another seed shows it in another way.

        Raises:
            InputError: if the networks do not know the emotion; the message lists those they know.
        """
        label = label_index(emotion, self.config.emotions)
        noise = np.random.default_rng(seed).standard_normal((1, self.config.latent_dim)).astype(np.float32)
        with torch.inference_mode():
            style = self.networks.mapping_network(self._tensor(noise), self._tensor(np.array([label])))
        return np.asarray(style[0].cpu().numpy())

    def reference_style(self, reference: FaceMotion) -> Array:
        """``(style_dim,)``: the style of a clip, the geometric median of those of its windows.

        Raises:
            InputError: if the motion is of another rig or empty.
        """
        return geometric_median(self._styles(reference, "the reference")).astype(np.float32)

    def _styles(self, motion: FaceMotion, what: str) -> Array:
        """``(T - N + 1, style_dim)`` of the motion's windows."""
        windows = self._windows(self.values(motion), what)
        with torch.inference_mode():
            styles = [self.networks.style_encoder(self._tensor(block)).cpu() for block in _blocks(windows)]
        return np.asarray(torch.cat(styles).numpy())

    def edit(self, motion: FaceMotion, style: npt.ArrayLike, *, intensity: npt.ArrayLike = 1.0) -> FaceMotion:
        """The motion in another style; head, gaze, the jaw's other components and other expressions stay.

        Args:
            motion: of the rig the networks are for, with their expressions.
            style: ``(style_dim,)``, or ``(T, style_dim)`` for one that changes over the frames.
            intensity: in [0, 1], one number or ``(T,)``: 0 is the motion itself, 1 the full translation.

        Raises:
            InputError: if the motion is of another rig or empty, or the intensity is outside [0, 1].
        """
        amount = np.asarray(intensity, np.float32)
        if not ((amount >= 0) & (amount <= 1)).all():
            raise InputError(f"intensity is {amount.min():g} to {amount.max():g}", "allowed: 0 to 1")
        source = self.values(motion)
        translated = self.translate(source, style)
        return self.with_values(motion, source + np.broadcast_to(amount, len(motion))[:, None] * (translated - source))

    def translate(self, values: Array, style: npt.ArrayLike, *, official_edges: bool = False) -> Array:
        """Plain numbers: ``(T, n_values)`` in a style, ``(style_dim,)`` or ``(T, style_dim)``.

        A window takes the style of its middle frame. ``official_edges``: see :func:`blend`.
        """
        windows = self._windows(values, "the motion")
        n_windows, n = windows.shape[:2]
        styles = np.asarray(style, np.float32)
        if styles.ndim == 2 and len(styles) == len(values):
            styles = styles[n // 2 : n // 2 + n_windows]
        wanted = (n_windows, self.config.style_dim)
        if styles.ndim not in (1, 2) or styles.shape[-1] != wanted[1]:
            raise ValueError(f"style: expected ({wanted[1]},) or ({len(values)}, {wanted[1]}), got {styles.shape}")
        blocks = self._translated(windows, np.broadcast_to(styles, wanted))
        weights = gaussian_weights(n, self.config.sigma)
        return blend(blocks, weights, (len(values), self.config.n_values), official_edges=official_edges)

    def _translated(self, windows: Array, styles: Array) -> Iterator[Array]:
        for block, its in zip(_blocks(windows), _blocks(styles), strict=True):
            with torch.inference_mode():
                pieces = self.networks.generator(self._tensor(block), self._tensor(its))
            yield pieces.cpu().numpy()

    def values(self, motion: FaceMotion) -> Array:
        """``(T, n_values)``: the jaw's opening, then the expressions.

        Raises:
            InputError: if the motion is of another rig.
        """
        config = self.config
        names = (*config.expression_names, *([config.jaw_expression] if config.jaw_expression else []))
        missing = [name for name in names if name not in motion.expression_names]
        if motion.rig != config.rig or missing:
            lack = f" and lacks {missing[0]}" if missing else ""
            raise InputError(
                f"the motion is of the rig {motion.rig!r}{lack}; these networks are for {config.rig!r}",
                "retarget it first",
            )
        jaw = motion.column(config.jaw_expression) if config.jaw_expression else motion.jaw_pose[:, 0]
        return np.column_stack([jaw, *(motion.column(name) for name in config.expression_names)])

    def with_values(self, motion: FaceMotion, values: Array) -> FaceMotion:
        """The motion with these ``(T, n_values)`` in the place of its own; see :meth:`values`."""
        columns: dict[str, Array] = dict(zip(self.config.expression_names, values.T[1:], strict=True))
        if self.config.jaw_expression:
            return motion.with_columns({**columns, self.config.jaw_expression: values[:, 0]})
        jaw_pose = np.array(motion.jaw_pose)
        jaw_pose[:, 0] = values[:, 0]
        return replace(motion.with_columns(columns), jaw_pose=jaw_pose)

    def _windows(self, values: Array, what: str) -> Array:
        """``(T, D)`` to ``(T - N + 1, N, D)``, a view; N is the window, or T if that is shorter."""
        if not len(values):
            raise InputError(f"{what} has no frames", "use a longer clip")
        n = min(self.config.window, len(values))
        return np.lib.stride_tricks.sliding_window_view(values, n, axis=0).swapaxes(1, 2)

    def _tensor(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.array(array)).to(next(self.networks.parameters()).device)


def _blocks(rows: Array) -> Iterator[Array]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))


# ----------------------------------------------------------------------------------------------------------- loading


def save_ned(path: str | Path, networks: NedNetworks) -> None:
    """Write ``.safetensors``: what translates (all but the discriminator), and the configuration in its header."""
    header = {"version": NED_FORMAT, "config": asdict(networks.config)}
    state = {name: value for name, value in networks.state_dict().items() if not name.startswith("discriminator.")}
    save_weights(path, state, _HEADER, header)


def load_ned(path: str | Path) -> NedNetworks:
    """Networks that are ready to translate, in eval mode.

    Args:
        path: a ``.safetensors`` of :func:`save_ned`, whose discriminator is untrained; the official
            ``<epoch>_nets.pth`` or ``<epoch>_nets_finetuned.pth``, one dictionary of four state dicts; or a
            ``.safetensors`` whose names begin with ``generator.``, ``mapping_network.``, ``style_encoder.`` and
            ``discriminator.``.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is no such checkpoint, or holds more than tensors.
    """
    path = Path(path)
    flat = load_tensors(path) if path.suffix.lower() == ".safetensors" else None
    own = None if flat is None else _own_config(path)
    networks = NedNetworks(own)
    for name, network in networks.named_children():
        if own is not None and name == "discriminator":
            continue
        tensors = load_tensors(path, part=name) if flat is None else part_of(flat, f"{name}.")
        load_state(network, tensors, path, what=f"NED {name}")
    return networks.eval()


def _own_config(path: Path) -> NedConfig | None:
    """What :func:`save_ned` wrote beside the weights; ``None`` if another program wrote them."""
    content = load_header(path, _HEADER)
    if not content:
        return None
    try:
        if content["version"] > NED_FORMAT:
            raise ValueError(f"version {content['version']}, this mien reads up to {NED_FORMAT}")
        config = content["config"]
        config["emotions"] = tuple(Emotion(name) for name in config["emotions"])
        return NedConfig(**{**config, "expression_names": tuple(config["expression_names"])})
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: not a NED model of mien, or damaged ({error})", "train it again") from error
