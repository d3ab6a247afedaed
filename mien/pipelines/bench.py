"""``mien bench``: speed, memory and start-up on this machine, of one job or of all in one table.

A benchmark is a function ``(options, progress) -> result`` and one line in :data:`BENCHES`. Its result is a dataclass
that prints itself and has ``rows``, its lines of the common table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Protocol

from tyro.conf import Positional, arg

from mien.errors import InputError, MienError
from mien.pipelines.bench_row import BenchRow, table
from mien.progress import Progress, Silent

BENCHES: dict[str, tuple[str, str]] = {
    "speak": ("mien.pipelines.bench_speak", "bench_speak"),
    "emonet": ("mien.pipelines.bench_emonet", "bench_emonet"),
    "renderer": ("mien.pipelines.bench_renderer", "bench_renderer"),
    "voca": ("mien.pipelines.bench_voca", "bench_voca"),
    "prepare": ("mien.pipelines.bench_prepare", "bench_prepare"),
    "redirect": ("mien.pipelines.bench_redirect", "bench_redirect"),
    "ganmut": ("mien.pipelines.bench_image", "bench_ganmut"),
    "icface": ("mien.pipelines.bench_image", "bench_icface"),
    "evaluate": ("mien.evaluation.bench_evaluate", "bench_evaluate"),
}
"""Job → module and function."""

EVERYTHING = "all"


@dataclass(frozen=True)
class BenchOptions:
    """Measure speed, memory and start-up, and print them beside what they are to be compared with.

    Of the options, portrait, speech, sizes and minutes matter to speak alone.
    """

    what: Positional[str] = EVERYTHING
    """One job (speak, emonet, ...), or all for one table of every job."""

    portrait: Annotated[Path | None, arg(aliases=("-p",))] = None
    """Picture of one face. Default: the sample portrait that comes with matplotlib."""

    speech: Annotated[Path | None, arg(aliases=("-s",))] = None
    """Sound file of speech, 5 seconds or more. Default: examples/speech.flac."""

    sizes: tuple[int, ...] = (256, 512, 1080)
    """Heights of square pictures in pixels."""

    repeats: int = 3
    """Runs of each; the middle one counts, the spread is shown."""

    minutes: float = 10
    """Length of speech for the memory measurement; 0 leaves it out."""


class Bench(Protocol):
    """What a benchmark returns; it prints itself."""

    @property
    def rows(self) -> Sequence[BenchRow]:
        """Its lines of the common table."""


@dataclass(frozen=True)
class BenchTable:
    """Every job in one table.

    Attributes:
        rows: in the order of :data:`BENCHES`.
        left_out: jobs that could not run here, and why.
    """

    rows: list[BenchRow]
    left_out: dict[str, str]

    def __str__(self) -> str:
        return "\n".join([table(self.rows), *(f"not measured, {job}: {why}" for job, why in self.left_out.items())])


def bench(options: BenchOptions, progress: Progress | None = None) -> Bench:
    """Measure one job, or all of them.

    Raises:
        InputError: if there is no such job, or an option or a file cannot be used.
        MissingExtraError: if a job that was asked for by name needs PyTorch and it is missing.
    """
    if options.what not in (*BENCHES, EVERYTHING):
        raise InputError(f"no benchmark {options.what!r}", f"there are {EVERYTHING}, {', '.join(BENCHES)}")
    if options.repeats < 1 or not options.sizes or min(options.sizes) < 64 or options.minutes < 0:
        raise InputError("--repeats, --sizes or --minutes is too small", "give at least 1 run, 64 px, 0 minutes")
    progress = progress or Silent()
    if options.what != EVERYTHING:
        return _measured(options.what, options, progress)
    rows: list[BenchRow] = []
    left_out: dict[str, str] = {}
    for job in BENCHES:
        try:
            rows += _measured(job, options, progress).rows
        except MienError as why:
            left_out[job] = str(why)
    return BenchTable(rows, left_out)


def _measured(job: str, options: BenchOptions, progress: Progress) -> Bench:
    module, function = BENCHES[job]
    result: Bench = getattr(import_module(module), function)(options, progress)
    return result
