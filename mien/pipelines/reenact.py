"""``mien reenact``: a clip, a recorded motion or a few numbers move a portrait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from tyro.conf import arg

from mien.errors import InputError, OutputError, needs_torch
from mien.progress import Progress, Silent, track
from mien.types import ARKIT_NAMES, ActionUnits, Array, FaceMotion, Frame, Portrait

if TYPE_CHECKING:
    from mien.media.unfinished import Unfinished
    from mien.motion.transfer import Driver, Followed, Manner
    from mien.rendering.icface import Icface

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
ANGLES = ("pitch", "yaw", "roll", "gaze_pitch", "gaze_yaw")
"""Sliders in degrees, signed as in a direction: down, to the subject's left, counter-clockwise as seen."""
STRONGEST_UNIT = 5.0
"""Action units are given on OpenFace's scale, 0 to 5."""

_RISE, _HOLD = 0.6, 0.8  # seconds that one face takes to come in and to go, and that it stays


@dataclass(frozen=True)
class ReenactOptions:
    """A portrait does what somebody else does.

    The driver is a video, a picture, a motion (.npz), a Live Link Face or OpenFace .csv, or controls such as
    "AU12=3, yaw=10, jawOpen=0.4", which are added to what the portrait shows: action units up to 5, ARKit names up to
    1, pitch, yaw, roll, gaze_pitch and gaze_yaw in degrees. The ending of -o decides what is made: .mp4, .webm, .gif, a
    folder of frames (no ending), or one picture (.png, .jpg) if the driver is a picture or controls. Sound of a driving
    video is kept.
    """

    portrait: Annotated[Path, arg(aliases=("-p",))]
    """Picture of one face: photo, painting or drawing."""

    driving: Annotated[str, arg(aliases=("-d",))]
    """What drives it: a file, or controls."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Where to write the result."""

    renderer: Literal["warp", "icface"] = "warp"
    """warp moves the photo itself; icface is the network, with your weights."""

    weights: Path | None = None
    """ICface's weights: the folder with the official files, or a .safetensors that `mien train icface` made."""

    absolute: bool = False
    """Show the driver's own expression, pose and gaze instead of their change. A picture always does."""

    reference: Literal["first", "calm"] = "first"
    """Which frame of the driver counts as the portrait as it is: the first, or the one nearest to a face at rest."""

    no_head: bool = False
    """Leave the head where it is."""

    no_gaze: bool = False
    """Leave the eyes as they are."""

    no_blink: bool = False
    """Leave the lids as they are."""

    strength: float = 1.0
    """Factor on the expression, 0 to 2."""

    face: int | None = None
    """Which face of the portrait, counted from 1 for the largest. Default: the largest."""

    driving_face: int | None = None
    """Which face of the driver. Default: the largest."""

    fps: float | None = None
    """Frames per second. Default: the driver's own rate, 25 for controls."""

    max_size: int = 2160
    """Longest side of the picture in pixels; a larger photo is made smaller."""

    crf: int = 18
    """H.264 quality: 0 is lossless, 18 looks like the original, 51 is the worst."""


@dataclass(frozen=True)
class ReenactResult:
    """What was made.

    Attributes:
        output: the file or folder.
        n_frames: length in frames.
        fps: frames per second.
        renderer: warp or icface.
    """

    output: Path
    n_frames: int
    fps: float
    renderer: str


@dataclass(frozen=True, eq=False)
class _Source:
    """A driver, and what else came with it.

    Attributes:
        driver: its motion.
        units: its action units, if it was given as such.
        sound: file with its sound.
        sound_at: seconds from the first picture to the first sample.
        shown: the frame that shows what is wanted, if it is one face and not a course of events.
        relative: whether it can be taken as a change.
    """

    driver: Driver
    units: ActionUnits | None = None
    sound: Path | None = None
    sound_at: float = 0.0
    shown: int | None = None
    relative: bool = True


def reenact(options: ReenactOptions, progress: Progress | None = None) -> ReenactResult:
    """Move the portrait.

    Raises:
        InputError: if portrait, driver, weights or numbers cannot be used.
        NoFaceError: if portrait or driver show no face.
        OutputError: if the ending is unknown or the place cannot be written.
        MissingExtraError: if ICface is asked for and PyTorch is missing.
    """
    from mien.media.image import read_image
    from mien.media.unfinished import unfinished
    from mien.perception.tracking import track_image

    progress = progress or Silent()
    file = _check(options)
    network = _icface(options)
    with progress.stage("portrait", 1) as stage:
        picture = read_image(options.portrait, max_side=options.max_size)
        portrait = track_image(picture, face=options.face, name=options.portrait)
        stage.advance()
    record = _record(options, file)
    with unfinished(options.output, record) as work:
        source = _read_file(file, options, work, progress) if file else _read_controls(options.driving)
        n_frames, fps = _draw(options, portrait, source, network, record, work, progress)
    return ReenactResult(options.output, n_frames, fps, options.renderer)


