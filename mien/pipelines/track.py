"""``mien track``: a picture or clip becomes face motion, a summary, or an overlay to judge them by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import tyro

from mien.errors import InputError, OutputError
from mien.pipelines.estimate import EmotionEstimator
from mien.progress import Progress
from mien.types import Array, EmotionTrack, FaceMotion, Frame, Portrait

if TYPE_CHECKING:
    from mien.face.rig import Rig
    from mien.perception.tracking import Track

MOTION_ENDINGS = (".npz", ".csv")
OVERLAY_ENDINGS = (".mp4", ".webm", ".gif", ".png", ".jpg", ".jpeg")

_SHOWN = (
    "browInnerUp",
    "browDownLeft",
    "browDownRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "jawOpen",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthPucker",
    "mouthPressLeft",
)
_GREEN, _BLUE, _RED, _WHITE, _BLACK = (90, 220, 120), (90, 150, 255), (255, 80, 80), (255, 255, 255), (30, 30, 30)


@dataclass(frozen=True)
class TrackOptions:
    """Follow one face through a picture or a clip.

    The ending of -o decides what is made: .npz or Live Link Face .csv hold the motion, .openface.csv action
    units, .emotion.csv valence, arousal and labels per frame, .json a summary with the blinks; .mp4, .webm or
    .gif (.png or .jpg for a picture) show what was found drawn over the input. --also writes more of them.
    """

    input: Annotated[Path, tyro.conf.arg(aliases=("-i",))]
    """A picture or a video."""

    output: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Where to write the result."""

    face: int | None = None
    """Which face, counted from 1 for the largest. Default: the largest."""

    fps: float | None = None
    """Frames per second of the motion; it is resampled. Default: the video's own rate."""

    also: tuple[Path, ...] = ()
    """Further results of the same pass, such as face.openface.csv face.emotion.csv."""

    estimator: str = "own"
    """What reads emotion: own, or emonet:FILE with EmoNet's official weights."""


@dataclass(frozen=True)
class TrackResult:
    """What was found.

    Attributes:
        output: the file written.
        n_frames: length of the motion in frames.
        fps: their rate.
        found: frames in which the face was seen.
        shots: number of shots.
        blinks: start and end of every blink, seconds.
    """

    output: Path
    n_frames: int
    fps: float
    found: int
    shots: int
    blinks: tuple[tuple[float, float], ...]


def track(options: TrackOptions, progress: Progress | None = None) -> TrackResult:
    """Track the face and write what the endings of the outputs ask for.

    Raises:
        InputError: if the input cannot be read or an option makes no sense.
        NoFaceError: if it shows no face, or not as many as asked for.
        OutputError: if an ending is unknown or a place cannot be written.
        MissingExtraError: if EmoNet is asked for and PyTorch is missing.
    """
    from mien.media.output import check_output

    for path in (options.output, *options.also):
        if path.suffix.lower() not in (*MOTION_ENDINGS, *OVERLAY_ENDINGS, ".json"):
            raise OutputError(
                f"{path}: tracking is not written as {path.suffix.lower() or 'a folder'}",
                f"end -o in one of {' '.join((*MOTION_ENDINGS, '.json', *OVERLAY_ENDINGS))}",
            )
    if options.fps is not None and not 0 < options.fps <= 1000:
        raise InputError(f"--fps {options.fps:g}", "give more than 0 and at most 1000 frames per second")
    estimator = EmotionEstimator.named(options.estimator)
    for path in (options.output, *options.also):
        check_output(path, inputs=[options.input, estimator.weights])
    return (
        _track_video(options, estimator, progress) if _is_video(options.input) else _track_picture(options, estimator)
    )


def _is_video(path: Path) -> bool:
    from mien.media.image import VIDEO_ENDINGS

    return path.suffix.lower() in (*VIDEO_ENDINGS, ".gif")


