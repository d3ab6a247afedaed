"""``mien evaluate control``: does each control do its own work, all of it, and nothing else?

Portraits speak with every control at its default, then each control goes through its range with the others held, and
estimators that the generator does not use look at the frames. :mod:`mien.evaluation.leakage` defines what is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from tyro.conf import arg

from mien.direction import Direction
from mien.errors import InputError, NoFaceError, OutputError
from mien.evaluation.leakage import (
    FACTORS,
    GOAL_LEAKAGE,
    GOAL_SPEARMAN,
    Cell,
    Dose,
    Measures,
    Sweep,
    beside,
    doses,
    matrix,
)  # fmt: skip
from mien.evaluation.watcher import Clip, Watcher
from mien.progress import Progress, Silent, Stage
from mien.types import Frame, SpeechFeatures

if TYPE_CHECKING:
    from mien.evaluation.observer import Observer

FPS = 25
SILENCE = 1.0
"""Seconds without sound before and after each voice: the face at rest, in which emotion is read."""


@dataclass(frozen=True)
class Control:
    """One control and its range.

    Attributes:
        name: as in :data:`~mien.evaluation.leakage.FACTORS`.
        unit: what the values are.
        values: ascending, over the documented range.
        default: the value of a clip that says nothing of this control.
        lanes: the direction's lanes for one value.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    default: float
    lanes: Callable[[float], Mapping[str, Any]]

    @property
    def branches(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The values from the default upwards, and from there downwards."""
        higher = tuple(value for value in self.values if value >= self.default)
        return higher, tuple(value for value in reversed(self.values) if value < self.default)


HELD: Mapping[str, Any] = {"lips": 1.0, "blink": 15}
"""Lanes that stand at their default in every clip unless they are swept: a style may fill in only what is left open."""


def controls(raised_brow: Path) -> tuple[Control, ...]:
    """The five controls; ``raised_brow`` is a motion whose left brow the region takes over."""
    thirds = tuple(float(v) for v in np.linspace(0, 2, 7))
    return (
        Control(
            "emotion", "sad -1 to happy 1", tuple(float(v) for v in np.linspace(-1, 1, 7)), 0,
            lambda v: {"emotion": f"{'sad' if v < 0 else 'happy'}:{abs(v):g}"},
        ),
        Control("lips", "gain", thirds, 1, lambda v: {"lips": v}),
        Control(
            "style", "strength of theatrical", thirds, 0, lambda v: {"style": {"name": "theatrical", "strength": v}}
        ),
        Control("blink", "per minute", tuple(float(v) for v in range(0, 61, 10)), 15, lambda v: {"blink": v}),
        Control(
            "region", "gain of the left brow's source", thirds, 0,
            lambda v: {"regions": {"brows_left": {"source": str(raised_brow), "gain": v}}},
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class ControlOptions:
    """Measure what each control moves, how far, and what it moves without being asked.

    Every portrait speaks every voice, about 32 clips each. The ending of -o decides: .html is a report with pictures
    that stands by itself, .json the numbers.
    """

    portraits: Annotated[tuple[Path, ...], arg(aliases=("-p",))] = ()
    """Pictures of one face each. Default: the sample portrait that comes with matplotlib."""

    speech: Annotated[tuple[Path, ...], arg(aliases=("-s",))] = ()
    """Sound files. Default: examples/speech.flac."""

    output: Annotated[Path | None, arg(aliases=("-o",))] = None
    """Where to write the report, .html or .json. Default: only a summary is printed."""

    landmarker: Path | None = None
    """MediaPipe's face_landmarker.task; without it the mesh inside the mediapipe package looks."""

    seconds: float = 6
    """Of each voice, from its start."""

    size: int = 512
    """Side in pixels of the square around the face that is played."""

    seed: int = 0
    """Of blinks, glances and head movement."""


@dataclass(frozen=True)
class ControlResult:
    """What was measured.

    Attributes:
        output: the report, or ``None``.
        matrix: control → factor → mean and 95 % interval, natural standard deviations.
        beside: control → other measures, the same.
        doses: how each control is answered.
        clips: number of clips made.
    """

    output: Path | None
    matrix: dict[str, dict[str, Cell]]
    beside: dict[str, dict[str, Cell]]
    doses: list[Dose]
    clips: int

    @property
    def worst_leak(self) -> tuple[str, str, float]:
        """Control, factor and value of the largest entry off the diagonal."""
        return max(
            ((c, f, cell.mean) for c, row in self.matrix.items() for f, cell in row.items() if f != c),
            key=lambda entry: entry[2],
        )

    def __str__(self) -> str:
        names = [factor.name for factor in FACTORS]
        lines = ["| control | " + " | ".join(names) + " | Spearman |", "|---" * (len(names) + 2) + "|"]
        for dose in self.doses:
            cells = [f"{self.matrix[dose.control][name].mean:.2f}" for name in names]
            lines.append(f"| {dose.control} | " + " | ".join(cells) + f" | {dose.spearman:.2f} |")
        control, factor, value = self.worst_leak
        lines.append(
            f"\nrows move columns, natural standard deviations; largest leak: {control} into {factor}, {value:.2f} "
            f"(goal {GOAL_LEAKAGE:g}); lowest Spearman {min(d.spearman for d in self.doses):.2f} "
            f"(goal {GOAL_SPEARMAN:g}); {self.clips} clips"
        )
        return "\n".join(lines)


@dataclass
class Played:
    """What one portrait with one voice gave."""

    portrait: str
    voice: str
    sweeps: list[Sweep] = field(default_factory=list)
    pictures: dict[str, list[Frame]] = field(default_factory=dict)


def evaluate_control(options: ControlOptions, progress: Progress | None = None) -> ControlResult:
    """Play and measure.

    Raises:
        InputError: if a portrait, a voice or an option cannot be used.
        OutputError: if the report cannot be written.
        MissingExtraError: if the judge of emotions is not installed.
    """
    from mien.evaluation.control_report import write
    from mien.evaluation.observer import Observer
    from mien.media.output import check_output
    from mien.pipelines.samples import sample_portrait, sample_speech

    if options.output is not None:
        if options.output.suffix.lower() not in (".html", ".json"):
            raise OutputError(f"{options.output}: a report is .html or .json", "end -o in one of them")
        check_output(options.output, inputs=[*options.portraits, *options.speech, options.landmarker])
    if not 2 <= options.seconds <= 60 or not 128 <= options.size <= 1024:
        raise InputError("--seconds or --size is out of range", "allowed: 2 to 60 s, 128 to 1024 px")
    portraits = options.portraits or (sample_portrait(),)
    voices = options.speech or (sample_speech(),)
    observer = Observer(options.landmarker)
    played = list(_played(portraits, voices, options, observer, progress or Silent()))
    sweeps = [sweep for pair in played for sweep in pair.sweeps]
    result = ControlResult(
        options.output, matrix(sweeps), beside(sweeps), doses(sweeps),
        clips=sum(1 + sum(len(sweep.values) for sweep in pair.sweeps) for pair in played),
    )  # fmt: skip
    if options.output is not None:
        write(options, result, played, observer.name)
    return result


def _played(
    portraits: Sequence[Path], voices: Sequence[Path], options: ControlOptions, observer: Observer, progress: Progress
) -> Iterator[Played]:
    import tempfile

    from mien.media.image import read_image
    from mien.perception.speech import analyse
    from mien.perception.tracking import track_image

    speeches = [analyse(voice_of(path, options.seconds), FPS) for path in voices]
    with tempfile.TemporaryDirectory() as folder:
        swept = controls(_raised_brow(Path(folder) / "raised_brow.npz"))
        clips = len(portraits) * len(voices) * (1 + sum(len(control.values) for control in swept))
        with progress.stage("clips", clips) as stage:
            for path in portraits:
                portrait = track_image(head_of(read_image(path), options.size, path), name=path)
                watcher = Watcher(portrait, observer, str(path))
                for voice, speech in zip(voices, speeches, strict=True):
                    yield _sweeps(watcher, speech, swept, options.seed, Played(path.stem, voice.stem), stage)


def head_of(picture: Frame, side: int, name: Path) -> Frame:
    """The square around the largest face, twice as wide as the face is high, at ``side`` pixels.

    Landmarks of small faces are too coarse to tell a tenth of a natural deviation.
    """
    import cv2

    from mien.perception.landmarks import MediapipeBackend

    faces = MediapipeBackend().detect(picture)
    if not faces:
        raise NoFaceError(f"{name}: no face found", "give a picture that shows a face from the front, in good light")
    low, high = faces[0][:, :2].min(0), faces[0][:, :2].max(0)
    half, middle = float(high[1] - low[1]), (low + high) / 2
    half = min(half, *(float(room) for room in (*middle, *(np.array(picture.shape[1::-1]) - middle))))
    left, top = np.maximum(middle - half, 0).astype(int)
    square = picture[top : top + int(2 * half), left : left + int(2 * half)]
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def voice_of(path: Path, seconds: float) -> Any:
    """The beginning of a recording between two stretches of silence."""
    from mien.media.audio import read_audio
    from mien.pipelines.speak import SPEECH_RATE
    from mien.types import Audio

    audio = read_audio(path, SPEECH_RATE)
    quiet = np.zeros(round(SILENCE * SPEECH_RATE), np.float32)
    return Audio(np.concatenate([quiet, audio.samples[: round(seconds * SPEECH_RATE)], quiet]), SPEECH_RATE)


def _raised_brow(path: Path) -> Path:
    """A motion file of one frame with the left brow raised halfway."""
    from mien.types import FaceMotion

    FaceMotion.zeros(1, FPS).with_columns({"browOuterUpLeft": 0.5}).save(path)
    return path


def _sweeps(
    watcher: Watcher, speech: SpeechFeatures, swept: Sequence[Control], seed: int, played: Played, stage: Stage
) -> Played:
    def play(lanes: Mapping[str, Any], before: Clip | None = None) -> Clip:
        clip = watcher.play(Direction.from_dict({**HELD, **lanes}), speech, seed, before)
        stage.advance()
        return clip

    default = play({})
    for control in swept:
        seen: dict[float, tuple[Measures, Frame]] = {}
        for branch in control.branches:
            before = default  # outwards, each clip followed from its neighbour
            for value in branch:
                before = play(control.lanes(value), before)
                seen[value] = before.measures, before.picture
        clips, pictures = zip(*(seen[value] for value in control.values), strict=True)
        played.sweeps.append(Sweep(control.name, control.values, clips, default.measures))
        played.pictures[control.name] = [pictures[i] for i in (0, len(pictures) // 2, -1)]
    return played