def _draw(
    options: ReenactOptions,
    portrait: Portrait,
    source: _Source,
    network: Icface | None,
    record: Mapping[str, Any],
    work: Unfinished,
    progress: Progress,
) -> tuple[int, float]:
    """Make the pictures, or what an earlier run has left to make; how many there are, and how many a second."""
    from mien.media.image import write_image
    from mien.media.video import n_finished, write_video
    from mien.motion.transfer import Manner, calmest, follow

    manner = Manner(
        relative=source.relative and not options.absolute,
        head=not options.no_head, gaze=not options.no_gaze, blink=not options.no_blink, strength=options.strength,
    )  # fmt: skip
    reference = calmest(source.driver.motion) if options.reference == "calm" else 0
    followed = follow(source.driver, portrait.rest, portrait.identity, manner, reference)
    is_picture = options.output.suffix.lower() in PICTURE_ENDINGS
    if source.shown is not None:
        fps = options.fps or 25
        followed = followed.swelled(source.shown, np.ones(1, np.float32) if is_picture else _swell(fps), fps)
    start = 0 if is_picture else n_finished(options.output, work)
    if network is None:
        frames = warped(portrait, followed, start)
    else:
        units = _units(source, portrait, followed, manner, reference)
        frames = _animated(network, portrait, followed, units, start)
    n_frames, fps = len(followed.motion), followed.motion.fps
    if is_picture:
        write_image(options.output, next(frames), provenance=record)
    else:
        write_video(
            options.output, track(frames, progress, "render", n_frames, start), fps, sound=source.sound,
            sound_at=source.sound_at, provenance=record, crf=options.crf, n_frames=n_frames, work=work,
        )  # fmt: skip
    return n_frames, fps


def warped(portrait: Portrait, followed: Followed, start: int = 0) -> Iterator[Frame]:
    """The photo itself, following, from frame ``start`` on."""
    from mien.rendering.warp import WarpRenderer

    renderer = WarpRenderer(portrait)
    translation = renderer.translation_for(followed.motion.head_pose, followed.shift, followed.nearer)
    for block in followed.blocks(translation, start):
        yield from renderer.render(block)


def filmed(
    video: Path, *, face: int | None = None, progress: Progress | None = None, keep: Path | None = None
) -> Driver:
    """The driver in a video.

    Args:
        video: the file.
        face: which face, counted from 1 for the largest; the largest if ``None``.
        progress: sees a stage ``"track"``.
        keep: see :func:`mien.perception.tracking.track_video`.

    Raises:
        NoFaceError: if it shows no face.
        InputError: if it cannot be read.
    """
    from mien.motion.transfer import Driver
    from mien.perception.landmarks import MediapipeBackend
    from mien.perception.tracking import beyond_rig, track_video

    seen = track_video(video, face=face, backend=MediapipeBackend(careful=True), progress=progress, keep=keep)
    return Driver(seen.motion, seen.cameras[:, 0], seen.identity, beyond_rig(seen))


def parse_controls(text: str) -> dict[str, float]:
    """Controls such as ``"AU12=3, yaw=10"`` by name: units within ±5, ARKit weights within ±1, angles in degrees.

    Raises:
        InputError: if a name is unknown or a value out of range; the message says what is allowed.
    """
    import difflib

    from mien.face.actions import UNITS

    units = [f"{unit}{side}" for unit in UNITS for side in ("", "L", "R")]
    known = [*units, *ARKIT_NAMES, *ANGLES]
    by_lower = {name.lower(): name for name in known}
    controls: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            remedy = 'give a file that exists, or controls such as "AU12=3, yaw=10"'
            raise InputError(f"driving {text!r}: no such file, and not controls either", remedy)
        plain = name.lower()
        if plain.startswith("au0"):
            plain = "au" + plain[3:]  # OpenFace writes AU01
        if plain not in by_lower:
            near = difflib.get_close_matches(plain, by_lower, n=1)
            guess = f"did you mean {by_lower[near[0]]}? " if near else ""
            raise InputError(
                f"no control {name!r}", f"{guess}there are AU1 to AU45, ARKit's names, {', '.join(ANGLES)}"
            )
        name = by_lower[plain]
        high = 90 if name in ANGLES else STRONGEST_UNIT if name in units else 1
        try:
            number = float(value)
        except ValueError:
            raise InputError(f"{name}={value}: is no number", f"give {-high:g} to {high:g}") from None
        if not -high <= number <= high:
            raise InputError(f"{name} is {number:g}", f"allowed: {-high:g} to {high:g}")
        controls[name] = number
    return controls


