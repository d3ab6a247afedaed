"""``mien speak``: one photo, one voice and one direction become a talking, feeling face.

The order of the flow and nothing else: every step is a stage of its own, and stages exchange mien's types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from tyro.conf import arg

from mien.background import in_background
from mien.direction import Direction, Lips, StyleChoice
from mien.errors import InputError, OutputError, needs_torch
from mien.progress import Progress, Silent, track
from mien.types import FaceIdentity, FaceMotion, Frame, Portrait, SpeechFeatures, check_kind

if TYPE_CHECKING:
    from mien.motion.voca import Voca
    from mien.rendering.mesh import MeshRenderer
    from mien.rendering.warp import WarpRenderer

SPEECH_RATE = 16_000
"""Samples per second that the analysis of speech works on."""

LIMITS = {"fps": (10, 120), "crf": (0, 51), "max_size": (64, 7680), "seed": (0, 2**32 - 1), "face": (1, 99)}
"""What the numbers among :class:`SpeakOptions` may be."""


@dataclass(frozen=True)
class SpeakOptions:
    """A portrait speaks a recording and feels what the direction says.

    The ending of -o decides what is made: .mp4, .webm, .gif, a folder of frames (no ending), or only the
    motion as .npz or Live Link Face .csv.
    """

    portrait: Annotated[Path, arg(aliases=("-p",))]
    """Picture of one face: photo, painting or drawing. Or the folder of a person, made by mien person."""

    speech: Annotated[Path, arg(aliases=("-s",))]
    """Sound file, or a video whose sound is used."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Where to write the result."""

    direction: Annotated[str, arg(aliases=("-d",))] = "neutral"
    """Emotion over time, as in happy:0.8 or "0s:neutral, 1.2s:happy:0.9, 4s:va(-0.6,0.7)", or a .yaml or .json file."""

    style: str | None = None
    """How the person talks, instead of what the direction says: a name such as lively or warm:0.5, a clip or motion to
    learn it from, or the .json of mien style."""

    text: str | None = None
    """What is said (English), or a .txt file with it; makes the lips more exact."""

    renderer: Literal["warp", "mesh", "person"] = "warp"
    """warp moves the photo itself; mesh shows the same motion on a shaded 3D face; person draws a person's folder anew,
    as mien train renderer has learned it."""

    fps: float = 25
    """Frames per second, 10 to 120."""

    face: int | None = None
    """Which face, counted from 1 for the largest. Default: the largest."""

    max_size: int = 2160
    """Longest side of the picture in pixels; a larger photo is made smaller."""

    crf: int = 18
    """H.264 quality: 0 is lossless, 18 looks like the original, 51 is the worst."""

    seed: int = 0
    """Of blinks, glances and head movement; the same seed gives the same frames."""


@dataclass(frozen=True)
class SpeakResult:
    """What was made.

    Attributes:
        output: the file or folder.
        n_frames: length in frames.
        fps: frames per second.
        duration: length in seconds.
        speech: how the phones were found: from the text, recognised, acoustic (not recognised), or silent (no speech).
    """

    output: Path
    n_frames: int
    fps: float
    duration: float
    speech: str


def speak(options: SpeakOptions, progress: Progress | None = None) -> SpeakResult:
    """Make the talking face.

    Raises:
        InputError: if the portrait, the speech, the text or the direction cannot be used.
        OutputError: if the ending is unknown or the place cannot be written.
    """
    from mien.media.audio import read_audio
    from mien.media.image import read_image, require_file
    from mien.perception.speech import analyse
    from mien.perception.tracking import track_image
    from mien.pipelines.dsm import is_trained
    from mien.pipelines.speak_person import person_emotion, person_portrait

    check_numbers(options)
    direction = with_style(Direction.parse(options.direction), options.style)
    write = _writer(options, direction)
    for path in direction.files.values():
        require_file(path, "motion file or video")
    voca = voca_of(direction)
    progress = progress or Silent()
    text = read_text(options.text)
    person = options.portrait if options.portrait.is_dir() else None
    sound = read_audio(options.speech, SPEECH_RATE)
    heard = in_background(lambda: analyse(sound, options.fps, text, progress))
    with progress.stage("portrait", 1) as stage:
        if person is not None:
            portrait = person_portrait(person)
        else:
            picture = read_image(options.portrait, max_side=options.max_size)
            portrait = track_image(picture, face=options.face, name=options.portrait)
        stage.advance()
    speech = heard.result()
    felt = (
        person_emotion(person, direction, len(speech), options.fps, portrait.rest)
        if person is not None and is_trained(person)
        else None
    )
    motion = perform(
        direction, speech, rest=portrait.rest, identity=portrait.identity, felt=felt, seed=options.seed,
        voca=voca, progress=progress,
    )  # fmt: skip
    write(portrait, motion, progress)
    return SpeakResult(options.output, len(motion), motion.fps, motion.duration, speech.source)


