"""How long jobs say where they are: a pipeline reports stages, whoever called it decides how to show them.

Example:
    with progress.stage("render", total=len(motion)) as stage:
        for frame in frames:
            ...
            stage.advance()
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

T = TypeVar("T")


class Stage(Protocol):
    """One stage of a job while it runs."""

    def advance(self, n: int = 1) -> None:
        """``n`` more items (frames, as a rule) are done."""


class Progress(Protocol):
    """What a pipeline reports to."""

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Stage]:
        """Enter a stage of ``total`` items; ``None`` when the number is not known before the end."""


class _SilentStage:
    def advance(self, n: int = 1) -> None:
        pass


class Silent:
    """A :class:`Progress` that shows nothing."""

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Stage]:
        """A stage that nobody watches."""
        return nullcontext(_SilentStage())


def track(
    items: Iterable[T], progress: Progress | None, name: str, total: int | None = None, done: int = 0
) -> Iterator[T]:
    """``items`` one by one, each reported to ``progress`` (``None`` is silent) as done when the next is asked for.

    Args:
        items: what is worked on.
        progress: who is told.
        name: of the stage.
        total: how many there are, with those that ``done`` counts.
        done: how many an earlier run has done.
    """
    with (progress or Silent()).stage(name, total) as stage:
        if done:
            stage.advance(done)
        for item in items:
            yield item
            stage.advance()
