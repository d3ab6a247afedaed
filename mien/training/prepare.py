"""``mien prepare voca``: clips of people who speak become a data set in VOCASET's layout, without pickles.

What VOCA learns from such a data set is the mouth: of a tracked motion only jaw, lips and cheeks are kept, and they are
kept relative to this person's closed mouth. The template is the person's neutral face with that closed mouth, as in
VOCASET, so that brows, blinks and a habitual smile are not taken for speech. Silence would not do: many people part
their lips in pauses, and what speech does would begin with an open mouth.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import tyro

from mien.errors import InputError, OutputError
from mien.progress import Progress
from mien.types import Array, Audio, FaceMotion

if TYPE_CHECKING:
    from mien.training.datasets.vocaset import Clip

log = logging.getLogger(__name__)

SOUND_RATE = 16_000

_SPOKEN = ("jaw", "mouth", "cheekPuff")  # how the names of shapes that speech moves begin
_LONG_ENOUGH = 8.0  # seconds
_WORTH_MOVING = 0.03  # of correlation
_CLOSED_SHARE = 0.05  # of the frames, those with the least open lips
_LIPS = (13, 14)  # landmarks in the middle of the upper and the lower inner lip


@dataclass(frozen=True)
class PrepareOptions:
    """Make training data for `mien train voca` from videos of people who speak.

    Each clip is tracked; its sound, the mouth's movement and the person's neutral face are written in VOCASET's layout.
    """

    videos: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Clips with sound that show one face."""

    output: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Folder to make."""

    speaker: str | None = None
    """Who speaks in all of them. Default: the name of each clip's folder."""

    fps: float = 30
    """Frames per second of the data; clips are resampled."""

    lag: float | Literal["auto"] = 0.0
    """Seconds by which the picture comes after the sound, minus if before; it is taken out. auto measures it, clip by
    clip, on clips of 8 seconds and more."""


@dataclass(frozen=True)
class PrepareResult:
    """What was made.

    Attributes:
        output: the folder.
        n_clips: how many clips.
        n_speakers: of how many people.
        n_frames: frames in all.
        skipped: clips that could not be used.
    """

    output: Path
    n_clips: int
    n_speakers: int
    n_frames: int
    skipped: int


@dataclass(frozen=True, eq=False)
class Take:
    """One tracked clip.

    Attributes:
        subject: who.
        sentence: what, a name that is unique for this subject.
        sound: what is heard.
        neutral: ``(V, 3)`` metres, the face with its mouth at rest.
        offsets: ``(T, V, 3)`` metres from it.
    """

    subject: str
    sentence: str
    sound: Audio
    neutral: Array
    offsets: Array


def prepare(options: PrepareOptions, progress: Progress | None = None) -> PrepareResult:
    """Track the clips and write the data set.

    Raises:
        InputError: if no clip can be used, or two clips have the same name.
        OutputError: if the folder is not empty.
    """
    if not options.videos:
        raise InputError("no clips", "name at least one video")
    if options.lag != "auto" and not -1 <= options.lag <= 1:
        raise InputError(f"--lag {options.lag:g}", "give seconds from -1 to 1, or auto")
    if not 10 <= options.fps <= 120:
        raise InputError(f"--fps {options.fps:g}", "give 10 to 120 frames per second")
    names = [(_plain(options.speaker or path.resolve().parent.name), _plain(path.stem)) for path in options.videos]
    double = {name for name in names if names.count(name) > 1}
    if double:
        raise InputError(f"two clips are both {'/'.join(double.pop())}", "rename one")
    if options.output.exists() and (not options.output.is_dir() or any(options.output.iterdir())):
        raise OutputError(f"{options.output}: is there already", "give a new folder")
    skipped: list[Path] = []

    def takes() -> Iterator[Take]:
        for path, (subject, sentence) in zip(options.videos, names, strict=True):
            try:
                yield _take(path, subject, sentence, options, progress)
            except InputError as error:
                log.warning("%s; left out", error)
                skipped.append(path)

    clips = write_dataset(options.output, takes(), options.fps)
    return PrepareResult(
        options.output, len(clips), len({c.subject for c in clips}), sum(len(c.rows) for c in clips), len(skipped)
    )


