"""What ``mien evaluate`` measures in one clip: two passes, one that tracks and one that compares pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mien import metrics
from mien.direction import LABELS, Direction
from mien.errors import FormatError, InputError
from mien.progress import Progress, track
from mien.types import ActionUnits, Array, Emotion, EmotionTrack, FaceMotion, Frame, SpeechFeatures

if TYPE_CHECKING:
    from mien.evaluation.networks import FaceEmbedding, Lpips, OnnxFeatures
    from mien.perception.tracking import Track
    from mien.pipelines.estimate import EmotionEstimator

_SLOW_EVERY = 5  # frames; networks that the user brings, and the judge of emotions, look at so many less
_MS_SSIM_SIDE = 176
_WORST = 4


@dataclass(frozen=True)
class Metric:
    """One line of the report.

    Attributes:
        key: in the JSON.
        title: in the table.
        unit: of the value; empty if it has none.
        better: ``"high"``, ``"low"``, or ``""`` where only the distance to the truth's own value says something.
        group: section of the report.
    """

    key: str
    title: str
    unit: str
    better: str
    group: str


METRICS: tuple[Metric, ...] = tuple(
    Metric(*row)
    for row in (
        ("psnr", "PSNR", "dB", "high", "pictures"),
        ("psnr_face", "PSNR, face only", "dB", "high", "pictures"),
        ("ssim", "SSIM", "", "high", "pictures"),
        ("ms_ssim", "MS-SSIM", "", "high", "pictures"),
        ("apd", "APD (colour distance)", "of 442", "low", "pictures"),
        ("mapd", "MAPD, face only", "of 442", "low", "pictures"),
        ("mouth_apd", "APD, mouth only", "of 442", "low", "pictures"),
        ("lpips", "LPIPS (AlexNet 0.1)", "", "low", "pictures"),
        ("fid", "FID (the given network)", "", "low", "pictures"),
        ("flicker", "flicker of the background", "grey levels", "low", "pictures"),
        ("flicker_added", "the same, less the truth's", "grey levels", "", "pictures"),
        ("csim", "identity similarity (SFace)", "cosine", "high", "identity"),
        ("m_lmd", "M-LMD, centred", "px", "low", "landmarks"),
        ("f_lmd", "F-LMD, centred", "px", "low", "landmarks"),
        ("m_lmd_relative", "M-LMD, centred", "% of eye distance", "low", "landmarks"),
        ("f_lmd_relative", "F-LMD, centred", "% of eye distance", "low", "landmarks"),
        ("faces", "frames with a face", "share", "high", "motion"),
        ("aed", "AED (L1 of 52 ARKit weights)", "weights", "low", "motion"),
        ("head", "head angles (ARD)", "degrees", "low", "motion"),
        ("head_movement", "head movement", "degrees", "", "motion"),
        ("au_error", "action units, mean error", "of 5", "low", "motion"),
        ("blink_rate", "blink rate", "per minute", "", "motion"),
        ("blink_duration", "blink duration", "s", "", "motion"),
        ("va_rmse", "valence and arousal, RMSE to truth", "", "low", "emotion"),
        ("va_ccc", "valence and arousal, CCC to truth", "", "high", "emotion"),
        ("va_asked", "valence and arousal, RMSE to asked", "", "low", "emotion"),
        ("emotion_accuracy", "asked emotion named by the judge", "share", "high", "emotion"),
        ("aperture_correlation", "lip aperture, correlation to truth", "", "high", "speech"),
        ("closure_rate", "closures on p, b, m", "share", "high", "speech"),
        ("silent_lips", "lips in silence over speech", "ratio", "low", "speech"),
        ("sync_zero", "sound-picture correlation, no shift", "r", "high", "speech"),
        ("sync_best", "sound-picture correlation, best", "r", "high", "speech"),
        ("sync_lag", "best shift (minus: picture leads)", "s", "", "speech"),
        ("sync_off", "sound-picture correlation, far off", "r", "", "speech"),
        ("lve", "LVE, mean of the largest", "mm", "low", "meshes"),
        ("lve_squared", "LVE, CodeTalker's squared form", "m²", "low", "meshes"),
        ("mve", "MVE", "mm", "low", "meshes"),
        ("fdd", "FDD, signed", "m²", "", "meshes"),
    )
)


@dataclass
class Clip:
    """What was measured in one clip.

    Attributes:
        values: metric → value.
        curves: title → one value per frame, for the report.
        worst: frames in which it is farthest from the truth, or changes most abruptly: number, made, true or ``None``.
        features: ``(N, D)`` for FID.
        fps: of the clip.
    """

    values: dict[str, float]
    curves: dict[str, Array] = field(default_factory=dict)
    worst: list[tuple[int, Frame, Frame | None]] = field(default_factory=list)
    features: Array = field(default_factory=lambda: np.zeros((0, 1), np.float32))
    fps: float = 25.0


@dataclass(frozen=True)
class Truth:
    """The real clip."""

    track: Track
    path: Path


@dataclass(frozen=True)
class Judges:
    """Networks that look at pictures; ``None`` where the user brought no weights."""

    emotion: EmotionEstimator
    identity: FaceEmbedding | None
    lpips: Lpips | None
    features: OnnxFeatures | None

    @classmethod
    def load(cls, estimator: str, identity: Path | None, lpips: tuple[Path, Path] | None, fid: Path | None) -> Judges:
        """Open what was named.

        Raises:
            InputError: if a file cannot be used.
            MissingExtraError: if PyTorch is missing.
        """
        from mien.evaluation.networks import FaceEmbedding, Lpips, OnnxFeatures
        from mien.pipelines.estimate import EmotionEstimator

        return cls(
            EmotionEstimator.named(estimator),
            FaceEmbedding(identity) if identity else None,
            Lpips(*lpips) if lpips else None,
            OnnxFeatures(fid) if fid else None,
        )


@dataclass(frozen=True)
class Eyes:
    """What every clip is looked at with: the judges, the person's picture, and what was asked for."""

    judges: Judges
    reference: Path | None
    direction: str | None

    @cached_property
    def reference_embedding(self) -> Array | None:
        """Of the person's picture."""
        if self.reference is None or self.judges.identity is None:
            return None
        from mien.media.image import read_image
        from mien.perception.tracking import track_image

        portrait = track_image(read_image(self.reference), name=self.reference)
        return self.judges.identity(portrait.image, portrait.landmarks)

    def asked(self, path: Path, n_frames: int, fps: float) -> EmotionTrack | None:
        """The emotion that was asked for, one row per frame, with a share per label."""
        from mien.media.provenance import read_provenance

        if self.direction is not None:
            direction = Direction.parse(self.direction)
        else:
            settings = (read_provenance(path) or {}).get("settings") or {}
            lanes = settings.get("direction")
            if not isinstance(lanes, dict) or "emotion" not in lanes:
                return None
            direction = Direction.from_dict({k: lanes[k] for k in ("emotion", "transition") if k in lanes})
        shares = direction.emotion_curve(n_frames, fps)[:, : len(Emotion)]
        shares = shares + 1e-6  # relaxed and tired are no labels of a judge: such rows fall to neutral
        va = direction.emotion_track(n_frames, fps).va
        return EmotionTrack(va, fps, tuple(Emotion), shares / shares.sum(1, keepdims=True))


