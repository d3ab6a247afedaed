"""``mien train``: what can be trained and with which options.

Only options live here, so that ``--help`` is quick; how a method is trained is in ``recipes``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from mien.errors import MissingExtraError
from mien.progress import Progress


@dataclass(frozen=True)
class TrainVocaOptions:
    """Train VOCA: speech to the movement of a face.

    Data is a folder with VOCASET, or what `mien prepare` made of your own clips. If the output folder holds a run with
    the same settings, it goes on where it stopped.
    """

    data: Annotated[Path, arg(aliases=("-i",))]
    """Folder with the recordings."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Folder of the run: checkpoints, curves, and voca.safetensors at the end."""

    features: Literal["phones42", "deepspeech29"] = "phones42"
    """What the network hears: 42 phone shares made by mien, or the DeepSpeech logits that come with VOCASET."""

    leave_out: tuple[str, ...] = ()
    """Speakers to validate on instead of training on them."""

    epochs: int = 100
    """How many times each frame is seen."""

    batch_size: int = 64
    """Frames per step, each with the ones before it."""

    learning_rate: float = 1e-4
    """Of the first epoch."""

    decay: float = 1.0
    """Factor on the learning rate after every epoch."""

    consecutive_frames: int = 2
    """Neighbouring frames per example: 2 for the velocity loss, 3 for the acceleration loss."""

    absolute_loss: bool = False
    """Measure the L1 distance instead of the squared one."""

    velocity_weight: float = 10.0
    """Weight of the velocity loss."""

    acceleration_weight: float = 0.0
    """Weight of the acceleration loss."""

    regulariser_weight: float = 0.0
    """Weight of the size of the offsets."""

    checkpoint_every: int = 10
    """Epochs between checkpoints; the last 10 are kept."""

    seed: int = 0
    """Of the start and the order; the same seed gives the same weights."""


@dataclass(frozen=True)
class TrainVocaResult:
    """What came out.

    Attributes:
        output: the weights.
        epochs: how many.
        n_frames: frames trained on.
        train: root of the mean squared vertex error in the last epoch, mm (mean absolute, for the L1 loss).
        validation: the same on frames not trained on.
    """

    output: Path
    epochs: int
    n_frames: int
    train: float
    validation: float


def train_voca(options: TrainVocaOptions, progress: Progress | None = None) -> TrainVocaResult:
    """Train VOCA, or go on training it.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        InputError: if the data or the numbers cannot be used, or the folder holds another run.
        FormatError: if data or checkpoints are damaged.
    """
    try:
        from mien.training.recipes.voca import run
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("training needs PyTorch", "pip install 'mien[networks]'") from error
    return run(options, progress)


@dataclass(frozen=True)
class TrainDsmOptions:
    """Train DSM's expression decoder of one person: valence and arousal to expression.

    Data is a folder that `mien prepare` made of the person's videos. If the output folder holds a run with the same
    settings, it goes on where it stopped.
    """

    data: Annotated[Path, arg(aliases=("-i",))]
    """Folder of the person."""

    output: Annotated[Path | None, arg(aliases=("-o",))] = None
    """Folder of the run. Default: dsm in the person's folder, where mien redirect looks for it."""

    setting: Literal["fast", "faithful"] = "fast"
    """fast takes a minute at most; faithful is the paper's network and takes hours without a GPU."""

    epochs: int | None = None
    """How many times each frame is seen. Default: 200 for fast, 1000 for faithful."""

    dropout: float = 0.0
    """Share of values that each hidden layer loses in training."""

    held_out: float = 0.2
    """Share of every clip, its end, that is validated on instead of trained on."""

    seed: int = 0
    """Of the start and the order; the same seed gives the same weights."""


@dataclass(frozen=True)
class TrainDsmResult:
    """What came out. Errors are root mean squares of expression weights on frames not trained on.

    Attributes:
        output: the weights.
        epochs: how many.
        n_frames: frames trained on.
        n_held_out: frames validated on.
        decoder: error of the decoder.
        mean: error of the person's mean face.
        generic: error of the face that anybody gets at this valence and arousal, over the person's resting face.
    """

    output: Path
    epochs: int
    n_frames: int
    n_held_out: int
    decoder: float
    mean: float
    generic: float


def train_dsm(options: TrainDsmOptions, progress: Progress | None = None) -> TrainDsmResult:
    """Train a person's decoder, or go on training it.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        InputError: if the person or the numbers cannot be used, or the folder holds another run.
        FormatError: if data or checkpoints are damaged.
    """
    try:
        from mien.training.recipes.dsm import run
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("training needs PyTorch", "pip install 'mien[networks]'") from error
    return run(options, progress)
