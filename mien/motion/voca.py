"""VOCA: a speech window and a speaker become the displacement of every vertex of a face.

Paper: Cudeiro, Bolkart, Laidlaw, Ranjan and Black, "Capture, Learning, and Synthesis of 3D Speaking Styles", CVPR 2019.

What it does. Each frame stands alone. A window of 16 rows of speech features passes a batch norm with one single
channel, gets the one-hot speaker beside its features, and is halved four times in time by convolutions; the 64 values
left, again beside the speaker, become 50 coefficients through two dense layers; one linear layer makes of them an
offset for every vertex, which is added to a template, the neutral face of anybody.

What is reproduced: the network (section 4.2), the four losses (section 4.3 and the released program), the mixing of
styles, and the names of the released checkpoint. ``tests/motion/test_voca.py`` checks outputs, gradients, batch
statistics and optimiser steps against numbers computed with the official TensorFlow graph.

What differs: speech features may have other widths than DeepSpeech's 29 and any frame rate, the mesh may be any rig's,
and both are written in the weights file, so that a model refuses features it was not trained on. Mixed styles are mixed
as coefficients, which is the same as averaging vertices because the last layer is linear.

Convention: metres at zero pose; frames per second are the model's own; speakers go by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.assets import load_npz
from mien.errors import AssetError, FormatError, InputError
from mien.media.weights import save_weights, stored_weights
from mien.tensorflow_files import read_checkpoint
from mien.types import ARKIT_NAMES, Array, FaceMotion, SpeechFeatures

VOCA_FORMAT = 1
"""Version of the weights file that :func:`save_voca` writes."""

OFFICIAL_SPEAKERS = tuple(
    f"FaceTalk_{number}_TA"
    for number in ("170728_03272", "170904_00128", "170725_00137", "170915_00223", "170811_03274", "170913_03279",
                   "170904_03276", "170912_03278")
)  # fmt: skip
"""The training subjects of VOCASET in the order of the released model's one-hot."""

UNSEEN_SPEAKER = "none"
"""The style of nobody: an all-zero one-hot."""

EVERY_SPEAKER = "all"
"""The style of everybody: all speakers in equal shares."""

_HEADER = "mien.Voca"
_WIDTHS = (32, 32, 64, 64)  # filters of the four convolutions
_HIDDEN = 128
_BLOCK = 128  # frames decoded at a time: memory stays flat, and what is written stays in the cache
# TensorFlow's fused batch norm raises the 1e-5 asked for to this least value.
_EPSILON = 1.001e-5


@dataclass(frozen=True)
class VocaConfig:
    """What a model is made for.

    Attributes:
        n_vertices: of the mesh.
        speakers: names of the styles in the order of the one-hot.
        feature_kind: what :attr:`SpeechFeatures.kind` must be.
        n_features: columns of the features.
        fps: frames per second of features and motion.
        rig: name of the rig the offsets belong to.
        default_style: the style when none is asked for.
        window: rows of features that one frame sees; a multiple of 16.
        n_coefficients: values between encoder and last layer.
        condition_features: whether the speaker stands beside the features too, not only before the dense layers.
        encoder_factor: multiplies the numbers of filters.
    """

    n_vertices: int = 5023
    speakers: tuple[str, ...] = OFFICIAL_SPEAKERS
    feature_kind: str = "deepspeech29"
    n_features: int = 29
    fps: float = 60.0
    rig: str = "flame"
    default_style: str = OFFICIAL_SPEAKERS[2]
    window: int = 16
    n_coefficients: int = 50
    condition_features: bool = True
    encoder_factor: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "speakers", tuple(self.speakers))
        if self.window < 16 or self.window % 16:
            raise ValueError(f"window: expected a multiple of 16, got {self.window}")
        if self.default_style not in (*self.speakers, UNSEEN_SPEAKER, EVERY_SPEAKER):
            raise ValueError(f"default_style: {self.default_style!r} is not among {', '.join(self.speakers)}")


