"""The steps of ``mien prepare`` on several processes, which end with the first one whatever happens to it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from typing import TYPE_CHECKING

from mien.errors import InputError, MienError
from mien.progress import Progress, Stage

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

log = logging.getLogger(__name__)

Step = Callable[[], int]
"""One piece of work; returns how many frames it has done."""


def carry_out(
    work: Mapping[str, Sequence[Sequence[Step]]], total: int, jobs: int, progress: Progress
) -> dict[str, str]:
    """Do all steps of several clips; names of those that could not be used, and why.

    Args:
        work: by the name of a clip its steps in groups; the steps of a group may be done at once, groups one after the
            other.
        total: what the steps' answers come to in all.
        jobs: processes at work at once; 1 is this process itself.
        progress: sees a stage ``"prepare"``.

    Raises:
        MienError: if a process at work is killed.
    """
    groups = {name: deque(steps) for name, steps in work.items()}
    queue: deque[tuple[str, Step]] = deque()
    left = dict.fromkeys(groups, 0)  # steps of a clip's present group that are not done
    failed: dict[str, str] = {}
    running: dict[Future[int], str] = {}

    def next_group(name: str) -> None:
        if groups[name]:
            group = groups[name].popleft()
            left[name] = len(group)
            queue.extendleft((name, step) for step in reversed(group))

    for name in reversed(groups):
        next_group(name)
    with (
        progress.stage("prepare", total) as stage,
        _workers(min(jobs, len(queue))) as submit,
    ):
        while queue or running:
            while queue and len(running) < 2 * jobs:
                name, step = queue.popleft()
                if name not in failed:
                    running[submit(step)] = name
                    if jobs == 1:
                        break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                name = running.pop(future)
                if _succeeded(future, name, failed, stage):
                    left[name] -= 1
                    if not left[name]:
                        next_group(name)
    return failed


def _succeeded(future: Future[int], name: str, failed: dict[str, str], stage: Stage) -> bool:
    try:
        stage.advance(future.result())
    except InputError as error:  # this video cannot be used; others may
        if name not in failed:
            log.warning("%s; left out", error)
        failed[name] = str(error)
    except BrokenExecutor as error:
        raise MienError(
            "a process was ended from outside, for want of memory perhaps", "give the command again, with fewer --jobs"
        ) from error
    return name not in failed


@contextlib.contextmanager
def _workers(jobs: int) -> Iterator[Callable[[Step], Future[int]]]:
    """Something that takes steps: a pool of processes, or this process itself if there is only one job.

    The processes end with this one, even if it is killed: they hold one end of a pipe that then closes.
    """
    if jobs == 1:
        yield _at_once
        return
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(theirs,))
    try:
        yield pool.submit
        pool.shutdown()
    finally:
        ours.close()
        pool.shutdown(wait=False, cancel_futures=True)


def _at_once(step: Step) -> Future[int]:
    future: Future[int] = Future()
    try:
        future.set_result(step())
    except InputError as error:
        future.set_exception(error)
    return future


def _begin(end_of_pipe: Connection) -> None:
    """In a new process: one thread per library, no Ctrl-C of its own, and an end when the first process ends."""
    import signal

    import cv2

    cv2.setNumThreads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # PyTorch is not imported yet
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("mien").addHandler(logging.NullHandler())

    def watch_over() -> None:
        with contextlib.suppress(EOFError, OSError):
            end_of_pipe.recv()
        os._exit(1)

    threading.Thread(target=watch_over, daemon=True).start()
