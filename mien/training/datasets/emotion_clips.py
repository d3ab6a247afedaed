"""Clips of people in known emotions, as motions: what NED is trained on.

Four layouts are known, and videos in them are tracked the first time they are read:

    DIR/PERSON/EMOTION/NAME.mp4 (or .npz, .csv)                      one's own
    DIR/PERSON/video/front/EMOTION/level_3/NAME.mp4                  MEAD (Wang et al. 2020); neutral is level_1
    DIR/annotations/**/NAME.txt, DIR/videos/NAME.mp4                 Aff-Wild2 (Kollias and Zafeiriou 2019): a header
                                                                     with the labels, then a number per frame, -1: none
    DIR/manifest.json                                                a person's folder of `mien prepare`; the label of a
                                                                     frame is the likeliest that was read there
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.direction import ALIASES
from mien.errors import FormatError, InputError, NoFaceError
from mien.media.image import VIDEO_ENDINGS
from mien.media.motion_file import ENDINGS, read_motion
from mien.media.output import atomic_output
from mien.media.person_folder import MANIFEST, load_person
from mien.progress import Progress, track
from mien.types import Emotion, FaceMotion

_LABELS: Mapping[str, str] = {**ALIASES, **{emotion.value: emotion.value for emotion in Emotion}}

_EMOTIONS = frozenset(emotion.value for emotion in Emotion)


@dataclass(frozen=True, eq=False)
class EmotionClip:
    """One clip.

    Attributes:
        person: who; people are kept apart when data is split.
        name: what is said; paired data has the same name in every emotion.
        motion: of the builtin rig, absolute.
        labels: one emotion per frame, ``None`` where there is none.
    """

    person: str
    name: str
    motion: FaceMotion
    labels: Sequence[Emotion | None]


@dataclass(frozen=True)
class _Source:
    person: str
    name: str
    path: Path
    label: Emotion | None = None
    annotation: Path | None = None


def read_emotion_clips(
    folder: str | Path, cache: str | Path, progress: Progress | None = None
) -> tuple[EmotionClip, ...]:
    """All clips of a data set, in order of their names.

    Args:
        folder: in one of the layouts above.
        cache: folder where the motions of tracked videos are kept for the next time.
        progress: sees a stage ``"read"``.

    Raises:
        InputError: if the folder has none of the layouts.
        FormatError: if a file in it is damaged.
    """
    folder = Path(folder)
    if (folder / MANIFEST).exists():
        person = load_person(folder)
        return tuple(
            EmotionClip(folder.name, clip.name, clip.motion, _seen_labels(clip.emotion.best(), clip.found))
            for clip in track(person.clips, progress, "read", len(person.clips))
        )
    sources = _affwild2(folder) if (folder / "annotations").is_dir() else _by_folders(folder)
    if not sources:
        raise InputError(
            f"{folder}: no clips of people in known emotions",
            "give folders PERSON/EMOTION/CLIP, MEAD, Aff-Wild2, or what mien prepare made",
        )
    clips = []
    for source in track(sources, progress, "read", len(sources)):
        motion = _motion(source.path, Path(cache))
        if motion is not None:
            labels = _annotated(source.annotation, len(motion)) if source.annotation else [source.label] * len(motion)
            clips.append(EmotionClip(source.person, source.name, motion, labels))
    return tuple(clips)


def split_people(
    clips: Sequence[EmotionClip], leave_out: Sequence[str] = ()
) -> tuple[tuple[EmotionClip, ...], tuple[EmotionClip, ...]]:
    """Clips to train on and clips of other people to validate on.

    Args:
        clips: all of them.
        leave_out: people to validate on; by default every tenth by name, nobody if there are fewer than four.

    Raises:
        InputError: if a person is unknown, or nobody is left to train on.
    """
    people = sorted({clip.person for clip in clips})
    unknown = sorted(set(leave_out) - set(people))
    if unknown:
        raise InputError(f"nobody is called {', '.join(unknown)}", f"there are {', '.join(people)}")
    out = set(leave_out) or (set(people[::10]) if len(people) > 3 else set())
    if out == set(people):
        raise InputError("nobody is left to train on", "leave out fewer people")
    kept = tuple(clip for clip in clips if clip.person not in out)
    return kept, tuple(clip for clip in clips if clip.person in out)


def _seen_labels(labels: Sequence[Emotion], found: npt.NDArray[np.bool_]) -> list[Emotion | None]:
    return [label if seen else None for label, seen in zip(labels, found, strict=True)]


def _by_folders(folder: Path) -> list[_Source]:
    """Clips in folders that are named after people and emotions; of MEAD the strongest emotions from the front."""
    sources = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in (*ENDINGS, *VIDEO_ENDINGS):
            continue
        parts = path.relative_to(folder).parts
        if len(parts) == 3:
            person, label = parts[0], parts[1]
        elif len(parts) == 6 and parts[1:3] == ("video", "front"):
            person, label = parts[0], parts[3]
            if parts[4] != ("level_1" if label == "neutral" else "level_3"):
                continue
        else:
            continue
        if (name := _LABELS.get(label.lower())) in _EMOTIONS:
            sources.append(_Source(person, path.stem, path, Emotion(str(name))))
    return sources


def _affwild2(folder: Path) -> list[_Source]:
    """Videos or motions with an annotation of their name; a second person in a video has a name of its own."""
    media = {path.stem: path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (*ENDINGS, *VIDEO_ENDINGS)}
    sources = []
    for annotation in sorted((folder / "annotations").rglob("*.txt")):
        name = annotation.stem
        path = media.get(name)
        if path is not None:
            sources.append(_Source(name, name, path, annotation=annotation))
    return sources


def _annotated(path: Path, n_frames: int) -> list[Emotion | None]:
    """A label per frame from an Aff-Wild2 annotation; frames beyond its end have none."""
    lines = path.read_text(encoding="utf-8").split("\n")
    names = [_LABELS.get(name.strip().lower()) for name in lines[0].split(",")]
    try:
        numbers = [int(line) for line in lines[1:] if line.strip()]
    except ValueError as error:
        raise FormatError(f"{path}: not an annotation of Aff-Wild2 ({error})", "download it again") from error
    labels: list[Emotion | None] = []
    for number in numbers[:n_frames]:
        name = names[number] if 0 <= number < len(names) else None
        labels.append(Emotion(str(name)) if name in _EMOTIONS else None)
    return labels + [None] * (n_frames - len(labels))


def _motion(path: Path, cache: Path) -> FaceMotion | None:
    """The motion in a file; of a video, tracked now or before. ``None`` if it shows no face."""
    if path.suffix.lower() in ENDINGS:
        return read_motion(path)
    from mien.perception.tracking import track_video

    key = hashlib.sha256(f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}".encode()).hexdigest()
    kept = cache / f"{key[:20]}.npz"
    if not kept.exists():
        try:
            motion = track_video(path).motion
        except NoFaceError:
            return None
        with atomic_output(kept) as temporary:
            motion.save(temporary)
    return FaceMotion.load(kept)