def motion_of_controls(controls: dict[str, float]) -> FaceMotion:
    """One frame with the controls of :func:`parse_controls`; negative ones take away."""
    from mien.face.actions import shapes_of_unit
    from mien.rotations import compose

    weights: dict[str, float] = {}
    for name, value in controls.items():
        is_unit = name.startswith("AU")
        for shape, share in (shapes_of_unit(name) if is_unit else {name: 1.0}).items():
            weights[shape] = weights.get(shape, 0.0) + share * value / (STRONGEST_UNIT if is_unit else 1)
    expression = [np.clip(weights.get(name, 0.0), -1, 1) for name in ARKIT_NAMES]
    angle = {name: np.deg2rad(controls.get(name, 0.0)) for name in ANGLES}

    turn, nod, tilt = (0, angle["yaw"], 0), (angle["pitch"], 0, 0), (0, 0, angle["roll"])
    eyes = compose((0, angle["gaze_yaw"], 0), (angle["gaze_pitch"], 0, 0))
    return replace(
        FaceMotion.zeros(1, 25),
        expression=np.array([expression]),
        head_pose=compose(turn, compose(nod, tilt))[None],
        eye_pose=np.stack([eyes, eyes])[None],
    )


def _check(options: ReenactOptions) -> Path | None:
    """The driving file, or ``None`` for controls, after a look at everything that can be wrong."""
    from mien.media.image import VIDEO_ENDINGS, require_file
    from mien.media.output import check_output
    from mien.media.video import output_kind

    for flag, value, low, high in (
        ("--fps", 25 if options.fps is None else options.fps, 1, 120), ("--crf", options.crf, 0, 51),
        ("--max-size", options.max_size, 64, 7680),
        ("--strength", options.strength, 0, 2), ("--face", 1 if options.face is None else options.face, 1, 99),
        ("--driving-face", 1 if options.driving_face is None else options.driving_face, 1, 99),
    ):  # fmt: skip
        if not low <= value <= high:
            raise InputError(f"{flag} is {value:g}", f"allowed: {low:g} to {high:g}")
    if options.renderer == "icface" and options.weights is None:
        raise InputError(
            "icface needs weights", "give --weights, train some with mien train icface, or use --renderer warp"
        )
    if options.renderer == "warp" and options.weights is not None:
        raise InputError("the warp renderer has no weights", "add --renderer icface, or leave --weights out")
    path = Path(options.driving)
    moving = path.suffix.lower() in (*VIDEO_ENDINGS, ".gif", ".npz", ".csv")
    file = path if moving or _is_file(path) else None
    if file is None:
        parse_controls(options.driving)
    else:
        require_file(file, "driving file")
    is_picture = options.output.suffix.lower() in PICTURE_ENDINGS
    if is_picture and moving:
        raise OutputError(f"{options.output}: a clip makes no picture", "end -o in .mp4, .webm, .gif or / (frames)")
    folder = False
    if not is_picture:
        try:
            folder = output_kind(options.output) == "frames"
        except OutputError as error:
            raise OutputError(error.what, "end -o in .mp4, .webm, .gif, .png or / (frames)") from None
    check_output(options.output, folder=folder, inputs=[options.portrait, file, options.weights])
    return file


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # controls may be longer than a name can be
        return False


def _icface(options: ReenactOptions) -> Icface | None:
    if options.renderer != "icface":
        return None
    with needs_torch("ICface"):
        from mien.rendering.icface import load_icface
    assert options.weights is not None
    return load_icface(options.weights)


def _read_file(path: Path, options: ReenactOptions, work: Unfinished, progress: Progress) -> _Source:
    from mien.media.image import VIDEO_ENDINGS, read_image
    from mien.media.video import VideoReader
    from mien.motion.transfer import Driver
    from mien.perception.tracking import track_image

    ending = path.suffix.lower()
    if ending in (".npz", ".csv"):
        return _read_motion(path, options.fps)
    if ending in (*VIDEO_ENDINGS, ".gif"):
        driver = filmed(path, face=options.driving_face, progress=progress, keep=work.folder / "driver.npz")
        film = VideoReader(path)
        has_sound = film.has_sound and options.output.suffix.lower() in (".mp4", ".webm")
        return _Source(_at_rate(driver, options.fps), sound=path if has_sound else None, sound_at=film.sound_start)
    seen = track_image(read_image(path), face=options.driving_face, name=path)
    return _Source(Driver(seen.rest, seen.camera[:1], seen.identity), shown=0, relative=False)


