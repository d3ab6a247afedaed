"""Labels to a path over the disc of valence and arousal: regions, points drawn in them, a B-spline through the points.

From "Deep Semantic Manipulation of Facial Videos", Solanki and Roussos, 2021 (arXiv 2111.07902): every label becomes a
random point, a B-spline through the points gives one pair of valence and arousal per frame. The paper's regions are
not known.

Regions (:data:`REGIONS`): happy, surprise, fear and sad are measured from the figure of a published student project on
the paper, whose sectors bear no names; neutral is its inner disc. Anger, disgust, contempt, tired and relaxed are ours,
around the places where :data:`mien.direction.LABEL_ANGLES` puts these labels, without overlap.

Intensity is not explained in the paper. Here it is a factor on the region's radii: ``happy:0.5`` lies half as far from
the centre as ``happy``, in the same directions.

Convention: angles in degrees counter-clockwise from positive valence, radii in [0, 1], points are (valence, arousal).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.direction import ALIASES, LABELS, check_choice
from mien.errors import DirectionError, FormatError, InputError
from mien.spans import EmotionSpan, span_shares
from mien.types import Array

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VaRegion:
    """Part of a ring of the disc.

    Attributes:
        angle: where it begins and ends, degrees; the end may lie beyond 360.
        radius: inner and outer.

    Raises:
        DirectionError: if they are out of range or in the wrong order.
    """

    angle: tuple[float, float]
    radius: tuple[float, float]

    def __post_init__(self) -> None:
        low, high = self.angle
        if not (-360 <= low < high <= 720 and high - low <= 360):
            raise DirectionError(f"angle {low:g} to {high:g}", "give two angles in degrees, the lower one first")
        inner, outer = self.radius
        if not 0 <= inner < outer <= 1:
            raise DirectionError(f"radius {inner:g} to {outer:g}", "give two radii from 0 to 1, the smaller one first")

    def sample(self, n: int, rng: np.random.Generator, intensity: float = 1.0) -> Array:
        """``(n, 2)`` points, uniform over the area of the region at this intensity."""
        angle = np.deg2rad(rng.uniform(*self.angle, n))
        inner, outer = self.radius
        radius = intensity * np.sqrt(rng.uniform(inner**2, outer**2, n))
        return np.asarray(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), np.float32)

    def contains(self, va: npt.ArrayLike, intensity: float = 1.0) -> npt.NDArray[np.bool_]:
        """``(N,)`` which of the points ``(N, 2)`` lie in the region at this intensity."""
        points = np.asarray(va, np.float64)
        low, high = self.angle
        turned = (np.rad2deg(np.arctan2(points[:, 1], points[:, 0])) - low) % 360
        radius = np.hypot(points[:, 0], points[:, 1])
        inner, outer = (intensity * r for r in self.radius)
        slack = 1e-6
        return (turned <= high - low + slack) & (radius >= inner - slack) & (radius <= outer + slack)


Regions = Mapping[str, VaRegion]
"""One region for every label of :data:`mien.direction.LABELS`."""

REGIONS: Regions = MappingProxyType({
    "neutral": VaRegion((0, 360), (0, 0.25)),
    "happy": VaRegion((1, 31), (0.75, 1)),
    "surprise": VaRegion((52, 78), (0.75, 1)),
    "fear": VaRegion((91, 113), (0.75, 1)),
    "anger": VaRegion((115, 132), (0.75, 1)),
    "disgust": VaRegion((136, 154), (0.75, 1)),
    "contempt": VaRegion((157, 175), (0.75, 1)),
    "sad": VaRegion((189, 213), (0.75, 1)),
    "tired": VaRegion((255, 281), (0.75, 1)),
    "relaxed": VaRegion((305, 331), (0.75, 1)),
})  # fmt: skip


def load_regions(path: str | Path) -> Regions:
    """Regions from a ``.yaml`` or ``.json`` file; labels that it does not name keep theirs.

        happy: {angle: [1, 31], radius: [0.75, 1]}

    Raises:
        InputError: if there is no such file.
        FormatError: naming the label and what is wrong with it.
    """
    import yaml

    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))  # YAML reads JSON as well
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise FormatError(f"{path}: cannot be read ({' '.join(str(error).split())})", "see docs/dsm.md") from error
    if not isinstance(content, dict) or not content:
        raise FormatError(f"{path}: names no regions", "write lines such as happy: {angle: [1, 31], radius: [0.75, 1]}")
    return MappingProxyType(dict(REGIONS) | dict(_region(path, *entry) for entry in content.items()))


def _region(path: Path, name: Any, entry: Any) -> tuple[str, VaRegion]:
    try:
        label = check_choice(ALIASES.get(str(name).lower(), str(name).lower()), LABELS, "emotion")
        if not isinstance(entry, dict) or set(entry) != {"angle", "radius"}:
            raise DirectionError("it needs angle and radius")
        (low, high), (inner, outer) = entry["angle"], entry["radius"]
        return label, VaRegion((float(low), float(high)), (float(inner), float(outer)))
    except (DirectionError, TypeError, ValueError) as error:
        example = "write it as in happy: {angle: [1, 31], radius: [0.75, 1]}"
        raise FormatError(f"{path}: {name}: {error}", example) from error


def save_regions(path: str | Path, regions: Regions = REGIONS) -> None:
    """Write what :func:`load_regions` reads, as a start for one's own."""
    rows = {name: {"angle": list(region.angle), "radius": list(region.radius)} for name, region in regions.items()}
    Path(path).write_text("".join(f"{name}: {json.dumps(row)}\n" for name, row in rows.items()), encoding="utf-8")


