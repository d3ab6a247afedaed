"""The training loop: deterministic, resumable, and it explains itself.

A run is a folder:

    run.json                          what was asked for
    checkpoints/epoch_0010.safetensors, .json    weights and optimiser; epoch and settings
    log.jsonl                         one line per epoch: losses, learning rate
    curves.png                        the same as a picture
    tensorboard/                      the same for TensorBoard, if that package is installed

The order of examples depends on seed and epoch alone, so a run that was interrupted and resumed ends in the same
weights as one that was not.

Under ``torchrun`` every process trains and the first one alone writes.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mien.errors import FormatError, InputError, MissingExtraError
from mien.media.output import atomic_output
from mien.media.weights import write_tensors
from mien.progress import Progress, Silent
from mien.training.distributed import averaged, world

log = logging.getLogger(__name__)

CHECKPOINT_FORMAT = 1


class Task(Protocol):
    """What is trained: a network, its examples and its loss."""

    @property
    def network(self) -> nn.Module:
        """What is trained."""

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """What changes its weights; the loop sets its learning rate."""

    def __len__(self) -> int:
        """Number of training examples."""

    def loss(self, indices: npt.NDArray[np.int64]) -> Mapping[str, Tensor]:
        """The loss terms of some examples; ``"total"`` is minimised."""

    def validate(self) -> Mapping[str, float]:
        """Figures on data that is not trained on; may be empty."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        epochs: times each example is seen.
        batch_size: examples per step.
        learning_rate: in the first epoch.
        decay: the learning rate is multiplied by it after every epoch; 1 keeps it.
        checkpoint_every: epochs between checkpoints; the last epoch has one too.
        keep: checkpoints kept, the latest.
        seed: of the order of examples.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-4
    decay: float = 1.0
    checkpoint_every: int = 10
    keep: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "decay", "checkpoint_every", "keep"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}", "give a number above 0")


Log = Sequence[Mapping[str, Any]]
"""One entry per epoch: epoch, learning_rate, minutes and cpu_minutes since the run began, train, validation."""


