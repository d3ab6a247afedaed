"""What every benchmark of ``mien bench`` shares: the clock, and the lines of the common table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class BenchRow:
    """Speed of one stage or job.

    Attributes:
        job: what ran, such as ``"speak"``.
        setting: on what, such as ``"512 px"``.
        fps: frames (runs, for jobs without frames) per second, the middle one of several runs.
        spread: (slowest - fastest) / middle run; ``None`` if it ran only once.
        ratios: time of this over the time of something else, measured in the same run, by what that is:
            ``{"encode only": 2.3}``; below 1 it is faster than the other.
        memory_gib: peak resident memory, or ``None`` if not measured.
    """

    job: str
    setting: str
    fps: float
    spread: float | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)
    memory_gib: float | None = None

    @classmethod
    def of(cls, job: str, setting: str, n_frames: int, seconds: Sequence[float]) -> Self:
        """The row of a job that made ``n_frames`` frames in each of several runs."""
        middle, spread = middle_and_spread(seconds)
        return cls(job, setting, n_frames / middle, spread if len(seconds) > 1 else None)


def timed(action: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def middle_and_spread(seconds: Sequence[float]) -> tuple[float, float]:
    """The middle one of several runs, and (slowest - fastest) over it."""
    middle = statistics.median(seconds)
    return middle, (max(seconds) - min(seconds)) / middle


def table(rows: Sequence[BenchRow]) -> str:
    """The rows in Markdown."""
    lines = ["| job | setting | per second | spread | time over that of | memory |", "|---|---|---|---|---|---|"]
    for row in rows:
        spread = "" if row.spread is None else f"{row.spread:.0%}"
        ratios = ", ".join(f"{name}: {value:.2f}" for name, value in row.ratios.items())
        memory = "" if row.memory_gib is None else f"{row.memory_gib:.2f} GiB"
        lines.append(f"| {row.job} | {row.setting} | {row.fps:.3g} | {spread} | {ratios} | {memory} |")
    return "\n".join(lines)
