"""``mien prepare``: videos of one person become the folder that methods learn from.

Each video is cut into parts of a few seconds. A part is watched (where is the face?) and later cropped by whichever
process is free; in between the whole clip is solved for identity, motion and emotion. Every step leaves a file in
``.work``, so a run that was killed goes on where it stopped; parts depend on the video alone, so the result is the same
whatever happened and however many processes worked.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import tyro

from mien.errors import InputError, OutputError
from mien.pipelines.estimate import EmotionEstimator
from mien.pipelines.processes import Step, carry_out
from mien.progress import Progress, Silent
from mien.types import Array

if TYPE_CHECKING:
    from mien.perception.tracking import Sight

PART = 300
"""Frames that are worked on in one go; what a kill can cost at most."""

SOUND_RATE = 16_000

_LEAD = 10  # frames of the part before that a part looks at first, to go on with the same face
_FACE_WIDTH = 140  # px; the mesh network sees a face at about 100, so larger ones may be decoded smaller
_WORK, _SETTINGS = ".work", "settings.json"


@dataclass(frozen=True)
class PrepareOptions:
    """Make a person's folder from videos: motion, emotion, crops and sound per frame, and a report on their quality.

    Training and editing by a person's own face start from this folder. An interrupted run goes on where it stopped when
    it is given again; a finished folder takes further videos of the person.
    """

    videos: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Videos that show the person's face."""

    output: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Folder to make, or to go on with."""

    crop_size: int = 256
    """Side of the square pictures of the face, px."""

    face: int | None = None
    """Which face, counted from 1 for the largest. Default: the largest."""

    estimator: str = "own"
    """What reads emotion: own, or emonet:FILE with EmoNet's official weights."""

    jobs: int | None = None
    """Processes at work at once, 0.4 GB each. Default: one per processor core."""


