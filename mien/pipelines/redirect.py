"""``mien redirect``: what a person feels in a video becomes another emotion; what they say stays.

track → method → keep the speech → renderer → video with the same sound. The video is read twice and never stands in
memory: once to find the face, once to move it.

A method is one entry of :data:`METHODS`: a function that takes a :class:`Request` and returns the wanted motion, as
many frames as ``request.motion``, absolute, on the same rig. It need not care for speech, for where stretches begin and
end, or for frames without a face: the pipeline keeps the lips, fades with ``request.plan.amount`` and leaves everything
else untouched. A renderer is one entry of :data:`RENDERERS`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from tyro.conf import arg

from mien.direction import Direction
from mien.errors import InputError, OutputError
from mien.pipelines.dsm import is_trained, weights_of
from mien.pipelines.ned import motion_of
from mien.progress import Progress, track
from mien.spans import EmotionPlan, EmotionSpan, parse_spans, plan_direction, plan_spans
from mien.types import Array, FaceIdentity, FaceMotion, Portrait

if TYPE_CHECKING:
    from mien.media.planes import Filmed, Redrawn
    from mien.media.unfinished import Unfinished
    from mien.perception.tracking import Track
    from mien.rendering.video import VideoRenderer

_LOST = 0.25  # s in which an emotion fades where the face goes out of sight


@dataclass(frozen=True)
class RedirectOptions:
    """Change the emotion in a video and keep the speech.

    Outside the stretches asked for, and where no face is seen, the pictures stay as they are; the sound stays
    everywhere. The ending of -o decides what is made: .mp4, .webm, .gif, a folder of frames (no ending), or only the
    new motion as .npz or Live Link Face .csv.
    """

    input: Annotated[Path, arg(aliases=("-i",))]
    """Video of a face; or a motion (.npz or Live Link Face .csv), for a new motion."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Where to write the result."""

    emotion: Annotated[str | None, arg(aliases=("-e",))] = None
    """What to feel when: happy:0.8, or stretches as in "2s-5s:happy:0.8, 6s-9s:sad"."""

    direction: Annotated[str | None, arg(aliases=("-d",))] = None
    """Emotion over time by keyframes as in mien speak, or a .yaml or .json file; neutral leaves the video alone."""

    reference: tuple[Path, ...] = ()
    """Clips of anybody (videos, motions, or what mien style saved); the face then feels as they do (method ned)."""

    method: Literal["rules", "ned", "dsm"] | None = None
    """rules adds the emotion that mien speak shows; ned translates the motion with a network; dsm moves the person as
    their own videos teach. Default: ned for a reference, dsm for a person who has been trained, else rules."""

    weights: Path | None = None
    """Weights of ned that you trained. Default: those that come with mien."""

    intensity: float = 1.0
    """Factor on all intensities, 0 to 1."""

    person: Path | None = None
    """Folder of the person, made by mien prepare or mien person, for methods and renderers that know somebody."""

    faithful: bool = False
    """Take the mouth of the method as well, as the papers do; the lips then no longer fit the sound."""

    renderer: Literal["warp", "person"] = "warp"
    """warp moves the pixels of the video itself; person draws the face anew, as mien train renderer has learned it."""

    face: int | None = None
    """Which face, counted from 1 for the largest. Default: the largest."""

    crf: int = 8
    """H.264 quality: 0 is lossless, 8 hides the second encoding, 51 is the worst."""

    seed: int = 0
    """Of everything random; the same seed gives the same frames."""


@dataclass(frozen=True)
class RedirectResult:
    """What was made.

    Attributes:
        output: the file or folder.
        n_frames: length in frames.
        changed: frames that differ from the video's.
        fps: frames per second.
        method: what changed the emotion.
    """

    output: Path
    n_frames: int
    changed: int
    fps: float
    method: str


@dataclass(frozen=True, eq=False)
class Request:
    """What a method is asked for.

    Attributes:
        motion: of the face as it was tracked, absolute, on the builtin rig.
        identity: the person's neutral face.
        shots: first frame of every shot.
        plan: what to feel, frame by frame.
        references: motions, or style files, to take the emotion from.
        weights: of the method, if not its own.
        person: a prepared person's folder.
        intensity: factor on all intensities; the plan's shares, points and intensities have it already.
        faithful: whether the method's mouth will be taken as well.
        seed: of everything random.
        progress: where long work is reported.
    """

    motion: FaceMotion
    identity: FaceIdentity
    shots: tuple[int, ...]
    plan: EmotionPlan
    references: tuple[FaceMotion | Path, ...] = ()
    weights: Path | None = None
    person: Path | None = None
    intensity: float = 1.0
    faithful: bool = False
    seed: int = 0
    progress: Progress | None = None


