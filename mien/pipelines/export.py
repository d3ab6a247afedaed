"""``mien export``: a motion file in the format another program reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mien.errors import InputError
from mien.progress import Progress, Silent


@dataclass(frozen=True)
class ExportOptions:
    """Write a motion as Live Link Face CSV or as mien's own .npz, by the ending of -o."""

    input: Annotated[Path, tyro.conf.arg(aliases=("-i",))]
    """The motion: .npz of mien, or a Live Link Face .csv."""

    output: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Where to: .csv or .npz."""

    fps: float | None = None
    """Frames per second of the result; the motion is resampled. Default: its own rate."""


@dataclass(frozen=True)
class ExportResult:
    """What was written: the file, its length in frames and their rate."""

    output: Path
    n_frames: int
    fps: float


def export(options: ExportOptions, progress: Progress | None = None) -> ExportResult:
    """Write the motion.

    Raises:
        InputError: if the motion cannot be read or the rate makes no sense.
        OutputError: if the ending is unknown or the place cannot be written.
    """
    from mien.media.motion_file import read_motion, write_motion
    from mien.media.output import check_output
    from mien.media.provenance import is_synthetic, provenance

    if options.fps is not None and not 0 < options.fps <= 1000:
        raise InputError(f"--fps {options.fps:g}", "give more than 0 and at most 1000 frames per second")
    check_output(options.output, inputs=[options.input])
    with (progress or Silent()).stage("export", 1) as stage:
        motion = read_motion(options.input)
        record = provenance(
            "export", inputs={"motion": options.input}, settings=options, synthetic=is_synthetic(options.input)
        )
        if options.fps is not None:
            motion = motion.resample(options.fps)
        write_motion(options.output, motion, provenance=record)
        stage.advance()
    return ExportResult(options.output, len(motion), motion.fps)