def with_style(direction: Direction, style: str | None) -> Direction:
    """The direction in another style: a name, a clip or motion, or a file of ``mien style``; ``None`` keeps its own.

    Raises:
        InputError: if there is no such style, or the file is no style file.
    """
    if style is None:
        return direction
    if Path(style).suffix.lower() == ".json":
        from mien.media.style_file import read_style

        chosen = StyleChoice(vector=tuple(read_style(style).habits.items()))
    else:
        chosen = Direction.from_dict({"style": style}).style
    return replace(direction, style=chosen)


def perform(
    direction: Direction,
    speech: SpeechFeatures,
    *,
    rest: FaceMotion | None = None,
    identity: FaceIdentity | None = None,
    felt: FaceMotion | None = None,
    seed: int = 0,
    voca: Voca | None = None,
    progress: Progress | None = None,
) -> FaceMotion:
    """Play a direction to a speech: every lane on its own, then composed.

    Args:
        direction: what to feel and how to behave.
        speech: what is said.
        rest: the expression of the photo that will move, one frame; ``None`` for a neutral face.
        identity: whose photo it is.
        felt: the emotion lane, where it is not the generic one.
        seed: of everything random.
        voca: the network of ``lips.source: voca``; ``None`` takes the one that ships.
        progress: told about reference clips that have to be tracked.

    Returns:
        Motion on the builtin rig, as many frames as ``speech`` has.

    Raises:
        InputError: if a reference file of the direction, or its lips.speaker, cannot be used.
        MissingExtraError: if the direction asks for VOCA and PyTorch is not installed.
        TypeError: if the direction is a text, or the speech a sound.
    """
    check_kind(direction, Direction, "direction", "Direction.parse makes one of a text")
    check_kind(speech, SpeechFeatures, "speech", "analyse makes them of a sound")
    from mien.face.rhythm import speaking
    from mien.motion.blink import NATURAL_RATE, blinks, schedule
    from mien.motion.compose import Voice, compose
    from mien.motion.emotion import emotion
    from mien.motion.gaze import gaze
    from mien.motion.head import head
    from mien.motion.lips import closure_frames
    from mien.motion.style import habits, restyle_lips, style_of

    n, fps, ease = len(speech), speech.fps, direction.transition
    references = {path: _reference(path, fps, progress) for path in dict.fromkeys(direction.files.values())}
    style = style_of(direction.style, references.get(direction.style.reference or ""))

    speaks = direction.lips.source != "none"
    # What the direction says of a lane holds; the style fills in what it leaves open.
    asked = direction.lips.gain.sample(n, fps, ease) if direction.lips.gain else None
    gain = (min(style["lips"], 2) if asked is None else asked) if speaks else 0.0
    mouth = _lips(direction.lips, speech, gain, voca)
    rate = direction.blink.rate.sample(n, fps, ease) if direction.blink.rate else NATURAL_RATE * style["blink"]
    events = schedule(n, fps, rate=rate, events=direction.blink.events, speech=speech, seed=seed)
    return compose(
        restyle_lips(mouth, style) if asked is None else mouth,
        emotion=emotion(direction.emotion_curve(n, fps, style["tempo"]), fps, rest=rest, seed=seed)
        if felt is None
        else felt,
        blink=blinks(n, fps, events),
        gaze=gaze(
            n,
            fps,
            amount=direction.gaze.amount.sample(n, fps, ease) * style["gaze"],
            yaw=direction.gaze.yaw.sample(n, fps, ease),
            pitch=direction.gaze.pitch.sample(n, fps, ease),
            seed=seed,
        ),
        head=head(
            n,
            fps,
            amount=direction.head.amount.sample(n, fps, ease) * style["head"],
            pitch=direction.head.pitch.sample(n, fps, ease),
            yaw=direction.head.yaw.sample(n, fps, ease),
            roll=direction.head.roll.sample(n, fps, ease),
            speech=speech,
            seed=seed,
        ),
        habits=habits(n, fps, style, speech, seed=seed),
        voice=Voice(closure_frames(speech), speaking(speech)) if speaks else None,
        gains={name: region.gain.sample(n, fps, ease) for name, region in direction.regions.items()},
        sources={name: references[region.source] for name, region in direction.regions.items() if region.source},
        rest=rest,
        identity=identity,
    )


def _lips(lane: Lips, speech: SpeechFeatures, gain: npt.ArrayLike, voca: Voca | None) -> FaceMotion:
    """The lip lane from whatever the direction wants to move it."""
    if lane.source != "voca":
        from mien.motion.lips import lips

        return lips(speech, gain=gain)
    from mien.motion.voca_lips import voca_lips

    return voca_lips(voca or open_voca(), speech, lane.speaker or None, gain=gain)


def voca_of(direction: Direction) -> Voca | None:
    """The network of a direction's lips, with a look at whether it knows the speaker; ``None`` if they need none.

    Raises:
        InputError: if it does not.
        MissingExtraError: if PyTorch is not installed.
    """
    if direction.lips.source != "voca":
        return None
    voca = open_voca()
    voca.shares(direction.lips.speaker or None)
    return voca