assert LABELS[: len(Emotion)] == tuple(label.value for label in Emotion)


def look(files: Mapping[str, Path], progress: Progress) -> dict[str, Track]:
    """Track videos, two at a time: nearly all of it happens outside Python."""
    from mien.perception.tracking import track_video

    def one(item: tuple[str, Path]) -> tuple[str, Track]:
        return item[0], track_video(item[1], progress=progress if len(files) == 1 else None)

    if len(files) == 1:
        return dict(map(one, files.items()))
    with ThreadPoolExecutor(2) as pool:
        return dict(track(pool.map(one, files.items()), progress, "track", len(files)))


def compare(path: Path, seen: Track, truth: Truth | None, speech: Path | None, eyes: Eyes, progress: Progress) -> Clip:
    """Everything about one clip.

    Raises:
        InputError: if the truth has other pictures in number, rate or size.
    """
    if truth is not None:
        seen, truth = _cut_alike(path, seen, truth)
    clip = Clip({}, fps=seen.motion.fps)
    clip.values |= _alone(seen, clip)
    clip.values |= _spoken(path, seen, speech, clip)
    if truth is not None:
        clip.values |= _against(seen, truth, clip)
    _felt(path, seen, truth, eyes, clip)
    _pictured(path, seen, truth, eyes, clip, progress)
    return clip