Method = Callable[[Request], FaceMotion]


def _rules(request: Request) -> FaceMotion:
    """The emotion lane of ``mien speak`` over the tracked motion."""
    from mien.motion.emotion import emotion_over

    return emotion_over(request.motion, request.plan.weights, shots=request.shots, seed=request.seed)


def _dsm(request: Request) -> FaceMotion:
    """The person's own decoder."""
    from mien.pipelines.dsm import dsm_motion

    return dsm_motion(
        request.motion, request.plan, request.person, intensity=request.intensity, faithful=request.faithful,
        seed=request.seed, identity=request.identity, shots=request.shots,
    )  # fmt: skip


def _ned(request: Request) -> FaceMotion:
    """The motion translated by a network, towards a label or a reference."""
    from mien.pipelines.ned import ned_motion

    return ned_motion(
        request.motion, request.plan, request.references, shots=request.shots, weights=request.weights,
        seed=request.seed,
    )  # fmt: skip


METHODS: Mapping[str, Method] = {"rules": _rules, "ned": _ned, "dsm": _dsm}
"""Name → what changes the motion."""


def _warp(options: RedirectOptions) -> VideoRenderer:
    from mien.rendering.video import WarpVideoRenderer

    return WarpVideoRenderer()


def _person(options: RedirectOptions) -> VideoRenderer:
    from mien.pipelines.person_renderer import load_window_renderer

    if options.person is None:
        raise InputError("--renderer person needs to know the person", "give --person FOLDER with a trained renderer")
    renderer = load_window_renderer(options.person)
    from mien.rendering.person import PersonVideoRenderer

    return PersonVideoRenderer(renderer)


RENDERERS: Mapping[str, Callable[[RedirectOptions], VideoRenderer]] = {"warp": _warp, "person": _person}
"""Name → what draws the frames."""


def redirect(options: RedirectOptions, progress: Progress | None = None) -> RedirectResult:
    """Make the video with another emotion.

    Raises:
        InputError: if the video, the emotion or a reference cannot be used.
        NoFaceError: if the video shows no face.
        OutputError: if the ending is unknown or the place cannot be written.
    """
    from mien.media.unfinished import unfinished

    method, wish = _checked(options)
    record = _record(options, method)
    _check_times(options, wish)
    write = _writer(options, record)
    renderer = RENDERERS[options.renderer](options)
    references = tuple(
        path if path.suffix.lower() == ".json" else motion_of(path, progress) for path in options.reference
    )
    with unfinished(options.output, record) as work:
        seen = _seen(options, work, progress)
        motion = redirected(seen, wish, method, options, references, progress)
        write(seen, motion, renderer, work, progress)
    changed = int((motion.expression != seen.motion.expression).any(1).sum())
    return RedirectResult(options.output, len(motion), changed, motion.fps, method)


def _seen(options: RedirectOptions, work: Unfinished, progress: Progress | None) -> Track:
    """The tracked video; or a motion, as if a face of average shape had been tracked."""
    from mien.face.rig import load_rig
    from mien.media.motion_file import read_motion
    from mien.perception.tracking import Track, track_video

    if not _is_motion(options.input):
        return track_video(options.input, face=options.face, progress=progress, keep=work.folder / "track.npz")
    motion, rig = read_motion(options.input), load_rig()
    if motion.rig != rig.name or not len(motion):
        raise InputError(
            f"{options.input}: {len(motion)} frames of the rig {motion.rig!r}", f"give some of {rig.name!r}"
        )
    n, unseen = len(motion), np.zeros((len(motion), 478, 3), np.float32)
    average = FaceIdentity(rig.name, np.zeros(len(rig.identity_basis), np.float32), np.zeros_like(rig.template))
    return Track(average, motion, unseen[:, 0], np.ones(n, np.bool_), unseen, size=(0, 0), shots=(0,), blinks=())


def _is_motion(path: Path) -> bool:
    return path.suffix.lower() in (".npz", ".csv")


