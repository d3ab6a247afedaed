"""``mien train dsm``: one person's expression decoder, from the folder that ``mien prepare`` makes.

An example is one frame: valence and arousal in, expression out; the loss is the mean squared error. Frames without a
face are left out. The last part of every clip is validated on, after a gap that keeps smoothed neighbours out of it, so
that validation is ahead in time and still meets every emotion.

Two settings:
    *faithful* is the paper's network as its re-implementation trains it: Adam at 1e-3, batches of 32, 1000 epochs.
    *fast*, the default, has two narrow layers, and jitters valence and arousal by as much as a frame vouches for. Two
    numbers hold no more than that, and a minute of film has few independent frames. Where the film says little its
    faces go towards the mean face (:func:`doubt_of`), so that they are not worse than that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.errors import InputError
from mien.media.output import atomic_output
from mien.media.person_folder import DECODER_FILE, DECODER_RUN, PersonClip, load_person
from mien.motion.dsm import PAPER_LAYERS, REACH, Dsm, DsmConfig, ExpressionDecoder, cloud_of, save_dsm
from mien.motion.emotion import expression_at
from mien.progress import Progress
from mien.training.loop import Schedule, fit
from mien.training.options import TrainDsmOptions, TrainDsmResult
from mien.types import Array

FIGURES = "figures.json"
"""Name of the finished model's errors in the folder of a run."""

_GAP = 1.0  # s left out between training and validation, at most a tenth of the clip: valence is smoothed over 0.4 s
_LEAST = 2.0  # s of film
_MEMORY = 0.5  # s after which what a face does besides its mood is independent of before: some syllables
_STEP, _FOLDS = 0.2, 5  # s between the frames that doubt is measured on, and parts that are guessed from the rest


@dataclass(frozen=True)
class Setting:
    """A network and how it is trained."""

    hidden: tuple[int, ...]
    batch_size: int
    epochs: int
    jitter: float
    threads: int | None
    doubts: bool


SETTINGS: Mapping[str, Setting] = {
    "fast": Setting((128, 128), 128, 200, REACH, 1, True),  # threads would wait for each other longer than they work
    "faithful": Setting(PAPER_LAYERS, 32, 1000, 0.0, None, False),
}


@dataclass(frozen=True, eq=False)
class Frames:
    """Valence and arousal ``(N, 2)``, expressions ``(N, E)``, and the seconds ``(N,)`` that the same frames last."""

    va: Array
    expression: Array
    seconds: Array

    def __len__(self) -> int:
        return len(self.va)