def _cut_alike(path: Path, seen: Track, truth: Truth) -> tuple[Track, Truth]:
    """Both as long as the shorter one, if they differ by no more than a tenth of a second."""
    made, real = len(seen.motion), len(truth.track.motion)
    fps = seen.motion.fps
    if abs(fps - truth.track.motion.fps) > 0.01 or seen.size != truth.track.size or abs(made - real) > 0.1 * fps + 1:
        raise InputError(
            f"{path}: {made} frames of {seen.size[1]} x {seen.size[0]} at {fps:g}/s, but the truth {truth.path} has "
            f"{real} of {truth.track.size[1]} x {truth.track.size[0]} at {truth.track.motion.fps:g}/s",
            "give clips that show the same frames",
        )
    n = min(made, real)
    return _first(seen, n), replace(truth, track=_first(truth.track, n))


def _first(seen: Track, n: int) -> Track:
    return replace(
        seen, motion=seen.motion[:n], cameras=seen.cameras[:n], found=seen.found[:n], landmarks=seen.landmarks[:n]
    )


def _alone(seen: Track, clip: Clip) -> dict[str, float]:
    """What needs no other clip."""
    fps = seen.motion.fps
    closure = metrics.closure_from_openness(metrics.eye_openness(seen.landmarks), fps)
    blinks = metrics.blinks_of(closure, fps)
    clip.curves["lip aperture, face heights"] = metrics.lip_aperture(seen.landmarks)
    return {
        "blink_rate": metrics.blink_rate(blinks, seen.motion.duration),
        "blink_duration": float(np.mean([blink.duration for blink in blinks])) if blinks else float("nan"),
        "head_movement": float(metrics.head_angles(seen.landmarks[seen.found]).std(0).mean()),
        "faces": float(seen.found.mean()),
    }


def _spoken(path: Path, seen: Track, speech: Path | None, clip: Clip) -> dict[str, float]:
    """Lips against the sound."""
    from mien.media.audio import read_audio
    from mien.media.video import VideoReader
    from mien.pipelines.speak import SPEECH_RATE

    try:
        audio = read_audio(speech or path, SPEECH_RATE, at=0.0 if speech else VideoReader(path).sound_start)
    except FormatError:
        if speech is not None:
            raise
        return {}  # the video has no sound
    fps, n_frames = seen.motion.fps, len(seen.motion)
    aperture = clip.curves["lip aperture, face heights"]
    values = {"silent_lips": metrics.silent_lip_stability(aperture, metrics.sound_level(audio, fps, n_frames))}
    phones = _phones(audio, fps)
    if phones is not None:
        values["closure_rate"] = metrics.closure_rate(aperture, fps, phones.phones)
    kept = seen.found
    mouth = mouth_shape(seen.landmarks)[kept]
    if len(mouth) >= 4 * fps and (mouth.std(0) > 1e-4).any():
        score = metrics.sync_score(metrics.log_mel(audio, fps, n_frames)[kept], mouth, fps)
        values |= {
            "sync_zero": score.at_zero, "sync_best": score.best, "sync_lag": score.lag, "sync_off": score.off_peak,
        }  # fmt: skip
    return values


def mouth_shape(landmarks: Array) -> Array:
    """``(T, 5)`` of the mouth in face heights: aperture, width, outer height, and both lips' distance from the nose.

    Plain geometry of the landmarks with the head held still, so that no network that drives a renderer has a say.
    """
    face = metrics.steadied(landmarks)
    height = metrics.face_height(face)

    def span(a: int, b: int) -> Array:
        return np.asarray(np.linalg.norm(face[:, a, :2] - face[:, b, :2], axis=-1) / height, np.float32)

    return np.stack([metrics.lip_aperture(face), span(61, 291), span(0, 17), span(2, 0), span(2, 17)], 1)


