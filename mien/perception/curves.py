"""What tracking does with curves over time: shot cuts, gaps, smoothing without delay, blinks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from mien.types import Array, Frame

_THUMBNAIL = 32
_CUT = 0.12
"""Mean change of a thumbnail's grey levels, of 1, that may be a cut."""
_CUT_RATIO = 4.0
"""A cut changes the picture by this many times more than the frames before it did."""

_SMOOTHING_WINDOW = 0.08
"""Standard deviation of the smoothing in time, seconds."""
_JITTER = 3.0
"""Changes of more than this many times a curve's own jitter are movement and are kept."""

_BLINK_RISE = 0.25
_BLINK_FALL = 0.12
"""A blink closes the lids by more than the first and is over when they are within the second of where they were."""
_LONGEST_BLINK = 0.6
"""Seconds; lids that stay shut longer are closed eyes."""


def cut_positions(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Every frame, and whether a new shot starts with it.

    A cut is a jump of the whole picture that stands out from the frames before; fast movement does not, because the
    frame before it changed as well.
    """
    import cv2

    before: Array | None = None
    usual = 0.0
    for frame in frames:
        step = max(1, min(frame.shape[:2]) // (8 * _THUMBNAIL))  # 64 pixels tell a thumbnail's as well as thousands
        small = cv2.resize(frame[::step, ::step], (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
        grey = np.asarray(small, np.float32).mean(axis=2) / 255
        change = 1.0 if before is None else float(np.abs(grey - before).mean())
        is_cut = before is None or (change > _CUT and change > _CUT_RATIO * usual)
        if not is_cut:
            usual = 0.8 * usual + 0.2 * change
        before = grey
        yield frame, is_cut


def interpolate_gaps(values: Array, known: npt.NDArray[np.bool_]) -> Array:
    """``(T, ...)`` with the rows where ``known`` is False filled in linearly, and held at both ends."""
    if known.all() or not known.any():
        return values
    rows = np.flatnonzero(known)
    at = np.arange(len(values))
    position = np.interp(at, rows, np.arange(len(rows)))
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, len(rows) - 1)
    share = (position - low).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values[rows[low]] * (1 - share) + values[rows[high]] * share, np.float32)


def smooth(values: Array, shots: tuple[int, ...], fps: float) -> Array:
    """Curves ``(T, N)`` without jitter, without delay, and without flattening real movement.

    A bilateral filter (Tomasi and Manduchi 1998) in time: neighbours count less the further away and the more
    different they are, in units of the curve's own jitter, so that blinks and lip closures of two frames survive. No
    frame looks across a shot cut.
    """
    result = np.array(values, np.float32)
    reach = max(1, round(2 * _SMOOTHING_WINDOW * fps))
    for start, end in zip(shots, (*shots[1:], len(values)), strict=True):
        shot = np.asarray(values[start:end], np.float64)
        if len(shot) < 3:
            continue
        jitter = _jitter(shot)
        total, weight = shot.copy(), np.ones_like(shot)
        for step in range(1, min(reach, len(shot) - 1) + 1):
            near = np.exp(-0.5 * (step / (_SMOOTHING_WINDOW * fps)) ** 2)
            alike = near * np.exp(-0.5 * ((shot[step:] - shot[:-step]) / (_JITTER * jitter)) ** 2)
            total[:-step] += alike * shot[step:]
            weight[:-step] += alike
            total[step:] += alike * shot[:-step]
            weight[step:] += alike
        result[start:end] = total / weight
    return result


def _jitter(shot: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``(N,)`` standard deviation of white noise in curves ``(T, N)``: the median second difference, scaled."""
    second = np.abs(shot[2:] - 2 * shot[1:-1] + shot[:-2])
    return np.asarray(np.median(second, axis=0) / (0.6745 * np.sqrt(6)) + 1e-6)


def find_blinks(closure: Array, fps: float) -> list[tuple[float, float]]:
    """Start and end of every blink in seconds.

    A blink stands out from the lowest closure shortly before and shortly after, whichever is higher: narrow eyes, eyes
    that look down and eyes that stay shut are no blinks.

    Args:
        closure: ``(T,)`` how far the lids are closed, in [0, 1].
        fps: frames per second.
    """
    from scipy.ndimage import minimum_filter1d

    if len(closure) < 3:
        return []
    reach = max(1, round(_LONGEST_BLINK * fps))
    before = minimum_filter1d(closure, reach + 1, origin=reach // 2, mode="nearest")
    after = minimum_filter1d(closure, reach + 1, origin=-((reach + 1) // 2), mode="nearest")
    raised = closure - np.maximum(before, after)
    blinks = []
    start: int | None = None
    peak = 0.0
    for frame, value in enumerate((*raised, 0.0)):
        if value > _BLINK_FALL:
            start, peak = (frame, value) if start is None else (start, max(peak, value))
        elif start is not None:
            if peak > _BLINK_RISE:
                blinks.append((start / fps, frame / fps))
            start = None
    return blinks
