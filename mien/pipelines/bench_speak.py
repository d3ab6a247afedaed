"""``mien bench speak``: the whole job at several picture sizes, start-up, and memory on long speech.

Seconds do not carry over from one machine to another; ratios taken in one run do. So every speed stands beside the time
that the video library needs merely to encode the very same frames.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.background import in_background
from mien.direction import Direction
from mien.pipelines.bench_row import BenchRow, timed
from mien.pipelines.samples import sample_portrait, sample_speech
from mien.progress import Progress, Stage
from mien.types import Frame

if TYPE_CHECKING:
    from mien.pipelines.bench import BenchOptions

SCENE = "0s:happy:0.8, 3s:surprise:0.9, 6s:sad:0.8, 9s:anger:0.9"
MEMORY_SIZE = 512
"""Side in pixels of the picture whose memory is measured."""
_MAX_HELD_FRAMES = 250  # so many rendered frames are kept in memory to time the encoder alone


@dataclass(frozen=True)
class SpeedRow:
    """Speed at one picture size.

    Attributes:
        size: side of the square picture, px.
        frames: frames made.
        speak_fps: frames per second of the whole job without imports: tracking, speech, motion, rendering, encoding.
        spread: (slowest - fastest) / middle run of the whole job.
        encode_fps: frames per second when the same frames are only encoded, with sound.
        ratio: time of the whole job over time of encoding only.
        pyav_ratio: time of the whole job over the time that PyAV needs for the same frames with its own defaults (H.264
            preset medium, no sound).
        render_fps: frames per second of rendering alone.
        seconds: by stage, of the middle run: portrait, speech, motion, video.
    """

    size: int
    frames: int
    speak_fps: float
    spread: float
    encode_fps: float
    ratio: float
    pyav_ratio: float
    render_fps: float
    seconds: dict[str, float]


@dataclass(frozen=True)
class SpeakBench:
    """What was measured: speed per size, seconds until the help stands, and resident memory in GiB."""

    speed: list[SpeedRow]
    help_seconds: float
    memory_gib: dict[str, float]

    @property
    def rows(self) -> list[BenchRow]:
        """Lines for the table of everything: the whole job, and rendering alone, by size."""
        peak = next(iter(self.memory_gib.values()), None)
        whole = [
            BenchRow(
                "speak", f"{row.size} px", row.speak_fps, row.spread,
                {"encode only": row.ratio, "PyAV's own": row.pyav_ratio}, peak if row.size == MEMORY_SIZE else None,
            )
            for row in self.speed
        ]  # fmt: skip
        stages = [
            BenchRow(f"speak: {stage}", f"{row.size} px", row.frames / max(seconds, 1e-9))
            for row in self.speed
            for stage, seconds in row.seconds.items()
        ]
        render = [BenchRow("speak: render alone (warp)", f"{row.size} px", row.render_fps) for row in self.speed]
        return [*whole, *stages, *render, BenchRow("start-up", "mien speak --help", 1 / self.help_seconds)]

    def __str__(self) -> str:
        lines = [
            "| size | whole job, fps | spread | encode only, fps | whole / encode | whole / PyAV's own | render, fps |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in self.speed:
            lines.append(
                f"| {row.size} | {row.speak_fps:.0f} | {row.spread:.0%} | {row.encode_fps:.0f} "
                f"| {row.ratio:.2f} | {row.pyav_ratio:.2f} | {row.render_fps:.0f} |"
            )
        lines.append(f"\nmien speak --help: {self.help_seconds:.2f} s")
        lines += [f"memory, {name}: {gib:.2f} GiB" for name, gib in self.memory_gib.items()]
        return "\n".join(lines)


def bench_speak(options: BenchOptions, progress: Progress) -> SpeakBench:
    """Measure.

    Raises:
        InputError: if the portrait or the speech cannot be used.
    """
    portrait, speech = options.portrait or sample_portrait(), options.speech or sample_speech()
    # Memory first: a process's peak counts from what its parent held when it started, and the speeds hold frames.
    with progress.stage("start-up and memory"):
        help_seconds = _help_seconds()
        memory = _memory(portrait, speech, options.minutes) if options.minutes else {}
    with progress.stage("speed", len(options.sizes) * options.repeats) as stage:
        speed = [_speed(portrait, speech, size, options.repeats, stage) for size in options.sizes]
    return SpeakBench(speed, help_seconds, memory)


def _speed(portrait: Path, speech: Path, size: int, repeats: int, stage: Stage) -> SpeedRow:
    from mien.media.video import write_video

    with tempfile.TemporaryDirectory() as folder:
        square, target = Path(folder) / "portrait.png", Path(folder) / "out.mp4"
        write_square(portrait, square, size)
        _job(square, speech, target)  # compiles and warms; not counted
        runs = []
        for _ in range(repeats):
            runs.append(_job(square, speech, target))
            stage.advance()
        middle = sorted(runs, key=lambda run: run.total)[len(runs) // 2]
        frames: list[Frame] = []
        render = timed(lambda: frames.extend(islice(middle.frames(), _MAX_HELD_FRAMES)))
        # The encoder alone gets the frames as often as it takes to make the clip as long as the whole job's.
        encode = statistics.median(
            timed(lambda: write_video(target, _cycled(frames, middle.n_frames), 25, sound=speech))
            for _ in range(repeats)
        )
        plain = statistics.median(
            timed(lambda: _encode_plainly(target, _cycled(frames, middle.n_frames))) for _ in range(repeats)
        )
    totals = [run.total for run in runs]
    return SpeedRow(
        size=size,
        frames=middle.n_frames,
        speak_fps=middle.n_frames / middle.total,
        spread=(max(totals) - min(totals)) / middle.total,
        encode_fps=middle.n_frames / encode,
        ratio=middle.total / encode,
        pyav_ratio=middle.total / plain,
        render_fps=len(frames) / render,
        seconds=middle.seconds,
    )


@dataclass(frozen=True)
class _Run:
    seconds: dict[str, float]
    n_frames: int
    frames: Callable[[], Iterator[Frame]]

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def _job(portrait_path: Path, speech_path: Path, target: Path) -> _Run:
    """The steps of ``mien speak``, each timed."""
    from mien.media.audio import read_audio
    from mien.media.image import read_image
    from mien.media.video import write_video
    from mien.perception.speech import analyse
    from mien.perception.tracking import track_image
    from mien.pipelines.speak import SPEECH_RATE, perform
    from mien.rendering.warp import WarpRenderer

    clock = _Clock()
    sound = read_audio(speech_path, SPEECH_RATE)
    heard = in_background(lambda: analyse(sound, 25))
    portrait = track_image(read_image(portrait_path))
    clock.lap("portrait")
    speech = heard.result()
    clock.lap("speech, rest of it")
    motion = perform(Direction.parse(SCENE), speech, rest=portrait.rest)
    clock.lap("motion")
    renderer = WarpRenderer(portrait)
    write_video(target, renderer.render(motion), 25, sound=speech_path)
    clock.lap("video")
    return _Run(clock.seconds, len(motion), lambda: renderer.render(motion))


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


def _encode_plainly(target: Path, frames: Iterator[Frame]) -> None:
    """H.264 as PyAV does it when nothing is asked for."""
    import av

    with av.open(str(target), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        for i, frame in enumerate(frames):
            if i == 0:
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _cycled(frames: list[Frame], n: int) -> Iterator[Frame]:
    return (frames[i % len(frames)] for i in range(n))


def write_square(source: Path, target: Path, size: int) -> None:
    """The largest square from the top of a picture, resized."""
    from PIL import Image

    with Image.open(source) as picture:
        side = min(picture.size)
        left = (picture.width - side) // 2
        picture.convert("RGB").resize((size, size), box=(left, 0, left + side, side)).save(target)


def _help_seconds() -> float:
    command = [sys.executable, "-m", "mien", "speak", "--help"]
    return statistics.median(
        timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)) for _ in range(3)
    )


def _memory(portrait: Path, speech: Path, minutes: float) -> dict[str, float]:
    """Peak resident memory of whole runs in processes of their own: on the speech as it is, and on long speech."""
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "long.flac"
        _repeat_speech(speech, long, minutes * 60)
        square = Path(folder) / "portrait.png"
        write_square(portrait, square, MEMORY_SIZE)
        return {
            "the clip itself": _peak_gib(square, speech, Path(folder) / "short.mp4"),
            f"{minutes:g} minutes of speech": _peak_gib(square, long, Path(folder) / "long.mp4"),
        }


def _repeat_speech(source: Path, target: Path, seconds: float) -> None:
    import numpy as np
    import soundfile

    from mien.media.audio import read_audio
    from mien.pipelines.speak import SPEECH_RATE

    audio = read_audio(source, SPEECH_RATE)
    times = int(np.ceil(seconds / audio.duration))
    with soundfile.SoundFile(target, "w", SPEECH_RATE, 1) as file:
        for _ in range(times):
            file.write(audio.samples)


def _peak_gib(portrait: Path, speech: Path, target: Path) -> float:
    code = (
        "import resource, sys; from mien.cli import main; "
        "code = main(['speak', *sys.argv[1:], '--quiet']); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "-p", str(portrait), "-s", str(speech), "-o", str(target)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    kilobytes = int(done.stdout.split()[-1])
    return kilobytes / 1024**2
