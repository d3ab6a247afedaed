"""Tracking: pictures and clips in; identity, expression, head pose, gaze and blinks out.

A still gives a :class:`~mien.types.Portrait` whose rig lies exactly on the landmarks. A clip gives a :class:`Track`:
landmarks are found frame by frame as the video streams by, everything else is computed from them at the end, so memory
grows by some 6 kB per frame and no picture is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import InputError, NoFaceError
from mien.face.rig import load_rig
from mien.perception.curves import cut_positions, find_blinks, interpolate_gaps, smooth
from mien.perception.geometry import (
    Poses,
    absorb,
    find_gaze,
    find_lid_closure,
    find_poses,
    fit_identity,
    motion_from,
    project,
    rest_expression,
    upwards,
)
from mien.perception.landmarks import LandmarkBackend, MediapipeBackend, face_box, person_mask
from mien.perception.reader import load_reader
from mien.progress import Progress, track
from mien.rotations import matrix_from_axis_angle
from mien.types import ARKIT_NAMES, Array, FaceIdentity, FaceMotion, Frame, Portrait, check_frame

_PATIENT_EVERY = 25
"""A slow search for small or unclear faces is made in every such frame that has none."""

_BLOCK, _SOME = 512, 64
"""Frames, and landmarks, that are worked on at once, so that long clips take no more memory."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Track:
    """One person in one clip.

    Attributes:
        identity: the person's neutral face, the same for the whole clip.
        motion: expression, head pose, gaze and translation per frame, on the builtin rig; absolute, so a face that
            rests with raised brows has raised brows throughout.
        cameras: ``(T, 3)`` scaled orthography as in :class:`~mien.types.Portrait`: pixels per metre, which change as
            the head comes and goes, and the pixel of the model's origin, which is the same in all frames.
        found: ``(T,)`` False where no face was seen and the motion is a guess between its neighbours.
        landmarks: ``(T, 478, 3)`` pixels as detected, not smoothed; guesses where not found.
        size: height and width of the pictures.
        shots: first frame of every shot; the first is 0.
        blinks: start and end of every blink, seconds.
    """

    identity: FaceIdentity
    motion: FaceMotion
    cameras: Array
    found: npt.NDArray[np.bool_]
    landmarks: Array
    size: tuple[int, int]
    shots: tuple[int, ...]
    blinks: tuple[tuple[float, float], ...]

    def portrait(self, index: int, frame: Frame) -> Portrait:
        """One frame of the clip as a picture that can be moved; ``rest`` is its row of the motion."""
        return Portrait(
            image=frame,
            landmarks=self.landmarks[index],
            identity=self.identity,
            rest=self.motion[index : index + 1],
            camera=self.cameras[index],
        )


def track_image(
    frame: Frame, *, face: int | None = None, backend: LandmarkBackend | None = None, name: str | Path = "the picture"
) -> Portrait:
    """A face in a picture, ready to be moved.

    Args:
        frame: ``(H, W, 3)`` uint8 RGB.
        face: which face, 1 for the largest; the largest if ``None``.
        backend: what finds landmarks; mediapipe if ``None``.
        name: what to call the picture in notes and errors.

    Raises:
        NoFaceError: if there is no face, or not as many as ``face`` asks for.
        ValueError: if ``frame`` is no picture; :func:`mien.read_image` reads a file.
    """
    check_frame(frame)
    faces = (backend or MediapipeBackend()).detect(frame)
    landmarks = _chosen(faces, face, str(name))
    if face is None and len(faces) > 1:
        _log.info("%s: %d faces; taking the largest (choose with --face)", name, len(faces))
    rig = load_rig()
    expression = rest_expression(rig, load_reader()(landmarks[None]))
    identity = fit_identity(rig, expression, landmarks[None], np.ones(1, np.float32))
    poses = find_poses(rig, identity, expression, landmarks[None])
    gaze = find_gaze(rig, identity, landmarks[None], poses)
    camera = np.array([poses.scale[0], poses.origin[0, 0], -poses.origin[0, 1]], np.float32)
    rest = motion_from(rig, 25.0, expression, gaze, poses, camera[None])
    return Portrait(
        image=frame,
        landmarks=landmarks,
        identity=absorb(rig, identity, rest, camera, landmarks),
        rest=rest,
        camera=camera,
        person_mask=person_mask(frame),
    )


def track_video(
    video: str | Path | Iterable[Frame],
    *,
    fps: float | None = None,
    face: int | None = None,
    backend: LandmarkBackend | None = None,
    progress: Progress | None = None,
    keep: Path | None = None,
) -> Track:
    """The motion of one face in a clip.

    Args:
        video: a video file, or frames ``(H, W, 3)`` uint8 RGB that come with ``fps``.
        fps: frames per second; for a file, ``None`` means its own rate.
        face: which face of each shot's first picture with faces, 1 for the largest; the largest if ``None``.
        backend: what finds landmarks; mediapipe if ``None``.
        progress: sees a stage ``"track"``.
        keep: file for what was seen, so that a run that is stopped later on need not look again. If it is there, it
            must be of the same clip and face.

    Raises:
        NoFaceError: if no picture shows a face, or never as many as ``face`` asks for.
        InputError: if the clip is empty.
    """
    frames, fps, n_frames, what = _opened(video, fps)
    if keep is not None and keep.exists():
        return solve(_load_sight(keep, face), fps, name=what)
    sight = watch(track(frames, progress, "track", n_frames), face=face, backend=backend)
    if keep is not None:
        _save_sight(keep, sight)
    return solve(sight, fps, name=what)