def _track_picture(options: TrackOptions, estimator: EmotionEstimator) -> TrackResult:
    from mien.media.image import read_image, write_image
    from mien.perception.tracking import track_image

    for path in (options.output, *options.also):
        if path.suffix.lower() in OVERLAY_ENDINGS and path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise OutputError(f"{path}: the overlay of a picture is a picture", "end -o in .png or .jpg")
    portrait = track_image(read_image(options.input), face=options.face, name=options.input)
    record, found = _record(options, estimator), np.ones(1, np.bool_)
    emotion = cache(lambda: estimator.picture(portrait))
    for path in (options.output, *options.also):
        if path.suffix.lower() in OVERLAY_ENDINGS:
            write_image(path, _portrait_overlay(portrait), provenance=record)
        elif path.suffix.lower() == ".json":
            _write_json(path, _summary(portrait.rest, found, (0,), (), portrait.image.shape[:2], emotion()))
        else:
            _write_curves(path, options.fps, portrait.rest, found, emotion, record)
    return TrackResult(options.output, 1, portrait.rest.fps, 1, 1, ())


def _track_video(options: TrackOptions, estimator: EmotionEstimator, progress: Progress | None) -> TrackResult:
    from mien.perception.tracking import track_video

    for path in (options.output, *options.also):
        if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            raise OutputError(f"{path}: the overlay of a video is a video", "end -o in .mp4, .webm or .gif")
    seen = track_video(options.input, face=options.face, progress=progress)
    record = _record(options, estimator)
    n_found = int(seen.found.sum())
    emotion = cache(lambda: estimator.clip(options.input, seen))
    for path in (options.output, *options.also):
        if path.suffix.lower() in OVERLAY_ENDINGS:
            _write_overlay(path, options.input, seen, record, progress)
        elif path.suffix.lower() == ".json":
            _write_json(path, _summary(seen.motion, seen.found, seen.shots, seen.blinks, seen.size, emotion()))
        else:
            _write_curves(path, options.fps, seen.motion, seen.found, emotion, record)
    n_frames = len(seen.motion) if options.fps is None else len(seen.motion.resample(options.fps))
    return TrackResult(options.output, n_frames, options.fps or seen.motion.fps, n_found, len(seen.shots), seen.blinks)


def _record(options: TrackOptions, estimator: EmotionEstimator) -> dict[str, Any]:
    from mien.media.provenance import is_synthetic, provenance

    inputs = {"input": options.input, "emonet": estimator.weights}
    settings = replace(options, estimator=estimator.kind)  # the weights stand among the inputs, without their folder
    return provenance("track", inputs=inputs, settings=settings, synthetic=is_synthetic(options.input))


def _write_overlay(path: Path, source: Path, seen: Track, record: dict[str, Any], progress: Progress | None) -> None:
    from mien.media.video import VideoReader, write_video

    reader = VideoReader(source)
    sound = source if reader.has_sound and path.suffix.lower() != ".gif" else None
    frames, n_frames = _track_overlay(reader, seen), len(seen.motion)
    write_video(
        path, frames, reader.fps, sound=sound, sound_at=reader.sound_start, provenance=record, progress=progress,
        n_frames=n_frames,
    )  # fmt: skip


def _write_curves(
    path: Path,
    fps: float | None,
    motion: FaceMotion,
    found: npt.NDArray[np.bool_],
    emotion: Callable[[], EmotionTrack],
    record: dict[str, Any],
) -> None:
    """What has one row per frame: the motion, action units or emotion."""
    from mien.media.emotion_file import is_emotion
    from mien.media.motion_file import write_motion
    from mien.media.openface import is_openface

    n_frames = len(motion)
    if fps is not None:
        source = motion.fps
        motion = motion.resample(fps)
        found = found[np.minimum(np.arange(len(motion)) * source / fps, n_frames - 1).astype(np.int64)]
    if is_emotion(path):
        _write_emotion(path, _at_rate(emotion(), motion.fps, len(motion)), found)
    elif is_openface(path):
        write_units(path, motion, found)
    else:
        write_motion(path, motion, provenance=record)