class SpeechEncoder(nn.Module):
    """Windows ``(B, W, D)`` and one-hot speakers ``(B, S)`` to coefficients ``(B, C)``."""

    def __init__(self, config: VocaConfig) -> None:
        super().__init__()
        n_speakers = len(config.speakers)
        widths = [int(width * config.encoder_factor) for width in _WIDTHS]
        channels = config.n_features + (n_speakers if config.condition_features else 0)
        self.condition_features = config.condition_features
        self.batch_norm = nn.BatchNorm1d(1, eps=_EPSILON, momentum=0.1)
        self.conv1 = nn.Conv1d(channels, widths[0], 3, stride=2)
        self.conv2 = nn.Conv1d(widths[0], widths[1], 3, stride=2)
        self.conv3 = nn.Conv1d(widths[1], widths[2], 3, stride=2)
        self.conv4 = nn.Conv1d(widths[2], widths[3], 3, stride=2)
        self.fc1 = nn.Linear(widths[3] * (config.window // 16) + n_speakers, _HIDDEN)
        self.fc2 = nn.Linear(_HIDDEN, config.n_coefficients)

    def forward(self, features: Tensor, speaker: Tensor) -> Tensor:
        """Encode; the batch norm shares one mean and variance over all ``B * W * D`` values."""
        x = self.batch_norm(features.flatten(1).unsqueeze(1)).view_as(features).transpose(1, 2)  # (B, D, W)
        if self.condition_features:
            x = torch.cat([x, speaker.unsqueeze(2).expand(-1, -1, x.shape[2])], dim=1)  # (B, D + S, W)
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            # TensorFlow's SAME padding for an even length, kernel 3 and stride 2: nothing before, one after.
            x = functional.relu(convolution(functional.pad(x, (0, 1))))
        x = torch.cat([x.transpose(1, 2).flatten(1), speaker], dim=1)  # (B, 64 + S)
        return self.fc2(torch.tanh(self.fc1(x)))  # type: ignore[no-any-return]


class VocaNetwork(nn.Module):
    """Speech encoder and linear last layer.

    Args:
        config: sizes.
        basis: ``(3 V, >= C)`` metres, vertex by vertex x, y, z: what the last layer starts from, as a rule principal
            components of the training offsets; random without it.
    """

    def __init__(self, config: VocaConfig, basis: npt.ArrayLike | None = None) -> None:
        super().__init__()
        self.n_speakers = len(config.speakers)
        self.encoder = SpeechEncoder(config)
        self.decoder = nn.Linear(config.n_coefficients, 3 * config.n_vertices)
        self._initialise(basis)

    def forward(self, features: Tensor, speaker: Tensor) -> Tensor:
        """Windows ``(B, W, D)`` and speaker numbers ``(B,)``, -1 for nobody, to offsets ``(B, V, 3)`` in metres."""
        return self.decode(self.encode(features, speaker))

    def encode(self, features: Tensor, speaker: Tensor) -> Tensor:
        """The coefficients ``(B, C)``."""
        one_hot = (speaker.unsqueeze(1) == torch.arange(self.n_speakers, device=speaker.device)).to(features.dtype)
        return self.encoder(features, one_hot)  # type: ignore[no-any-return]

    def decode(self, coefficients: Tensor) -> Tensor:
        """Coefficients ``(B, C)`` to offsets ``(B, V, 3)`` in metres."""
        return self.decoder(coefficients).view(len(coefficients), -1, 3)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _initialise(self, basis: npt.ArrayLike | None) -> None:
        for name, parameter in self.encoder.named_parameters():
            if name.startswith("conv"):
                nn.init.trunc_normal_(parameter, std=0.02, a=-0.04, b=0.04)  # the biases too
            elif name.startswith("fc"):
                if name.endswith("weight"):
                    nn.init.trunc_normal_(parameter, std=0.1, a=-0.2, b=0.2)
                else:
                    nn.init.zeros_(parameter)
        nn.init.zeros_(self.decoder.bias)
        if basis is not None:
            columns = torch.as_tensor(np.asarray(basis, np.float32))
            wanted = (self.decoder.out_features, self.decoder.in_features)
            if columns.ndim != 2 or columns.shape[0] != wanted[0]:
                raise ValueError(f"basis: expected ({wanted[0]}, n), got {tuple(columns.shape)}")
            n = min(columns.shape[1], wanted[1])
            nn.init.zeros_(self.decoder.weight)
            self.decoder.weight[:, :n] = columns[:, :n]


@dataclass(frozen=True)
class VocaLossConfig:
    """Which losses, and how much of each.

    Attributes:
        n_consecutive_frames: frames that lie side by side in a batch; 2 for velocity, 3 for acceleration.
        absolute: the L1 distance instead of the squared L2 distance.
        velocity_weight: of the difference between the last two frames.
        acceleration_weight: of the second difference of the last three frames.
        regulariser_weight: of the size of the offsets.
    """

    n_consecutive_frames: int = 2
    absolute: bool = False
    velocity_weight: float = 10.0
    acceleration_weight: float = 0.0
    regulariser_weight: float = 0.0

    def __post_init__(self) -> None:
        for name, weight, needed in (
            ("velocity", self.velocity_weight, 2),
            ("acceleration", self.acceleration_weight, 3),
        ):
            if weight > 0 and self.n_consecutive_frames < needed:
                raise InputError(
                    f"n_consecutive_frames is {self.n_consecutive_frames}, but the {name} loss takes {needed} frames",
                    f"set it to {needed} or more, or {name}_weight to 0",
                )
        if self.n_consecutive_frames < 1:
            raise InputError(f"n_consecutive_frames is {self.n_consecutive_frames}", "give 1 or more")


def losses(offsets: Tensor, target: Tensor, config: VocaLossConfig, weights: Tensor | None = None) -> dict[str, Tensor]:
    """The weighted terms of the training loss and their sum under ``"total"``.

    With ``d`` = squared L2 distance (or L1) of two vertices in m² (or m), averaged over vertices and batch:
    reconstruction ``d(x, y)`` over all frames; velocity ``d`` of the last minus the frame before; acceleration ``d`` of
    ``x1 - 2 x2 + x3`` over the last three; regulariser the mean L1 of the offsets.

    Args:
        offsets: ``(B * n, V, 3)`` as predicted, ``n`` consecutive frames side by side.
        target: the same as filmed, template taken off.
        config: the weights and ``n``.
        weights: ``(V,)`` how much each vertex counts in the distances, 1 on average; the paper's loss without.
    """
    shape = (-1, config.n_consecutive_frames, *offsets.shape[1:])  # (B, n, V, 3)
    predicted, real = offsets.view(shape), target.view(shape)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        difference = a - b
        size = (difference.abs() if config.absolute else difference.square()).sum(-1)
        return (size if weights is None else size * weights).mean()

    terms = {"reconstruction": distance(predicted, real)}
    if config.velocity_weight > 0:
        terms["velocity"] = config.velocity_weight * distance(_velocity(predicted), _velocity(real))
    if config.acceleration_weight > 0:
        terms["acceleration"] = config.acceleration_weight * distance(_acceleration(predicted), _acceleration(real))
    if config.regulariser_weight > 0:
        terms["regulariser"] = config.regulariser_weight * predicted.abs().sum(-1).mean()
    return {**terms, "total": torch.stack(list(terms.values())).sum()}


def _velocity(frames: Tensor) -> Tensor:
    return frames[:, -1] - frames[:, -2]


def _acceleration(frames: Tensor) -> Tensor:
    return frames[:, -3] - 2 * frames[:, -2] + frames[:, -1]


def windows(values: npt.ArrayLike, width: int = 16) -> Array:
    """``(T, D)`` rows to ``(T, width, D)``: window ``i`` holds rows ``i - width/2`` to ``i + width/2 - 1``, else 0."""
    rows = np.asarray(values, np.float32)
    half = width // 2
    padded = np.pad(rows, ((half, half), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)[: len(rows)]
    return np.ascontiguousarray(view.transpose(0, 2, 1))


@dataclass(frozen=True, eq=False)
class Voca:
    """A trained model and how to use it.

    Attributes:
        config: what it is made for.
        network: in evaluation mode.
    """

    config: VocaConfig
    network: VocaNetwork

    def animate(self, speech: SpeechFeatures, style: str | Mapping[str, float] | None = None) -> FaceMotion:
        """The face that says ``speech``: a motion with offsets only, as long as the speech and at its rate.

        Args:
            speech: features of the kind the model was trained on; other rates are interpolated to the model's.
            style: a speaker's name or number from 1, ``"all"`` for the mean of all, ``"none"`` for nobody's, or shares
                of several to mix: ``{"ann": 0.7, "bob": 0.3}`` or ``"ann:0.7,bob:0.3"``.

        Raises:
            InputError: if the features are of another kind, or there is no such style.
        """
        self.check(speech)
        n = max(1, round(len(speech) / speech.fps * self.config.fps))
        values = resampled(speech.values, speech.fps, self.config.fps, n)
        offsets = np.concatenate(list(self.blocks(values, style)))
        names = ARKIT_NAMES if self.config.rig == "builtin" else ()
        still = FaceMotion.zeros(len(speech), speech.fps, self.config.rig, names)
        if speech.fps != self.config.fps or n != len(speech):
            rows = offsets.reshape(n, -1)
            offsets = resampled(rows, self.config.fps, speech.fps, len(speech)).reshape(len(speech), -1, 3)
        return replace(still, offsets=offsets)

    def check(self, speech: SpeechFeatures) -> None:
        """Refuse features the model cannot read.

        Raises:
            InputError: if kind or width differ.
        """
        given = (speech.kind, speech.values.shape[1])
        if given != (self.config.feature_kind, self.config.n_features):
            raise InputError(
                f"this VOCA model was trained on {self.config.feature_kind} features "
                f"({self.config.n_features} columns), these are {given[0]} ({given[1]} columns)",
                "use the features it was trained on, or another model",
            )

    def blocks(self, values: Array, style: str | Mapping[str, float] | None = None) -> Iterator[Array]:
        """Offsets ``(<= 128, V, 3)`` in metres piece by piece, for features ``(T, D)`` at the model's rate.

        Raises:
            InputError: if there is no such style.
        """
        shares = self.shares(style)
        view = windows(values, self.config.window)
        for start in range(0, len(view), _BLOCK):
            features = torch.from_numpy(view[start : start + _BLOCK])
            with torch.inference_mode():
                coefficients = torch.stack(
                    [
                        share * self.network.encode(features, torch.full((len(features),), number))
                        for number, share in shares.items()
                    ]
                ).sum(0)
                yield self.network.decode(coefficients).numpy()

    def shares(self, style: str | Mapping[str, float] | None) -> dict[int, float]:
        """Speaker numbers from 0 (-1: nobody) and their shares, which sum to 1.

        Raises:
            InputError: if a name is unknown (the message lists the names) or the shares are not positive.
        """
        wanted = style if isinstance(style, Mapping) else _mixture(style or self.config.default_style)
        if set(wanted) == {EVERY_SPEAKER}:
            wanted = dict.fromkeys(self.config.speakers, 1.0)
        numbered = {self._number(str(name)): float(share) for name, share in wanted.items() if share != 0}
        total = sum(numbered.values())
        if not numbered or min(numbered.values()) < 0 or not np.isfinite(total):
            raise InputError("a mixture of styles needs shares above 0", "give at least one, as in {'NAME': 1}")
        return {number: share / total for number, share in numbered.items()}

    def _number(self, name: str) -> int:
        speakers = self.config.speakers
        if name == UNSEEN_SPEAKER:
            return -1
        if name in speakers:
            return speakers.index(name)
        if name.isdecimal() and 1 <= int(name) <= len(speakers):
            return int(name) - 1
        known = f"{', '.join(speakers)}, their numbers 1 to {len(speakers)}, {EVERY_SPEAKER} and {UNSEEN_SPEAKER}"
        raise InputError(f"no talking style {name!r}", f"there are {known}")


def _mixture(text: str) -> dict[str, float]:
    """``ann`` or ``ann:0.7,bob:0.3`` as names and shares."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, colon, share = part.strip().partition(":")
        try:
            shares[name] = shares.get(name, 0.0) + (float(share) if colon else 1.0)
        except ValueError:
            raise InputError(f"{part.strip()!r} in a mixture of styles", "write NAME:SHARE,NAME:SHARE") from None
    return shares


def resampled(values: npt.ArrayLike, fps: float, target_fps: float, n: int) -> Array:
    """Rows at ``fps`` interpolated linearly to ``n`` rows at ``target_fps``, the last one held at the end."""
    rows = np.asarray(values, np.float32)
    at = np.minimum(np.arange(n) / target_fps * fps, len(rows) - 1)
    low = at.astype(np.int64)
    share = (at - low).astype(np.float32)[:, None]
    return np.asarray(rows[low] * (1 - share) + rows[np.minimum(low + 1, len(rows) - 1)] * share, np.float32)


def state_from_tensorflow(variables: Mapping[str, npt.ArrayLike]) -> dict[str, Tensor]:
    """The official checkpoint's variables under this network's names and in its layout.

    The program calls the last layer ``ExpressionLayer``, the released checkpoint ``FlameExpressionLayer``; both are
    taken. Optimiser slots and counters are left out.

    Raises:
        FormatError: if a variable is missing.
    """
    named = {name.replace("FlameExpressionLayer", "ExpressionLayer"): value for name, value in variables.items()}
    state = {}
    for ours, theirs in _tensorflow_names().items():
        if theirs not in named:
            raise FormatError(f"{theirs} is missing", "give all variables of VOCA's checkpoint")
        array = np.asarray(named[theirs], np.float32)
        if array.ndim == 4:  # (3, 1, in, out)
            array = array[:, 0].transpose(2, 1, 0)
        elif array.ndim == 2:  # (in, out)
            array = array.T
        state[ours] = torch.from_numpy(np.array(array))
    state["encoder.batch_norm.num_batches_tracked"] = torch.tensor(0)
    return state


def _tensorflow_names() -> dict[str, str]:
    batch_norm = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    layers = {
        f"encoder.{layer}": f"SpeechEncoder/{layer}" for layer in ("conv1", "conv2", "conv3", "conv4", "fc1", "fc2")
    }
    layers["decoder"] = "ExpressionLayer/expression_offset"
    names = {f"encoder.batch_norm.{ours}": f"VOCA/SpeechEncoder/batch_norm/{name}" for ours, name in batch_norm.items()}
    for ours, name in layers.items():
        names |= {f"{ours}.weight": f"VOCA/{name}/weights", f"{ours}.bias": f"VOCA/{name}/biases"}
    return names


def save_voca(path: str | Path, model: Voca) -> None:
    """Write ``.safetensors``: the weights, and the configuration in its header."""
    header = {"version": VOCA_FORMAT, "config": asdict(model.config)}
    save_weights(path, model.network.state_dict(), _HEADER, header)


def load_voca(name_or_path: str | Path = "default") -> Voca:
    """The model that ships with mien, a ``.safetensors`` of :func:`save_voca`, or the official one.

    The official one is a TensorFlow checkpoint (``gstep_52280.model``, a pair of ``.index`` and ``.data``), which is
    read without TensorFlow, or an ``.npz`` of its variables.

    Raises:
        AssetError: if there is no model of that name.
        InputError: if there is no such file.
        FormatError: if the file is damaged or something else.
    """
    path = Path(name_or_path)
    if path.suffix == ".npz":
        return _official(path, load_npz(path)[1])
    if path.suffix == ".index" or path.with_name(f"{path.name}.index").exists():
        return _official(path, read_checkpoint(path))
    if path.suffix == ".safetensors":
        return _read(path)
    if str(name_or_path) != "default":
        raise AssetError(f"{name_or_path}: no such VOCA model", "use 'default' or the path of a model")
    with as_file(files("mien.motion") / "data" / "voca.safetensors") as shipped:
        return _read(shipped)


def _read(path: Path) -> Voca:
    with stored_weights(
        path, _HEADER, VOCA_FORMAT, what="a VOCA model of mien", remedy="train one with `mien train voca`"
    ) as (header, state):
        return _model(_config(header["config"]), state)


def _config(content: Mapping[str, Any]) -> VocaConfig:
    return VocaConfig(**{**content, "speakers": tuple(content["speakers"])})


def _official(path: Path, variables: Mapping[str, Array]) -> Voca:
    try:
        state = state_from_tensorflow(variables)
        n_speakers = state["encoder.fc1.weight"].shape[1] - state["encoder.conv4.weight"].shape[0]
        channels = state["encoder.conv1.weight"].shape[1]
        config = VocaConfig(
            n_vertices=len(state["decoder.bias"]) // 3,
            speakers=_speaker_names(n_speakers),
            default_style=_speaker_names(n_speakers)[min(2, n_speakers - 1)],
            n_coefficients=state["decoder.weight"].shape[1],
            condition_features=channels != VocaConfig.n_features,
            encoder_factor=state["encoder.conv1.weight"].shape[0] / _WIDTHS[0],
        )
        return _model(config, state)
    except (FormatError, ValueError, RuntimeError) as error:
        raise FormatError(f"{path}: not the variables of a VOCA checkpoint ({error})", "see docs/voca.md") from error


def _speaker_names(n: int) -> tuple[str, ...]:
    return OFFICIAL_SPEAKERS if n == len(OFFICIAL_SPEAKERS) else tuple(f"speaker{i + 1}" for i in range(n))


def _model(config: VocaConfig, state: Mapping[str, Tensor]) -> Voca:
    network = VocaNetwork(config)
    network.load_state_dict(state)
    return Voca(config, network.eval())
