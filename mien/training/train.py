"""``mien train``: what can be trained. How is in ``recipes``, which need PyTorch."""

from __future__ import annotations

from mien.errors import needs_torch
from mien.progress import Progress
from mien.training.options import (
    TrainDsmOptions,
    TrainDsmResult,
    TrainEmoNetOptions,
    TrainEmoNetResult,
    TrainGanmutOptions,
    TrainGanmutResult,
    TrainIcfaceOptions,
    TrainIcfaceResult,
    TrainNedOptions,
    TrainNedResult,
    TrainRendererOptions,
    TrainRendererResult,
    TrainVocaOptions,
    TrainVocaResult,
)


def train_voca(options: TrainVocaOptions, progress: Progress | None = None) -> TrainVocaResult:
    """Train VOCA, or go on training it.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        InputError: if the data or the numbers cannot be used, or the folder holds another run.
        FormatError: if data or checkpoints are damaged.
    """
    with needs_torch("training"):
        from mien.training.recipes.voca import run
    return run(options, progress)


def train_dsm(options: TrainDsmOptions, progress: Progress | None = None) -> TrainDsmResult:
    """Train a person's decoder, or go on training it.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        InputError: if the person or the numbers cannot be used, or the folder holds another run.
        FormatError: if data or checkpoints are damaged.
    """
    with needs_torch("training"):
        from mien.training.recipes.dsm import run
    return run(options, progress)


def train_emonet(options: TrainEmoNetOptions, progress: Progress | None = None) -> TrainEmoNetResult:
    """Train EmoNet, or go on training it.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        InputError: if the pictures or the numbers cannot be used, or the folder holds another run.
        FormatError: if the table, the weights or checkpoints are damaged.
    """
    with needs_torch("training"):
        from mien.training.recipes.emonet import run
    return run(options, progress)


def train_ned(options: TrainNedOptions, progress: Progress | None = None) -> TrainNedResult:
    """Train NED, or go on training it.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        InputError: if the data or the numbers cannot be used, or the folder holds another run.
        FormatError: if data or checkpoints are damaged.
    """
    with needs_torch("training"):
        if options.method == "reversible":
            from mien.training.recipes.ned_reversible import run
        else:
            from mien.training.recipes.ned import run
    return run(options, progress)


def train_renderer(options: TrainRendererOptions, progress: Progress | None = None) -> TrainRendererResult:
    """Train a person's renderer, or go on training it.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        InputError: if the person or the numbers cannot be used, or the folder holds another run.
        FormatError: if data or checkpoints are damaged.
    """
    with needs_torch("training"):
        if options.method == "fast":
            from mien.training.recipes.person import run
        else:
            from mien.training.recipes.head2head import run
    return run(options, progress)


def train_ganmut(options: TrainGanmutOptions, progress: Progress | None = None) -> TrainGanmutResult:
    """Train GANmut, or go on training it.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        InputError: if pictures or numbers cannot be used, or the folder holds another run.
        FormatError: if the table or checkpoints are damaged.
    """
    with needs_torch("training"):
        from mien.training.recipes.ganmut import run
    return run(options, progress)


def train_icface(options: TrainIcfaceOptions, progress: Progress | None = None) -> TrainIcfaceResult:
    """Train ICface, or go on training it.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        InputError: if clips or numbers cannot be used, or the folder holds another run.
        FormatError: if a clip or a checkpoint is damaged.
    """
    with needs_torch("training"):
        from mien.training.recipes.icface import run
    return run(options, progress)