@dataclass(frozen=True)
class PathOptions:
    """How stretches become a path.

    Attributes:
        degree: of the B-spline; 3 is cubic, 1 straight lines. Fewer points than ``degree + 1`` lower it.
        smoothness: 0 leads through the points, 1 takes them as control points, which the path only approaches, so that
            it never leaves the polygon they span; between, a mixture.
        pace: seconds from one drawn point to the next while a label is held.
        regions: where labels lie.

    Raises:
        InputError: if a number is out of range.
    """

    degree: int = 3
    smoothness: float = 0.0
    pace: float = 1.0
    regions: Regions = field(default_factory=lambda: REGIONS)

    def __post_init__(self) -> None:
        for name, low, high in (("degree", 1, 5), ("smoothness", 0, 1), ("pace", 0.1, 60)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} of the path is {value:g}", f"allowed: {low:g} to {high:g}")


@dataclass(frozen=True, eq=False)
class VaPath:
    """A path over the disc, and what it was made of.

    Attributes:
        va: ``(T, 2)`` in [-1, 1], a row per frame; held outside the stretches.
        times: ``(K,)`` seconds of the points.
        points: ``(K, 2)`` drawn or given.
    """

    va: Array
    times: Array
    points: Array


def span_path(
    spans: Sequence[EmotionSpan], n_frames: int, fps: float, options: PathOptions | None = None, *, seed: int = 0
) -> VaPath:
    """The path of a clip's stretches: a B-spline for each; where two touch, one goes over into the other.

    Args:
        spans: in order of time, each with an emotion.
        n_frames: length of the clip.
        fps: frames per second; frame ``i`` shows time ``i / fps``.
        options: of the path.
        seed: of the points; the same seed gives the same path.

    Raises:
        ValueError: if there are no stretches or one names no emotion.
    """
    if not spans:
        raise ValueError("spans: expected at least one")
    options = options or PathOptions()
    rng = np.random.default_rng([seed, 2])
    time = np.arange(n_frames) / fps
    drawn = [_points(span, n_frames / fps, options, rng) for span in spans]
    curves = np.stack([b_spline(*each, time, options.degree, options.smoothness) for each in drawn])
    va = np.einsum("ts,std->td", span_shares(spans, time), curves)
    times, points = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    return VaPath(_on_square(va), times, points)


def _points(span: EmotionSpan, duration: float, options: PathOptions, rng: np.random.Generator) -> tuple[Array, Array]:
    """Times and points of a stretch: both ends, and one about every ``pace`` seconds between."""
    if span.emotion is None:
        raise ValueError("spans: a stretch names no emotion")
    length = max(min(span.end, duration) - span.start, 1e-3)
    n = max(2, round(length / options.pace) + 1)
    times = np.linspace(span.start, span.start + length, n).astype(np.float32)
    if span.emotion.va is not None:
        return times, np.tile(np.array(span.emotion.va, np.float32), (n, 1))
    return times, options.regions[span.emotion.label].sample(n, rng, span.emotion.intensity)


def b_spline(times: npt.ArrayLike, points: npt.ArrayLike, at: npt.ArrayLike, degree: int = 3,
             smoothness: float = 0.0) -> Array:  # fmt: skip
    """A clamped B-spline: it begins at the first point and ends at the last one.

    Args:
        times: ``(K,)`` seconds, increasing.
        points: ``(K, D)``.
        at: ``(N,)`` seconds; before the first and after the last time the end points are held.
        degree: lowered to ``K - 1`` if there are fewer points.
        smoothness: as in :class:`PathOptions`.

    Returns:
        ``(N, D)``.
    """
    from scipy.interpolate import BSpline, make_interp_spline

    knots_at, values = np.asarray(times, np.float64), np.asarray(points, np.float64)
    wanted = np.clip(np.asarray(at, np.float64), knots_at[0], knots_at[-1])
    if len(knots_at) == 1:
        return np.repeat(values, len(wanted), axis=0).astype(np.float32)
    through = make_interp_spline(knots_at, values, k=min(degree, len(knots_at) - 1))
    control = (1 - smoothness) * through.c + smoothness * values
    return np.asarray(BSpline(through.t, control, through.k)(wanted), np.float32)


def _on_square(va: Array) -> Array:
    """Clipped to [-1, 1], with a note if that changes anything."""
    clipped = np.clip(va, -1, 1).astype(np.float32)
    outside = int((np.abs(va - clipped) > 1e-6).any(1).sum())
    if outside:
        log.info("the path leaves [-1, 1] in %d frames and was clipped there; more smoothness keeps it inside", outside)
    return clipped
