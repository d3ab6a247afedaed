"""Measures of how a face moves: expression, head, blinks, closures of the lips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.types import Phone

BILABIALS = frozenset({"P", "B", "M"})
"""The sounds for which the lips must close."""

_SHUT = 0.2  # what is left of the aspect ratio when the lids touch: landmarks stand on the lids' edges


def average_expression_distance(truth: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """AED: ``mean_t Σ_k |x - y|`` of expression coefficients, in units of the coefficients.

    The form of head2head++'s evaluation program (Doukas et al. 2021), summed over ``K``; on ARKit's 52 weights, not on
    a 3DMM's, so that numbers compare only with other numbers of mien. In motion-model papers AED is something else, a
    distance of identity embeddings.

    Args:
        truth: ``(T, K)``.
        other: the same shape.
    """
    return float(np.abs(np.asarray(truth, np.float64) - np.asarray(other, np.float64)).sum(1).mean())


def head_pose_distance(truth: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """ARD: mean absolute difference of ``(T, 3)`` head angles over frames and axes, degrees; 359 and 1 differ by 2."""
    difference = np.asarray(truth, np.float64) - np.asarray(other, np.float64)
    return float(np.abs((difference + 180) % 360 - 180).mean())


def closure_rate(aperture: npt.ArrayLike, fps: float, phones: Sequence[Phone], reach: float = 0.1) -> float:
    """Share in [0, 1] of the p, b, m sounds whose lips come closed.

    A sound counts as closed if ``aperture`` falls below ``reach`` times the clip's 95th percentile in at least one
    frame that touches its interval (own definition). Returns NaN if there are no such sounds.
    """
    gap = np.asarray(aperture, np.float64)
    limit = reach * float(np.percentile(gap, 95))
    closed = [
        float(gap[max(int(p.start * fps), 0) : int(np.ceil(p.end * fps)) + 1].min()) <= limit
        for p in phones
        if p.symbol in BILABIALS and int(p.start * fps) < len(gap)
    ]
    return float(np.mean(closed)) if closed else float("nan")


@dataclass(frozen=True, slots=True)
class Blink:
    """One blink.

    Attributes:
        time: of the deepest closure, seconds.
        duration: full width at half of the closure's rise over the open eye, seconds.
        depth: largest closure, in [0, 1].
    """

    time: float
    duration: float
    depth: float


def closure_from_openness(openness: npt.ArrayLike, fps: float, window: float = 2.0) -> npt.NDArray[np.float64]:
    """``(T,)`` lid closure in [0, 1] from the eye aspect ratio: ``1 - openness / open``, 0.2 of it being shut.

    ``open`` is the 80th percentile of ``window`` seconds around the frame: an eye that an emotion or a downward look
    narrows for longer is open all the same.

    Args:
        openness: ``(T,)`` or ``(T, 2)``, both eyes, of which the mean counts.
        fps: rows per second.
        window: seconds.
    """
    from scipy.ndimage import percentile_filter

    ratio = np.asarray(openness, np.float64)
    ratio = ratio if ratio.ndim == 1 else ratio.mean(1)
    wide = percentile_filter(ratio, 80, size=max(3, round(window * fps) | 1), mode="nearest")
    return np.asarray(np.clip((1 - ratio / np.maximum(wide, 1e-6)) / (1 - _SHUT), 0, 1))


def blinks_of(closure: npt.ArrayLike, fps: float, close: float = 0.5, reopen: float = 0.3) -> list[Blink]:
    """Blinks in a lid curve in [0, 1].

    A blink starts when ``closure`` rises to ``close`` and ends when it falls below ``reopen`` (hysteresis).
    """
    curve = np.asarray(closure, np.float64)
    blinks, start = [], None
    for i, value in enumerate([*curve, 0.0]):
        if start is None and value >= close:
            start = i
        elif start is not None and value < reopen:
            peak = start + int(np.argmax(curve[start:i]))
            blinks.append(Blink(peak / fps, _width_at_half(curve, peak) / fps, float(curve[peak])))
            start = None
    return blinks


def _width_at_half(curve: npt.NDArray[np.float64], peak: int) -> float:
    """Frames between the crossings of half the peak's height, interpolated; held ends count as crossings."""
    half = curve[peak] / 2

    def crossing(step: int) -> float:
        i = peak
        while 0 <= i + step < len(curve) and curve[i + step] > half:
            i += step
        if not 0 <= i + step < len(curve):
            return abs(i - peak) + 0.5
        return abs(i - peak) + float((curve[i] - half) / (curve[i] - curve[i + step]))

    return crossing(-1) + crossing(1)


def blink_times(closure: npt.ArrayLike, fps: float, close: float = 0.5, reopen: float = 0.3) -> list[float]:
    """Times in seconds of the deepest point of each blink; see :func:`blinks_of`."""
    return [blink.time for blink in blinks_of(closure, fps, close, reopen)]


def blink_rate(blinks: Sequence[Blink], duration: float) -> float:
    """Blinks per minute in a clip of ``duration`` seconds."""
    return 60 * len(blinks) / duration


def match_events(truth: Sequence[float], found: Sequence[float], tolerance: float) -> tuple[int, int, int]:
    """``(hits, missed, invented)``: events in seconds paired one to one within ``tolerance`` seconds, nearest first."""
    pairs = sorted((abs(t - f), i, j) for i, t in enumerate(truth) for j, f in enumerate(found))
    used_truth: set[int] = set()
    used_found: set[int] = set()
    for gap, i, j in pairs:
        if gap <= tolerance and i not in used_truth and j not in used_found:
            used_truth.add(i)
            used_found.add(j)
    return len(used_truth), len(truth) - len(used_truth), len(found) - len(used_found)
