"""``mien export``: a motion file in the format another program reads."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mien.errors import InputError, OutputError
from mien.progress import Progress, Silent

log = logging.getLogger(__name__)

_TURNS = ("nod", "turn", "tilt")  # about x, y and z


@dataclass(frozen=True)
class ExportOptions:
    """Write a motion in another program's format, by the ending of -o.

    A .csv is Live Link Face, .npz mien's own, .glb an animated glTF mesh with named morph targets, .flame.npz FLAME's
    coefficients, and a folder (no ending) gets one mesh per frame.
    """

    input: Annotated[Path, tyro.conf.arg(aliases=("-i",))]
    """The motion: .npz of mien, or a Live Link Face .csv."""

    output: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Where to: .csv, .npz, .glb, .flame.npz, or a folder of meshes."""

    fps: float | None = None
    """Frames per second of the result; the motion is resampled. Default: its own rate."""

    rig: str | None = None
    """The face that shall move: builtin, ict, flame, or the file of a rig or FLAME model. Default: the motion's own."""

    template: Path | None = None
    """Neutral mesh of one person (.obj or .ply) with the rig's vertices in the rig's order, for .glb and meshes."""

    mesh: Literal["obj", "ply"] = "obj"
    """Format of the meshes in a folder: obj is text, ply binary."""

    shape: str | None = None
    """Let the face change its shape and go back: an identity direction from 0, as in 2, or with standard deviations, as
    in 2:3."""

    head: str | None = None
    """Turn the head to one side and the other: nod, turn or tilt, or with an angle in rad, as in turn:0.5."""

    blinks: int = 0
    """Blinks to add, at equal distances."""


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        output: the file or folder.
        n_frames: length in frames.
        fps: frames per second.
        residual: millimetres of RMS landmark distance lost by carrying the motion to another rig.
    """

    output: Path
    n_frames: int
    fps: float
    residual: float = 0.0


def export(options: ExportOptions, progress: Progress | None = None) -> ExportResult:
    """Write the motion.

    Raises:
        InputError: if the motion cannot be read or the rate makes no sense.
        OutputError: if the ending is unknown or the place cannot be written.
    """
    from mien.face.edit import edited
    from mien.face.rig import load_rig, retarget
    from mien.media.motion_file import ENDINGS, read_motion, write_motion
    from mien.media.output import check_output
    from mien.media.provenance import is_synthetic, provenance
    from mien.pipelines.geometry import GEOMETRY_ENDINGS, ending_of, read_template, write_geometry

    if options.fps is not None and not 0 < options.fps <= 1000:
        raise InputError(f"--fps {options.fps:g}", "give more than 0 and at most 1000 frames per second")
    ending = ending_of(options.output)
    if ending not in (*ENDINGS, *GEOMETRY_ENDINGS):
        raise OutputError(
            f"{options.output}: motion is not written as {ending}",
            "end -o in .npz, .csv, .glb, .flame.npz or /",
        )
    check_output(options.output, folder=ending == "", inputs=[options.input, options.template])
    progress = progress or Silent()
    motion, residual = read_motion(options.input), 0.0
    record = provenance(
        "export",
        inputs={"motion": options.input, "template": options.template},
        settings=options,
        synthetic=is_synthetic(options.input),
    )
    if options.fps is not None:
        motion = motion.resample(options.fps)
    changes = _edits(options)
    needs_rig = options.rig or ending in GEOMETRY_ENDINGS or any(changes.values())
    rig = load_rig(options.rig or motion.rig) if needs_rig else None
    if rig is not None:
        motion, residual = retarget(motion, rig)
        log.info("carried to rig %s, %.2f mm are lost", rig.name, residual * 1000)
        motion = edited(motion, rig, **changes)
    if rig is not None and ending in GEOMETRY_ENDINGS:
        identity = read_template(options.template, rig) if options.template else None
        write_geometry(
            options.output, rig, motion, identity=identity, mesh=options.mesh, provenance=record, progress=progress
        )
    else:
        with progress.stage("export", 1) as stage:
            write_motion(options.output, motion, provenance=record)
            stage.advance()
    return ExportResult(options.output, len(motion), motion.fps, round(residual * 1000, 3))


def _edits(options: ExportOptions) -> dict[str, Any]:
    """What the flags ask :func:`mien.face.edit.edited` for."""
    if not 0 <= options.blinks <= 1000:
        raise InputError(f"--blinks {options.blinks}", "give 0 to 1000")
    shape = head = None
    if options.shape is not None:
        index, amount = _named_amount("--shape", options.shape, 3.0)
        if not index.isdecimal():
            raise InputError(f"--shape {options.shape}", "give a number from 0, as in 2 or 2:3")
        shape = int(index), amount
    if options.head is not None:
        name, amount = _named_amount("--head", options.head, 0.52)
        if name not in _TURNS:
            raise InputError(f"--head {options.head}", f"give {', '.join(_TURNS)}, or an angle too, as in turn:0.5")
        head = _TURNS.index(name), amount
    return {"shape": shape, "head": head, "blinks": options.blinks}


def _named_amount(flag: str, text: str, default: float) -> tuple[str, float]:
    name, colon, amount = text.partition(":")
    try:
        value = float(amount) if colon else default
    except ValueError:
        value = math.nan
    if not abs(value) <= 10:
        raise InputError(f"{flag} {text}", "give a number from -10 to 10 after the colon")
    return name, value