@dataclass(frozen=True)
class PrepareResult:
    """What was made.

    Attributes:
        output: the folder.
        n_clips: clips in it.
        n_frames: their frames.
        seconds: their length.
        left_out: videos that could not be used.
        warnings: what the report says against the material.
    """

    output: Path
    n_clips: int
    n_frames: int
    seconds: float
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """One video on its way into the folder.

    Attributes:
        video: the file.
        folder: the person's folder.
        name: of the clip in it.
        sha256: of the file.
        fps: frames per second.
        n_frames: as the file says, so it may be a few off.
        crop_size: px.
        face: which face.
        estimator: as on the command line.
        part: frames in a part; a video that cannot be jumped into is one part.
    """

    video: Path
    folder: Path
    name: str
    sha256: str
    fps: float
    n_frames: int
    crop_size: int
    face: int | None
    estimator: str
    part: int

    @property
    def work(self) -> Path:
        """Where unfinished business of this clip is."""
        return self.folder / _WORK / self.name

    @property
    def parts(self) -> list[tuple[int, int | None]]:
        """First frame, and first frame of the next part; the last part goes on to the end of the video."""
        starts = list(range(0, max(1, self.n_frames - self.part // 2), self.part))
        return list(zip(starts, [*starts[1:], None], strict=True))

    def steps(self) -> list[list[Step]]:
        """All work in groups; the steps of a group may be done at once, groups one after the other."""
        n = len(self.parts)
        return [
            [partial(watch_part, self, part) for part in range(n)],
            [partial(solve_clip, self)],
            [partial(crop_part, self, part) for part in range(n)],
            [partial(finish_clip, self)],
        ]


def prepare(options: PrepareOptions, progress: Progress | None = None) -> PrepareResult:
    """Make the folder, or finish it.

    Raises:
        InputError: if an option makes no sense, no video can be used, or the folder was begun with other settings.
        OutputError: if the folder holds other things or cannot be written.
        MissingExtraError: if EmoNet is asked for and PyTorch is missing.
        MienError: if a process at work is killed.
    """
    from mien.media.output import output_error
    from mien.media.person_folder import CLIPS, MANIFEST, read_clip, write_manifest
    from mien.pipelines.prepare_report import REPORT, write_report

    _check(options)
    estimator = EmotionEstimator.named(options.estimator)
    folder = options.output
    settings = {"crop_size": options.crop_size, "face": options.face, "estimator": estimator.identity}
    plans = _plans(options)
    try:
        names = _open_folder(folder, settings)
        missing = [plan for plan in plans if not _is_done(plan)]
        left_out: dict[str, str] = {}
        if missing:
            (folder / MANIFEST).unlink(missing_ok=True)
            work = {plan.name: plan.steps() for plan in missing}
            total = 2 * sum(plan.n_frames for plan in missing)  # every frame is watched, and cropped
            jobs = options.jobs or len(os.sched_getaffinity(0))
            left_out = carry_out(work, total, jobs, progress or Silent())
            for name in left_out:
                shutil.rmtree(folder / CLIPS / name, ignore_errors=True)
        names += [plan.name for plan in plans if plan.name not in left_out and plan.name not in names]
        if not names:
            _remove_empty(folder)
            raise InputError(next(iter(left_out.values())), "no video could be used")
        clips = [read_clip(folder, name) for name in names]
        if not (folder / MANIFEST).exists():
            write_report(folder, clips, left_out)
            write_manifest(folder, options.crop_size, settings, clips, version("mien"))
        shutil.rmtree(folder / _WORK, ignore_errors=True)
        warnings = json.loads((folder / REPORT).read_text(encoding="utf-8"))["warnings"]
    except OSError as error:
        raise output_error(folder, error) from error
    n_frames, seconds = sum(map(len, clips)), sum(clip.motion.duration for clip in clips)
    return PrepareResult(folder, len(clips), n_frames, round(seconds, 2), tuple(left_out), tuple(warnings))


def _check(options: PrepareOptions) -> None:
    if not options.videos:
        raise InputError("no videos", "name at least one")
    if not 64 <= options.crop_size <= 1024:
        raise InputError(f"--crop-size {options.crop_size}", "give 64 to 1024 px")
    if options.face is not None and options.face < 1:
        raise InputError(f"--face {options.face}", "faces are counted from 1, the largest first")
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}", "give at least 1")


def _open_folder(folder: Path, settings: dict[str, Any]) -> list[str]:
    """Make the folder, or go on with it; the names of the clips that earlier, finished runs put there.

    What the folder was begun with stands in ``.work`` until it is finished, then in the manifest.
    """
    from mien.media.person_folder import CLIPS, MANIFEST, load_person

    work = folder / _WORK / _SETTINGS
    names: list[str] = []
    begun: Any = None
    if (folder / MANIFEST).exists():
        person = load_person(folder)
        begun, names = person.settings, [clip.name for clip in person.clips]
    elif work.exists():
        with contextlib.suppress(ValueError):  # killed while writing its very first file
            content = json.loads(work.read_text(encoding="utf-8"))
            begun, names = content["settings"], content["clips"]
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}: holds other things", "name a new or empty folder")
    if begun is not None:
        other = [key.replace("_", "-") for key, value in settings.items() if begun.get(key) != value]
        if other:
            raise InputError(f"{folder}: was begun with another --{other[0]}", "use the same, or another folder")
    work.parent.mkdir(parents=True, exist_ok=True)
    (folder / CLIPS).mkdir(exist_ok=True)
    work.write_text(json.dumps({"settings": settings, "clips": names}), encoding="utf-8")
    return names


def _remove_empty(folder: Path) -> None:
    """Nothing is left of a run that found nothing to use, so that another may have other settings."""
    from mien.media.person_folder import CLIPS

    shutil.rmtree(folder / _WORK, ignore_errors=True)
    for empty in (folder / CLIPS, folder):
        with contextlib.suppress(OSError):
            empty.rmdir()


def _plans(options: PrepareOptions) -> list[Plan]:
    from mien.assets import sha256_of
    from mien.media.person_folder import clip_name
    from mien.media.video import VideoReader

    plans: dict[str, Plan] = {}
    for video in options.videos:
        reader = VideoReader(video)
        name = clip_name(video)
        if name in plans:
            raise InputError(f"{video} and {plans[name].video} would both be named {name}", "rename one")
        plans[name] = Plan(
            video=video,
            folder=options.output,
            name=name,
            sha256=sha256_of(video),
            fps=reader.fps,
            n_frames=reader.n_frames or 1,
            crop_size=options.crop_size,
            face=options.face,
            estimator=options.estimator,
            part=PART if reader.can_jump else sys.maxsize,
        )
    return list(plans.values())


def _is_done(plan: Plan) -> bool:
    """Whether the clip stands in the folder; another video of the same name must not replace it."""
    from mien.media.person_folder import clip_path, read_clip

    if not clip_path(plan.folder, plan.name).exists():
        return False
    if read_clip(plan.folder, plan.name).sha256 != plan.sha256:
        raise InputError(f"{plan.folder}: holds another video named {plan.name}", f"rename {plan.video}")
    return True


# -------------------------------------------------------------------------------------------------------------- steps


def watch_part(plan: Plan, part: int) -> int:
    """Find the face in every frame of a part."""
    path = plan.work / f"sight_{part:04d}.npz"
    if not path.exists():
        start, stop = plan.parts[part]
        lead = min(_LEAD, start)
        _save(path, lead=lead, **_sight_arrays(_watched(plan, start - lead, stop)))
    return len(_load(path)["found"]) - min(_LEAD, plan.parts[part][0])


def _watched(plan: Plan, start: int, stop: int | None, previous: Array | None = None) -> Sight:
    """What is seen between two frames, decoded no larger than the mesh network can make use of."""
    from mien.media.video import VideoReader
    from mien.perception.landmarks import MediapipeBackend, face_box
    from mien.perception.tracking import watch

    reader, backend = VideoReader(plan.video), MediapipeBackend()
    faces = [face for frame in reader.between(start, start + 1) for face in backend.detect(frame, patient=False)]
    chosen = faces[min(plan.face or 1, len(faces)) - 1] if faces else None
    left, _, right, _ = (0, 0, 0, 0) if chosen is None else face_box(chosen)
    shrink = int(np.clip((right - left) // _FACE_WIDTH, 1, 4))
    shift = (shrink - 1) / 2  # landmarks count from the centre of the first pixel
    previous = None if previous is None else _moved(previous, 1 / shrink, -shift / shrink)
    sight = watch(reader.between(start, stop, shrink=shrink), face=plan.face, previous=previous, backend=backend)
    landmarks = np.where(sight.found[:, None, None], _moved(sight.landmarks, shrink, shift), 0)
    return replace(sight, landmarks=landmarks.astype(np.float32), size=reader.size)


def _moved(landmarks: Array, scale: float, shift: float) -> Array:
    return np.asarray(landmarks * scale + np.array([shift, shift, 0]), np.float32)


def _sight_arrays(sight: Sight) -> dict[str, Any]:
    return {"landmarks": sight.landmarks, "found": sight.found, "cuts": np.array(sight.cuts, np.int64),
            "most_faces": sight.most_faces}  # fmt: skip


def solve_clip(plan: Plan) -> int:
    """Identity, motion, boxes, action units and mien's own reading of emotion for the whole clip."""
    from mien.face.actions import units_from_motion
    from mien.media.person_folder import CLIPS, PersonClip, clip_path, write_clip
    from mien.media.video import VideoReader
    from mien.perception.crops import face_boxes
    from mien.perception.emotion import load_emotion_reader
    from mien.perception.tracking import solve

    if clip_path(plan.work, plan.name).exists():
        return 0
    seen = solve(_joined(plan, VideoReader(plan.video).size), plan.fps, name=plan.video)
    (plan.work / CLIPS).mkdir(exist_ok=True)
    write_clip(
        PersonClip(
            folder=plan.work,
            name=plan.name,
            source=plan.video.name,
            sha256=plan.sha256,
            size=seen.size,
            motion=seen.motion,
            identity=seen.identity,
            cameras=seen.cameras,
            landmarks=seen.landmarks,
            found=seen.found,
            emotion=load_emotion_reader()(seen.motion, seen.found),
            units=units_from_motion(seen.motion),
            boxes=face_boxes(seen.identity, seen.motion, seen.cameras, seen.shots),
            sharpness=np.zeros(len(seen.motion), np.float32),
            shots=seen.shots,
            blinks=np.array(seen.blinks, np.float32).reshape(-1, 2),
            quality={},
        )
    )
    return 0


def _joined(plan: Plan, size: tuple[int, int]) -> Sight:
    """The sights of all parts as one; where a part follows another face than the part before, it is watched again."""
    from mien.perception.tracking import Sight

    landmarks: list[Array] = []
    found: list[npt.NDArray[np.bool_]] = []
    cuts: list[int] = []
    most_faces = 0
    for part, (start, stop) in enumerate(plan.parts):
        rows = _load(plan.work / f"sight_{part:04d}.npz")
        lead = int(rows["lead"])
        if lead and len(rows["found"]) >= lead and not _same_face(landmarks[-1], found[-1], rows, lead):
            rows, lead = _sight_arrays(_watched(plan, start, stop, previous=landmarks[-1][-1])), 0
        landmarks.append(rows["landmarks"][lead:])
        found.append(rows["found"][lead:])
        cuts += [start + int(cut) - lead for cut in rows["cuts"] if cut >= lead]
        most_faces = max(most_faces, int(rows["most_faces"]))
    return Sight(np.concatenate(landmarks), np.concatenate(found), size, tuple(cuts), plan.face, most_faces)


def _same_face(before: Array, found: npt.NDArray[np.bool_], rows: dict[str, Any], lead: int) -> bool:
    """Whether two parts saw the same face in the last frame before they meet, as far as both saw one there."""
    after = rows["landmarks"][lead - 1]
    if not (len(found) and found[-1] and rows["found"][lead - 1]):
        return True
    apart = np.linalg.norm((before[-1] - after)[:, :2].mean(0))
    return bool(apart < 0.5 * np.ptp(before[-1][:, 0]))


def crop_part(plan: Plan, part: int) -> int:
    """Write the crops of a part; how sharp they are, and what EmoNet sees if it was asked for, goes to ``.work``."""
    from mien.media.person_folder import crop_path, cut_crop, read_clip, write_crop
    from mien.media.video import VideoReader
    from mien.perception.crops import sharpness

    start, stop = plan.parts[part]
    path = plan.work / f"crops_{part:04d}.npz"
    if path.exists():
        return len(_load(path)["sharpness"])
    clip = read_clip(plan.work, plan.name)
    crop_path(plan.folder, plan.name, 0).parent.mkdir(exist_ok=True)
    estimator = EmotionEstimator.named(plan.estimator)
    sharp: list[float] = []

    def frames() -> Iterator[Any]:
        for index, frame in zip(range(start, len(clip)), VideoReader(plan.video).between(start, stop), strict=False):
            crop = cut_crop(frame, clip.boxes[index], plan.crop_size)
            write_crop(crop_path(plan.folder, plan.name, index), crop)
            sharp.append(sharpness(crop))
            yield frame

    outputs = estimator.outputs(frames(), clip.landmarks[start:])
    _save(path, sharpness=np.array(sharp, np.float32), outputs=outputs)
    return len(sharp)


def finish_clip(plan: Plan) -> int:
    """Sound, quality, and the clip's rows in their place; with them the clip is done."""
    from mien.media.person_folder import read_clip, write_clip
    from mien.pipelines.prepare_report import clip_quality

    clip = read_clip(plan.work, plan.name)
    parts = [_load(plan.work / f"crops_{part:04d}.npz") for part in range(len(plan.parts))]
    emotion = EmotionEstimator.named(plan.estimator).track(np.concatenate([p["outputs"] for p in parts]), clip.emotion)
    sharp = np.concatenate([p["sharpness"] for p in parts])
    if len(sharp) != len(clip):
        raise InputError(f"{plan.video}: {len(clip)} frames at first, {len(sharp)} later", "is it being written to?")
    clip = replace(clip, folder=plan.folder, emotion=emotion, sharpness=sharp)
    _write_sound(plan)
    write_clip(replace(clip, quality=clip_quality(clip, plan.crop_size)))
    shutil.rmtree(plan.work, ignore_errors=True)
    return 0


def _write_sound(plan: Plan) -> None:
    import soundfile

    from mien.media.audio import read_audio
    from mien.media.output import atomic_output
    from mien.media.person_folder import sound_path
    from mien.media.video import VideoReader

    film = VideoReader(plan.video)
    if not film.has_sound:
        return
    sound = read_audio(plan.video, SOUND_RATE, at=film.sound_start)
    with atomic_output(sound_path(plan.folder, plan.name)) as temporary:
        soundfile.write(temporary, sound.samples, sound.sample_rate, subtype="PCM_16")


def _save(path: Path, **arrays: Any) -> None:
    from mien.media.output import atomic_output

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _load(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
