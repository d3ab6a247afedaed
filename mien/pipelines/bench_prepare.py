"""``mien bench prepare``: a person's folder from 1080p video, frames per second beside merely decoding it."""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.pipelines.bench_row import BenchRow, middle_and_spread, table
from mien.progress import Progress
from mien.types import Frame

if TYPE_CHECKING:
    from mien.pipelines.bench import BenchOptions

_SIZE, _FPS, _SECONDS = (1080, 1920), 25, 48
_FACE = 900  # px; side of the portrait in the picture


@dataclass(frozen=True)
class PrepareBench:
    """What was measured.

    Attributes:
        frames: of the clip, 1920 x 1080.
        cores: processes at work.
        fps: frames per second of the whole job, start of the processes included.
        spread: (slowest - fastest) / middle run.
        decode_fps: frames per second when one process only decodes the clip.
        memory_gib: peak of the largest process.
        cpu_ms: processor time per frame in milliseconds, all processes together.
    """

    frames: int
    cores: int
    fps: float
    spread: float
    decode_fps: float
    memory_gib: float
    cpu_ms: float

    @property
    def rows(self) -> list[BenchRow]:
        """Its line of the table of everything."""
        ratio = {"decode only, one process": self.decode_fps / self.fps}
        return [BenchRow("prepare", f"1080p, {self.cores} cores", self.fps, self.spread, ratio, self.memory_gib)]

    def __str__(self) -> str:
        return f"{table(self.rows)}\n\n{self.frames} frames; {self.cpu_ms:.0f} ms of processor time per frame"


def bench_prepare(options: BenchOptions, progress: Progress) -> PrepareBench:
    """Time the whole job on a clip of a portrait that moves.

    Raises:
        InputError: if the portrait cannot be used.
    """
    from mien.media.video import VideoReader, write_video
    from mien.pipelines.prepare import PrepareOptions, prepare
    from mien.pipelines.samples import sample_portrait

    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, progress.stage("prepare", options.repeats) as stage:
        clip = Path(folder) / "clip.mp4"
        write_video(clip, _moving(options.portrait or sample_portrait()), _FPS)
        seconds, cpu = [], []
        for i in range(options.repeats):
            start, used = time.perf_counter(), _used()
            result = prepare(PrepareOptions((clip,), Path(folder) / f"person{i}"))
            seconds.append(time.perf_counter() - start)
            cpu.append(_used() - used)
            stage.advance()
        start = time.perf_counter()
        n_frames = sum(1 for _ in VideoReader(clip))
        decode = time.perf_counter() - start
    middle, spread = middle_and_spread(seconds)
    return PrepareBench(
        frames=n_frames,
        cores=cores,
        fps=result.n_frames / middle,
        spread=spread,
        decode_fps=n_frames / decode,
        memory_gib=max(resource.getrusage(who).ru_maxrss for who in _WHO) / 1024**2,
        cpu_ms=1000 * statistics.median(cpu) / n_frames,
    )


_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _used() -> float:
    """Seconds of processor time so far, this process and those that have ended."""
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, _WHO))


def _moving(portrait: Path) -> Iterator[Frame]:
    """The portrait as it drifts over a grey ground."""
    import cv2

    from mien.media.image import read_image

    picture = read_image(portrait)
    side = min(picture.shape[:2])
    face = cv2.resize(picture[:side, (picture.shape[1] - side) // 2 :][:, :side], (_FACE, _FACE))
    ground = np.full((*_SIZE, 3), 110, np.uint8)
    for i in range(_SECONDS * _FPS):
        frame = ground.copy()
        x, y = round(500 + 60 * np.sin(i / 20)), round(90 + 25 * np.sin(i / 13))
        frame[y : y + _FACE, x : x + _FACE] = face
        yield frame
