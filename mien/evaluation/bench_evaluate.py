"""``mien bench evaluate``: judging ten seconds of 512² video, by itself and against a truth."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.direction import Direction
from mien.evaluation.evaluate import EvaluateOptions, evaluate
from mien.pipelines.bench_row import BenchRow, table, timed
from mien.progress import Progress

if TYPE_CHECKING:
    from mien.pipelines.bench import BenchOptions

SECONDS, FPS, SIDE = 10, 25, 512
SCENE = "0s:happy:0.8, 5s:sad:0.8"


@dataclass(frozen=True)
class EvaluateBench:
    """Seconds of each run, without imports: of the video by itself, and against a truth of the same length."""

    alone: list[float]
    against: list[float]

    @property
    def rows(self) -> list[BenchRow]:
        """Two lines of the table of everything."""
        return [
            BenchRow.of(job, f"{SECONDS} s of {SIDE} px", SECONDS * FPS, seconds)
            for job, seconds in (("evaluate", self.alone), ("evaluate --truth", self.against))
        ]

    def __str__(self) -> str:
        lines = [f"{name}: {np.median(seconds):.1f} s for {SECONDS} s of {SIDE} px video"
                 for name, seconds in (("alone", self.alone), ("against a truth", self.against))]  # fmt: skip
        return "\n".join([table(self.rows), "", *lines])


def bench_evaluate(options: BenchOptions, progress: Progress) -> EvaluateBench:
    """Make a talking clip and judge it.

    Raises:
        InputError: if the portrait or the speech cannot be used.
    """
    from mien.media.audio import read_audio
    from mien.media.image import read_image
    from mien.media.video import write_video
    from mien.perception.speech import analyse
    from mien.perception.tracking import track_image
    from mien.pipelines.bench_speak import write_square
    from mien.pipelines.samples import sample_portrait, sample_speech
    from mien.pipelines.speak import SPEECH_RATE, perform
    from mien.rendering.warp import WarpRenderer
    from mien.types import Audio

    sound = options.speech or sample_speech()
    with tempfile.TemporaryDirectory() as folder:
        square, clip, true = Path(folder) / "square.png", Path(folder) / "made.mp4", Path(folder) / "true.mp4"
        write_square(options.portrait or sample_portrait(), square, SIDE)
        portrait = track_image(read_image(square))
        audio = read_audio(sound, SPEECH_RATE)
        samples = np.resize(audio.samples, SECONDS * SPEECH_RATE)  # repeated until it is long enough
        motion = perform(Direction.parse(SCENE), analyse(Audio(samples, SPEECH_RATE), FPS), rest=portrait.rest)
        for path, moved in ((clip, motion), (true, motion.with_columns({"browInnerUp": 0.0}))):
            write_video(path, WarpRenderer(portrait).render(moved), FPS, sound=sound)
        alone, against = EvaluateOptions((clip,)), EvaluateOptions((clip,), truth=true)
        evaluate(alone)  # compiles and warms; not counted
        seconds: tuple[list[float], list[float]] = ([], [])
        with progress.stage("evaluate", 2 * options.repeats) as stage:
            for _ in range(options.repeats):
                for job, runs in zip((alone, against), seconds, strict=True):
                    runs.append(timed(partial(evaluate, job)))
                    stage.advance()
    return EvaluateBench(*seconds)
