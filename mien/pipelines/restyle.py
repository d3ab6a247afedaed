"""``mien restyle``: another emotion for the faces in a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from tyro.conf import arg

from mien.direction import LABEL_ANGLES, LABELS, Direction, EmotionKey, sample_keyframes
from mien.errors import InputError, OutputError, needs_torch
from mien.progress import Progress, Silent, track
from mien.types import Array, FaceMotion, Frame, Portrait

if TYPE_CHECKING:
    from mien.rendering.ganmut import GanmutEditor

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
_NEUTRAL = LABELS.index("neutral")
_LIPS = ("jawOpen", "mouthFunnel", "mouthUpperUp", "mouthLowerDown", "mouthPucker", "mouthPress", "mouthRoll",
         "mouthShrug")  # fmt: skip
"""What parts the lips of the photo's laugh, or makes its pout: nobody speaks, so it goes with the emotion."""

_STEP, _CHANGE = 1.3, 0.8
"""Seconds from one emotion of a video to the next, and how long the change takes."""

_GRID, _CELL, _RIM = 7, 168, 104
"""Faces along each axis of the picture of the whole plane, their side and the rim around them in pixels."""

_FACE_MARGIN = 1.5
"""Side of the squares in the picture of the plane over the landmarks' box."""


@dataclass(frozen=True)
class RestyleOptions:
    """Give the faces in a picture another emotion.

    The ending of -o decides what is made: a picture (.png, .jpg) or a video (.mp4, .webm, .gif, a folder of frames)
    that goes from the picture through the emotions and back. Outside the heads nothing changes. --grid shows one face
    all over the plane of emotions instead.
    """

    input: Annotated[Path, arg(aliases=("-i",))]
    """A picture with one face or several: photo, painting or drawing."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Where to write the result."""

    emotion: Annotated[tuple[str, ...], arg(aliases=("-e",))] = ()
    """Label with intensity, as in happy:0.7; several for a video. neutral takes away what the face shows."""

    plane: str | None = None
    """A point of the plane, as in 0.3,-0.4: valence and arousal for warp, the learned plane for ganmut."""

    grid: Annotated[bool, arg(help_behavior_hint="")] = False
    """Make a picture of the whole plane, with its axes and the names of emotions where they lie."""

    renderer: Literal["warp", "ganmut"] = "warp"
    """warp moves the picture itself; ganmut is the network, with your weights."""

    weights: Path | None = None
    """GANmut's generator: an official .ckpt, or a .safetensors that `mien train ganmut` made."""

    face: int | None = None
    """Which face, counted from 1 for the largest. Default: every face (for --grid the largest)."""

    fps: float = 25
    """Frames per second of a video, 10 to 120."""

    max_size: int = 2160
    """Longest side of the picture in pixels; a larger one is made smaller."""

    crf: int = 18
    """H.264 quality: 0 is lossless, 18 looks like the original, 51 is the worst."""

    seed: int = 0
    """Of the slight asymmetry that no face is without."""


@dataclass(frozen=True)
class RestyleResult:
    """What was made.

    Attributes:
        output: the file or folder.
        n_frames: pictures made, 1 for a still.
        faces: how many were edited.
        renderer: warp or ganmut.
    """

    output: Path
    n_frames: int
    faces: int
    renderer: str