def _phones(audio: Any, fps: float) -> SpeechFeatures | None:
    from mien.perception.speech import analyse

    speech = analyse(audio, fps)
    return speech if speech.source in ("text", "recognised") else None


def _against(seen: Track, truth: Truth, clip: Clip) -> dict[str, float]:
    """Landmarks and motion against the truth's."""
    from mien.face.actions import units_from_motion
    from mien.face.rig import load_rig

    order = load_rig().landmark_indices_68
    aperture, own = metrics.lip_aperture(truth.track.landmarks), clip.curves["lip aperture, face heights"]
    clip.curves["truth: lip aperture"] = aperture
    both = np.flatnonzero(seen.found & truth.track.found)  # elsewhere landmarks and motion are guesses
    if not len(both):
        return {}
    made, real = (t.landmarks[both][:, order] for t in (seen, truth.track))
    units: list[ActionUnits] = [
        replace(found, values=found.values[both]) for found in map(units_from_motion, (truth.track.motion, seen.motion))
    ]
    return {
        "m_lmd": metrics.centred_distance(real, made, mouth=True),
        "f_lmd": metrics.centred_distance(real, made),
        "m_lmd_relative": metrics.centred_distance(real, made, mouth=True, per_cent=True),
        "f_lmd_relative": metrics.centred_distance(real, made, per_cent=True),
        "aed": metrics.average_expression_distance(truth.track.motion.expression[both], seen.motion.expression[both]),
        "head": metrics.head_pose_distance(
            *(metrics.head_angles(t.landmarks[both], truth.track.landmarks[both[0]]) for t in (truth.track, seen))
        ),
        "au_error": metrics.au_error(*units)["mean"],
        "aperture_correlation": metrics.pearson(aperture[both], own[both]),
    }


def _felt(path: Path, seen: Track, truth: Truth | None, eyes: Eyes, clip: Clip) -> None:
    """Valence and arousal against the truth's and against what was asked for."""
    emotion = eyes.judges.emotion.clip(path, seen)
    va = emotion.va[: len(seen.motion)]
    clip.curves["valence"], clip.curves["arousal"] = va[:, 0], va[:, 1]
    if truth is not None:
        real = eyes.judges.emotion.clip(truth.path, truth.track).va[: len(va)]
        errors = metrics.va_error(real, va)
        clip.values["va_rmse"] = (errors["valence_rmse"] + errors["arousal_rmse"]) / 2
        clip.values["va_ccc"] = (errors["valence_ccc"] + errors["arousal_ccc"]) / 2
        clip.curves["truth: valence"] = real[:, 0]
    asked = eyes.asked(path, len(va), seen.motion.fps)
    if asked is not None:
        clip.curves["asked: valence"] = asked.va[:, 0]
        errors = metrics.va_error(asked.va, va)
        clip.values["va_asked"] = (errors["valence_rmse"] + errors["arousal_rmse"]) / 2


def _pictured(
    path: Path, seen: Track, truth: Truth | None, eyes: Eyes, clip: Clip, progress: Progress
) -> None:  # fmt: skip
    """The second pass: pictures against pictures, and networks on pictures."""
    from mien.media.video import VideoReader

    n_frames = len(seen.motion)
    made = VideoReader(path).between(0, n_frames)
    real: Iterable[Frame | None] = (
        VideoReader(truth.path).between(0, n_frames) if truth is not None else (None for _ in range(n_frames))
    )
    rows = _Rows(seen, truth, eyes, eyes.asked(path, n_frames, seen.motion.fps))
    pairs: Iterator[tuple[Frame, Frame | None]] = zip(made, real, strict=False)
    for i, (frame, true) in enumerate(track(pairs, progress, "compare", n_frames)):
        rows.add(i, frame, true)
    rows.finish(clip)