def run(options: TrainDsmOptions, progress: Progress | None = None) -> TrainDsmResult:
    """Train, or go on training.

    Raises:
        InputError: if the person or the numbers cannot be used, or the folder holds another run.
        FormatError: if data or checkpoints are damaged.
    """
    if not 0 <= options.dropout < 1:
        raise InputError(f"--dropout {options.dropout:g}", "give 0 or more, and less than 1")
    if not 0.05 <= options.held_out <= 0.5:
        raise InputError(f"--held-out {options.held_out:g}", "give a share from 0.05 to 0.5")
    setting = SETTINGS[options.setting]
    output = options.output or options.data / DECODER_RUN
    person = load_person(options.data)
    clips = person.clips
    training, validation = split(clips, options.held_out)
    motion = clips[0].motion
    config = DsmConfig(
        motion.expression_names, motion.rig, setting.hidden, options.dropout, person.settings.get("estimator", "own")
    )
    torch.manual_seed(options.seed)
    task = DsmTask(ExpressionDecoder(config), training, validation, setting.jitter, options.seed)
    epochs = setting.epochs if options.epochs is None else options.epochs
    schedule = Schedule(
        epochs, setting.batch_size, 1e-3, checkpoint_every=max(1, epochs // 4), keep=1, seed=options.seed
    )
    settings = {"model": asdict(config), "jitter": setting.jitter, "held_out": options.held_out,
                "clips": [clip.sha256 for clip in clips]}  # fmt: skip
    with _threads(setting.threads):
        entries = fit(task, schedule, output, settings, progress)
    own = training.expression.mean(0) - expression_at(training.va).mean(0)
    doubt = doubt_of(_early(clips, options.held_out)) if setting.doubts else 0.0
    cloud = cloud_of(training.va, training.seconds)
    model = Dsm(config, task.network.eval(), cloud, own, training.expression.mean(0), doubt)
    save_dsm(output / DECODER_FILE, model)
    figures = errors(model, training, validation)
    with atomic_output(output / FIGURES) as temporary:
        temporary.write_text(json.dumps({"setting": options.setting, **figures}, indent=1) + "\n")
    return TrainDsmResult(
        output / DECODER_FILE, len(entries), len(training), len(validation),
        figures["decoder"], figures["mean"], figures["generic"],
    )  # fmt: skip


@contextmanager
def _threads(n: int | None) -> Iterator[None]:
    """PyTorch on ``n`` threads for a while; ``None`` leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def split(clips: Sequence[PersonClip], held_out: float) -> tuple[Frames, Frames]:
    """Frames to train on, and the last share of every clip to validate on.

    Raises:
        InputError: if clips are on different rigs, or too little is left.
    """
    if len({(clip.motion.rig, clip.motion.expression_names) for clip in clips}) != 1:
        raise InputError("the person's clips are of different rigs", "prepare them again in one go")
    training = joined(_early(clips, held_out))
    validation = joined(_seen(clip, slice(round(len(clip) * (1 - held_out)), len(clip))) for clip in clips)
    if training.seconds.sum() < _LEAST or not len(validation):
        raise InputError(
            f"{clips[0].folder}: {training.seconds.sum():.1f} s to train on", "prepare more film of the face"
        )
    return training, validation


def _early(clips: Sequence[PersonClip], held_out: float) -> list[Frames]:
    """The part of every clip that is trained on."""
    ends = [round(len(clip) * (1 - held_out)) - _gap(len(clip), clip.fps) for clip in clips]
    return [_seen(clip, slice(0, max(end, 0))) for clip, end in zip(clips, ends, strict=True)]


def _gap(n: int, fps: float) -> int:
    return round(min(_GAP * fps, n / 10))


def _seen(clip: PersonClip, rows: slice) -> Frames:
    found = clip.found[rows]
    seconds = np.full(int(found.sum()), 1 / clip.fps, np.float32)
    return Frames(clip.va[rows][found], clip.motion.expression[rows][found], seconds)


def joined(parts: Iterable[Frames]) -> Frames:
    """Several sets of frames as one."""
    some = list(parts)
    return Frames(*(np.concatenate(arrays) for arrays in zip(*map(_arrays, some), strict=True)))


def doubt_of(parts: Sequence[Frames]) -> float:
    """Seconds of film around a point of the disc that weigh as much as the person's mean face (:attr:`Dsm.doubt`).

    Each fifth of every part is guessed from the others by the mean of what was seen around, which is what a network
    learns that is trained with jitter. ``R2`` of the variance is guessed so; the rest is speech and chance, independent
    after :data:`_MEMORY`. The mean of ``n`` seconds then errs as much as there is to guess at
    ``n = _MEMORY (1 - R2) / R2``.
    """
    thinned = [_rows(part, slice(None, None, max(1, round(_STEP / part.seconds[0])))) for part in parts if len(part)]
    error = total = 0.0
    for fold in range(_FOLDS):
        rest, asked = [], []
        for part in thinned:
            n = len(part)
            start, end = n * fold // _FOLDS, n * (fold + 1) // _FOLDS
            gap = _gap(n, 1 / _STEP)
            rest += [_rows(part, slice(0, max(start - gap, 0))), _rows(part, slice(end + gap, n))]
            asked.append(_rows(part, slice(start, end)))
        known, truth = joined(rest), joined(asked)
        if len(known) and len(truth):
            error += float(np.square(_around(known, truth.va) - truth.expression).sum())
            total += float(np.square(known.expression.mean(0) - truth.expression).sum())
    guessed = max(1 - error / total, 1e-3) if total else 1e-3
    return round(_MEMORY * (1 - guessed) / guessed, 3)


def _around(known: Frames, va: Array) -> Array:
    """``(T, E)`` the mean expression of frames around points; the nearer a frame the more it counts."""
    faces = []
    for block in np.array_split(va, -(-len(va) // 1024)):  # so that memory stays flat
        near = np.exp(-np.square(block[:, None] - known.va[None]).sum(2) / (2 * REACH**2)) + 1e-6
        faces.append(near @ known.expression / near.sum(1, keepdims=True))
    return np.concatenate(faces)


def _rows(frames: Frames, rows: slice) -> Frames:
    return Frames(*(array[rows] for array in _arrays(frames)))


def _arrays(frames: Frames) -> tuple[Array, Array, Array]:
    return frames.va, frames.expression, frames.seconds


def errors(model: Dsm, training: Frames, validation: Frames) -> dict[str, float]:
    """Root mean squared error over frames and expressions on the validation part.

    Returns:
        ``decoder``, and what it must beat: ``mean``, the person's mean face, and ``generic``, the face that anybody
        gets over this person's resting face. ``training`` is the decoder's error on frames that it has seen.
    """
    wanted = validation.expression
    return {
        "decoder": rms(model.decode(validation.va) - wanted),
        "mean": rms(training.expression.mean(0) - wanted),
        "generic": rms(np.clip(model.own + expression_at(validation.va), 0, 1) - wanted),
        "training": rms(model.decode(training.va) - training.expression),
    }


def rms(difference: Array) -> float:
    """Root of the mean square, to four places."""
    return round(float(np.sqrt(np.square(difference).mean())), 4)


class DsmTask:
    """Network, frames and loss for :func:`mien.training.loop.fit`."""

    def __init__(
        self, network: ExpressionDecoder, training: Frames, validation: Frames, jitter: float, seed: int
    ) -> None:
        self.network = network
        self.optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)  # ten times as fast as a loop
        self._va, self._expression = torch.from_numpy(training.va), torch.from_numpy(training.expression)
        self._validation, self._jitter, self._seed = validation, jitter, seed
        with torch.no_grad():  # the mean face to begin with
            network.output.bias.copy_(self._expression.mean(0))

    def __len__(self) -> int:
        return len(self._va)

    def loss(self, indices: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """Mean squared error of these frames."""
        # Chance is drawn from the examples themselves, so that a resumed run draws what an uninterrupted one does.
        torch.manual_seed(int(np.random.SeedSequence([self._seed, *indices[:4].tolist()]).generate_state(1)[0]))
        va = self._va[indices]
        va = va + self._jitter * torch.randn(va.shape)
        return {"total": (self.network(va) - self._expression[indices]).square().mean()}

    def validate(self) -> dict[str, float]:
        """Mean squared error of the held-out frames."""
        difference = self.network(torch.from_numpy(self._validation.va)) - torch.from_numpy(self._validation.expression)
        return {"total": float(difference.square().mean())}
