"""``mien bench ganmut`` and ``mien bench icface``: the fast engine against plain float32, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import needs_torch
from mien.pipelines.bench_row import BenchRow, table
from mien.progress import Progress, track

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mien.engine import Engine
    from mien.pipelines.bench import BenchOptions


@dataclass(frozen=True)
class ImageBench:
    """What was measured on one 128 x 128 picture at a time.

    Attributes:
        network: GANmut's generator or ICface's animator.
        engine: what was chosen on this machine.
        threads: processor cores used.
        eager_fps: pictures per second of the network as written, in float32.
        engine_fps: pictures per second of the chosen engine.
        ratio: the second over the first.
        difference: mean difference between their pictures, of 255 grey levels.
        spread: (slowest - fastest) / middle run of the chosen engine.
    """

    network: str
    engine: str
    threads: int
    eager_fps: float
    engine_fps: float
    ratio: float
    difference: float
    spread: float

    @property
    def rows(self) -> list[BenchRow]:
        """Its line of the table of everything."""
        setting = f"128 px, {self.engine}, {self.threads} cores"
        return [BenchRow(self.network, setting, self.engine_fps, self.spread, {"float32": 1 / self.ratio})]

    def __str__(self) -> str:
        faster = f"{self.ratio:.2f} times as fast as float32 ({self.eager_fps:.1f} pictures per second)"
        return f"{table(self.rows)}\n\n{faster}; pictures differ by {self.difference:.2f} of 255 on average"


def bench_ganmut(options: BenchOptions, progress: Progress) -> ImageBench:
    """GANmut's generator.

    Raises:
        MissingExtraError: if PyTorch is missing.
    """

    def make() -> tuple[nn.Module, int]:
        from mien.rendering.ganmut import LinearGenerator

        generator = LinearGenerator().train()  # as it always runs; its stored statistics are not read
        return generator, generator.config.code_dim

    return _compared("GANmut", make, options.repeats, progress)


def bench_icface(options: BenchOptions, progress: Progress) -> ImageBench:
    """ICface's animator, what runs for every frame.

    Raises:
        MissingExtraError: if PyTorch is missing.
    """

    def make() -> tuple[nn.Module, int]:
        from mien.rendering.icface import ROTATIONS, UNITS, ResnetGenerator

        return ResnetGenerator().eval(), len(ROTATIONS) + len(UNITS)

    return _compared("ICface", make, options.repeats, progress)


def _compared(name: str, make: Callable[[], tuple[nn.Module, int]], repeats: int, progress: Progress) -> ImageBench:
    """Time both engines in turn on random weights, which compute as long as trained ones."""
    with needs_torch(name):
        import torch

        from mien.engine import engine_of, fast
    torch.manual_seed(0)
    network, n_controls = make()
    engines: tuple[Engine, Engine] = ("float32", "auto")
    networks = [fast(network, engine) for engine in engines]
    controls = torch.rand(1, n_controls)
    seconds: list[list[float]] = [[], []]
    differences = []
    with torch.inference_mode():
        for run in track(range(-1, repeats), progress, name, repeats + 1):
            image = torch.rand(1, 3, 128, 128) * 2 - 1
            pictures: list[Tensor] = []
            for each, times in zip(networks, seconds, strict=True):
                start = time.perf_counter()
                pictures.append(each(image, controls))
                if run >= 0:  # the first one warms up
                    times.append(time.perf_counter() - start)
            differences.append(float((pictures[0] - pictures[1]).abs().mean()) * 127.5)
    eager, engine = (1 / statistics.median(times) for times in seconds)
    spread: Any = (max(seconds[1]) - min(seconds[1])) / statistics.median(seconds[1])
    return ImageBench(
        name, engine_of(networks[1]), torch.get_num_threads(), eager, engine, engine / eager,
        float(np.mean(differences)), float(spread),
    )  # fmt: skip
