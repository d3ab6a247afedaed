"""``mien style``: how somebody talks and feels in a clip, as numbers that other verbs take."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from mien.errors import OutputError
from mien.progress import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StyleOptions:
    """Learn a style from a clip.

    What comes out are habits (1 is usual, smile 0) and the numbers of NED's style. -o writes both; give the file to
    mien speak --style, or to mien redirect --reference.
    """

    input: Annotated[Path, arg(aliases=("-i",))]
    """A video, or a motion (.npz or Live Link Face .csv)."""

    output: Annotated[Path | None, arg(aliases=("-o",))] = None
    """Where to write the style, .json. Default: it is only shown."""


@dataclass(frozen=True)
class StyleResult:
    """What was found.

    Attributes:
        output: the file written, if any.
        habits: by name.
        ned: NED's style; empty without PyTorch.
    """

    output: Path | None
    habits: Mapping[str, float]
    ned: tuple[float, ...]

    def __str__(self) -> str:
        lines = [f"{name:<6} {value:5.2f}" for name, value in self.habits.items()]
        if self.ned:
            lines.append("NED    " + " ".join(f"{value:.2f}" for value in self.ned))
        return "\n".join(lines)


def style(options: StyleOptions, progress: Progress | None = None) -> StyleResult:
    """Show the style of a clip, and save it.

    Raises:
        InputError: if the clip cannot be used or is shorter than two seconds.
        OutputError: if the place cannot be written.
    """
    from mien.media.output import check_output
    from mien.media.style_file import StyleFile, write_style
    from mien.motion.style import style_from_motion
    from mien.pipelines.ned import motion_of, style_of_motion

    if options.output is not None:
        if options.output.suffix.lower() != ".json":
            raise OutputError(f"{options.output}: a style is not written as {options.output.suffix}", "end -o in .json")
        check_output(options.output, inputs=[options.input])
    motion = motion_of(options.input, progress)
    found = style_from_motion(motion, str(options.input))
    habits = dict(zip(found.names, found.vector, strict=True))
    try:
        ned = style_of_motion(motion)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        log.warning("PyTorch is not installed: the style is without NED's numbers")
        ned = None
    if options.output is not None:
        saved = StyleFile(options.input.name, habits)
        if ned is not None:
            saved = replace(saved, ned=ned.style, ned_means=ned.means, ned_model=ned.model)
        write_style(options.output, saved)
    numbers = () if ned is None else tuple(round(float(value), 4) for value in ned.style)
    return StyleResult(options.output, {name: round(value, 4) for name, value in habits.items()}, numbers)
