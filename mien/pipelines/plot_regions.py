"""``mien plot regions``: where labels lie on the disc, the points drawn in them, and the path through the points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from mien.errors import InputError, MissingExtraError, OutputError
from mien.motion.va_path import REGIONS, PathOptions, Regions, VaPath, VaRegion, load_regions, span_path
from mien.pipelines.dsm import load_decoder
from mien.pipelines.plot import ENDINGS, draw_disc, draw_path
from mien.progress import Progress, Silent
from mien.spans import parse_spans
from mien.types import Array, EmotionTrack

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mien.motion.dsm import Dsm

_GRID = 101


@dataclass(frozen=True)
class PlotRegionsOptions:
    """Draw how emotions asked for by label become a path over the disc of valence and arousal.

    Without --emotion: the regions. With it: the points drawn in them and the path through the points, pale to dark.
    With --person: where this person was seen; outside the dark line their face is a generic one.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Where to write the picture: .png, .jpg, .svg or .pdf."""

    emotion: Annotated[str | None, tyro.conf.arg(aliases=("-e",))] = None
    """Stretches as in mien redirect: "0s-3s:happy:0.8, 3s-6s:sad, 7s-9s:va(-0.2,0.6)"."""

    person: Path | None = None
    """Folder of a person with a decoder."""

    regions: Path | None = None
    """A .yaml or .json file with regions of your own."""

    curve: Path | None = None
    """Write the path as well, as a table: NAME.emotion.csv."""

    duration: float = 10.0
    """Seconds of the clip."""

    fps: float = 25.0
    """Frames per second of the path."""

    degree: int = 3
    """Of the B-spline; 3 is cubic."""

    smoothness: float = 0.0
    """0 leads through the points, 1 only towards them, so that it never leaves the area they span."""

    pace: float = 1.0
    """Seconds from one drawn point to the next while a label is held."""

    seed: int = 0
    """Of the points."""


@dataclass(frozen=True)
class PlotRegionsResult:
    """What was drawn: the file, the number of points, and the share of frames that the person was seen like."""

    output: Path
    n_points: int
    known: float | None


def plot_regions(options: PlotRegionsOptions, progress: Progress | None = None) -> PlotRegionsResult:
    """Draw the picture.

    Raises:
        InputError: if an option makes no sense or a file cannot be read.
        OutputError: if an ending is unknown or a place cannot be written.
        MissingExtraError: if matplotlib, or PyTorch for a person, is missing.
    """
    from mien.media.emotion_file import is_emotion, write_emotion
    from mien.media.output import atomic_output, check_output, output_error

    if options.output.suffix.lower() not in ENDINGS:
        raise OutputError(f"{options.output}: a plot is not written as {options.output.suffix or 'a folder'}",
                          f"end -o in one of {' '.join(ENDINGS)}")  # fmt: skip
    if not (0 < options.duration <= 3600 and 1 <= options.fps <= 240):
        raise InputError(f"{options.duration:g} s at {options.fps:g} frames/s", "give up to an hour at 1 to 240")
    if options.curve is not None and (options.emotion is None or not is_emotion(options.curve)):
        raise InputError(f"--curve {options.curve}", "give --emotion, and a name that ends in .emotion.csv")
    inputs = [path for path in (options.regions, options.person) if path is not None]
    for written in (options.output, options.curve):
        if written is not None:
            check_output(written, inputs=inputs)
    regions = load_regions(options.regions) if options.regions else REGIONS
    way = PathOptions(options.degree, options.smoothness, options.pace, regions)
    path = None
    if options.emotion is not None:
        spans = parse_spans(options.emotion)
        if any(span.emotion is None for span in spans):
            raise InputError(f"--emotion {options.emotion}: names no emotion", 'write it as in "2s-5s:happy:0.8"')
        path = span_path(spans, round(options.duration * options.fps), options.fps, way, seed=options.seed)
    model = load_decoder(options.person) if options.person else None
    with (progress or Silent()).stage("plot", 1) as stage:
        figure = regions_figure(regions, path, model, options.fps)
        with atomic_output(options.output) as temporary:
            try:
                figure.savefig(temporary, dpi=120, bbox_inches="tight")
            except OSError as error:
                raise output_error(options.output, error) from error
        stage.advance()
    if options.curve is not None and path is not None:
        with atomic_output(options.curve) as temporary:
            write_emotion(temporary, EmotionTrack(path.va, options.fps), np.ones(len(path.va), np.bool_))
    known = None if model is None or path is None else round(float((model.coverage(path.va) >= 0.5).mean()), 4)
    return PlotRegionsResult(options.output, 0 if path is None else len(path.points), known)


def regions_figure(regions: Regions, path: VaPath | None, model: Dsm | None, fps: float) -> Any:
    """A matplotlib figure: regions, and beside them what there is of points, path and coverage.

    Raises:
        MissingExtraError: if matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("plots need matplotlib", "pip install matplotlib") from error
    figure = Figure(figsize=(5.4, 5.4))
    axes = figure.add_subplot()
    if model is not None:
        draw_coverage(axes, model)
    draw_disc(axes, "regions" if path is None else "regions, points and path")
    _draw_regions(axes, regions)
    if path is not None:
        draw_path(axes, EmotionTrack(path.va, fps), (0.8, 0.1, 0.1))
        axes.scatter(path.points[:, 0], path.points[:, 1], s=14, color="black", zorder=3)
    return figure


def draw_coverage(axes: Axes, model: Dsm) -> None:
    """Shade the disc by how well a decoder's person is known there; the line is at one half."""
    line = np.linspace(-1, 1, _GRID, dtype=np.float32)
    points = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    known = model.coverage(points).reshape(_GRID, _GRID)
    axes.contourf(line, line, known, levels=np.linspace(0.05, 1, 11), cmap="Greens", alpha=0.6)
    axes.contour(line, line, known, levels=[0.5], colors="darkgreen", linewidths=1.2)


def _draw_regions(axes: Axes, regions: Regions) -> None:
    from matplotlib import colormaps

    for i, (name, region) in enumerate(regions.items()):
        outline = _outline(region)
        axes.fill(*outline.T, color=colormaps["tab10"](i % 10), alpha=0.25, linewidth=0.8, zorder=1)
        if name == "neutral":
            axes.text(0, 0, name, ha="center", va="center", fontsize=8, color="0.3")


def _outline(region: VaRegion) -> Array:
    """``(N, 2)`` the corners of a region's shape."""
    turn = np.deg2rad(np.linspace(*region.angle, 60))
    ring = np.stack([np.cos(turn), np.sin(turn)], 1)
    return np.asarray(np.concatenate([region.radius[1] * ring, region.radius[0] * ring[::-1]]), np.float32)
