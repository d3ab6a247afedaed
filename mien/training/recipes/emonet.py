"""``mien train emonet``: EmoNet's emotion head, or the whole network, on labelled pictures of faces.

The official training code was never published. As in the paper and its MIT re-implementation (emonet_train): AdamW at
1e-3, cross entropy and the regression losses shaken together with random weights, every label shown equally often,
pictures mirrored, turned by up to 15 degrees, scaled by up to a quarter and shifted by up to 10 px, the trunk left as
it was trained on landmarks. Unlike there, the learning rate falls evenly instead of by tenths at epochs 15, 30 and 45;
the fall over 50 epochs is the same. The second stage of the paper, distillation, is not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.errors import InputError
from mien.media.weights import write_tensors
from mien.metrics.emotion import emotion_accuracy, va_error
from mien.perception.emonet import EmoNet, EmoNetConfig, EmoNetOutput, emonet_loss, load_emonet
from mien.progress import Progress
from mien.training.datasets.emotion_pictures import FaceCrops, LabelledPicture, is_clean, open_pictures
from mien.training.loop import Schedule, fit
from mien.training.options import TrainEmoNetOptions, TrainEmoNetResult
from mien.types import Emotion, Frame

WEIGHTS = "emonet.safetensors"
"""Name of the finished network in the folder of a run."""

_TURN, _SCALE, _SHIFT = 15.0, 0.25, 10.0  # degrees, share, px
_AT_ONCE = 8  # pictures per step of the validation


def run(
    options: TrainEmoNetOptions, progress: Progress | None = None, config: EmoNetConfig | None = None
) -> TrainEmoNetResult:
    """Train, or go on training.

    Args:
        options: what and how long.
        progress: sees the stages ``"faces"`` and ``"train"``.
        config: the network without ``options.start``; the published one if ``None``.

    Raises:
        InputError: if the pictures or the numbers cannot be used, or the folder holds another run.
        FormatError: if the table, the weights or checkpoints are damaged.
    """
    if not 0 <= options.held_out < 1:
        raise InputError(f"--held-out {options.held_out:g}", "give a share from 0 to less than 1")
    schedule = Schedule(
        options.epochs, options.batch_size, options.learning_rate, options.decay, options.checkpoint_every, keep=3,
        seed=options.seed,
    )  # fmt: skip
    listed = [picture for picture in open_pictures(options.data) if not options.clean or is_clean(picture)]
    if not listed:
        raise InputError(f"{options.data}: no picture is clean", "cleaning needs valence and arousal of every picture")
    crops = FaceCrops(options.output / "faces", listed, progress)
    torch.manual_seed(options.seed)
    network = load_emonet(options.start) if options.start else EmoNet(config)
    labels = network.config.labels
    unknown = sorted({picture.label for picture in crops.pictures} - set(labels))
    if unknown:
        raise InputError(f"{options.start}: does not know {', '.join(unknown)}", "start from the eight-class weights")
    training, validation = split(crops.pictures, options.held_out, options.seed)
    task = EmoNetTask(network, crops, training, validation, options.seed, head_only=options.start is not None)
    settings = {"model": asdict(network.config), "head_only": options.start is not None, "clean": options.clean,
                "training": len(training), "validation": len(validation)}  # fmt: skip
    entries = fit(task, schedule, options.output, settings, progress)
    weights = options.output / WEIGHTS
    write_tensors(weights, network.state_dict())
    last = entries[-1]["validation"]
    return TrainEmoNetResult(
        weights, len(entries), len(training), len(validation), last.get("accuracy", float("nan")),
        last.get("valence_ccc", float("nan")), last.get("arousal_ccc", float("nan")),
    )  # fmt: skip


def split(pictures: Sequence[LabelledPicture], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on, and of a share of every label to validate on."""
    order = np.random.default_rng(seed).permutation(len(pictures))
    training, validation = [], []
    for label in Emotion:
        some = [int(i) for i in order if pictures[i].label == label]
        n = round(share * len(some))
        validation += some[:n]
        training += some[n:]
    return sorted(training), sorted(validation)