def beyond_rig(seen: Track) -> Array:
    """What the landmarks of a clip show that the rig's expressions leave out.

    Returns:
        ``(T, 478, 3)`` metres at zero pose, smoothed over time; nothing at the irises, which gaze moves, and nothing in
        depth as the camera sees it, which landmarks only guess.
    """
    rig, n_frames = load_rig(), len(seen.motion)
    found = np.zeros((n_frames, 478, 3), np.float32)
    for start in range(0, n_frames, _BLOCK):
        block = slice(start, start + _BLOCK)
        motion, cameras = seen.motion[block], seen.cameras[block]
        left = upwards(seen.landmarks[block] - project(rig, seen.identity, motion, cameras)) / cameras[:, None, :1]
        left[..., 2] = 0
        found[block] = left @ matrix_from_axis_angle(motion.head_pose)
    found[:, 468:] = 0
    for start in range(0, 468, _SOME):  # a few landmarks at a time, for smoothing takes several copies
        some = slice(start, start + _SOME)
        part = found[:, some]
        found[:, some] = smooth(part.reshape(n_frames, -1), seen.shots, seen.motion.fps).reshape(part.shape)
    return found


@dataclass(frozen=True, eq=False)
class Sight:
    """What was seen while a clip, or a stretch of it, streamed by.

    Attributes:
        landmarks: ``(T, 478, 3)`` pixels; zero where not found.
        found: ``(T,)`` where the face was seen.
        size: height and width of the pictures.
        cuts: frames with which a new shot starts; a first frame that nothing came before is none.
        face: which face was asked for.
        most_faces: the largest number of faces that any search found.
    """

    landmarks: Array
    found: npt.NDArray[np.bool_]
    size: tuple[int, int]
    cuts: tuple[int, ...]
    face: int | None
    most_faces: int


def _save_sight(path: Path, sight: Sight) -> None:
    growing = path.with_suffix(".growing")
    with growing.open("wb") as file:
        np.savez(
            file, landmarks=sight.landmarks, found=sight.found, size=np.array(sight.size),
            cuts=np.array(sight.cuts, np.int64), most_faces=sight.most_faces,
        )  # fmt: skip
    growing.replace(path)


def _load_sight(path: Path, face: int | None) -> Sight:
    with np.load(path, allow_pickle=False) as file:
        height, width = map(int, file["size"])
        cuts = tuple(map(int, file["cuts"]))
        return Sight(file["landmarks"], file["found"], (height, width), cuts, face, int(file["most_faces"]))


def _opened(video: str | Path | Iterable[Frame], fps: float | None) -> tuple[Iterable[Frame], float, int | None, str]:
    if isinstance(video, str | Path):
        from mien.media.video import VideoReader

        reader = VideoReader(video)
        return reader, reader.fps, reader.n_frames, str(video)
    if fps is None:
        raise ValueError("fps: needed when frames are given instead of a file")
    return map(check_frame, video), fps, None, "the clip"


def watch(
    frames: Iterable[Frame],
    *,
    face: int | None = None,
    previous: Array | None = None,
    backend: LandmarkBackend | None = None,
) -> Sight:
    """Find one face in every frame, starting anew at shot cuts and where it was lost.

    Args:
        frames: ``(H, W, 3)`` uint8 RGB.
        face: which face of each shot's first picture with faces, 1 for the largest; the largest if ``None``.
        previous: ``(478, 3)`` where the face was in the frame before the first, if that is known.
        backend: what finds landmarks; mediapipe if ``None``.
    """
    backend = backend or MediapipeBackend()
    landmarks: list[Array] = []
    found: list[bool] = []
    cuts: list[int] = []
    last_seen = previous
    size = (0, 0)
    most_faces = 0
    missing = np.zeros((478, 3), np.float32)
    for index, (frame, is_cut) in enumerate(cut_positions(frames)):
        size = frame.shape[:2]
        if is_cut and index:
            cuts.append(index)
            previous = last_seen = None
        current = None if previous is None else backend.follow(frame, previous)
        if current is None and _worth_a_search(found):
            faces = backend.detect(frame, patient=index % _PATIENT_EVERY == 0)
            most_faces = max(most_faces, len(faces))
            current = _again(faces, last_seen, face)
        landmarks.append(missing if current is None else current)
        found.append(current is not None)
        previous = current
        last_seen = last_seen if current is None else current
    stacked = np.stack(landmarks) if landmarks else np.zeros((0, 478, 3), np.float32)
    return Sight(stacked, np.array(found, np.bool_), (size[0], size[1]), tuple(cuts), face, most_faces)


