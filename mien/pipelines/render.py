"""``mien render``: a motion and a trained person become frames; in a film of theirs, or by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from mien.errors import InputError
from mien.pipelines.person_renderer import load_window_renderer, trained_file
from mien.progress import Progress, track
from mien.types import FaceMotion, Frame

if TYPE_CHECKING:
    from mien.media.unfinished import Unfinished
    from mien.rendering.person import WindowRenderer


@dataclass(frozen=True)
class RenderOptions:
    """Draw a person, whom mien train renderer has learned, in any motion.

    Without --video the square picture around the head is drawn, hair and ground as the person was filmed (black if the
    renderer is ned's). With it, the face is drawn into the frames of a film of the person and everything else stays.
    """

    input: Annotated[Path, arg(aliases=("-i",))]
    """What to do: a motion file (.npz, Live Link Face .csv), or a video of anybody whose face moves."""

    person: Path
    """The person: folder of mien prepare with a renderer in it, folder of a run, or the trained file itself."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Where to write the result: .mp4, .webm, .gif, or a folder of frames (no ending)."""

    video: Path | None = None
    """Film of the person to draw the face into; the motion has a row for each of its frames, absolute, as redirect
    writes it."""

    sound: Annotated[Path | None, arg(aliases=("-s",))] = None
    """Sound of the result. Default: that of the film, or of a video given as input."""

    face: int | None = None
    """Which face of the film, counted from 1 for the largest. Default: the largest."""

    engine: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    """What to compute in; auto takes what the machine is made for: bfloat16, for head2head int8."""

    crf: int = 12
    """H.264 quality: 0 is lossless, 12 hides the encoding, 51 is the worst."""


@dataclass(frozen=True)
class RenderResult:
    """What was made.

    Attributes:
        output: the file or folder.
        n_frames: length in frames.
        fps: frames per second.
    """

    output: Path
    n_frames: int
    fps: float


def render(options: RenderOptions, progress: Progress | None = None) -> RenderResult:
    """Draw the frames and write them.

    Raises:
        InputError: if motion, film or person cannot be used.
        NoFaceError: if a video shows no face.
        OutputError: if the ending is unknown or the place cannot be written.
        MissingExtraError: if PyTorch is missing.
    """
    from mien.media.image import require_file
    from mien.media.output import check_output
    from mien.media.provenance import provenance
    from mien.media.unfinished import unfinished
    from mien.media.video import n_finished, output_kind, write_video

    if not 0 <= options.crf <= 51:
        raise InputError(f"--crf is {options.crf}", "allowed: 0 to 51")
    given = {"input": options.input, "video": options.video, "sound": options.sound}
    for name, path in given.items():
        if path is not None:
            require_file(path, name)
    kind = output_kind(options.output)
    inputs = {**given, "person": trained_file(options.person)}
    check_output(options.output, folder=kind == "frames", inputs=inputs.values())
    renderer = load_window_renderer(options.person, options.engine)
    record = provenance("render", inputs=inputs, settings=asdict(options))
    with unfinished(options.output, record) as work:
        motion, sound, sound_at = _motion(options, work, progress)
        start = n_finished(options.output, work)
        if options.video is None:
            frames = _windows(renderer, motion, start)
        else:
            frames = _film(renderer, motion, options, start, work, progress)
        write_video(
            options.output,
            track(frames, progress, "render", len(motion), start),
            motion.fps,
            sound=sound if kind in ("mp4", "webm") else None,
            sound_at=sound_at,
            provenance=record,
            crf=options.crf,
            n_frames=len(motion),
            work=work,
        )
    return RenderResult(options.output, len(motion), motion.fps)


def _motion(
    options: RenderOptions, work: Unfinished, progress: Progress | None
) -> tuple[FaceMotion, Path | None, float]:
    """The motion that is asked for, whose sound goes with it, and when that begins."""
    from mien.media.motion_file import ENDINGS, read_motion
    from mien.media.video import VideoReader

    source = options.video
    if options.input.suffix.lower() in ENDINGS:
        motion = read_motion(options.input)
    else:
        from mien.perception.tracking import track_video

        motion = track_video(options.input, progress=progress, keep=work.folder / "input.npz").motion
        source = source or options.input
    if options.sound is not None or source is None:
        return motion, options.sound, 0.0
    film = VideoReader(source)
    return motion, source if film.has_sound else None, film.sound_start


def _windows(renderer: WindowRenderer, motion: FaceMotion, start: int) -> Iterator[Frame]:
    from mien.face.rig import retarget
    from mien.rendering.person import draw_motion

    return draw_motion(renderer, retarget(motion, renderer.rig)[0], start)


def _film(
    renderer: WindowRenderer,
    motion: FaceMotion,
    options: RenderOptions,
    start: int,
    work: Unfinished,
    progress: Progress | None,
) -> Iterator[Frame]:
    from mien.face.rig import retarget
    from mien.media.video import VideoReader
    from mien.perception.tracking import track_video
    from mien.rendering.person import PersonVideoRenderer
    from mien.rendering.video import from_frame

    assert options.video is not None
    seen = track_video(options.video, face=options.face, progress=progress, keep=work.folder / "film.npz")
    if len(seen.motion) != len(motion):
        raise InputError(
            f"{options.input}: {len(motion)} frames of motion, but {options.video} has {len(seen.motion)}",
            "give a motion made for this film, by `mien redirect -o motion.npz` or `mien track`",
        )
    film, wanted = VideoReader(options.video), retarget(motion, renderer.rig)[0]

    def draw(first: int) -> Iterator[Frame]:
        rows = range(first, len(motion))
        portraits = (seen.portrait(index, frame) for index, frame in zip(rows, film.between(first), strict=False))
        return PersonVideoRenderer(renderer).render(portraits, wanted[first:])

    return from_frame(start, draw, recurrent=renderer.recurrent)