def _at_rate(track: EmotionTrack, fps: float, n_frames: int) -> EmotionTrack:
    """The same emotion at another frame rate, straight lines between rows."""
    at, rows = np.arange(n_frames) / fps, np.arange(len(track)) / track.fps

    def resampled(curves: Array) -> Array:
        return np.stack([np.interp(at, rows, curve) for curve in curves.T], 1).astype(np.float32)

    shares = None if track.probabilities is None else resampled(track.probabilities)
    return EmotionTrack(resampled(track.va), fps, track.labels, shares)


def _write_emotion(path: Path, track: EmotionTrack, found: npt.NDArray[np.bool_]) -> None:
    from mien.media.emotion_file import write_emotion
    from mien.media.output import atomic_output, output_error

    with atomic_output(path) as temporary:
        try:
            write_emotion(temporary, track, found)
        except OSError as error:
            raise output_error(path, error) from error


def write_units(path: Path, motion: FaceMotion, found: npt.NDArray[np.bool_]) -> None:
    """Action units and head pose of a motion as OpenFace CSV; whole or not at all.

    Args:
        path: the file to write.
        motion: under ARKit's names.
        found: ``(T,)`` where the face was seen.

    Raises:
        OutputError: if the place cannot be written.
    """
    from mien.face.actions import units_from_motion
    from mien.media.openface import write_openface
    from mien.media.output import atomic_output, output_error

    with atomic_output(path) as temporary:
        try:
            write_openface(temporary, units_from_motion(motion), motion.head_pose, found)
        except OSError as error:
            raise output_error(path, error) from error


def _summary(
    motion: FaceMotion,
    found: npt.NDArray[np.bool_],
    shots: Sequence[int],
    blinks: Sequence[tuple[float, float]],
    size: tuple[int, ...],
    emotion: EmotionTrack,
) -> dict[str, Any]:
    """What a person would want to know about a clip: angles in degrees, times in seconds, weights in [0, 1].

    Frames in which no face was seen do not count.
    """
    n_found = int(found.sum())

    def spread(values: Array) -> dict[str, float]:
        values = values[found]
        return {
            "mean": round(float(values.mean()), 4),
            "min": round(float(values.min()), 4),
            "max": round(float(values.max()), 4),
        }

    labels = Counter(label for label, here in zip(emotion.best(), found, strict=True) if here)
    head, gaze = np.rad2deg(motion.head_pose), np.rad2deg(motion.eye_pose.mean(axis=1))
    return {
        "n_frames": len(motion),
        "fps": motion.fps,
        "duration": round(motion.duration, 3),
        "size": list(size),
        "frames_with_face": n_found,
        "shots": [round(start / motion.fps, 3) for start in shots],
        "blinks": [[round(start, 3), round(end, 3)] for start, end in blinks],
        "blinks_per_minute": round(60 * len(blinks) * motion.fps / n_found, 2),
        "head_degrees": {axis: spread(head[:, i]) for i, axis in enumerate(("nod", "turn", "tilt"))},
        "gaze_degrees": {axis: spread(gaze[:, i]) for i, axis in enumerate(("down", "left"))},
        "valence": spread(emotion.va[:, 0]),
        "arousal": spread(emotion.va[:, 1]),
        "emotions": {label: round(frames / n_found, 4) for label, frames in labels.most_common()},
        "expression": {name: spread(motion.column(name)) for name in motion.expression_names},
    }


def _write_json(path: Path, summary: dict[str, Any]) -> None:
    from mien.media.output import atomic_output, output_error

    with atomic_output(path) as temporary:
        try:
            temporary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise output_error(path, error) from error