class _Rows:
    """Values per frame as the pictures stream by; no picture but the worst few is kept."""

    def __init__(self, seen: Track, truth: Truth | None, eyes: Eyes, asked: EmotionTrack | None) -> None:
        self._seen, self._truth, self._eyes, self._asked = seen, truth, eyes, asked
        self._curves: dict[str, list[float]] = {}
        self._before: list[tuple[Frame, Frame | None]] = []
        self._features: list[Array] = []
        self._people: list[Array] = []
        self._named: list[tuple[Emotion, Array]] = []
        self._worst: list[tuple[float, int, Frame, Frame | None]] = []
        self._box: tuple[int, int, int, int] | None = None

    def add(self, i: int, frame: Frame, true: Frame | None) -> None:
        face = self._face_mask(i, frame)
        fault = self._bend(i, frame, true)
        if true is not None:
            fault = self._compare(i, frame, true, face)
        if i % _SLOW_EVERY == 0:
            self._ask_networks(i, frame, true)
        self._remember(fault, i, frame, true)

    def _remember(self, fault: float, i: int, frame: Frame, true: Frame | None) -> None:
        """Keep the worst moments, one of each half second."""
        near = next((e for e in self._worst if abs(e[1] - i) < self._seen.motion.fps / 2), None)
        if near is not None and near[0] >= fault:
            return
        kept = [entry for entry in self._worst if entry is not near]
        self._worst = sorted([*kept, (fault, i, frame, true)], key=lambda entry: -entry[0])[:_WORST]

    def _put(self, name: str, value: float) -> None:
        self._curves.setdefault(name, []).append(value)

    def _face_mask(self, i: int, frame: Frame) -> npt.NDArray[np.bool_]:
        """``(H, W)``, the face's hull, the truth's where there is one."""
        import cv2

        landmarks = (self._truth.track if self._truth is not None else self._seen).landmarks[i, :468, :2]
        mask = np.zeros(frame.shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(landmarks).astype(np.int32)), 1)
        return mask.astype(bool)

    def _bend(self, i: int, frame: Frame, true: Frame | None) -> float:
        """Flicker of the picture; put down: that of what lies outside the person's box, also less the truth's own."""
        self._before.append((frame, true))
        if len(self._before) < 3:
            return 0.0
        a, b, c = self._before
        self._before = self._before[1:]
        left, top, right, _ = _wide_box(self._seen.landmarks[i], frame.shape)
        still = np.ones(frame.shape[:2], bool)
        still[top:, left:right] = False  # neck and shoulders move with the head
        whole = metrics.second_difference(a[0], b[0], c[0])
        if still.mean() > 0.02:
            own = metrics.second_difference(a[0], b[0], c[0], still)
            self._put("flicker", own)
            if a[1] is not None and b[1] is not None and c[1] is not None:
                self._put("flicker_added", own - metrics.second_difference(a[1], b[1], c[1], still))
        return whole

    def _compare(self, i: int, frame: Frame, true: Frame, face: npt.NDArray[np.bool_]) -> float:
        assert self._truth is not None
        left, top, right, bottom = _mouth_box(self._truth.track.landmarks[i], frame.shape)
        self._put("psnr", metrics.psnr(frame, true))
        if face.any():
            self._put("psnr_face", metrics.psnr(frame, true, face))
            self._put("mapd", metrics.average_pixel_distance(true, frame, face))
        if min(frame.shape[:2]) >= _MS_SSIM_SIDE:
            for name, value in zip(("ssim", "ms_ssim"), metrics.ssim_and_ms_ssim(frame, true), strict=True):
                self._put(name, value)
        else:
            self._put("ssim", metrics.ssim(frame, true))
        self._put("apd", metrics.average_pixel_distance(true, frame))
        if right > left and bottom > top:
            box = slice(top, bottom), slice(left, right)
            self._put("mouth_apd", metrics.average_pixel_distance(true[box], frame[box]))
        return self._curves["mapd"][-1] if face.any() else self._curves["apd"][-1]

    def _ask_networks(self, i: int, frame: Frame, true: Frame | None) -> None:
        judges = self._eyes.judges
        if judges.lpips is not None and true is not None:
            self._put("lpips", judges.lpips(true, frame))
        if judges.features is not None:
            self._features.append(judges.features(frame))
        if judges.identity is not None:
            embedding = judges.identity(frame, self._seen.landmarks[i])
            person = self._eyes.reference_embedding
            if person is None and true is not None and self._truth is not None:
                person = judges.identity(true, self._truth.track.landmarks[i])
            if person is not None:
                self._put("csim", metrics.cosine_similarity(person, embedding))
        if self._asked is not None and self._asked.probabilities is not None:
            self._name(i, frame)

    def _name(self, i: int, frame: Frame) -> None:
        """What the judge of emotions says; where it is not installed the accuracy is left out."""
        from mien.errors import MissingExtraError
        from mien.evaluation.emotion_judge import JUDGED_EMOTIONS, face_box, judge

        assert self._asked is not None
        want = self._asked.best()[i]
        if want not in JUDGED_EMOTIONS:
            return
        try:
            self._box = self._box or face_box(frame)
            if self._box is not None:
                self._named.append((want, judge([frame], self._box)[0]))
        except MissingExtraError:
            self._asked = None

    def finish(self, clip: Clip) -> None:
        for name, values in self._curves.items():
            finite = [v for v in values if np.isfinite(v)]
            clip.values[name] = float(np.mean(finite)) if finite else float(values[0])
        for metric in METRICS:
            if metric.key in ("psnr_face", "ssim") and metric.key in self._curves:
                clip.curves[metric.title] = np.array(self._curves[metric.key], np.float32)
        if self._named:
            from mien.evaluation.emotion_judge import JUDGED_EMOTIONS

            wanted, said = zip(*self._named, strict=True)
            clip.values["emotion_accuracy"] = metrics.emotion_accuracy(wanted, np.stack(said), JUDGED_EMOTIONS)
        if self._features:
            clip.features = np.stack(self._features)
        clip.worst = [(i, made, true) for _, i, made, true in self._worst]


