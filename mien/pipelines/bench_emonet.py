"""``mien bench emonet``: EmoNet's fast engine against plain float32, pictures per second and agreement in one run."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import needs_torch
from mien.pipelines.bench_row import BenchRow
from mien.progress import Progress, track

if TYPE_CHECKING:
    from mien.pipelines.bench import BenchOptions


@dataclass(frozen=True)
class EmoNetBench:
    """What was measured on one 256 x 256 picture at a time.

    Attributes:
        engine: what was chosen on this machine.
        threads: processor cores used.
        eager_fps: pictures per second of the network as written, in float32.
        engine_fps: pictures per second of the chosen engine.
        ratio: the second over the first.
        difference: largest difference of valence or arousal between the two over the largest output.
        spread: (slowest - fastest) / middle run of the chosen engine.
    """

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
        setting = f"{self.engine}, {self.threads} cores"
        return [BenchRow("EmoNet", setting, self.engine_fps, self.spread, {"float32": 1 / self.ratio})]

    def __str__(self) -> str:
        return (
            "| engine | cores | float32, fps | engine, fps | ratio | difference |\n|---|---|---|---|---|---|\n"
            f"| {self.engine} | {self.threads} | {self.eager_fps:.1f} | {self.engine_fps:.1f} "
            f"| {self.ratio:.1f} | {self.difference:.2%} |"
        )


def bench_emonet(options: BenchOptions, progress: Progress) -> EmoNetBench:
    """Time both engines in turn on random weights, which compute as long as trained ones.

    Raises:
        MissingExtraError: if PyTorch is missing.
    """
    with needs_torch("EmoNet"):
        import torch

        from mien.perception.emonet import EmoNet, EmoNetReader
    torch.manual_seed(0)
    network = EmoNet().eval()
    readers = [EmoNetReader(network, "float32"), EmoNetReader(network)]
    rng = np.random.default_rng(0)
    crops = np.kron(rng.integers(0, 256, (options.repeats, 16, 16, 3)), np.ones((1, 16, 16, 1))).astype(np.uint8)
    seconds: list[list[float]] = [[], []]
    outputs = []
    for reader in readers:
        reader.raw(crops[:1])  # warms up; not counted
    for crop in track(crops, progress, "emonet", len(crops)):
        said = []
        for reader, times in zip(readers, seconds, strict=True):
            start = time.perf_counter()
            said.append(reader.raw(crop[None]))
            times.append(time.perf_counter() - start)
        outputs.append(said)
    exact, quick = (np.concatenate([said[i] for said in outputs]) for i in (0, 1))
    eager, engine = (1 / statistics.median(times) for times in seconds)
    return EmoNetBench(
        engine=readers[1].engine,
        threads=torch.get_num_threads(),
        eager_fps=eager,
        engine_fps=engine,
        ratio=engine / eager,
        spread=(max(seconds[1]) - min(seconds[1])) * engine,
        difference=float(np.abs(quick - exact)[:, -2:].max() / np.abs(exact).max()),
    )
