"""Curves in time that several lanes of motion share: slow wander, bumps, and the accents and pauses of speech.

Everything here is smooth (at least once differentiable), bounded, and the same for the same seed at any frame rate.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mien.types import Array, SpeechFeatures


def wander(n_frames: int, fps: float, channels: int, period: float, rng: np.random.Generator) -> Array:
    """Slow, aimless movement that never leaves [-1, 1].

    Each channel is the mean of five sine waves with random phases and periods within a factor 2 around ``period``
    seconds; its standard deviation is about 0.32.

    Returns:
        ``(n_frames, channels)``.
    """
    n_waves = 5
    frequency = 2.0 ** rng.uniform(-1, 1, (n_waves, channels)) / period
    phase = rng.uniform(0, 2 * np.pi, (n_waves, channels))
    clock = (np.arange(n_frames) / fps)[:, None, None]
    return np.asarray(np.sin(2 * np.pi * frequency * clock + phase).mean(1), np.float32)


def bumps(n_frames: int, fps: float, times: Sequence[float], heights: Sequence[float], width: float) -> Array:
    """``(n_frames,)``: a raised-cosine bump ``width`` seconds wide around each time, overlapping ones added."""
    clock = np.arange(n_frames) / fps
    curve = np.zeros(n_frames)
    for time, height in zip(times, heights, strict=True):
        first, last = (int(np.clip((time + side * width / 2) * fps + 1, 0, n_frames)) for side in (-1, 1))
        s = (clock[first:last] - time) / width
        curve[first:last] += height * 0.5 * (1 + np.cos(2 * np.pi * np.clip(s, -0.5, 0.5)))
    return curve.astype(np.float32)


def smooth_step(x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """0 below 0, 1 above 1, and level at both ends."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))


def smooth(curve: npt.ArrayLike, fps: float, seconds: float) -> Array:
    """A ``(T,)`` curve blurred with a raised-cosine window ``seconds`` wide; the ends are held."""
    values = np.asarray(curve, np.float64)
    radius = round(seconds * fps / 2)
    if radius < 1 or len(values) == 0:
        return np.asarray(values, np.float32)
    window = 1 + np.cos(np.pi * np.arange(-radius, radius + 1) / (radius + 1))
    padded = np.pad(values, radius, mode="edge")
    return np.asarray(np.convolve(padded, window / window.sum(), mode="valid"), np.float32)


def accents(speech: SpeechFeatures, min_gap: float = 0.35) -> list[tuple[float, float]]:
    """Stressed moments of speech: (seconds, strength 0 to 1) of loudness peaks, stronger where the voice rises too.

    Loudness and pitch are what head nods and eyebrow flashes of talkers follow most closely (Munhall et al., "Visual
    prosody and speech intelligibility", 2004; Cavé et al., "About the relationship between eyebrow movements and F0
    variations", 1996).
    """
    if len(speech) < 3:
        return []
    loudness = smooth(speech.loudness * speech.voiced, speech.fps, 0.25)
    tones = np.log2(np.maximum(speech.pitch, 1.0))
    sounding = speech.pitch > 0
    middle = float(np.median(tones[sounding])) if sounding.any() else 0.0
    rise = smooth(np.where(sounding, tones - middle, 0), speech.fps, 0.25)
    strength = np.clip(loudness - 0.2, 0, 1) * np.clip(0.6 + 1.5 * rise, 0.3, 1)
    inner = strength[1:-1]
    peaks = np.flatnonzero((inner > strength[:-2]) & (inner >= strength[2:]) & (inner > 0.08)) + 1
    chosen: list[int] = []
    for frame in peaks[np.argsort(-strength[peaks], kind="stable")].tolist():
        at = bisect(chosen, frame)
        if all(abs(frame - other) >= min_gap * speech.fps for other in chosen[max(at - 1, 0) : at + 1]):
            chosen.insert(at, frame)
    top = max((float(strength[f]) for f in chosen), default=1.0)
    return [(frame / speech.fps, float(strength[frame]) / top) for frame in chosen]


def pauses(speech: SpeechFeatures, min_length: float = 0.15) -> list[tuple[float, float]]:
    """Silences of at least ``min_length`` seconds: (start, end) in seconds."""
    silent = np.concatenate([[False], speech.voiced < 0.5, [False]])
    edges = np.flatnonzero(silent[1:] != silent[:-1]) / speech.fps
    return [(a, b) for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True) if b - a >= min_length]


def speaking(speech: SpeechFeatures) -> Array:
    """``(T,)`` in [0, 1]: 1 while sounds are made, easing to 0 within a tenth of a second of a pause.

    The phones decide, as they do for the lips; a clip without any phone falls back on voice activity.
    """
    clock = np.arange(len(speech)) / speech.fps
    sounds = [phone for phone in speech.phones if phone.symbol != "SIL"]
    talking = np.array(speech.voiced > 0.5) if not sounds else np.zeros(len(speech), np.bool_)
    end = -1.0
    for phone in sounds:
        start = end if 0 <= phone.start - end < 0.2 else phone.start  # a breath inside a phrase is no pause
        end = phone.end
        talking[(clock >= start) & (clock < end)] = True
    return smooth(talking, speech.fps, 0.2)
