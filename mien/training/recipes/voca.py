"""``mien train voca``: VOCA from VOCASET, or from one's own clips in the same layout.

As in the released program: batches of 64 pairs of neighbouring frames, Adam as TensorFlow writes it at 1e-4, the last
layer started from principal components, 100 epochs; validation under every speaker, averaged, for people the model does
not know. Unlike there, every frame is used once per epoch: the official batcher never uses the first batch of an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.errors import InputError
from mien.face.rig import load_rig
from mien.motion.voca import EVERY_SPEAKER, Voca, VocaConfig, VocaLossConfig, VocaNetwork, losses, save_voca
from mien.perception.deepspeech import KIND as DEEPSPEECH
from mien.perception.speech_adapters import Listener
from mien.progress import Progress, track
from mien.training.datasets.vocaset import Clip, Frames, Vocaset, official_splits, open_vocaset
from mien.training.distributed import CPU, SharedBatchNorm, joined, share, share_weight, shared, world
from mien.training.loop import Schedule, fit
from mien.training.optimiser import TensorFlowAdam
from mien.training.options import TrainVocaOptions, TrainVocaResult
from mien.types import Array

WEIGHTS = "voca.safetensors"
"""Name of the finished model in the folder of a run."""

_BASIS_FRAMES = 1000  # frames whose principal components start the last layer
_AT_ONCE = 256  # frames per step of the validation


def run(options: TrainVocaOptions, progress: Progress | None = None) -> TrainVocaResult:
    """Train, or go on training.

    Raises:
        InputError: if the data or the numbers cannot be used, or the folder holds another run.
        FormatError: if data or checkpoints are damaged.
    """
    schedule = Schedule(
        options.epochs, options.batch_size, options.learning_rate, options.decay, options.checkpoint_every,
        seed=options.seed,
    )  # fmt: skip
    loss = VocaLossConfig(
        options.consecutive_frames, options.absolute_loss, options.velocity_weight, options.acceleration_weight,
        options.regulariser_weight,
    )  # fmt: skip
    dataset = open_vocaset(options.data)
    train_clips, validation_clips = split(dataset, options.leave_out)
    speakers = tuple(dict.fromkeys(clip.subject for clip in train_clips))
    clips = [*train_clips, *validation_clips]
    comes_with_the_data = options.features == DEEPSPEECH and options.recogniser is None
    listen = None if comes_with_the_data else Listener(options.features, options.recogniser)
    features = {c: clip_features(dataset, c, listen) for c in track(clips, progress, "listen", len(clips))}
    config = VocaConfig(
        n_vertices=dataset.vertices.shape[1], speakers=speakers, feature_kind=options.features,
        n_features=features[train_clips[0]].shape[1], fps=dataset.fps, rig=dataset.rig, default_style=EVERY_SPEAKER,
    )  # fmt: skip

    def frames(some: Sequence[Clip]) -> Frames:
        return Frames(dataset, some, [features[clip] for clip in some], speakers, config.window)

    torch.manual_seed(options.seed)
    training = frames(train_clips)
    network = VocaNetwork(config, start_basis(dataset, training, config.n_coefficients))
    settings = {
        "model": asdict(config), "loss": asdict(loss) | {"lip_weight": options.lip_weight},
        "validated_on": sorted(map(_name, validation_clips)),
    }  # fmt: skip
    weights = None if options.lip_weight == 1 else vertex_weights(dataset.rig, options.lip_weight)
    with joined(CPU):
        task = VocaTask(network, training, frames(validation_clips) if validation_clips else None, loss, weights)
        entries = fit(task, schedule, options.output, settings, progress)
    if world()[0] == 0:
        save_voca(options.output / WEIGHTS, Voca(config, network.eval()))
    last = entries[-1]

    def error(part: Mapping[str, float]) -> float:
        value = part.get("reconstruction", float("nan"))
        return round(1000 * (value if loss.absolute else value**0.5), 4)

    return TrainVocaResult(
        options.output / WEIGHTS, len(entries), len(training), error(last["train"]), error(last["validation"])
    )


def split(dataset: Vocaset, leave_out: Sequence[str] = ()) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Clips to train on and clips to validate on.

    VOCASET is split as in the paper. Of other data every speaker's last tenth of the sentences, by name, is validated
    on, or all of the speakers that are left out.

    Raises:
        InputError: if a speaker to leave out is unknown, or nothing is left to train on.
    """
    known = sorted({clip.subject for clip in dataset.clips})
    unknown = sorted(set(leave_out) - set(known))
    if unknown:
        raise InputError(f"no speaker {', '.join(unknown)} in {dataset.folder}", f"there are {', '.join(known)}")
    if leave_out:
        train = tuple(clip for clip in dataset.clips if clip.subject not in leave_out)
        validation = tuple(clip for clip in dataset.clips if clip.subject in leave_out)
    elif dataset.official:
        train, validation = (dataset.select(official_splits()[name]) for name in ("train", "validation"))
    else:
        groups = [sorted((c for c in dataset.clips if c.subject == s), key=lambda c: c.sentence) for s in known]
        kept = [len(group) - (-(-len(group) // 10) if len(group) > 1 else 0) for group in groups]
        train = tuple(clip for group, n in zip(groups, kept, strict=True) for clip in group[:n])
        validation = tuple(clip for group, n in zip(groups, kept, strict=True) for clip in group[n:])
    if not train:
        raise InputError(f"{dataset.folder}: nothing is left to train on", "leave out fewer speakers")
    return train, validation


def clip_features(dataset: Vocaset, clip: Clip, listen: Listener | None) -> Array:
    """``(T, D)`` what is heard in a clip at the data set's rate; without a listener the logits that come with the data.

    Raises:
        InputError: if the data set has no such logits.
        FormatError: if its sound or logits are damaged.
    """
    return dataset.processed_features(clip) if listen is None else listen(dataset.sound(clip), dataset.fps).values


def start_basis(dataset: Vocaset, frames: Frames, n_components: int) -> Array:
    """``(3 V, n)`` what the last layer starts from: the basis that comes with VOCASET, else principal components.

    Components are scaled by their standard deviation in metres, so that coefficients have unit size.
    """
    given = dataset.initial_basis() if dataset.official else None
    if given is not None:
        return given
    some = np.unique(np.linspace(0, len(frames) - 1, min(_BASIS_FRAMES, len(frames))).astype(np.int64))
    offsets = frames.batch(some, 1).offsets.reshape(len(some), -1)
    _, sizes, components = np.linalg.svd(offsets - offsets.mean(0), full_matrices=False)
    scaled = components * (sizes / np.sqrt(max(len(some) - 1, 1)))[:, None]
    return np.asarray(scaled[:n_components].T, np.float32)


def vertex_weights(rig: str, lip_weight: float) -> Tensor:
    """``(V,)`` how much each vertex counts, 1 on average: on the whole mesh the jaw outweighs what the lips do.

    Raises:
        InputError: if the weight is not above 0, or the rig is not the built-in one.
    """
    if rig != "builtin":
        raise InputError(f"--lip-weight with rig {rig}", "leave it out: mien knows the lips of its own rig only")
    if not 0 < lip_weight < float("inf"):
        raise InputError(f"--lip-weight {lip_weight:g}", "give a number above 0")
    face = load_rig(rig)
    weights = torch.ones(face.n_vertices)
    weights[np.unique(np.r_[face.contours["lips_outer"], face.contours["lips_inner"]])] = lip_weight
    return weights / weights.mean()


class VocaTask:
    """Network, frames and losses for :func:`mien.training.loop.fit`."""

    def __init__(
        self,
        network: VocaNetwork,
        training: Frames,
        validation: Frames | None,
        loss: VocaLossConfig,
        weights: Tensor | None = None,
    ) -> None:
        if world()[1] > 1:
            network.encoder.batch_norm.__class__ = SharedBatchNorm
        self.network = network
        self.optimiser = TensorFlowAdam(network.parameters(), lr=1.0)  # the loop sets the rate
        self._shared = shared(network)
        self._training, self._validation, self._loss, self._weights = training, validation, loss, weights

    def __len__(self) -> int:
        """Frames trained on."""
        return len(self._training)

    def loss(self, indices: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """The terms for these frames and the ones before them; under ``torchrun`` this process's part of them."""
        batch = self._training.batch(share(indices), self._loss.n_consecutive_frames)
        offsets = self._shared(torch.from_numpy(batch.features), torch.from_numpy(batch.speaker))
        terms = losses(offsets, torch.from_numpy(batch.offsets), self._loss, self._weights)
        return {name: value * share_weight(indices) for name, value in terms.items()}

    def validate(self) -> dict[str, float]:
        """Mean terms over all validation frames: own condition for known speakers, the mean of all for the others."""
        if self._validation is None:
            return {}
        sums: dict[str, float] = {}
        for indices in self._validation.every(_AT_ONCE):
            batch = self._validation.batch(indices, self._loss.n_consecutive_frames)
            features, target = torch.from_numpy(batch.features), torch.from_numpy(batch.offsets)
            conditions = range(self.network.n_speakers if batch.speaker.min() < 0 else 1)
            for condition in conditions:
                speaker = np.where(batch.speaker < 0, condition, batch.speaker)
                offsets = self.network(features, torch.from_numpy(speaker))
                for name, value in losses(offsets, target, self._loss, self._weights).items():
                    sums[name] = sums.get(name, 0.0) + value.item() * len(indices) / len(conditions)
        return {name: total / len(self._validation) for name, total in sums.items()}


def _name(clip: Clip) -> str:
    return f"{clip.subject}/{clip.sentence}"
