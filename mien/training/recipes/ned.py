"""``mien train ned``: windows of people in known emotions in; networks that translate between emotions out.

As in the official program, in four steps per batch of windows, each with a target label of its own: the discriminator
on translations by noise, the discriminator on translations by reference, then translator, mapping network and style
encoder by noise, then the translator by reference. Adam with betas (0, 0.99). The two stages (Aff-Wild2, then MEAD) are
two runs, the second with ``--start``. People are split between training and validation, never their clips.

Deviations: the learning rate falls by a factor per epoch instead of linearly in the last ten; and where the data is
*paired* (the same name is the same speech, frame by frame, in every emotion) the last step also asks for the very
window of the target, and trains the style encoder with it; a run on nothing but that is a quick first stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.errors import InputError
from mien.motion.ned import (
    NedEditor,
    NedNetworks,
    builtin_config,
    cue_style,
    discriminator_step,
    load_ned,
    save_ned,
    translation_loss,
    translation_step,
)
from mien.progress import Progress
from mien.training.datasets.emotion_clips import EmotionClip, read_emotion_clips
from mien.training.loop import Schedule, fit
from mien.training.options import Pairs, TrainNedOptions, TrainNedResult
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
        clips: ``(W,)`` which clip it is of.
        first: ``(C,)`` first frame of each clip.
        length: frames of a window.
        names: ``(C,)`` number of what is said; paired clips have the same.
        groups: ``(C,)`` number of person and emotion together.
    """

    values: Array
    starts: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    clips: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    length: int
    names: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]

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
    if options.pairs is not None:
        _check_pairs(clips)
    training, validation = split(clips, options.leave_out)
    torch.manual_seed(options.seed)
    fresh = builtin_config(options.width, options.reader_width)
    networks = NedNetworks(fresh) if options.start is None else load_ned(options.start)
    task = NedTask(
        networks,
        windows_of(training, networks, options.hop),
        windows_of(validation, networks, options.hop) if validation else None,
        pairs=options.pairs,
        seed=options.seed,
    )
    settings = {
        "model": asdict(networks.config), "pairs": options.pairs, "hop": options.hop,
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


def _check_pairs(clips: Sequence[EmotionClip]) -> None:
    lengths: dict[str, int] = {}
    for clip in clips:
        if lengths.setdefault(clip.name, len(clip.motion)) != len(clip.motion):
            raise InputError(
                f"--pairs: clips called {clip.name} have {lengths[clip.name]} and {len(clip.motion)} frames",
                "pairs have the same frames; leave --pairs out",
            )


def split(
    clips: Sequence[EmotionClip], leave_out: Sequence[str] = ()
) -> tuple[tuple[EmotionClip, ...], tuple[EmotionClip, ...]]:
    """Clips to train on and clips of other people to validate on.

    Args:
        clips: all of them.
        leave_out: people to validate on; by default every tenth by name, nobody if there are fewer than four.

    Raises:
        InputError: if a person is unknown, or nobody is left to train on.
    """
    people = sorted({clip.person for clip in clips})
    unknown = sorted(set(leave_out) - set(people))
    if unknown:
        raise InputError(f"nobody is called {', '.join(unknown)}", f"there are {', '.join(people)}")
    out = set(leave_out) or (set(people[::10]) if len(people) > 3 else set())
    if out == set(people):
        raise InputError("nobody is left to train on", "leave out fewer people")
    kept = tuple(clip for clip in clips if clip.person not in out)
    return kept, tuple(clip for clip in clips if clip.person in out)


def windows_of(clips: Sequence[EmotionClip], networks: NedNetworks, hop: int = 1) -> Windows:
    """All windows of frames that have a label; a window's label is its most frequent one.

    Raises:
        InputError: if there is no window, or only one emotion.
    """
    config, editor = networks.config, NedEditor(networks)
    starts, labels, owners, firsts = [], [], [], []
    values: list[Array] = []
    begin = 0
    for number, clip in enumerate(clips):
        values.append(np.asarray(editor.values(clip.motion), np.float32))
        index = np.array([config.emotions.index(e) if e in config.emotions else -1 for e in clip.labels])
        firsts.append(begin)
        for start in range(0, len(index) - config.window + 1, hop):
            part = index[start : start + config.window]
            if (part >= 0).all():
                starts.append(begin + start)
                labels.append(int(np.bincount(part).argmax()))
                owners.append(number)
        begin += len(index)
    if len(set(labels)) < 2:
        raise InputError("the data shows fewer than two emotions", "give clips of several")
    said = {name: i for i, name in enumerate(dict.fromkeys(clip.name for clip in clips))}
    kinds = {kind: i for i, kind in enumerate(dict.fromkeys(_kind(clip) for clip in clips))}
    return Windows(
        np.concatenate(values), np.array(starts), np.array(labels), np.array(owners), np.array(firsts), config.window,
        np.array([said[clip.name] for clip in clips]), np.array([kinds[_kind(clip)] for clip in clips]),
    )  # fmt: skip


def _kind(clip: EmotionClip) -> tuple[str, str]:
    return clip.person, str(clip.labels[0])


class Looks:
    """Random standing expressions, so that the networks read references of any kind and not only those in the data.

    Args:
        names: the expressions of a frame, which has the jaw before them; sides are told by their ends.
    """

    def __init__(self, names: Sequence[str]) -> None:
        pairs = dict.fromkeys(name.removesuffix("Left").removesuffix("Right") for name in names)
        self._stems = [[1 + i for i, name in enumerate(names) if name in (s, s + "Left", s + "Right")] for s in pairs]
        self._width = 1 + len(names)
        free = [not stem.startswith(("jaw", "mouthClose", "mouthFunnel", "cheekPuff")) for stem in pairs]
        self._chance = np.where(free, _SHOWN, 0)

    def add(self, rng: np.random.Generator, windows: Tensor) -> Tensor:
        """``(B, N, D)`` windows, half of them with something standing over what is left to 1."""
        looks = torch.from_numpy(self._draw(rng, len(windows)))[:, None]
        return windows + looks * (1 - windows)

    def add_same(self, rng: np.random.Generator, **windows: Tensor) -> dict[str, Tensor]:
        """The same standing expression in windows that show the same person."""
        state = rng.bit_generator.state
        result = {}
        for name, some in windows.items():
            rng.bit_generator.state = state
            result[name] = self.add(rng, some)
        return result

    def _draw(self, rng: np.random.Generator, n: int) -> Array:
        looks = np.zeros((n, self._width), np.float32)
        shown = rng.random((n, len(self._stems))) < self._chance * (rng.random((n, 1)) < 0.5)
        heights = np.where(shown, rng.uniform(0, 0.7, shown.shape), 0)
        for stem, columns in enumerate(self._stems):
            looks[:, columns] = heights[:, stem, None] * rng.uniform(0.85, 1, (n, len(columns)))
        return looks


class NedTask:
    """Networks, windows and steps for :func:`mien.training.loop.fit`."""

    def __init__(
        self, networks: NedNetworks, training: Windows, validation: Windows | None, *, pairs: Pairs | None, seed: int
    ) -> None:
        self.network = networks
        self.optimiser = torch.optim.Adam(networks.parameters(), lr=1.0, betas=(0.0, 0.99))  # the loop sets the rate
        self._training, self._validation, self._pairs, self._seed = training, validation, pairs, seed
        self._looks = Looks(networks.config.expression_names)

    def __len__(self) -> int:
        """Windows trained on."""
        return len(self._training)

    def loss(self, indices: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """The first three steps, done here, and the terms of the fourth."""
        nets, data = self.network, self._training
        rng = np.random.default_rng([self._seed, *indices.tolist()])  # of the batch alone: resuming changes nothing
        windows, labels = data.at(data.starts[indices]), torch.from_numpy(data.labels[indices])
        cues = _references(data, indices, rng, self._pairs is not None)
        if cues.wanted is not None:  # half of the people look like nobody in the data
            windows = self._looks.add(rng, windows)
            cues = replace(cues, **self._looks.add_same(rng, windows=cues.windows, wanted=cues.wanted))
        if self._pairs == "only" and cues.wanted is not None:
            pair = (nets.generator(windows, nets.style_encoder(cues.windows)) - cues.wanted).abs().mean()
            return {"total": pair, "pair": pair.detach()}
        noise = torch.from_numpy(rng.standard_normal((len(indices), nets.config.latent_dim)).astype(np.float32))
        other = torch.from_numpy(rng.integers(0, len(nets.config.emotions), len(indices)))
        terms: dict[str, Tensor] = {}
        for targets, cue in ((other, noise), (cues.labels, cues.windows)):
            total, _ = discriminator_step(nets, windows, labels, targets, cue)
            self._step(total)
            terms["discriminator"] = total.detach()
        total, parts = translation_step(nets, windows, other, noise)
        terms |= {f"noise_{name}": value.detach() for name, value in parts.items()}
        self._step(total)
        frozen = [nets.mapping_network, nets.discriminator, *([] if self._pairs else [nets.style_encoder])]
        for part in frozen:
            part.requires_grad_(False)
        style, own = nets.style_encoder(cues.windows), nets.style_encoder(windows)
        fake = nets.generator(windows, style)
        score, seen = nets.discriminator(fake, cues.labels), nets.style_encoder(fake)
        total, parts = translation_loss(windows, fake, nets.generator(fake, own), style, seen, score)
        if cues.wanted is not None:
            parts["pair"] = (fake - cues.wanted).abs().mean()
            total = total + _PAIR * parts["pair"]
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
            windows, cues = data.at(data.starts[some]), _references(data, some, rng, self._pairs is not None)
            made = nets.generator(windows, cue_style(nets, cues.windows, cues.labels))
            back = nets.generator(made, nets.style_encoder(windows))
            cycle += float((back - windows).abs().mean()) * len(some)
            way, went = cues.windows.mean(1) - windows.mean(1), made.mean(1) - windows.mean(1)
            moved.append(float((way * went).sum() / (way * way).sum().clamp_min(1e-9)))
        return {"cycle": cycle / len(indices), "moved": float(np.mean(moved))}


_SHOWN = 0.3  # chance that an expression takes part in a random look
_PAIR = 10.0  # weight of the paired term: the only one that says where a brow shall be


@dataclass(frozen=True, eq=False)
class _Cues:
    """References ``(B, N, D)`` with their labels ``(B,)``, and where data is paired the windows that are wanted."""

    windows: Tensor
    labels: Tensor
    wanted: Tensor | None


def _references(data: Windows, indices: npt.NDArray[np.int64], rng: np.random.Generator, paired: bool) -> _Cues:
    """A random reference for each window; of paired data one that shows the emotion of a twin of the window's clip."""
    if not paired:
        chosen = rng.integers(0, len(data), len(indices))
        return _Cues(data.at(data.starts[chosen]), torch.from_numpy(data.labels[chosen]), None)
    own = data.clips[indices]
    twins, chosen = np.empty(len(own), np.int64), np.empty(len(own), np.int64)
    for i, clip in enumerate(own):
        twins[i] = rng.choice(np.flatnonzero(data.names == data.names[clip]))
        alike = np.flatnonzero(data.groups == data.groups[twins[i]])
        others = alike[alike != twins[i]]
        chosen[i] = rng.choice(np.flatnonzero(data.clips == rng.choice(others if len(others) else alike)))
    wanted = data.starts[indices] - data.first[own] + data.first[twins]
    return _Cues(data.at(data.starts[chosen]), torch.from_numpy(data.labels[chosen]), data.at(wanted))