def _portrait_overlay(portrait: Portrait) -> Frame:
    from mien.face.rig import load_rig
    from mien.perception.geometry import project

    points = project(load_rig(), portrait.identity, portrait.rest, portrait.camera[None])[0]
    return _draw(portrait.image, load_rig(), points, portrait.rest, found=True, blink=False)


def _track_overlay(frames: Iterable[Frame], seen: Track) -> Iterator[Frame]:
    """The clip with the fitted face drawn in, frame by frame."""
    from mien.face.rig import load_rig
    from mien.perception.geometry import project

    rig = load_rig()
    fps = seen.motion.fps
    for i, frame in enumerate(frames):
        if i >= len(seen.motion):
            return
        motion = seen.motion[i : i + 1]
        points = project(rig, seen.identity, motion, seen.cameras[i : i + 1])[0]
        blink = any(start <= i / fps < end for start, end in seen.blinks)
        yield _draw(frame, rig, points, motion, found=bool(seen.found[i]), blink=blink)


def _draw(frame: Frame, rig: Rig, points: Array, motion: FaceMotion, *, found: bool, blink: bool) -> Frame:
    """The face's contours and irises, the head's axes, and bars of the main expressions."""
    import cv2

    from mien.rotations import matrix_from_axis_angle

    picture = np.array(frame)
    width = max(1, round(float(np.ptp(points[:, 0])) / 160))
    colour = _GREEN if found else _RED
    pixels = np.round(points[:, :2] * 16).astype(np.int32)  # cv2 draws on sixteenths of a pixel
    triangles = rig.triangles[(rig.triangles < 468).all(axis=1)]
    mesh = picture.copy()
    cv2.polylines(mesh, list(pixels[triangles]), True, colour, 1, cv2.LINE_AA, 4)
    cv2.addWeighted(mesh, 0.2, picture, 0.8, 0, picture)
    for loop in rig.contours.values():
        cv2.polylines(picture, [pixels[loop[loop < 468]]], True, colour, width, cv2.LINE_AA, 4)
    for side in ("left", "right"):
        iris = pixels[rig.parts[f"iris_{side}"]]
        cv2.polylines(picture, [iris[1:]], True, _RED if blink else _BLUE, width, cv2.LINE_AA, 4)
    axes = matrix_from_axis_angle(motion.head_pose[0]) * float(np.ptp(points[:, 0])) * 0.4
    nose = points[4, :2]
    for i, axis_colour in enumerate((_RED, _GREEN, _BLUE)):
        tip = nose + axes[:2, i] * (1, -1)
        cv2.line(picture, _pixel(nose), _pixel(tip), axis_colour, width + 1, cv2.LINE_AA)
    _draw_bars(picture, motion, blink)
    return picture


def _pixel(point: Any) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _draw_bars(picture: Frame, motion: FaceMotion, blink: bool) -> None:
    """Bars of the expressions of :data:`_SHOWN` in the upper left corner, sized by the picture."""
    import cv2

    line = max(8, min(picture.shape[:2]) // 36)
    length = 4 * line
    for row, name in enumerate(_SHOWN):
        top = line // 2 + row * line
        weight = float(np.clip(motion.column(name)[0], 0, 1))
        cv2.rectangle(picture, (4, top), (4 + length, top + line - 3), _BLACK, -1)
        cv2.rectangle(picture, (4, top), (4 + round(length * weight), top + line - 3), _GREEN, -1)
        _write(picture, name, (8 + length, top + line - 4), line / 34, _WHITE)
    if blink:
        _write(picture, "blink", (4, line * (len(_SHOWN) + 2)), line / 24, _RED)


def _write(picture: Frame, text: str, place: tuple[int, int], size: float, colour: tuple[int, int, int]) -> None:
    """Text that can be read on any ground."""
    import cv2

    width = max(1, round(size * 1.5))
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, _BLACK, width + 2, cv2.LINE_AA)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, width, cv2.LINE_AA)
