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