def restyle(options: RestyleOptions, progress: Progress | None = None) -> RestyleResult:
    """Edit the picture.

    Raises:
        InputError: if the picture, an emotion, the weights or the numbers cannot be used.
        NoFaceError: if there is no face, or not the one asked for.
        OutputError: if the ending is unknown or the place cannot be written.
        MissingExtraError: if GANmut is asked for and PyTorch is missing.
    """
    from mien.media.image import read_image
    from mien.media.provenance import provenance

    progress = progress or Silent()
    keys = _check(options)
    editor = _ganmut(options)
    with progress.stage("faces") as stage:
        picture = read_image(options.input, max_side=options.max_size)
        faces = _faces(picture, options)
        stage.advance()
    record = provenance(
        "restyle", inputs={"input": options.input, "weights": options.weights}, settings=asdict(options),
        seed=options.seed,
    )  # fmt: skip
    if options.grid:
        from mien.media.image import write_image

        write_image(options.output, _gamut(faces[0], editor, options.seed, progress), provenance=record)
        return RestyleResult(options.output, 1, 1, options.renderer)
    if editor is None:
        weights = _path([still_weights(key) for key in keys], EmotionKey().weights, options)
        frames = warped(faces, weights, options.fps, options.seed)
    else:
        codes = [_code(editor, key) for key in keys]
        frames = edited(faces, editor, _path(codes, editor.emotion_code("neutral"), options))
    n_frames = _write(options, record, frames, progress, len(keys))
    return RestyleResult(options.output, n_frames, len(faces), options.renderer)


def still_weights(key: EmotionKey) -> Array:
    """``(len(LABELS),)`` for a still in this emotion: neutral is a face that shows nothing, not the photo's own."""
    return key.weights if key.weights[_NEUTRAL] < 1 else np.zeros_like(key.weights)


def warped(faces: Sequence[Portrait], weights: Array, fps: float = 25, seed: int = 0) -> Iterator[Frame]:
    """The picture with every face in the emotions of ``weights`` ``(T, len(LABELS))``, frame by frame.

    A row of zeros takes away what the photo shows; a row that is 1 at neutral is the photo.
    """
    from mien.rendering.warp import WarpRenderer

    clips = [WarpRenderer(face).render(restyling(face, weights, fps, seed)) for face in faces]
    yield from together(faces[0].image, clips)


def restyling(face: Portrait, weights: Array, fps: float = 25, seed: int = 0) -> FaceMotion:
    """What one face does to be in the emotions of ``weights``; see :func:`warped`."""
    from mien.motion.compose import MAX_DROOP
    from mien.motion.emotion import REPLACED, emotion

    asked, shown = emotion(weights, fps, seed=seed), 1 - weights[:, _NEUTRAL]
    names = [name for name in asked.expression_names if name.startswith((*REPLACED, *_LIPS))]
    # The photo's own emotion goes, but for what the asked one would make as well.
    own = {name: np.maximum(face.rest.column(name) - asked.column(name), 0) for name in names}
    columns = {name: asked.column(name) - shown * own[name] for name in names}
    for lid in ("eyeBlinkLeft", "eyeBlinkRight"):
        columns[lid] = np.minimum(asked.column(lid), max(MAX_DROOP - float(face.rest.column(lid)[0]), 0))
    return asked.with_columns(columns)


def edited(faces: Sequence[Portrait], editor: GanmutEditor, codes: Array) -> Iterator[Frame]:
    """The picture with every face as GANmut makes it of the codes ``(T, D)``, frame by frame."""
    from mien.rendering.paste import GANMUT_MARGIN, FaceSquare, sharpened, soft_face

    def clip(face: Portrait) -> Iterator[Frame]:
        square = FaceSquare.around(face.landmarks, GANMUT_MARGIN, upright=True)
        crop, opacity = square.cut(face.image), soft_face(square.points(face.landmarks), square.side)
        for code in codes:
            change = sharpened(crop, editor.restyle(crop, code), editor.config.size)
            yield square.paste(face.image, change, opacity)

    yield from together(faces[0].image, [clip(face) for face in faces])


def together(picture: Frame, clips: Sequence[Iterator[Frame]]) -> Iterator[Frame]:
    """One picture in which each clip has changed its part."""
    for frames in zip(*clips, strict=True):
        whole = np.array(frames[0])
        for frame in frames[1:]:
            changed = (frame != picture).any(-1)
            whole[changed] = frame[changed]
        yield whole