def _worth_a_search(found: list[bool]) -> bool:
    """A search is costly, so a face that stays away is looked for in every fifth frame only."""
    recent = found[-10:]
    return len(recent) < 10 or any(recent) or len(found) % 5 == 0


def _chosen(faces: list[Array], face: int | None, what: str) -> Array:
    """The face asked for, or a :class:`NoFaceError` that says why not."""
    if face is not None and face < 1:
        raise InputError(f"face {face}: faces are counted from 1, the largest first")
    if not faces:
        raise NoFaceError(f"{what}: no face found", "give a picture that shows a face from the front, in good light")
    if face is not None and face > len(faces):
        raise NoFaceError(f"{what}: face {face} asked for, but only {len(faces)} found")
    return faces[(face or 1) - 1]


def _again(faces: list[Array], last_seen: Array | None, face: int | None) -> Array | None:
    """The face to go on with: the one nearest to where it was last seen in this shot, else the one asked for."""
    if not faces:
        return None
    if last_seen is None:
        return faces[(face or 1) - 1] if len(faces) >= (face or 1) else None
    left, top, right, bottom = face_box(last_seen)
    centre = np.array([left + right, top + bottom]) / 2
    distances = [float(np.linalg.norm(other[:, :2].mean(axis=0) - centre)) for other in faces]
    nearest = int(np.argmin(distances))
    return faces[nearest] if distances[nearest] < 2 * (right - left) else None


def solve(sight: Sight, fps: float, *, name: str | Path = "the clip") -> Track:
    """Identity, motion, cameras and blinks from what was seen.

    Args:
        sight: the whole clip.
        fps: frames per second.
        name: what to call the clip in notes and errors.

    Raises:
        NoFaceError: if no picture shows the face.
        InputError: if the clip is empty.
    """
    if not len(sight.found):
        raise InputError(f"{name}: has no frames", "give a clip with at least one picture")
    n_found = int(sight.found.sum())
    if not n_found and sight.most_faces:
        raise NoFaceError(f"{name}: face {sight.face} asked for, but there are never more than {sight.most_faces}")
    if not n_found:
        raise NoFaceError(
            f"{name}: no face found in {len(sight.found)} frames", "give a clip that shows a face from the front"
        )
    if n_found < len(sight.found):
        lost = len(sight.found) - n_found
        _log.warning("%s: no face in %d of %d frames; motion is filled in between", name, lost, len(sight.found))
    rig = load_rig()
    shots = (0, *sight.cuts)
    landmarks = interpolate_gaps(sight.landmarks, sight.found)
    raw = load_reader()(landmarks)
    identity = fit_identity(rig, rest_expression(rig, raw), landmarks, _frame_weights(raw, sight.found))
    expression = np.clip(smooth(raw, shots, fps), 0, 1)
    poses = find_poses(rig, identity, expression, landmarks)
    poses = Poses(
        smooth(poses.scale[:, None], shots, fps)[:, 0],
        _smooth_rotations(poses.rotation, shots, fps),
        smooth(poses.origin, shots, fps),
    )
    lids = np.maximum(expression[:, _EYE_BLINKS[0]], expression[:, _EYE_BLINKS[1]])
    gaze = find_gaze(rig, identity, landmarks, poses)
    # Closed lids hide the iris, and the network then guesses: look where the eyes looked before and after.
    gaze = smooth(interpolate_gaps(gaze, lids < 0.6).reshape(-1, 6), shots, fps).reshape(-1, 2, 3)
    # What the network reads and what the lids' gap says err on different faces, so blinks are sought in their mean.
    closure = (raw[:, list(_EYE_BLINKS)].mean(axis=1) + find_lid_closure(rig, landmarks, sight.found)) / 2
    origin = np.median(poses.origin[sight.found], axis=0)
    cameras = np.empty((len(landmarks), 3), np.float32)
    cameras[:, 0] = poses.scale
    cameras[:, 1:] = origin[0], -origin[1]
    return Track(
        identity=identity,
        motion=motion_from(rig, fps, expression, gaze, poses, cameras),
        cameras=cameras,
        found=sight.found,
        landmarks=landmarks,
        size=sight.size,
        shots=shots,
        blinks=tuple(find_blinks(closure, fps)),
    )


_EYE_BLINKS = (ARKIT_NAMES.index("eyeBlinkLeft"), ARKIT_NAMES.index("eyeBlinkRight"))


def _frame_weights(expression: Array, found: npt.NDArray[np.bool_]) -> Array:
    """``(T,)`` how much each frame says about the neutral face: little when the face is far from neutral."""
    effort = (expression**2).sum(axis=1)
    weights = np.where(found, 1 / (0.05 + effort - effort[found].min()), 0)
    return np.asarray(weights, np.float32)


def _smooth_rotations(rotation: Array, shots: tuple[int, ...], fps: float) -> Array:
    """Head rotations ``(T, 3, 3)`` smoothed as matrices and made rotations again."""
    smoothed = smooth(rotation.reshape(-1, 9), shots, fps).reshape(-1, 3, 3)
    u, _, vt = np.linalg.svd(smoothed)
    return np.asarray(u @ vt, np.float32)
