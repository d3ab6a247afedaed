"""A network in float32, bfloat16, int8 and OpenVINO in one run: what each gives in speed and takes in quality."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mien.pipelines.bench_row import BenchRow, middle_and_spread
from mien.progress import Progress, track

if TYPE_CHECKING:
    from mien.engine import Engine


@dataclass(frozen=True)
class EngineRow:
    """A network in one engine.

    Attributes:
        name: what ran.
        engine: what it computed in.
        chosen: whether that is what this machine takes by itself.
        fps: pictures per second, the middle run.
        ratio: of that over float32's.
        spread: (slowest - fastest) / middle run.
        loss: how far its answers are from float32's, in words.
    """

    name: str
    engine: str
    chosen: bool
    fps: float
    ratio: float
    spread: float
    loss: str


@dataclass(frozen=True)
class EngineBench:
    """What was measured.

    Attributes:
        threads: processor cores.
        engines: a row for each.
        advice: what to install for more, or nothing.
    """

    threads: int
    engines: list[EngineRow]
    advice: str = ""

    @property
    def rows(self) -> list[BenchRow]:
        """Lines of the table of everything: the engine that this machine takes."""
        return [
            BenchRow(r.name, f"{r.engine}, {self.threads} cores", r.fps, r.spread, {"float32": 1 / r.ratio})
            for r in self.engines
            if r.chosen
        ]

    def __str__(self) -> str:
        lines = ["| network | engine | cores | per second | times float32 | spread | from float32 |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [
            f"| {r.name} | {r.engine}{' (chosen here)' * r.chosen} | {self.threads} | {r.fps:.2f} | {r.ratio:.2f} "
            f"| {r.spread:.0%} | {r.loss} |"
            for r in self.engines
        ]
        return "\n".join([*lines, *(["", self.advice] if self.advice else [])])


def engines_to_compare(*, openvino: bool = False) -> list[Engine]:
    """float32, and what this processor has hardware for or takes."""
    from mien.engine import best_engine, has_fast_bfloat16

    others: list[tuple[Engine, bool]] = [
        ("bfloat16", has_fast_bfloat16()),
        ("int8", best_engine() == "int8"),
        ("openvino", best_engine(openvino=openvino) == "openvino"),
    ]
    return ["float32", *(engine for engine, here in others if here)]


def advice() -> str:
    """What to install where a network that OpenVINO computes would gain by it, or nothing."""
    from mien.engine import best_engine, has_openvino

    if best_engine() != "int8" or has_openvino():
        return ""
    return "OpenVINO is faster on this processor: pip install openvino"


def compare(
    name: str,
    make: Callable[[Engine], Callable[[int], Any]],
    loss: Callable[[Sequence[Any], Sequence[Any]], str],
    repeats: int,
    progress: Progress,
    pictures: int = 1,
    *,
    int8: bool = True,
    openvino: bool = False,
) -> list[EngineRow]:
    """Time the engines in turn.

    Args:
        name: of the network.
        make: what computes in an engine; it is called with the number of the run.
        loss: what to say of float32's answers and another engine's.
        repeats: runs.
        progress: told of.
        pictures: that a run draws.
        int8: whether this network takes int8 by itself.
        openvino: whether it takes OpenVINO by itself.
    """
    from mien.engine import best_engine

    jobs = {engine: make(engine) for engine in engines_to_compare(openvino=openvino)}
    seconds: dict[Engine, list[float]] = {engine: [] for engine in jobs}
    answers: dict[Engine, list[Any]] = {engine: [] for engine in jobs}
    for run in track(range(-1, repeats), progress, name, repeats + 1):
        for engine, job in jobs.items():
            start = time.perf_counter()
            answer = job(max(run, 0))
            if run >= 0:  # the first one warms up
                seconds[engine].append(time.perf_counter() - start)
                answers[engine].append(answer)
    middles = {engine: middle_and_spread(times) for engine, times in seconds.items()}
    chosen, plain = best_engine(int8=int8, openvino=openvino), middles["float32"][0]
    return [
        EngineRow(
            name, engine, engine == chosen, pictures / middle, plain / middle, spread,
            loss(answers["float32"], answers[engine]),
        )
        for engine, (middle, spread) in middles.items()
    ]  # fmt: skip


def psnr(exact: Sequence[Any], near: Sequence[Any]) -> str:
    """dB between pictures in [0, 1]."""
    import numpy as np

    squares = float(np.mean([np.mean((a - b) ** 2) for a, b in zip(exact, near, strict=True)]))
    return f"{10 * np.log10(1 / squares):.1f} dB" if squares else "same"