def write_dataset(folder: Path, takes: Iterator[Take], fps: float, rig: str = "builtin") -> tuple[Clip, ...]:
    """Write takes one after the other; only one of them is in memory.

    Every subject has one template, that of the first take; the others are moved onto it.

    Raises:
        InputError: if there are no takes.
    """
    import soundfile

    from mien.training.datasets.vocaset import Clip, write_index

    templates: dict[str, Array] = {}
    clips: list[Clip] = []
    n = 0
    folder.mkdir(parents=True, exist_ok=True)
    body = folder / "data_verts.partial"
    with body.open("wb") as file:
        for take in takes:
            template = templates.setdefault(take.subject, take.neutral)
            vertices = np.ascontiguousarray(template + take.offsets, "<f4")
            file.write(vertices.tobytes())
            clips.append(Clip(take.subject, take.sentence, np.arange(n, n + len(vertices))))
            n += len(vertices)
            sound = folder / "audio" / take.subject / f"{take.sentence}.wav"
            sound.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(sound, take.sound.samples, take.sound.sample_rate, subtype="PCM_16")
    if not clips:
        body.unlink()
        raise InputError("no clip could be used", "give clips with sound that show a face")
    _with_npy_header(body, folder / "data_verts.npy", (n, *next(iter(templates.values())).shape))
    with (folder / "templates.npz").open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **templates)
    write_index(folder, fps, rig, clips)
    return tuple(clips)


def _with_npy_header(body: Path, path: Path, shape: tuple[int, ...]) -> None:
    """Raw little-endian float32 as ``.npy``, block by block, for the number of frames is known only at the end."""
    with body.open("rb") as source, path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        while block := source.read(1 << 24):
            file.write(block)
    body.unlink()


def _take(path: Path, subject: str, sentence: str, options: PrepareOptions, progress: Progress | None) -> Take:
    from mien.face.rig import load_rig
    from mien.media.audio import read_audio
    from mien.perception.tracking import track_video

    sound = read_audio(path, SOUND_RATE)
    tracked = track_video(path, progress=progress)
    if not tracked.found.mean() > 0.9:
        raise InputError(f"{path}: the face is seen in {100 * tracked.found.mean():.0f} % of the frames only")
    lag = lag_of(sound, tracked.motion, str(path)) if options.lag == "auto" else options.lag
    sound, motion = aligned(sound, tracked.motion.resample(options.fps), lag)
    spoken, rest = spoken_motion(motion)
    rig = load_rig(motion.rig)
    neutral = rig.vertices(rest, tracked.identity)[0]
    offsets = np.tensordot(spoken, rig.expressions_for(tracked.identity), 1)
    return Take(subject, sentence, sound, neutral, np.asarray(offsets, np.float32))


def lag_of(sound: Audio, motion: FaceMotion, name: str) -> float:
    """Seconds by which the picture comes after the sound, minus if before, as the mouth follows the sound best.

    0 for clips under :data:`_LONG_ENOUGH` seconds, and where another lag is hardly better than none.
    """
    from mien.metrics import log_mel, sync_score

    if motion.duration < _LONG_ENOUGH:
        log.warning("%s: too short to measure how sound and picture lie; taken as they are", name)
        return 0.0
    mouth = np.stack([motion.column(shape) for shape in motion.expression_names if shape.startswith(_SPOKEN)], 1)
    try:
        score = sync_score(log_mel(sound, motion.fps, len(motion), context=0), mouth, motion.fps)
    except ValueError:  # a mouth that does not move
        return 0.0
    lag = score.lag if score.best - score.at_zero > _WORTH_MOVING else 0.0
    log.info("%s: the picture comes %+.0f ms after the sound", name, 1000 * lag)
    return lag


def aligned(sound: Audio, motion: FaceMotion, lag: float) -> tuple[Audio, FaceMotion]:
    """Sound and picture with ``lag`` seconds cut off the beginning of the one that is late."""
    late = round(abs(lag) * (motion.fps if lag > 0 else sound.sample_rate))
    if lag > 0:
        return sound, motion[late:]
    return Audio(sound.samples[late:], sound.sample_rate), motion


def spoken_motion(motion: FaceMotion) -> tuple[Array, FaceMotion]:
    """What speech does to the mouth, and the mouth when it is closed.

    Args:
        motion: tracked, on the builtin rig.

    Returns:
        ``(T, 52)`` weights relative to the closed mouth, zero for all that is not the mouth, and one frame of motion
        with the closed mouth: the mean over the twentieth of all frames in which the lips are least open.
    """
    from mien.face.rig import load_rig

    mouth = np.array([name.startswith(_SPOKEN) for name in motion.expression_names])
    weights = motion.expression * mouth
    basis = load_rig(motion.rig).expression_basis
    opening = weights @ (basis[:, _LIPS[0], 1] - basis[:, _LIPS[1], 1])
    closed = weights[opening <= np.quantile(opening, _CLOSED_SHARE)].mean(0)
    still = FaceMotion.zeros(1, motion.fps, motion.rig, motion.expression_names)
    return weights - closed, still.with_columns(dict(zip(motion.expression_names, closed, strict=True)))


def _plain(name: str) -> str:
    """A name that is safe as a file's name."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "clip"
