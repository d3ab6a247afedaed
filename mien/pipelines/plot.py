"""``mien plot va``: where clips lie on the disc of valence and arousal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from mien.direction import LABEL_ANGLES
from mien.errors import InputError, MissingExtraError, OutputError
from mien.progress import Progress, Silent
from mien.types import EmotionTrack

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".png", ".jpg", ".svg", ".pdf")
Kind = Literal["cloud", "density", "path"]

_GRID = 120
_KERNEL = 0.08  # standard deviation of the density's bell, in units of the disc's radius
_MOST_POINTS = 4000


@dataclass(frozen=True)
class PlotOptions:
    """Draw valence and arousal of one or many clips over the emotion disc.

    Cloud: every frame a point. Density: where most frames lie. Path: the way through time, pale to dark, from the
    dot to the cross.
    """

    inputs: Annotated[tuple[Path, ...], tyro.conf.arg(name="input", aliases=("-i",))]
    """Tables written by mien track -o NAME.emotion.csv; each clip gets a colour."""

    output: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Where to write the picture: .png, .jpg, .svg or .pdf."""

    kinds: tuple[Kind, ...] = ("cloud", "density", "path")
    """Which pictures, side by side."""


@dataclass(frozen=True)
class PlotResult:
    """What was drawn: the file, the number of clips and of their frames."""

    output: Path
    n_clips: int
    n_frames: int


def plot(options: PlotOptions, progress: Progress | None = None) -> PlotResult:
    """Draw the picture.

    Raises:
        InputError: if a table cannot be read, or nothing is to be drawn.
        OutputError: if the ending is unknown or the place cannot be written.
        MissingExtraError: if matplotlib is missing.
    """
    from mien.media.emotion_file import read_emotion
    from mien.media.output import atomic_output, check_output, output_error

    if options.output.suffix.lower() not in ENDINGS:
        raise OutputError(f"{options.output}: a plot is not written as {options.output.suffix or 'a folder'}",
                          f"end -o in one of {' '.join(ENDINGS)}")  # fmt: skip
    if not options.inputs or not options.kinds:
        raise InputError("nothing to draw", "give at least one table with -i and one of --kinds")
    check_output(options.output, inputs=options.inputs)
    tracks = {path.name.removesuffix(".emotion.csv"): read_emotion(path) for path in options.inputs}
    with (progress or Silent()).stage("plot", 1) as stage:
        figure = va_figure(tracks, options.kinds)
        with atomic_output(options.output) as temporary:
            try:
                figure.savefig(temporary, dpi=120, bbox_inches="tight")
            except OSError as error:
                raise output_error(options.output, error) from error
        stage.advance()
    return PlotResult(options.output, len(tracks), sum(len(track) for track in tracks.values()))


def va_figure(tracks: dict[str, EmotionTrack], kinds: tuple[Kind, ...]) -> Any:
    """A matplotlib figure with one disc per kind.

    Args:
        tracks: what each clip is called, and its emotion over time.
        kinds: what to draw.

    Raises:
        MissingExtraError: if matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("plots need matplotlib", "pip install matplotlib") from error
    figure = Figure(figsize=(5 * len(kinds), 5.4))
    for place, kind in enumerate(kinds, 1):
        disc_of(figure.add_subplot(1, len(kinds), place), tracks, kind)
    return figure


def disc_of(axes: Axes, tracks: dict[str, EmotionTrack], kind: Kind) -> None:
    """Draw one disc; arguments as in :func:`va_figure`."""
    from matplotlib import colormaps

    colours = [colormaps["tab10"](i % 10) for i in range(len(tracks))]
    draw_disc(axes, kind)
    if kind == "density":
        _density(axes, np.concatenate([track.va for track in tracks.values()]))
    for (name, track), colour in zip(tracks.items(), colours, strict=True):
        if kind == "cloud":
            some = track.va[:: len(track) // _MOST_POINTS + 1]
            axes.scatter(some[:, 0], some[:, 1], s=7, color=colour, alpha=0.5, linewidths=0, label=name)
        elif kind == "path":
            draw_path(axes, track, colour)
    if kind == "cloud" and len(tracks) > 1:
        axes.legend(loc="lower left", fontsize=7, frameon=False, markerscale=2)


def draw_disc(axes: Axes, title: str) -> None:
    """The circle, its axes and the places of the labels."""
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(turn), np.sin(turn), color="0.6", linewidth=1)
    axes.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
    for label, degrees in LABEL_ANGLES.items():
        x, y = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        axes.plot(x, y, ".", color="0.4", markersize=4)
        side = "center" if abs(x) < 0.3 else "left" if x > 0 else "right"
        axes.text(1.06 * x, 1.06 * y, label, ha=side, va="center", fontsize=8, color="0.3")
    axes.set(xlim=(-1.5, 1.5), ylim=(-1.25, 1.25), aspect="equal", title=title, xlabel="valence", ylabel="arousal")
    axes.set_xticks([-1, 0, 1])
    axes.set_yticks([-1, 0, 1])


def _density(axes: Axes, va: np.ndarray) -> None:
    """A bell on every frame, summed over the square around the disc."""
    line = np.linspace(-1, 1, _GRID)
    some = va[:: len(va) // _MOST_POINTS + 1]
    across, up = (np.exp(-0.5 * ((line[:, None] - some[:, i]) / _KERNEL) ** 2) for i in (0, 1))
    share = up @ across.T
    axes.contourf(line, line, share / share.max(), levels=np.linspace(0.05, 1, 12), cmap="viridis", alpha=0.85)


def draw_path(axes: Axes, track: EmotionTrack, colour: Any) -> None:
    """The way through time: starts pale, ends dark, with a dot at the start and a cross at the end."""
    from matplotlib.collections import LineCollection

    some = track.va[:: len(track) // _MOST_POINTS + 1]
    steps = np.stack([some[:-1], some[1:]], 1)
    strength = np.linspace(0.2, 1, max(len(steps), 1))
    axes.add_collection(LineCollection(list(steps), colors=[(*colour[:3], a) for a in strength], linewidths=1.2))
    axes.plot(*some[0], "o", color=colour, markersize=5)
    axes.plot(*some[-1], "x", color=colour, markersize=7)
