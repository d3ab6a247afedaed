"""``mien train ned``: windows of people in known emotions in; networks that translate between emotions out.

As in the official program, in four steps per batch of windows, each with a target label of its own: the discriminator
on translations by noise, the discriminator on translations by reference, then translator, mapping network and style
encoder by noise, then the translator by reference. Adam with betas (0, 0.99). The two stages (Aff-Wild2, then MEAD) are
two runs, the second with ``--start``. People are split between training and validation, never their clips.

Deviation: the learning rate falls by a factor per epoch instead of linearly in the last ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.errors import InputError
from mien.motion.ned import (
    NedEditor,
    NedNetworks,
    builtin_config,
    discriminator_step,
    load_ned,
    save_ned,
    translation_step,
)
from mien.progress import Progress
from mien.training.datasets.emotion_clips import EmotionClip, read_emotion_clips, split_people
from mien.training.loop import Schedule, fit
from mien.training.options import TrainNedOptions, TrainNedResult
from mien.types import Array

WEIGHTS = "ned.safetensors"
"""Name of the finished model in the folder of a run."""

_AT_ONCE = 512  # windows per step of the validation


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of clips, by the number of their first frame in one long sequence.

    Attributes:
        values: ``(F, D)`` all clips one after the other.
        starts: ``(W,)`` first frame of each window.
        labels: ``(W,)`` index of its emotion.
        length: frames of a window.
    """

    values: Array
    starts: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    length: int

    def __len__(self) -> int:
        return len(self.starts)

    def at(self, starts: npt.NDArray[np.int64]) -> Tensor:
        """``(B, N, D)`` the windows that begin at these frames."""
        return torch.from_numpy(self.values[starts[:, None] + np.arange(self.length)])


def run(options: TrainNedOptions, progress: Progress | None = None) -> TrainNedResult:
    """Train, or go on training.

    Raises:
        InputError: if the data or the numbers cannot be used, or the folder holds another run.
        FormatError: if data or checkpoints are damaged.
    """
    schedule = Schedule(
        options.epochs, options.batch_size, options.learning_rate, options.decay, options.checkpoint_every,
        seed=options.seed,
    )  # fmt: skip
    clips = read_emotion_clips(options.data, options.output / "tracks", progress)
    training, validation = split_people(clips, options.leave_out)
    torch.manual_seed(options.seed)
    fresh = builtin_config(options.width, options.reader_width)
    networks = NedNetworks(fresh) if options.start is None else load_ned(options.start)
    task = NedTask(
        networks,
        windows_of(training, networks, options.hop),
        windows_of(validation, networks, options.hop) if validation else None,
        seed=options.seed,
    )
    settings = {
        "model": asdict(networks.config), "hop": options.hop,
        "start": None if options.start is None else options.start.name,
        "validated_on": sorted({clip.person for clip in validation}),
    }  # fmt: skip
    entries = fit(task, schedule, options.output, settings, progress)
    save_ned(options.output / WEIGHTS, networks.eval())
    last = entries[-1]["validation"]
    return TrainNedResult(
        options.output / WEIGHTS, len(entries), len(task), len({clip.person for clip in training}),
        round(last.get("cycle", float("nan")), 4), round(last.get("moved", float("nan")), 4),
    )  # fmt: skip


def windows_of(clips: Sequence[EmotionClip], networks: NedNetworks, hop: int = 1) -> Windows:
    """All windows of frames that have a label; a window's label is its most frequent one.

    Raises:
        InputError: if there is no window, or only one emotion.
    """
    config, editor = networks.config, NedEditor(networks)
    starts, labels = [], []
    values: list[Array] = []
    begin = 0
    for clip in clips:
        values.append(np.asarray(editor.values(clip.motion), np.float32))
        index = np.array([config.emotions.index(e) if e in config.emotions else -1 for e in clip.labels])
        for start in range(0, len(index) - config.window + 1, hop):
            part = index[start : start + config.window]
            if (part >= 0).all():
                starts.append(begin + start)
                labels.append(int(np.bincount(part).argmax()))
        begin += len(index)
    if len(set(labels)) < 2:
        raise InputError("the data shows fewer than two emotions", "give clips of several")
    return Windows(np.concatenate(values), np.array(starts), np.array(labels), config.window)


class NedTask:
    """Networks, windows and steps for :func:`mien.training.loop.fit`."""

    def __init__(self, networks: NedNetworks, training: Windows, validation: Windows | None, *, seed: int) -> None:
        self.network = networks
        self.optimiser = torch.optim.Adam(networks.parameters(), lr=1.0, betas=(0.0, 0.99))  # the loop sets the rate
        self._training, self._validation, self._seed = training, validation, seed

    def __len__(self) -> int:
        """Windows trained on."""
        return len(self._training)

    def loss(self, indices: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """The first three steps, done here, and the terms of the fourth."""
        nets, data = self.network, self._training
        rng = np.random.default_rng([self._seed, *indices.tolist()])  # of the batch alone: resuming changes nothing
        windows, labels = data.at(data.starts[indices]), torch.from_numpy(data.labels[indices])
        reference, shown = _references(data, rng, len(indices))
        noise = torch.from_numpy(rng.standard_normal((len(indices), nets.config.latent_dim)).astype(np.float32))
        other = torch.from_numpy(rng.integers(0, len(nets.config.emotions), len(indices)))
        terms: dict[str, Tensor] = {}
        for targets, cue in ((other, noise), (shown, reference)):
            total, _ = discriminator_step(nets, windows, labels, targets, cue)
            self._step(total)
            terms["discriminator"] = total.detach()
        total, parts = translation_step(nets, windows, other, noise)
        terms |= {f"noise_{name}": value.detach() for name, value in parts.items()}
        self._step(total)
        frozen = (nets.mapping_network, nets.discriminator, nets.style_encoder)
        for part in frozen:
            part.requires_grad_(False)
        total, parts = translation_step(nets, windows, shown, reference)
        for part in frozen:
            part.requires_grad_(True)
        return {"total": total, **parts, **terms}

    def _step(self, total: Tensor) -> None:
        self.optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.optimiser.zero_grad()

    def validate(self) -> dict[str, float]:
        """On people not trained on: cycle error, and the share of the way to a reference that the mean moves."""
        if self._validation is None:
            return {}
        nets, data = self.network, self._validation
        rng = np.random.default_rng(self._seed)
        indices = np.sort(rng.choice(len(data), min(len(data), 4 * _AT_ONCE), replace=False))
        cycle, moved = 0.0, []
        for start in range(0, len(indices), _AT_ONCE):
            some = indices[start : start + _AT_ONCE]
            windows, (reference, _) = data.at(data.starts[some]), _references(data, rng, len(some))
            made = nets.generator(windows, nets.style_encoder(reference))
            back = nets.generator(made, nets.style_encoder(windows))
            cycle += float((back - windows).abs().mean()) * len(some)
            way, went = reference.mean(1) - windows.mean(1), made.mean(1) - windows.mean(1)
            moved.append(float((way * went).sum() / (way * way).sum().clamp_min(1e-9)))
        return {"cycle": cycle / len(indices), "moved": float(np.mean(moved))}


def _references(data: Windows, rng: np.random.Generator, n: int) -> tuple[Tensor, Tensor]:
    """``n`` random windows and their labels."""
    chosen = rng.integers(0, len(data), n)
    return data.at(data.starts[chosen]), torch.from_numpy(data.labels[chosen])