def redirected(
    seen: Track,
    wish: Direction | tuple[EmotionSpan, ...],
    method: str,
    options: RedirectOptions,
    references: tuple[FaceMotion | Path, ...] = (),
    progress: Progress | None = None,
) -> FaceMotion:
    """The tracked motion as it was wished for; rows that nothing is wished for are exactly the track's."""
    from mien.motion.keep_speech import keep_gaps, keep_speech
    from mien.pipelines.ned import is_reversible

    plan = _plan(wish, seen, options.intensity)
    request = Request(
        seen.motion, seen.identity, seen.shots, plan, references, options.weights, options.person, options.intensity,
        options.faithful, options.seed, progress,
    )  # fmt: skip
    wanted = METHODS[method](request)
    if not options.faithful and method == "ned" and is_reversible(options.weights):
        wanted = keep_gaps(seen.motion, wanted, identity=seen.identity)
    elif not options.faithful:
        wanted = keep_speech(seen.motion, wanted, identity=seen.identity, shots=seen.shots)
    amount = plan.amount[:, None]
    own = seen.motion.expression
    mixed = np.where(amount > 0, own + amount * (wanted.expression - own), own)
    return replace(seen.motion, expression=mixed)


def _plan(wish: Direction | tuple[EmotionSpan, ...], seen: Track, intensity: float) -> EmotionPlan:
    """The wish frame by frame, faded out where the face is not seen."""
    n, fps = len(seen.motion), seen.motion.fps
    plan = plan_direction(wish, n, fps) if isinstance(wish, Direction) else plan_spans(wish, n, fps)
    return replace(
        plan,
        weights=plan.weights * np.float32(intensity),
        va=plan.va * np.float32(intensity),
        intensity=plan.intensity * np.float32(intensity),
        amount=plan.amount * visibility(seen.found, seen.shots, fps),
    )


def visibility(found: npt.NDArray[np.bool_], shots: tuple[int, ...], fps: float) -> Array:
    """``(T,)`` 0 where no face was seen, rising to 1 away from there; a cut needs no rise."""
    from scipy.ndimage import distance_transform_edt

    seen = np.ones(len(found), np.float32)
    for start, end in zip(shots, (*shots[1:], len(found)), strict=True):
        if not found[start:end].all():
            seen[start:end] = np.clip(distance_transform_edt(found[start:end]) / (_LOST * fps), 0, 1)
    return seen


def _checked(options: RedirectOptions) -> tuple[str, Direction | tuple[EmotionSpan, ...]]:
    """The method and the wish, after a look at whether the options go together."""
    for flag, value, low, high in (
        ("--intensity", options.intensity, 0, 1), ("--crf", options.crf, 0, 51), ("--seed", options.seed, 0, 2**32 - 1),
        ("--face", 1 if options.face is None else options.face, 1, 99),
    ):  # fmt: skip
        if not low <= value <= high:
            raise InputError(f"{flag} is {value:g}", f"allowed: {low:g} to {high:.10g}")
    if options.emotion is not None and options.direction is not None:
        raise InputError("--emotion and --direction are both given", "give one of them")
    if options.emotion is None and options.direction is None and not options.reference:
        raise InputError("no emotion is asked for", 'give --emotion "2s-5s:happy:0.8", -d or --reference')
    method = options.method or ("ned" if options.reference else "dsm" if is_trained(options.person) else "rules")
    if method == "dsm":
        weights_of(options.person)
    elif options.person is not None and options.renderer != "person":
        raise InputError(
            f"--person {options.person}: nothing that was learned of them is used",
            f"run `mien person -o {options.person}` to the end, give --renderer person, or leave --person out",
        )
    if options.weights is not None and method != "ned":
        raise InputError(f"--method {method} takes no --weights", "use --method ned, or leave --weights out")
    if options.reference and method != "ned":
        raise InputError(f"--method {method} takes no --reference", "use --method ned, or leave --reference out")
    if options.direction is not None:
        if options.reference:
            raise InputError("--direction and --reference are both given", 'say when with --emotion "2s-5s:0.8"')
        return method, Direction.parse(options.direction)
    spans = parse_spans(options.emotion) if options.emotion is not None else (EmotionSpan(None),)
    for span in spans:
        if options.reference and span.emotion is not None:
            raise InputError(
                f"--emotion {options.emotion}: the reference says what to feel", 'say only when, as in "2s-5s:0.8"'
            )
        if not options.reference and span.emotion is None:
            raise InputError(f"--emotion {options.emotion}: names no emotion", 'write it as in "2s-5s:happy:0.8"')
    return method, spans


