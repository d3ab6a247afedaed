"""Two things at a time, for work that leaves a core free."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(work: Callable[[], T]) -> Future[T]:
    """Start ``work`` on a thread of its own.

    Unlike a pool's, the thread keeps nobody waiting: if the caller fails meanwhile, its error is seen at once.

    Returns:
        What will hold the answer of ``work``, or raise its error.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # the caller's, at .result()
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
