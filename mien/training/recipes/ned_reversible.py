"""``mien train ned --method reversible``: people in known emotions in; what a label makes of anybody's style out.

A style is mean and spread of the curves of a stretch (:mod:`mien.motion.ned_reversible`); translating needs no
training. What is learned is NED's mapping network: from a stretch of somebody to the style of another stretch of the
same person, given the label of that and noise. There are many ways to feel something, so the loss is the energy score
(Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", 2007, section 4.3), for two draws a,
b and the truth x

    (|a - x| + |b - x|) / 2 - |a - b| / 2

which is least when the draws are spread as people are. It takes the place of the paper's discriminator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.errors import InputError
from mien.media.weights import save_weights
from mien.motion.ned import MappingNetwork, NedConfig
from mien.motion.ned_reversible import CURVES, HEADER, REVERSIBLE_FORMAT, style_of, translate, values_of
from mien.progress import Progress
from mien.training.datasets.emotion_clips import EmotionClip, read_emotion_clips, split_people
from mien.training.loop import Schedule, fit
from mien.training.options import TrainNedOptions, TrainNedResult
from mien.types import Array, FaceMotion

WEIGHTS = "ned.safetensors"
"""Name of the finished model in the folder of a run."""

_SHORTEST = 10  # frames; over fewer there is no spread
_CHECKED = 200  # stretches that the validation translates there and back
_KEPT, _ADDED = 2.0, -3.0  # to begin with nearly all is kept and hardly anything added; before the logistic function


@dataclass(frozen=True, eq=False)
class Stretches:
    """Stretches of clips in one emotion each.

    Attributes:
        styles: ``(N, 2, 41)`` mean and spread of their curves.
        labels: ``(N,)`` index of the emotion.
        people: ``(N,)`` number of the person.
        motions: the stretches themselves.
    """

    styles: Array
    labels: npt.NDArray[np.int64]
    people: npt.NDArray[np.int64]
    motions: Sequence[FaceMotion]

    def __len__(self) -> int:
        return len(self.labels)

    def partners(self, indices: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """For each stretch a random other one of the same person, in any emotion."""
        chosen = []
        for i in indices:
            others = np.flatnonzero(self.people == self.people[i])
            chosen.append(rng.choice(others[others != i]) if len(others) > 1 else i)
        return np.array(chosen, np.int64)


def run(options: TrainNedOptions, progress: Progress | None = None) -> TrainNedResult:
    """Train, or go on training.

    Raises:
        InputError: if the data or the numbers cannot be used, or the folder holds another run.
        FormatError: if data or checkpoints are damaged.
    """
    if options.start is not None:
        raise InputError("--method reversible takes no --start", "leave it out; a run takes a minute")
    schedule = Schedule(
        options.epochs, options.batch_size, options.learning_rate, options.decay, options.checkpoint_every,
        seed=options.seed,
    )  # fmt: skip
    clips = read_emotion_clips(options.data, options.output / "tracks", progress)
    training, validation = split_people(clips, options.leave_out)
    torch.manual_seed(options.seed)
    config = NedConfig(style_dim=4 * len(CURVES))
    learned = stretches_of(training, config)
    if len(set(learned.labels.tolist())) < 2:
        raise InputError("the data shows fewer than two emotions", "give clips of several")
    task = LabelTask(config, learned, stretches_of(validation, config), seed=options.seed)
    settings = {"method": "reversible", "validated_on": sorted({clip.person for clip in validation})}
    entries = fit(task, schedule, options.output, settings, progress)
    header = {
        "version": REVERSIBLE_FORMAT,
        "emotions": [emotion.value for emotion in config.emotions],
        "latent_dim": config.latent_dim,
    }
    save_weights(options.output / WEIGHTS, task.network.state_dict(), HEADER, header)
    last = entries[-1]["validation"]
    return TrainNedResult(
        options.output / WEIGHTS, len(entries), len(task), len({clip.person for clip in training}),
        round(last.get("cycle", float("nan")), 4), round(last.get("moved", float("nan")), 4),
    )  # fmt: skip


def stretches_of(clips: Sequence[EmotionClip], config: NedConfig) -> Stretches:
    """The parts of clips in which a label lasts."""
    people = {person: i for i, person in enumerate(sorted({clip.person for clip in clips}))}
    styles, labels, owners, motions = [], [], [], []
    for clip in clips:
        end = 0
        for label, frames in groupby(clip.labels):
            start, end = end, end + len(list(frames))
            if label in config.emotions and end - start >= _SHORTEST:
                motions.append(clip.motion[start:end])
                styles.append(style_of(motions[-1]))
                labels.append(config.emotions.index(label))
                owners.append(people[clip.person])
    shape = (-1, 2, len(CURVES))
    return Stretches(np.array(styles, np.float32).reshape(shape), np.array(labels), np.array(owners), motions)


class LabelTask:
    """The mapping network, stretches and the loss for :func:`mien.training.loop.fit`."""

    def __init__(self, config: NedConfig, training: Stretches, validation: Stretches, *, seed: int) -> None:
        self.network = MappingNetwork(config)
        for branch in self.network.unshared:
            last = branch[-1]  # type: ignore[index]
            torch.nn.init.zeros_(last.weight)
            last.bias.data = torch.tensor([_KEPT, _ADDED, _KEPT, _ADDED]).repeat_interleave(len(CURVES))
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=1.0)  # the loop sets the rate
        self._config, self._training, self._validation, self._seed = config, training, validation, seed

    def __len__(self) -> int:
        """Stretches trained on."""
        return len(self._training)

    def loss(self, indices: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """The energy score."""
        rng = np.random.default_rng([self._seed, *indices.tolist()])  # of the batch alone: resuming changes nothing
        first, second, goal = self._draws(self._training, indices, rng)
        near = (_distance(first, goal) + _distance(second, goal)) / 2
        apart = _distance(first, second) / 2
        return {"total": near - apart, "near": near.detach(), "apart": apart.detach()}

    def validate(self) -> dict[str, float]:
        """On people not trained on: the score, the share of the way that means go, and the error there and back."""
        data, rng = self._validation, np.random.default_rng(self._seed)
        if not len(data):
            return {}
        indices = np.sort(rng.choice(len(data), min(len(data), _CHECKED), replace=False))
        first, second, goal = self._draws(data, indices, rng)
        score = (_distance(first, goal) + _distance(second, goal) - _distance(first, second)) / 2
        own = data.styles[indices]
        way, went = goal.numpy()[:, 0] - own[:, 0], first.numpy()[:, 0] - own[:, 0]
        errors = []
        for i, style in zip(indices, first.numpy(), strict=True):
            motion = data.motions[i]
            values = translate(motion, style)
            there = motion.with_columns(dict(zip(CURVES, values.T.astype(np.float32), strict=True)))
            errors.append(float(np.abs(translate(there, style_of(motion)) - values_of(motion)).mean()))
        moved = float((way * went).sum() / (way**2).sum())
        return {"score": float(score), "moved": moved, "cycle": float(np.mean(errors))}

    def _draws(
        self, data: Stretches, indices: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Two styles ``(B, 2, 41)`` that the network gives, and the one that is right."""
        partners = data.partners(indices, rng)
        own, goal = (torch.from_numpy(data.styles[chosen]) for chosen in (indices, partners))
        labels = torch.from_numpy(data.labels[partners])
        noise = torch.from_numpy(rng.standard_normal((2, len(indices), self._config.latent_dim)).astype(np.float32))
        first, second = (changed(own, self.network(each, labels)) for each in noise)
        return first, second, goal


def changed(own: Tensor, change: Tensor) -> Tensor:
    """``(B, 2, 41)`` own styles and ``(B, 164)`` from the network to styles, as ``LabelStyles`` does."""
    kept_mean, more, kept_spread, livelier = torch.sigmoid(change).view(len(own), 4, -1).unbind(1)
    mean, spread = own.unbind(1)
    livelier = torch.sqrt((kept_spread * spread) ** 2 + livelier**2 + 1e-12)
    return torch.stack([more + (1 - more) * kept_mean * mean, livelier], 1)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean Euclidean distance of ``(B, 2, 41)`` styles."""
    return (a - b).square().sum((1, 2)).add(1e-12).sqrt().mean()  # its slope is finite where they meet