class EmoNetTask:
    """Network, pictures and loss for the training loop.

    An epoch shows every label as often as the commonest one.
    """

    def __init__(
        self,
        network: EmoNet,
        crops: FaceCrops,
        training: Sequence[int],
        validation: Sequence[int],
        seed: int,
        *,
        head_only: bool,
    ) -> None:
        self.network = network
        self._crops, self._validation, self._seed, self._head_only = crops, validation, seed, head_only
        if head_only:
            network.requires_grad_(False)
            for part in network.head():
                part.requires_grad_(True)
        learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(learnt, 1e-3, weight_decay=0)
        labels = {crops.pictures[i].label for i in training}
        groups = [[i for i in training if crops.pictures[i].label == label] for label in Emotion if label in labels]
        most = max(map(len, groups))
        self._shown = [group[i % len(group)] for group in groups for i in range(most)]

    def __len__(self) -> int:
        """Pictures shown in an epoch."""
        return len(self._shown)

    def loss(self, indices: npt.NDArray[np.int64]) -> Mapping[str, Tensor]:
        """Changed at random by the seed and by which pictures meet, so that a resumed run draws what it would have."""
        rng = np.random.default_rng((self._seed, *indices.tolist()))
        chosen = [self._shown[i] for i in (indices if len(indices) > 1 else np.repeat(indices, 2))]
        if self._head_only:  # running means of the trunk stay as they are
            self.network.eval()
            for part in self.network.head():
                part.train()
        output = self.network(_batch([changed(self._crops[i], rng) for i in chosen]))
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        total, parts = emonet_loss(output, *self._truth(chosen), generator)
        return {"total": total, **parts}

    def validate(self) -> Mapping[str, float]:
        """Accuracy, and what :func:`~mien.metrics.va_error` says where valence and arousal are known."""
        if not self._validation:
            return {}
        logits, said = [], []
        for start in range(0, len(self._validation), _AT_ONCE):
            middles = [middle(self._crops[i]) for i in self._validation[start : start + _AT_ONCE]]
            output: EmoNetOutput = self.network(_batch(middles))
            logits.append(output.expression.numpy())
            said.append(torch.stack([output.valence, output.arousal], 1).numpy())
        labels = [self._crops.pictures[i].label for i in self._validation]
        figures = {"accuracy": emotion_accuracy(labels, np.concatenate(logits), self.network.config.labels)}
        va = self._truth(self._validation)[1].numpy()
        known = ~np.isnan(va[:, 0])
        return figures | (va_error(va[known], np.clip(np.concatenate(said)[known], -1, 1)) if known.any() else {})

    def _truth(self, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        pictures = [self._crops.pictures[i] for i in chosen]
        classes = [self.network.config.labels.index(picture.label) for picture in pictures]
        return torch.tensor(classes), torch.tensor([[picture.valence, picture.arousal] for picture in pictures])


def middle(crop: Frame) -> Frame:
    """The crop of the evaluation."""
    edge = (FaceCrops.SIDE - FaceCrops.INNER) // 2
    return crop[edge:-edge, edge:-edge]


def changed(crop: Frame, rng: np.random.Generator) -> Frame:
    """The middle of a crop mirrored, turned, scaled and shifted at random."""
    import cv2

    turn, scale = rng.uniform(-_TURN, _TURN), 1 + rng.uniform(-_SCALE, _SCALE)
    matrix = cv2.getRotationMatrix2D((FaceCrops.SIDE / 2, FaceCrops.SIDE / 2), turn, scale)
    matrix[:, 2] += rng.uniform(-_SHIFT, _SHIFT, 2) - (FaceCrops.SIDE - FaceCrops.INNER) / 2
    picture = cv2.warpAffine(crop, matrix, (FaceCrops.INNER, FaceCrops.INNER))
    return np.asarray(picture[:, ::-1] if rng.random() < 0.5 else picture, np.uint8)


def _batch(pictures: Sequence[Frame]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div(255)