def open_voca(name_or_path: str | Path = "default") -> Voca:
    """A VOCA model, see :func:`mien.motion.voca.load_voca`.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        AssetError: if there is no such model.
        FormatError: if the file is damaged or something else.
    """
    with needs_torch("VOCA"):
        from mien.motion.voca import load_voca
    return load_voca(name_or_path)


def _reference(path: str, fps: float, progress: Progress | None) -> FaceMotion:
    """The motion in a reference file (.npz, Live Link .csv, or a video that is tracked) at the wanted rate."""
    from mien.media.motion_file import read_motion
    from mien.perception.tracking import track_video

    is_motion = Path(path).suffix.lower() in (".npz", ".csv")
    motion = read_motion(path) if is_motion else track_video(path, progress=progress).motion
    if not len(motion):
        raise InputError(f"{path}: the motion has no frames", "give one that moves")
    return motion.resample(fps)


def _absolute(motion: FaceMotion, rest: FaceMotion) -> FaceMotion:
    """What the face shows instead of how far it moves from the photo's expression."""
    return replace(motion, expression=np.clip(motion.expression + rest.expression, 0, 1))


def _frames(options: SpeakOptions, portrait: Portrait, motion: FaceMotion, start: int) -> Iterator[Frame]:
    if options.renderer == "person":
        from mien.pipelines.speak_person import person_frames

        return person_frames(options.portrait, motion, portrait.rest, start)
    return renderer_of(portrait, options.renderer).render(motion[start:])


def renderer_of(portrait: Portrait, name: Literal["warp", "mesh"]) -> WarpRenderer | MeshRenderer:
    """What draws a portrait in motion, prepared."""
    if name == "mesh":
        from mien.rendering.mesh import MeshRenderer

        return MeshRenderer(portrait)
    from mien.rendering.warp import WarpRenderer

    return WarpRenderer(portrait)


def check_numbers(options: SpeakOptions) -> None:
    """Refuse numbers outside :data:`LIMITS`, and a renderer that does not know the portrait."""
    for name, (low, high) in LIMITS.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise InputError(f"--{name.replace('_', '-')} is {value:g}", f"allowed: {low:g} to {high:.10g}")
    if options.renderer == "person" and not options.portrait.is_dir():
        raise InputError("--renderer person needs to know the person", "give -p FOLDER, made by `mien person`")


def text_file_of(text: str | None) -> Path | None:
    """The file that ``--text`` names, or ``None`` if it holds the words themselves."""
    return Path(text) if text is not None and text.lower().endswith(".txt") else None


def read_text(text: str | None) -> str | None:
    """The words that ``--text`` holds or names.

    Raises:
        InputError: if its file cannot be read.
    """
    file = text_file_of(text)
    if file is None:
        return text
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{text}: cannot be read as text ({why})", "give --text a .txt file or the words") from error


def _writer(options: SpeakOptions, direction: Direction) -> Callable[[Portrait, FaceMotion, Progress], None]:
    """What writes the kind of file that ``options.output`` names; it is made sure now that it will be able to."""
    from mien.media.output import check_output
    from mien.media.provenance import provenance
    from mien.media.unfinished import unfinished
    from mien.media.video import n_finished, output_kind, write_video

    def record() -> dict[str, Any]:
        settings = asdict(options)
        settings["direction"] = direction.with_files(lambda path: Path(path).name).to_dict()
        settings["text"] = text_file or options.text
        return provenance("speak", inputs=inputs, settings=settings, seed=options.seed)

    text_file = text_file_of(options.text)
    who = options.portrait / "manifest.json" if options.portrait.is_dir() else options.portrait
    inputs: dict[str, Path | None] = {"portrait": who, "speech": options.speech, "text": text_file}
    inputs |= {key: Path(path) for key, path in direction.files.items()}

    if options.output.suffix.lower() in (".npz", ".csv"):
        check_output(options.output, inputs=inputs.values())

        def write_file(portrait: Portrait, motion: FaceMotion, progress: Progress) -> None:
            from mien.media.motion_file import write_motion

            write_motion(options.output, _absolute(motion, portrait.rest), provenance=record())

        return write_file

    try:
        kind = output_kind(options.output)
    except OutputError as error:
        raise OutputError(error.what, "end -o in .mp4, .webm, .gif, .npz, .csv or / (frames)") from None
    check_output(options.output, folder=kind == "frames", inputs=inputs.values())

    def write_pictures(portrait: Portrait, motion: FaceMotion, progress: Progress) -> None:
        made = record()
        with unfinished(options.output, made) as work:
            start = n_finished(options.output, work)
            write_video(
                options.output,
                track(_frames(options, portrait, motion, start), progress, "render", len(motion), start),
                motion.fps,
                sound=options.speech,
                provenance=made,
                crf=options.crf,
                n_frames=len(motion),
                work=work,
            )

    return write_pictures
