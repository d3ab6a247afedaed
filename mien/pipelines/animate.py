"""``mien animate``: a voice and a direction move a 3D face, as video, as geometry or as motion alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from tyro.conf import arg

from mien.direction import Direction, StyleChoice
from mien.errors import InputError, OutputError
from mien.progress import Progress, Silent, track
from mien.types import FaceIdentity, FaceMotion, Frame

if TYPE_CHECKING:
    from mien.face.rig import Rig
    from mien.motion.voca import Voca
    from mien.perception.speech_adapters import Listener

log = logging.getLogger(__name__)

EACH = "each"
"""The ``--speaker`` that stands for every style of a model, side by side."""

_VIDEO, _MOTION = (".mp4", ".webm", ".gif"), (".npz", ".csv")


@dataclass(frozen=True)
class AnimateOptions:
    """A 3D face speaks a recording and feels what the direction says.

    The ending of -o decides what is made: a shaded video with sound (.mp4, .webm, .gif), an animated mesh (.glb), a
    folder of meshes (no ending), or the motion alone (.npz, Live Link Face .csv, .flame.npz).
    """

    speech: Annotated[Path, arg(aliases=("-s",))]
    """Sound file, or a video whose sound is used."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Where to write the result."""

    direction: Annotated[str, arg(aliases=("-d",))] = "neutral"
    """Emotion over time, as in happy:0.8 or "0s:neutral, 1.2s:happy:0.9, 4s:va(-0.6,0.7)", or a .yaml or .json file."""

    style: str | None = None
    """How the person talks, by name, instead of what the direction says."""

    text: str | None = None
    """What is said (English), or a .txt file with it; makes the lips more exact."""

    rig: str = "builtin"
    """The face that moves: builtin, ict or flame (see mien assets), or the file of a rig or of a FLAME model."""

    voca: str | None = None
    """Let a VOCA model move the mouth instead of the phones: default (what ships with mien), a .safetensors of mien
    train voca, or the official checkpoint (gstep_52280.model, or an .npz of its variables). One for the builtin rig
    moves every rig, others their own."""

    speaker: str | None = None
    """Whose talking style the VOCA model takes: a name, a number from 1, all, none, or a mixture as in ann:0.7,bob:0.3.
    each shows every style side by side, row by row in the model's order, in one video. Default: the model's own."""

    recogniser: Path | None = None
    """What the VOCA model listens with, if it was trained on more than mien's own features: the frozen graph of
    DeepSpeech 0.1 (output_graph.pb), or a folder with a wav2vec 2.0 CTC model."""

    template: Path | None = None
    """Neutral mesh of one person (.obj or .ply) with the rig's vertices in the rig's order. Default: the rig's own."""

    fps: float = 25
    """Frames per second, 10 to 120."""

    size: int = 720
    """Width and height of the video in pixels, 64 to 4096."""

    mesh: Literal["obj", "ply"] = "obj"
    """Format of the meshes in a folder: obj is text, ply binary."""

    crf: int = 18
    """H.264 quality: 0 is lossless, 18 looks like the original, 51 is the worst."""

    seed: int = 0
    """Of blinks, glances and head movement; the same seed gives the same frames."""


@dataclass(frozen=True)
class AnimateResult:
    """What was made.

    Attributes:
        output: the file or folder.
        n_frames: length in frames.
        fps: frames per second.
        duration: length in seconds.
        rig: the face that moves.
        residual: millimetres of RMS landmark distance lost by carrying the motion to that rig.
    """

    output: Path
    n_frames: int
    fps: float
    duration: float
    rig: str
    residual: float


def animate(options: AnimateOptions, progress: Progress | None = None) -> AnimateResult:
    """Make the face move.

    Raises:
        AssetError: if the rig is not here.
        InputError: if the speech, the text, the direction, the template or a number cannot be used.
        OutputError: if the ending is unknown or the place cannot be written.
    """
    from mien.face.rig import load_rig, retarget
    from mien.media.audio import read_audio
    from mien.perception.speech import analyse
    from mien.pipelines.geometry import read_template
    from mien.pipelines.speak import SPEECH_RATE, perform, read_text, voca_of

    _check(options)
    direction = Direction.parse(options.direction)
    if options.style is not None:
        direction = replace(direction, style=StyleChoice(options.style))
    rig = load_rig(options.rig)
    model = _voca(options, rig)
    lips = voca_of(direction) if model is None else model
    if model is not None:
        direction = replace(direction, lips=replace(direction.lips, source="voca" if _is_lane(model) else "none"))
    identity = read_template(options.template, rig) if options.template else None
    progress = progress or Silent()
    listen = _listener(options, model)
    sound = read_audio(options.speech, SPEECH_RATE)
    speech = analyse(sound, options.fps, read_text(options.text), progress)
    if listen is not None:
        speech = listen(sound, options.fps, speech)
    motions = []
    for speaker in _styles(options, model):
        lane = replace(direction, lips=replace(direction.lips, speaker=speaker)) if _is_lane(model) else direction
        motion = perform(lane, speech, seed=options.seed, voca=lips, progress=progress)
        motion, residual = retarget(replace(motion, expression=motion.expression.clip(0, 1)), rig)
        if model is not None and not _is_lane(model):
            motion = replace(motion, offsets=model.animate(speech, speaker or None).offsets)
        motions.append(motion)
    if residual:
        log.info("carried to rig %s, %.2f mm are lost", rig.name, residual * 1000)
    _write(options, direction, rig, motions, identity, progress)
    return AnimateResult(options.output, len(motion), motion.fps, motion.duration, rig.name, round(residual * 1000, 3))