def _wide_box(landmarks: Array, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The face with hair and ears: its box, wider by half of it, inside the picture."""
    (left, top), (right, bottom) = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    dx, dy = (right - left) / 2, (bottom - top) / 2
    return _inside(left - dx, top - dy, right + dx, bottom + dy, shape)


def _mouth_box(landmarks: Array, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """A square around the mouth, half an eye distance to each side."""
    x, y = landmarks[[61, 291], :2].mean(0)
    half = float(metrics.eye_distance(landmarks)) / 2
    return _inside(x - half, y - half, x + half, y + half, shape)


def _inside(left: float, top: float, right: float, bottom: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    return max(int(left), 0), max(int(top), 0), min(int(right), shape[1]), min(int(bottom), shape[0])


def mesh_measures(path: Path, truth: Path | None) -> dict[str, float]:
    """LVE, MVE and FDD of a motion against another one of the same rig.

    Raises:
        InputError: if there is no truth, or rig, rate or length differ.
    """
    from mien.face.rig import load_rig

    if truth is None:
        raise InputError(f"{path}: a motion is judged against another one", "name it with --truth")
    made, real = FaceMotion.load(path), FaceMotion.load(truth)
    if (made.rig, made.fps, len(made)) != (real.rig, real.fps, len(real)):
        raise InputError(
            f"{path}: {len(made)} frames of {made.rig} at {made.fps:g}/s, the truth has {len(real)} of {real.rig} at "
            f"{real.fps:g}/s",
            "give motions of the same rig, rate and length",
        )
    rig = load_rig(made.rig)
    still = replace(made, head_pose=0 * made.head_pose, translation=0 * made.translation)
    steady = replace(real, head_pose=0 * real.head_pose, translation=0 * real.translation)
    x, y, template = rig.vertices(steady), rig.vertices(still), rig.neutral()
    lips = np.unique(np.concatenate([rig.contours[name] for name in ("lips_outer", "lips_inner")]))
    weights = sum(rig.regions[f"{area}_{side}"] for area in ("brow", "eye") for side in ("left", "right"))
    upper = np.flatnonzero(np.asarray(weights) > 0.5)
    return {
        "lve": metrics.lip_vertex_error(x, y, lips),
        "lve_squared": metrics.lip_vertex_error(x, y, lips, "squared"),
        "mve": metrics.mean_vertex_error(x, y),
        "fdd": metrics.upper_face_dynamics(x, y, template, upper),
    }