def _check(options: RestyleOptions) -> list[EmotionKey]:
    """The emotions asked for, after a look at everything that can be wrong."""
    from mien.media.output import check_output
    from mien.media.video import output_kind

    for flag, value, low, high in (
        ("--fps", options.fps, 10, 120), ("--crf", options.crf, 0, 51), ("--max-size", options.max_size, 64, 7680),
        ("--seed", options.seed, 0, 2**32 - 1), ("--face", 1 if options.face is None else options.face, 1, 99),
    ):  # fmt: skip
        if not low <= value <= high:
            raise InputError(f"{flag} is {value:g}", f"allowed: {low:g} to {high:.10g}")
    if options.renderer == "ganmut" and options.weights is None:
        raise InputError(
            "ganmut needs weights", "give --weights, train some with mien train ganmut, or use --renderer warp"
        )
    if options.renderer == "warp" and options.weights is not None:
        raise InputError("the warp renderer has no weights", "add --renderer ganmut, or leave --weights out")
    asked = [bool(options.emotion), options.plane is not None, options.grid]
    if sum(asked) != 1:
        raise InputError("which emotion?", "give --emotion happy:0.7, --plane 0.3,-0.4, or --grid; one of them")
    keys = [_key(text) for text in options.emotion] + ([_point(options.plane)] if options.plane is not None else [])
    is_picture = options.output.suffix.lower() in PICTURE_ENDINGS
    if options.grid and not is_picture:
        raise OutputError(f"{options.output}: the plane is a picture", "end -o in .png or .jpg")
    if is_picture and len(keys) > 1:
        raise InputError(f"{len(keys)} emotions for one picture", "give one, or end -o in .mp4, .webm or .gif")
    folder = False
    if not is_picture:
        try:
            folder = output_kind(options.output) == "frames"
        except OutputError as error:
            raise OutputError(error.what, "end -o in .png, .jpg, .mp4, .webm, .gif or / (frames)") from None
    check_output(options.output, folder=folder, inputs=[options.input, options.weights])
    return keys


def _key(text: str) -> EmotionKey:
    keys = Direction.parse(text).emotion
    if len(keys) != 1:
        raise InputError(f"emotion {text!r} changes over time", "give labels with spaces between: happy:0.7 sad:0.5")
    return keys[0]


def _point(text: str) -> EmotionKey:
    try:
        x, y = (float(part) for part in text.strip("() ").split(","))
    except ValueError:
        raise InputError(f"--plane {text!r} is no point", "give two numbers, as in 0.3,-0.4") from None
    return EmotionKey(va=(x, y))


def _ganmut(options: RestyleOptions) -> GanmutEditor | None:
    if options.weights is None:
        return None
    with needs_torch("GANmut"):
        from mien.rendering.ganmut import GanmutEditor, load_ganmut
    editor = GanmutEditor(load_ganmut(options.weights))
    if editor.config.code_dim != 2 and (options.plane is not None or options.grid):
        raise InputError(f"{options.weights}: its space has three dimensions, not a plane", "choose by --emotion")
    return editor


def _faces(picture: Frame, options: RestyleOptions) -> list[Portrait]:
    from mien.perception.landmarks import MediapipeBackend
    from mien.perception.tracking import track_image

    backend = MediapipeBackend()
    first = track_image(picture, face=options.face, backend=backend, name=options.input)
    if options.face is not None or options.grid:
        return [first]
    n_faces = len(backend.detect(picture))
    return [first, *(track_image(picture, face=i, backend=backend) for i in range(2, n_faces + 1))]


def _code(editor: GanmutEditor, key: EmotionKey) -> Array:
    if key.va is not None:
        return np.array(key.va, np.float32)
    return editor.emotion_code(key.label, key.intensity)


def _path(points: Sequence[Array], start: Array, options: RestyleOptions) -> Array:
    """``(T, D)``: one point for a picture; for a video from the start through all of them and back."""
    if options.output.suffix.lower() in PICTURE_ENDINGS:
        return np.stack(points)
    values = np.stack([start, *points, start])
    times = [0.0, *(_STEP * i for i in range(1, len(values)))]
    n_frames = round((times[-1] + 0.2) * options.fps)
    return sample_keyframes(times, values, n_frames, options.fps, _CHANGE)


