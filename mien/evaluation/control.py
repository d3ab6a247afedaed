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

from mien.direction import LABEL_ANGLES, Direction
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
from mien.progress import Progress, Silent, Stage
from mien.types import Array, Frame, Portrait, SpeechFeatures

if TYPE_CHECKING:
    from mien.evaluation.observer import Observer

FPS = 25
SILENCE = 1.0
"""Seconds without sound before and after each voice: the face at rest, in which emotion is read."""

_LOOK_EVERY = 3  # frames between those that are judged and whose brows are followed
_BROWS = ((70, 63, 105, 66, 107, 46, 53, 52, 65, 55), (300, 293, 334, 296, 336, 276, 283, 282, 295, 285))
_RIGID = [33, 133, 362, 263, 168, 6, 195, 127, 356, 234, 454]  # eye corners, nose, temples
_STEADY = [168, 6, 197, 195, 127, 356, 234, 454, 10, 338, 297, 332, 284, 251, 109, 67, 103, 54, 21]  # nose, oval


@dataclass(frozen=True)
class Control:
    """One control and its range.

    Attributes:
        name: as in :data:`~mien.evaluation.leakage.FACTORS`.
        unit: what the values are.
        values: ascending, over the documented range.
        lanes: the direction's lanes for one value.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    lanes: Callable[[float], Mapping[str, Any]]


HELD: Mapping[str, Any] = {"lips": 1.0, "blink": 15}
"""Lanes that stand at their default in every clip unless they are swept: a style may fill in only what is left open."""


def controls(raised_brow: Path) -> tuple[Control, ...]:
    """The five controls; ``raised_brow`` is a motion whose left brow the region takes over."""
    thirds = tuple(float(v) for v in np.linspace(0, 2, 7))
    return (
        Control(
            "emotion", "sad -1 to happy 1", tuple(float(v) for v in np.linspace(-1, 1, 7)),
            lambda v: {"emotion": f"{'sad' if v < 0 else 'happy'}:{abs(v):g}"},
        ),
        Control("lips", "gain", thirds, lambda v: {"lips": v}),
        Control("style", "strength of theatrical", thirds, lambda v: {"style": {"name": "theatrical", "strength": v}}),
        Control("blink", "per minute", tuple(float(v) for v in range(0, 61, 10)), lambda v: {"blink": v}),
        Control(
            "region", "gain of the left brow's source", thirds,
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
    from mien.pipelines.bench_speak import sample_portrait, sample_speech

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

    speeches = [analyse(_voice(path, options.seconds), FPS) for path in voices]
    with tempfile.TemporaryDirectory() as folder:
        swept = controls(_raised_brow(Path(folder) / "raised_brow.npz"))
        clips = len(portraits) * len(voices) * (1 + sum(len(control.values) for control in swept))
        with progress.stage("clips", clips) as stage:
            for path in portraits:
                portrait = track_image(_head(read_image(path), options.size, path), name=path)
                watcher = Watcher(portrait, observer, str(path))
                for voice, speech in zip(voices, speeches, strict=True):
                    yield _sweeps(watcher, speech, swept, options.seed, Played(path.stem, voice.stem), stage)


def _head(picture: Frame, side: int, name: Path) -> Frame:
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


def _voice(path: Path, seconds: float) -> Any:
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
    def clip(lanes: Mapping[str, Any]) -> Measures:
        measures = watcher.measures(Direction.from_dict({**HELD, **lanes}), speech, seed)
        stage.advance()
        return measures

    watcher.forget()
    default = clip({})
    for control in swept:
        clips = tuple(clip(control.lanes(value)) for value in control.values)
        played.sweeps.append(Sweep(control.name, control.values, clips, default))
        ends = [control.lanes(control.values[i]) for i in (0, len(control.values) // 2, -1)]
        played.pictures[control.name] = [watcher.picture(lanes, speech, seed) for lanes in ends]
    return played


class Watcher:
    """Plays directions on one portrait and sums up what is to be seen.

    Args:
        portrait: the face.
        observer: finds landmarks.
        name: of the portrait, for errors.

    Raises:
        NoFaceError: if the observer does not find the face of the photo.
    """

    def __init__(self, portrait: Portrait, observer: Observer, name: str) -> None:
        from mien.evaluation.emotion_judge import face_box
        from mien.rendering.warp import WarpRenderer

        seen = observer(portrait.image)
        if seen is None:
            raise NoFaceError(f"{name}: the observer finds no face", "give a picture from the front, in good light")
        self._portrait, self._observer, self._reference = portrait, observer, seen
        self._renderer = WarpRenderer(portrait)
        left, top = seen[:, :2].min(0)
        right, bottom = seen[:, :2].max(0)
        whole = int(left), int(top), int(right), int(bottom)
        self._box = face_box(portrait.image) or whole
        self._defaults: dict[int, tuple[np.ndarray, Array]] = {}

    def forget(self) -> None:
        """The next clip is the one of defaults."""
        self._defaults.clear()

    def frames(self, direction: Direction, speech: SpeechFeatures, seed: int) -> Iterator[Frame]:
        """The clip."""
        from mien.pipelines.speak import perform

        motion = perform(direction, speech, rest=self._portrait.rest, identity=self._portrait.identity, seed=seed)
        return self._renderer.render(motion)

    def picture(self, lanes: Mapping[str, Any], speech: SpeechFeatures, seed: int) -> Frame:
        """The loudest moment of a clip, to look at."""
        moment = int(np.argmax(speech.loudness))
        frames = self.frames(Direction.from_dict({**HELD, **lanes}), speech, seed)
        return next(frame for i, frame in enumerate(frames) if i == moment)

    def measures(self, direction: Direction, speech: SpeechFeatures, seed: int) -> Measures:
        """All of :data:`~mien.evaluation.leakage.MEASURES` of one clip; the first clip is the one of defaults."""
        from mien import metrics

        points: list[Array] = []
        judged: dict[int, float] = {}
        brows: dict[int, Array] = {}
        silent, spoken = _far_from_speech(speech), np.asarray(speech.voiced) > 0.5
        for i, frame in enumerate(self.frames(direction, speech, seed)):
            seen = self._observer(frame)
            points.append(points[-1] if seen is None and points else self._reference if seen is None else seen)
            if i % _LOOK_EVERY == 0 and (silent[i] or spoken[i]):
                judged[i] = self._valence(frame, points[-1])
                brows[i] = self._brow_shift(i, frame, points[-1])
        landmarks = np.stack(points)
        face = metrics.steadied(landmarks, self._reference)
        gap = metrics.lip_aperture(face)[spoken]
        closure = metrics.closure_from_openness(metrics.eye_openness(face), FPS)
        raised = np.mean(list(brows.values()), axis=0)
        return {
            "valence": float(np.median([v for i, v in judged.items() if silent[i]])),
            "lip movement": float(gap.std()),
            "lip opening": float(gap.mean()),
            "head movement": float(metrics.head_angles(landmarks, self._reference).std(0).mean()),
            "blink rate": metrics.blink_rate(metrics.blinks_of(closure, FPS), len(landmarks) / FPS),
            "brow asymmetry": float(raised[1] - raised[0]),
            "valence in speech": float(np.median([v for i, v in judged.items() if spoken[i]])),
            "brow height": float(raised.mean()),
        }

    def _valence(self, frame: Frame, landmarks: Array) -> float:
        """What the judge sees in the face, where it stood in the photo and as large."""
        import cv2

        from mien.evaluation.emotion_judge import judge

        moved, _ = cv2.estimateAffinePartial2D(landmarks[_RIGID, :2], self._reference[_RIGID, :2], method=cv2.LMEDS)
        size = frame.shape[1], frame.shape[0]
        upright = frame if moved is None else cv2.warpAffine(frame, moved, size, borderMode=cv2.BORDER_REPLICATE)
        return float(judge([np.asarray(upright, np.uint8)], self._box)[0] @ _judged_valence())

    def _brow_shift(self, i: int, frame: Frame, landmarks: Array) -> Array:
        """``(2,)`` how much higher the right and left brow stand than in the same frame of the clip of defaults.

        Optical flow (Kroeger et al. 2016): the mean over each brow less what the head does, by the flow of points that
        no expression moves, in eye distances. Landmarks of brows err by more than a tenth of a natural deviation, and
        differently on different expressions.
        """
        import cv2

        from mien import metrics

        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        before, points = self._defaults.setdefault(i, (grey, landmarks))
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(before, grey, None)
        size = np.array(grey.shape[::-1]) - 1
        still = points[_STEADY, :2]
        column, row = np.clip(np.round(still), 0, size).astype(int).T
        head, _ = cv2.estimateAffinePartial2D(still, still + flow[row, column], method=cv2.LMEDS)
        rises = []
        for brow in _BROWS:
            rows, columns = np.nonzero(_brow_mask(points, brow, grey.shape))
            moved = flow[rows, columns].mean(0)
            if head is not None:
                middle = np.array([columns.mean(), rows.mean()])
                moved = moved - (head[:, :2] @ middle + head[:, 2] - middle)
            rises.append(-float(moved[1]))
        return np.array(rises, np.float32) / float(metrics.eye_distance(self._reference))


def _brow_mask(landmarks: Array, brow: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """``(H, W)`` the brow and a few pixels around it."""
    import cv2

    mask = np.zeros(size, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(landmarks[list(brow), :2]).astype(np.int32)), 1)
    return np.asarray(cv2.dilate(mask, np.ones((5, 5), np.uint8)), bool)


def _judged_valence() -> Array:
    """``(7,)`` valence of each label that the judge knows."""
    from mien.evaluation.emotion_judge import JUDGED_EMOTIONS

    angles = [LABEL_ANGLES.get(label.value) for label in JUDGED_EMOTIONS]
    return np.array([0 if angle is None else np.cos(np.deg2rad(angle)) for angle in angles], np.float32)


def _far_from_speech(speech: SpeechFeatures) -> np.ndarray:
    """``(T,)`` where nobody speaks, nor will or did within a third of a second."""
    from scipy.ndimage import maximum_filter1d

    return np.asarray(maximum_filter1d(np.asarray(speech.voiced), 2 * round(FPS / 3) + 1) < 0.5)
