"""What a run says of itself on stderr: bars on a terminal, a line now and then in a log, notes and warnings."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mien.progress import Stage


class TerminalProgress:
    """One line per stage: bar, items, items per second, time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True), console=Console(stderr=True),
        )  # fmt: skip

    def __enter__(self) -> TerminalProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """A new line for the stage."""
        yield _Bar(self._bars, self._bars.add_task(name, total=total, rate=""))


class _Bar:
    def __init__(self, bars: Any, task: Any) -> None:
        self._bars, self._task = bars, task

    def advance(self, n: int = 1) -> None:
        self._bars.advance(self._task, n)
        speed = self._bars.tasks[self._task].speed
        self._bars.update(self._task, rate=f"{speed:.0f}/s" if speed else "")


class LoggedProgress:
    """Without a terminal: a line now and then, so that the log of a long job says where it is.

    Args:
        seconds: between two lines.
    """

    def __init__(self, seconds: float = 30) -> None:
        self._seconds, self._last = seconds, time.monotonic()

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """A stage that is spoken of only if it is slow."""
        yield _Lines(name, total, self._is_time)

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


class _Lines:
    def __init__(self, name: str, total: int | None, is_time: Callable[[], bool]) -> None:
        self._name, self._total, self._is_time = name, total, is_time
        self._done = 0
        self._first: tuple[int, float] | None = None  # items and time when the first was done: what came before is not

    def advance(self, n: int = 1) -> None:
        self._done += n
        if self._first is None:
            self._first = self._done, time.monotonic()
        elif (seconds := time.monotonic() - self._first[1]) > 1 and self._is_time():
            rate = (self._done - self._first[0]) / seconds
            line = f"{self._name}: {self._done}" + (f" of {self._total}" if self._total else "") + f", {rate:.3g}/s"
            if self._total and rate:
                left = (self._total - self._done) / rate
                line += f", {left:.0f} s left" if left < 90 else f", {left / 60:.0f} min left"
            print(line, file=sys.stderr, flush=True)


class Notes(logging.Handler):
    """Log lines on whatever stderr is at the moment, for a progress bar takes its place while it is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line, with its kind from warnings on."""
        kind = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        print(f"mien: {kind}{record.getMessage()}", file=sys.stderr)