def _check_times(options: RedirectOptions, wish: Direction | tuple[EmotionSpan, ...]) -> None:
    """Refuse stretches beyond the end of a video before it is looked at."""
    from mien.media.video import VideoReader

    duration = None if _is_motion(options.input) else VideoReader(options.input).duration
    for span in wish if isinstance(wish, tuple) else ():
        if duration is not None and span.start >= duration:
            raise InputError(
                f"--emotion {options.emotion}: starts at {span.start:g} s, but the video ends at {duration:.3g} s",
                "give times within the video",
            )


def _redrawn(
    seen: Track, film: Iterator[Filmed], first: int, motion: FaceMotion, renderer: VideoRenderer
) -> Iterator[Redrawn]:
    """The renderer's frames from number ``first`` on, each with the picture that it was drawn on."""
    from mien.media.planes import Redrawn

    below: deque[Filmed] = deque()

    def portraits() -> Iterator[Portrait]:
        for index, filmed in zip(range(first, len(motion)), film, strict=False):
            below.append(filmed)
            yield seen.portrait(index, filmed.frame)

    for frame in renderer.render(portraits(), motion[first:]):
        yield Redrawn(frame, below.popleft())


def _inputs(options: RedirectOptions) -> dict[str, Path | None]:
    """Role → file."""
    inputs: dict[str, Path | None] = {"video": options.input, "weights": options.weights}
    inputs |= {f"reference {number}": path for number, path in enumerate(options.reference, 1)}
    inputs["direction"] = _file_of(options.direction)
    return inputs


def _record(options: RedirectOptions, method: str) -> dict[str, Any]:
    from mien.media.image import require_file
    from mien.media.provenance import provenance

    require_file(options.input, "video")
    for path in options.reference:
        require_file(path, "reference clip")
    if options.weights is not None:
        require_file(options.weights, "file of weights")
    settings = asdict(options) | {"method": method}
    return provenance("redirect", inputs=_inputs(options), settings=settings, seed=options.seed)


def _writer(
    options: RedirectOptions, record: Mapping[str, Any]
) -> Callable[[Track, FaceMotion, VideoRenderer, Unfinished, Progress | None], None]:
    """What writes the kind of file that ``options.output`` names; it is made sure now that it will be able to."""
    from mien.media.output import check_output
    from mien.media.video import VideoReader, n_finished, output_kind, write_video
    from mien.rendering.video import from_frame

    inputs = _inputs(options)
    if _is_motion(options.output):
        check_output(options.output, inputs=inputs.values())

        def write_file(
            seen: Track, motion: FaceMotion, renderer: VideoRenderer, work: Unfinished, progress: Progress | None
        ) -> None:
            from mien.media.motion_file import write_motion

            write_motion(options.output, motion, provenance=record)

        return write_file

    try:
        kind = output_kind(options.output)
    except OutputError as error:
        raise OutputError(error.what, "end -o in .mp4, .webm, .gif, .npz, .csv or / (frames)") from None
    if _is_motion(options.input):
        raise InputError(f"{options.input}: a motion has no pictures", "end -o in .npz or .csv, or give the video")
    check_output(options.output, folder=kind == "frames", inputs=inputs.values())

    def write_pictures(
        seen: Track, motion: FaceMotion, renderer: VideoRenderer, work: Unfinished, progress: Progress | None
    ) -> None:
        reader, start = VideoReader(options.input), n_finished(options.output, work)

        def draw(first: int) -> Iterator[Redrawn]:
            return _redrawn(seen, reader.filmed(first), first, motion, renderer)

        frames = from_frame(start, draw, recurrent=renderer.recurrent)
        write_video(
            options.output,
            track(frames, progress, "render", len(motion), start),
            motion.fps,
            sound=options.input if reader.has_sound and kind in ("mp4", "webm") else None,
            sound_at=reader.sound_start,
            provenance=record,
            crf=options.crf,
            n_frames=len(motion),
            work=work,
        )

    return write_pictures


def _file_of(direction: str | None) -> Path | None:
    """The file that ``--direction`` names, if it names one."""
    is_file = direction is not None and Path(direction).suffix.lower() in (".yaml", ".yml", ".json")
    return Path(str(direction)) if is_file else None