def _read_motion(path: Path, fps: float | None) -> _Source:
    from mien.face.actions import motion_from_units
    from mien.face.rig import load_rig, retarget
    from mien.media.motion_file import read_motion
    from mien.media.openface import read_openface
    from mien.motion.transfer import Driver

    units = None
    if path.suffix.lower() == ".csv" and b"AU" in _header(path):
        table = read_openface(path)
        units = table.units
        motion = replace(motion_from_units(units), head_pose=table.head_pose)
    else:
        motion = read_motion(path)
        if motion.rig != "builtin" or motion.expression_names != ARKIT_NAMES:
            motion, _ = retarget(motion, load_rig())
    if not len(motion):
        raise InputError(f"{path}: the motion has no frames", "give one that moves")
    driver = Driver(replace(motion, offsets=None), np.ones(len(motion), np.float32))
    if units is not None and fps is not None:
        units = replace(units, values=_resampled(units.values, units.fps, fps), fps=fps)
    return _Source(_at_rate(driver, fps), units)


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(100_000)


def _read_controls(text: str) -> _Source:
    """Two frames: as it is, and what is asked for."""
    from mien.motion.transfer import Driver

    asked = motion_of_controls(parse_controls(text))
    motion = FaceMotion.zeros(1, asked.fps).concat(asked)
    return _Source(Driver(motion, np.ones(2, np.float32)), shown=1)


def _at_rate(driver: Driver, fps: float | None) -> Driver:
    """The same driver at another frame rate."""
    motion = driver.motion
    if fps is None or fps == motion.fps:
        return driver
    detail = None if driver.detail is None else _resampled(driver.detail, motion.fps, fps)
    return replace(driver, motion=motion.resample(fps), sizes=_resampled(driver.sizes, motion.fps, fps), detail=detail)


def _resampled(rows: Array, source: float, fps: float) -> Array:
    """Rows ``(T, ...)`` at another rate, straight lines in between, as many as a motion then has."""
    at = np.clip(np.arange(max(1, round(len(rows) / source * fps))) * source / fps, 0, len(rows) - 1)
    low = np.floor(at).astype(np.int64)
    high, share = np.minimum(low + 1, len(rows) - 1), (at - low).reshape(-1, *[1] * (rows.ndim - 1))
    return np.asarray(rows[low] * (1 - share) + rows[high] * share, np.float32)


def _swell(fps: float) -> Array:
    """``(T,)`` strengths with which one face comes in, stays and goes (minimum jerk)."""
    s = np.arange(round(_RISE * fps)) / max(round(_RISE * fps), 1)
    rise = s**3 * (10 - 15 * s + 6 * s**2)
    return np.concatenate([rise, np.ones(round(_HOLD * fps) + 1), rise[::-1]]).astype(np.float32)


def _units(source: _Source, portrait: Portrait, followed: Followed, manner: Manner, reference: int) -> ActionUnits:
    """What ICface is told: the driver's own action units if it came with some, else those of the motion."""
    from mien.face.actions import units_from_motion

    shown = replace(followed.motion, expression=np.clip(followed.motion.expression + portrait.rest.expression, 0, 1))
    if source.units is None:
        return units_from_motion(shown)
    values = manner.strength * source.units.values
    if manner.relative:
        own = units_from_motion(portrait.rest)
        known = [own.names.index(name) for name in source.units.names]
        values = values - values[reference] + own.values[:, known]
    if not manner.blink:
        values[:, [i for i, name in enumerate(source.units.names) if name == "AU45"]] = 0
    return replace(source.units, values=np.clip(values, 0, 1))


def _animated(
    network: Icface, portrait: Portrait, followed: Followed, units: ActionUnits, start: int
) -> Iterator[Frame]:
    """The photo with the network's square laid over it, from frame ``start`` on."""
    from mien.rendering.icface import IcfaceRenderer
    from mien.rendering.paste import ICFACE_MARGIN, FaceSquare, soft_box
    from mien.rotations import compose

    square = FaceSquare.around(portrait.landmarks, ICFACE_MARGIN, upright=False)
    crop = square.cut(portrait.image)
    head = compose(np.repeat(portrait.rest.head_pose, len(units), 0), followed.motion.head_pose)
    opacity = soft_box(square.side)
    rows = replace(units, values=units.values[start:])
    for frame in IcfaceRenderer(network, crop).render(rows, head[start:]):
        yield square.paste(portrait.image, frame.astype(np.float32) - crop, opacity)


def _record(options: ReenactOptions, file: Path | None) -> dict[str, Any]:
    from mien.media.provenance import provenance

    inputs = {"portrait": options.portrait, "driving": file, "weights": _file_of(options.weights)}
    settings = {**asdict(options), "driving": file.name if file else options.driving}
    return provenance("reenact", inputs=inputs, settings=settings)


def _file_of(weights: Path | None) -> Path | None:
    """What stands for the weights in the record: a file, or the animator in a folder."""
    if weights is None or weights.is_file():
        return weights
    from mien.rendering.icface import ANIMATOR_FILE

    return weights / ANIMATOR_FILE