def _write(
    options: RestyleOptions, record: dict[str, Any], frames: Iterator[Frame], progress: Progress, n_keys: int
) -> int:
    from mien.media.image import write_image
    from mien.media.video import write_video

    if options.output.suffix.lower() in PICTURE_ENDINGS:
        write_image(options.output, next(frames), provenance=record)
        return 1
    n_frames = round((_STEP * (n_keys + 1) + 0.2) * options.fps)
    frames = track(frames, progress, "render", n_frames)
    write_video(options.output, frames, options.fps, provenance=record, crf=options.crf, n_frames=n_frames)
    return n_frames


def _gamut(face: Portrait, editor: GanmutEditor | None, seed: int, progress: Progress) -> Frame:
    """One face all over the plane."""
    from mien.direction import disc_weights
    from mien.rendering.paste import FaceSquare

    steps = np.linspace(-1, 1, _GRID)
    round_plane = editor is None or editor.config.space == "linear"
    points = [(x, y) for y in steps for x in steps if not round_plane or math.hypot(x, y) <= 1.06]
    if editor is None:
        frames = warped([face], np.stack([disc_weights(x, y) for x, y in points]), seed=seed)
        names = {
            label: (math.cos(math.radians(angle)), math.sin(math.radians(angle)))
            for label, angle in LABEL_ANGLES.items()
        }
        axes = ("valence", "arousal")
    else:
        frames = edited([face], editor, np.array(points, np.float32))
        names = {label.value: (float(x), float(y)) for label, (x, y) in editor.emotions.items()}
        axes = ("x, learned", "y, learned")
    square = FaceSquare.around(face.landmarks, _FACE_MARGIN, upright=True)
    cells = [square.cut(frame) for frame in track(frames, progress, "plane", len(points))]
    return _drawn(cells, points, names, axes, on_rim=round_plane)


def _drawn(
    cells: Sequence[Frame], points: Sequence[tuple[float, float]], names: dict[str, tuple[float, float]],
    axes: tuple[str, str], *, on_rim: bool,
) -> Frame:  # fmt: skip
    """Faces at their points of the plane, with axes and names; names at the rim or at their own points."""
    from PIL import Image, ImageDraw, ImageFont

    side = _GRID * _CELL + 2 * _RIM
    sheet = Image.new("RGB", (side, side), (255, 255, 255))
    draw, font, small = ImageDraw.Draw(sheet), ImageFont.load_default(size=22), ImageFont.load_default(size=15)

    def place(x: float, y: float) -> tuple[float, float]:
        reach = (_GRID - 1) / 2 * _CELL
        return side / 2 + x * reach, side / 2 - y * reach

    for cell, point in zip(cells, points, strict=True):
        x, y = place(*point)
        picture = Image.fromarray(cell).resize((_CELL - 4, _CELL - 4), Image.Resampling.LANCZOS)
        sheet.paste(picture, (round(x - _CELL / 2 + 2), round(y - _CELL / 2 + 2)))
    for step in np.linspace(-1, 1, 5):
        x, y = place(step, step)
        draw.text((x, side - 30), f"{step:g}", fill=(90, 90, 90), font=small, anchor="mm")
        draw.text((24, y), f"{step:g}", fill=(90, 90, 90), font=small, anchor="mm")
    draw.text((side / 2, side - 12), axes[0], fill=(40, 40, 40), font=small, anchor="mm")
    draw.text((24, 14), axes[1], fill=(40, 40, 40), font=small, anchor="lm")
    for name, (x, y) in names.items():
        far = max(math.hypot(x, y), 1e-6)
        out = 1.0 if not on_rim or far < 0.1 else 1.32 / far
        at = place(x * out, y * out)
        at = (min(max(at[0], 96), side - 60), min(max(at[1], 50), side - 60))
        draw.text(at, name, fill=(20, 20, 20), font=font, anchor="mm", stroke_width=3, stroke_fill=(255, 255, 255))
    return np.asarray(sheet, np.uint8)
