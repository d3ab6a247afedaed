"""``mien style``: how somebody talks and feels in a clip, as numbers that other verbs take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from mien.errors import OutputError
from mien.progress import Progress

_SHOWN = 8  # expressions of NED's style, those that stand strongest


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
        ned: NED's style: mean and spread of each expression.
    """

    output: Path | None
    habits: Mapping[str, float]
    ned: Mapping[str, tuple[float, float]]

    def __str__(self) -> str:
        lines = [f"{name:<6} {value:5.2f}" for name, value in self.habits.items()]
        strongest = sorted(self.ned, key=lambda name: -self.ned[name][0])[:_SHOWN]
        lines += [f"{name:<19} {self.ned[name][0]:.2f} ± {self.ned[name][1]:.2f}" for name in strongest]
        return "\n".join(lines)


def style(options: StyleOptions, progress: Progress | None = None) -> StyleResult:
    """Show the style of a clip, and save it.

    Raises:
        InputError: if the clip cannot be used or is shorter than two seconds.
        OutputError: if the place cannot be written.
    """
    from mien.media.output import check_output
    from mien.media.style_file import StyleFile, write_style
    from mien.motion.ned_reversible import CURVES
    from mien.motion.style import style_from_motion
    from mien.pipelines.ned import motion_of, style_of_motion

    if options.output is not None:
        if options.output.suffix.lower() != ".json":
            raise OutputError(f"{options.output}: a style is not written as {options.output.suffix}", "end -o in .json")
        check_output(options.output, inputs=[options.input])
    motion = motion_of(options.input, progress)
    found = style_from_motion(motion, str(options.input))
    habits = dict(zip(found.names, found.vector, strict=True))
    ned = style_of_motion(motion)
    if options.output is not None:
        saved = StyleFile(options.input.name, habits, ned.style, ned.means, ned.model)
        write_style(options.output, saved)
    numbers = ned.style.reshape(2, -1).T.tolist()
    return StyleResult(
        options.output,
        {name: round(value, 4) for name, value in habits.items()},
        {name: (round(mean, 4), round(spread, 4)) for name, (mean, spread) in zip(CURVES, numbers, strict=True)},
    )