def fit(
    task: Task,
    schedule: Schedule,
    folder: Path,
    settings: Mapping[str, Any],
    progress: Progress | None = None,
    *,
    enough: Callable[[Log], bool] | None = None,
) -> list[dict[str, Any]]:
    """Train, going on from the latest checkpoint in ``folder`` if there is one.

    Args:
        task: network and data; it ends up trained.
        schedule: how long and how fast.
        folder: of the run.
        settings: whatever else decides the result; a run is only resumed with the same.
        progress: sees one stage with the steps of the epochs that are left; their number is not told where ``enough``
            may end it before.
        enough: asked after every epoch whether to stop here, given the log so far.

    Returns:
        The log, one entry per epoch.

    Raises:
        InputError: if the folder holds a run with other settings, or the loss stops being a number.
        FormatError: if its checkpoint is damaged.
    """
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    writes = world()[0] == 0
    _check_same_run(folder / "run.json", {**asdict(schedule), **settings}, writes)
    done = _resume(task, checkpoints)
    entries = _read_log(folder / "log.jsonl", done)
    board = _tensorboard(folder / "tensorboard") if writes else None
    steps = -(-len(task) // schedule.batch_size)
    clocks = {"minutes": _Clock(time.monotonic, entries), "cpu_minutes": _Clock(time.process_time, entries)}
    stopped = bool(entries and enough and enough(entries))
    left = None if enough else (schedule.epochs - done) * steps
    with (progress or Silent()).stage("train", 0 if stopped else left) as stage:
        for epoch in range(done, done if stopped else schedule.epochs):
            rate = schedule.learning_rate * schedule.decay**epoch
            entry = {"epoch": epoch + 1, "learning_rate": rate, "train": _epoch(task, schedule, epoch, rate, stage)}
            entry |= {name: round(clock.minutes(name), 6) for name, clock in clocks.items()}
            task.network.eval()
            with torch.no_grad():
                entry["validation"] = dict(task.validate())
            entries.append(entry)
            last = epoch + 1 == schedule.epochs or bool(enough and enough(entries))
            if writes:
                _write_log(folder / "log.jsonl", entries)
                _show(board, entry)
                if (epoch + 1) % schedule.checkpoint_every == 0 or last:
                    _save(task, checkpoints, epoch + 1, schedule.keep)
                    draw_curves(folder / "curves.png", entries)
            if last:
                break
    task.network.eval()
    return entries


class _Clock:
    """Minutes since a run began, those before it was resumed included."""

    def __init__(self, now: Callable[[], float], entries: Log) -> None:
        self._now, self._start, self._before = now, now(), entries[-1] if entries else {}

    def minutes(self, name: str) -> float:
        return float(self._before.get(name, 0)) + (self._now() - self._start) / 60


def _epoch(task: Task, schedule: Schedule, epoch: int, rate: float, stage: Any) -> dict[str, float]:
    """One pass over all examples; the mean of every loss term, each example counting the same."""
    task.network.train()
    for group in task.optimiser.param_groups:
        group["lr"] = rate
    order = epoch_order(len(task), schedule.seed, epoch)
    sums: dict[str, float] = {}
    for start in range(0, len(order), schedule.batch_size):
        indices = order[start : start + schedule.batch_size]
        terms = task.loss(indices)
        if not torch.isfinite(terms["total"]):
            raise InputError(f"the loss is no number any more in epoch {epoch + 1}", "lower the learning rate")
        task.optimiser.zero_grad()
        terms["total"].backward()  # type: ignore[no-untyped-call]
        task.optimiser.step()
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(indices)
        stage.advance()
    return averaged({name: total / len(order) for name, total in sums.items()})


def epoch_order(n: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Each of ``n`` indices once, in an order of its own for every seed and epoch."""
    return np.random.default_rng((seed, epoch)).permutation(n)


def _check_same_run(path: Path, settings: Mapping[str, Any], writes: bool) -> None:
    """Only the number of epochs may differ from the run that is in the folder already."""
    wanted = json.loads(json.dumps(settings))
    if path.exists():
        try:
            there = json.loads(path.read_text())
            other = sorted(k for k in {*there, *wanted} - {"epochs"} if there.get(k) != wanted.get(k))
        except (ValueError, TypeError) as error:
            raise FormatError(f"{path}: damaged ({error})", "train into another folder") from error
        if other:
            raise InputError(
                f"{path.parent}: holds a run with another {', '.join(other)}", "use the same, or another folder"
            )
    if writes:
        _write(path, json.dumps(wanted, indent=1).encode())


def _save(task: Task, folder: Path, epoch: int, keep: int) -> None:
    tensors = {f"network.{name}": value for name, value in task.network.state_dict().items()}
    for name, parameter in task.network.named_parameters():
        for key, value in task.optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{name}.{key}"] = value
    stem = folder / f"epoch_{epoch:04d}"
    write_tensors(stem.with_suffix(".safetensors"), tensors)
    _write(stem.with_suffix(".json"), json.dumps({"format": CHECKPOINT_FORMAT, "epoch": epoch}).encode())
    for old in sorted(folder.glob("epoch_*.json"))[:-keep]:
        old.unlink()
        old.with_suffix(".safetensors").unlink()


def _resume(task: Task, folder: Path) -> int:
    """Load the latest whole checkpoint; how many epochs it has behind it."""
    found = sorted(folder.glob("epoch_*.json"))  # written last, so weights are whole
    if not found:
        return 0
    try:
        header = json.loads(found[-1].read_text())
        if header["format"] > CHECKPOINT_FORMAT:
            raise ValueError(f"format {header['format']}")
        tensors = load_file(found[-1].with_suffix(".safetensors"))
        task.network.load_state_dict(_part(tensors, "network."))
        for name, parameter in task.network.named_parameters():
            task.optimiser.state[parameter] = _part(tensors, f"optimiser.{name}.")
        epoch = int(header["epoch"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise FormatError(
            f"{found[-1]}: the checkpoint is damaged ({error})", "delete it to go on from the one before"
        ) from error
    log.warning("%s: going on after epoch %d", folder.parent, epoch)
    return epoch


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _read_log(path: Path, epochs: int) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines[:epochs]]


def _write_log(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    _write(path, "".join(json.dumps(entry) + "\n" for entry in entries).encode())


def _write(path: Path, content: bytes) -> None:
    """So that an interruption leaves the old file or the new one."""
    with atomic_output(path) as temporary:
        temporary.write_bytes(content)


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("TensorBoard is not installed: curves are in curves.png and log.jsonl only")
        return None
    return SummaryWriter(str(folder))


def _show(board: Any, entry: Mapping[str, Any]) -> None:
    if board is not None:
        for part in ("train", "validation"):
            for name, value in entry[part].items():
                board.add_scalar(f"{part}/{name}", value, entry["epoch"])
        board.add_scalar("learning_rate", entry["learning_rate"], entry["epoch"])
        board.flush()


def draw_curves(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Draw every figure of a log over the epochs, logarithmic, training solid and validation dashed.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("curves need matplotlib", "pip install matplotlib") from error
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    epochs = [entry["epoch"] for entry in entries]
    names = list(dict.fromkeys(name for entry in entries for part in ("train", "validation") for name in entry[part]))
    for number, name in enumerate(names):
        for part, line in (("train", "-"), ("validation", "--")):
            curve = [entry[part].get(name, np.nan) for entry in entries]
            if np.isfinite(curve).any():
                axes.plot(epochs, curve, line, color=f"C{number}", label=f"{name}, {part}")
    axes.set(xlabel="epoch", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_output(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
