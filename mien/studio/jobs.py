"""Renders, one at a time: a queue, how far each is, and a way to stop it."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from mien.errors import MienError
from mien.progress import Progress, Stage

_KEPT = 20
"""So many finished jobs are remembered."""

log = logging.getLogger(__name__)

State = Literal["waiting", "running", "done", "failed", "cancelled"]


class _Cancelled(Exception):
    """Somebody does not want the result any more."""


class Job:
    """One render; a :class:`~mien.progress.Progress` that can be asked where it is.

    Attributes:
        key: names the job in addresses.
        name: of the file it makes, for people.
        output: where the result will be.
        state: waiting, running, done, failed or cancelled.
        error: the one line why it failed.
    """

    def __init__(self, output: Path, work: Callable[[Progress], object]) -> None:
        self.key, self.name, self.output = uuid.uuid4().hex, output.name, output
        self.state: State = "waiting"
        self.error = ""
        self._work = work
        self._stop = threading.Event()
        self._stage: _JobStage | None = None

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """A new stage is the one that is shown."""
        self._stage = _JobStage(name, total, self._stop)
        yield self._stage

    def cancel(self) -> None:
        """Stop it soon; a job that has ended stays as it is."""
        self._stop.set()
        if self.state == "waiting":
            self.state = "cancelled"

    def run(self) -> None:
        """Do the work, unless it was cancelled before."""
        if self._stop.is_set():
            return
        self.state = "running"
        try:
            self._work(self)
        except _Cancelled:
            self.state = "cancelled"
        except MienError as error:
            self.state, self.error = "failed", str(error)
        except Exception as error:
            self.state, self.error = "failed", f"a fault in mien ({type(error).__name__}: {error})"
            log.exception("%s: %s", self.name, self.error)
        else:
            self.state = "done"

    def report(self) -> dict[str, object]:
        """Where it is, as plain data."""
        stage = self._stage
        shown = stage.report() if stage and self.state == "running" else {}
        return {"job": self.key, "name": self.name, "state": self.state, "error": self.error, **shown}


class _JobStage:
    def __init__(self, name: str, total: int | None, stop: threading.Event) -> None:
        self._name, self._total, self._stop = name, total, stop
        self._done, self._first, self._since = 0, 0, 0.0

    def advance(self, n: int = 1) -> None:
        if self._stop.is_set():
            raise _Cancelled
        self._done += n
        if not self._since:  # what was done before, and getting ready, say nothing of the speed
            self._first, self._since = self._done, time.monotonic()

    def report(self) -> dict[str, object]:
        seconds, done = time.monotonic() - self._since, self._done - self._first
        rate = done / seconds if self._since and done and seconds > 0.2 else 0.0
        left = (self._total - self._done) / rate if rate and self._total else None
        return {"stage": self._name, "done": self._done, "total": self._total, "rate": rate, "seconds_left": left}


class Jobs:
    """A thread that runs one job after the other."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="renders", daemon=True)
        self._thread.start()

    def add(self, job: Job) -> None:
        """Put a job at the end of the queue."""
        with self._lock:
            self._jobs[job.key] = job
            ended = [key for key, each in self._jobs.items() if each.state not in ("waiting", "running")]
            for key in ended[:-_KEPT]:
                self._jobs.pop(key).output.unlink(missing_ok=True)
        self._queue.put(job)

    def __getitem__(self, key: str) -> Job:
        return self._jobs[key]

    def ahead_of(self, job: Job) -> int:
        """How many have to be done before this one is."""
        with self._lock:
            jobs = list(self._jobs.values())
        return sum(each.state in ("waiting", "running") for each in jobs[: jobs.index(job)])

    def close(self) -> None:
        """Cancel everything and wait until nothing is written any more."""
        for job in list(self._jobs.values()):
            job.cancel()
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            job.run()