def _check(options: AnimateOptions) -> None:
    from mien.media.output import check_output
    from mien.pipelines.geometry import GEOMETRY_ENDINGS, ending_of

    for flag, value, low, high in (
        ("--fps", options.fps, 10, 120), ("--crf", options.crf, 0, 51), ("--size", options.size, 64, 4096),
        ("--seed", options.seed, 0, 2**32 - 1),
    ):  # fmt: skip
        if not low <= value <= high:
            raise InputError(f"{flag} is {value:g}", f"allowed: {low:g} to {high:.10g}")
    ending = ending_of(options.output)
    if ending not in (*_VIDEO, *_MOTION, *GEOMETRY_ENDINGS):
        raise OutputError(
            f"{options.output}: a face in motion is not written as {ending}",
            "end -o in .mp4, .webm, .gif, .glb, .npz, .csv, .flame.npz or / (meshes)",
        )
    check_output(options.output, folder=ending == "", inputs=[options.speech, options.template])


def _voca(options: AnimateOptions, rig: Rig) -> Voca | None:
    """The model asked for, made for this rig and with this style."""
    if options.voca is None:
        for flag, value in (("--speaker", options.speaker), ("--recogniser", options.recogniser)):
            if value is not None:
                raise InputError(f"{flag} is for a VOCA model", "give the model with --voca")
        return None
    from mien.pipelines.geometry import ending_of
    from mien.pipelines.speak import open_voca

    model = open_voca(options.voca)
    made_for = (model.config.rig, model.config.n_vertices)
    if model.config.rig != "builtin" and made_for != (rig.name, rig.n_vertices):
        raise InputError(
            f"{options.voca}: moves rig {made_for[0]} ({made_for[1]} vertices), not {rig.name} "
            f"({rig.n_vertices} vertices)",
            f"use --rig {made_for[0]}",
        )
    if options.speaker == EACH and ending_of(options.output) not in _VIDEO:
        raise InputError(
            f"--speaker {EACH} is a video of every style", "end -o in .mp4, .webm or .gif, or name one style"
        )
    for speaker in _styles(options, model):
        model.shares(speaker or None)  # refuses an unknown style before the work starts
    return model


def _styles(options: AnimateOptions, model: Voca | None) -> tuple[str, ...]:
    """The talking styles to show; an empty name is the model's own choice."""
    if model is not None and options.speaker == EACH:
        return model.config.speakers
    return (options.speaker or "",)


def _is_lane(model: Voca | None) -> bool:
    """Whether a model is a lip lane like any other; one for another rig moves its vertices as they are."""
    return model is not None and model.config.rig == "builtin"


def _listener(options: AnimateOptions, model: Voca | None) -> Listener | None:
    """What makes the features that the model was trained on, if they are not mien's own."""
    from mien.perception.speech import KIND
    from mien.perception.speech_adapters import Listener

    if model is None or (model.config.feature_kind == KIND and options.recogniser is None):
        return None
    return Listener(model.config.feature_kind, options.recogniser)


def _write(
    options: AnimateOptions,
    direction: Direction,
    rig: Rig,
    motions: Sequence[FaceMotion],
    identity: FaceIdentity | None,
    progress: Progress,
) -> None:
    """The one motion in any format, or several side by side as a video."""
    from mien.media.motion_file import write_motion
    from mien.media.provenance import provenance
    from mien.media.unfinished import unfinished
    from mien.media.video import n_finished, write_video
    from mien.pipelines.geometry import ending_of, write_geometry
    from mien.pipelines.speak import text_file_of

    settings = asdict(options) | {"direction": direction.with_files(lambda path: Path(path).name).to_dict()}
    text_file = text_file_of(options.text)
    settings["text"] = text_file or options.text
    inputs = {"speech": options.speech, "template": options.template, "text": text_file}
    inputs |= {key: Path(path) for key, path in direction.files.items()}
    record = provenance("animate", inputs=inputs, settings=settings, seed=options.seed)
    ending = ending_of(options.output)
    motion = motions[0]
    if ending in _VIDEO:
        from mien.rendering.mesh import MeshRenderer

        columns = math.ceil(len(motions) / max(1, round(math.sqrt(len(motions) / 2))))
        renderer = MeshRenderer(size=max(64, options.size // columns // 2 * 2), rig=rig, identity=identity)
        with unfinished(options.output, record) as work:
            start = n_finished(options.output, work)
            frames = _side_by_side([renderer.render(each[start:]) for each in motions], columns)
            write_video(
                options.output,
                track(frames, progress, "render", len(motion), start),
                motion.fps,
                sound=options.speech,
                provenance=record,
                crf=options.crf,
                n_frames=len(motion),
                work=work,
            )
    elif ending in _MOTION:
        write_motion(options.output, motion, provenance=record)
    else:
        write_geometry(
            options.output, rig, motion, identity=identity, mesh=options.mesh, provenance=record, progress=progress
        )


def _side_by_side(videos: Sequence[Iterator[Frame]], columns: int) -> Iterator[Frame]:
    """Square frames of several videos in rows; what is left of the last row is white."""
    for frames in zip(*videos, strict=True):
        blank = np.full_like(frames[0], 255)
        cells = [*frames, *[blank] * (-len(frames) % columns)]
        yield np.concatenate([np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)])
