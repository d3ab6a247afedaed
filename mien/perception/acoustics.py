"""What the sound wave itself says: loudness, pitch, where somebody speaks, and a rough guess at speech sounds.

Everything runs on frames of :data:`HOP` seconds; frame ``k`` is centred on ``(k + 0.5) * HOP``. Sound is 16 kHz mono.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mien.types import Array, Phone

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

SAMPLE_RATE = 16_000
HOP = 0.01
"""Seconds from frame to frame."""

_HOP = round(HOP * SAMPLE_RATE)
_WINDOW = 4 * _HOP  # 40 ms hold three periods of 75 Hz, the lowest voice looked for
_BLOCK = 2000  # frames worked on at a time: 20 s

PITCH_RANGE = (75.0, 500.0)
"""Hz; lowest and highest voice looked for."""


@dataclass(frozen=True, slots=True)
class Prosody:
    """Curves of one clip, one value per :data:`HOP`.

    Attributes:
        level: ``(N,)`` dB re full scale, of the band 100 to 7000 Hz.
        speech_level: dB re full scale, how loud this clip's speech is: the 95th percentile of ``level`` in speech.
        loudness: ``(N,)`` in [0, 1], 1 at the speech level, 0 outside speech.
        pitch: ``(N,)`` Hz, 0 where unvoiced.
        active: ``(N,)`` bool, where somebody speaks.
    """

    level: Array
    speech_level: float
    loudness: Array
    pitch: Array
    active: Bools


def prosody(samples: Array) -> Prosody:
    """Loudness, pitch and voice activity.

    Loudness follows Stevens' power law (sensation grows with sound pressure to the 0.6). Pitch is the peak of the
    autocorrelation divided by that of the window (Boersma 1993, "Accurate short-term analysis of the fundamental
    frequency"), median-filtered over 50 ms.
    """
    level, raw_pitch, periodicity = _by_block(samples, _level_and_pitch, 3)
    active = voice_activity(level, periodicity)
    speech_level = float(np.percentile(level[active], 95)) if active.any() else -np.inf
    loudness = np.zeros_like(level)
    loudness[active] = np.minimum(1, 10 ** (0.6 * (level[active] - speech_level) / 20))
    pitch = _median5(np.where(active & (periodicity > 0.5), raw_pitch, 0))
    if pitch.any():
        # Nobody's voice moves further than an octave or so from its own middle; what does is hiss or a multiple.
        middle = float(np.median(pitch[pitch > 0]))
        pitch[(pitch < middle / 2) | (pitch > 2.2 * middle)] = 0
    return Prosody(level, speech_level, loudness, pitch, active)


def voice_activity(level: Array, periodicity: Array) -> Bools:
    """Where somebody speaks.

    The noise floor and the speech level are percentiles of the clip's own level. Speech starts where the level passes
    an upper threshold between them and reaches as far as a lower one; pauses under 0.15 s (the closures of stops) are
    bridged and bursts under 0.05 s dropped. A level that hardly moves is a hum or noise, unless most of it is periodic
    (a held note).

    Args:
        level: ``(N,)`` dB re full scale.
        periodicity: ``(N,)`` height of the autocorrelation peak, 1 for a perfect tone.

    Returns:
        ``(N,)`` bool.
    """
    audible = level > -75  # about 6 steps of 16-bit sound
    if audible.sum() * HOP < 0.05:
        return np.zeros(len(level), bool)
    loud = float(np.percentile(level[audible], 95))
    # Digital silence between words says nothing about the floor of the recording.
    floor = max(float(np.percentile(level[audible], 8)), loud - 50)
    if loud - floor < 10:
        steady = float(np.mean(periodicity[audible] > 0.6)) > 0.5
        return audible & (level > loud - 15) if steady else np.zeros(len(level), bool)
    low = floor + max(4, 0.2 * (loud - floor))
    high = low + min(6, 0.25 * (loud - floor))
    active = _hysteresis(level, low, high)
    active = _drop_runs(active, value=False, shorter_than=0.15)
    return _drop_runs(active, value=True, shorter_than=0.05) & _drop_runs(audible, value=False, shorter_than=0.15)


def acoustic_phones(samples: Array, clip: Prosody) -> tuple[Phone, ...]:
    """A rough transcription of any language, from band energies and formants alone.

    In speech, a frame is a hiss (``S``) when most energy lies above 3 kHz, a closed mouth (``M``) when the level dips
    and only the lowest band is left, else the vowel whose first two formants are nearest (means of men and women after
    Hillenbrand et al. 1995, table V). Formants are the roots of a 10th-order linear prediction (Atal and Hanauer 1971).
    The symbols stand for mouth shapes, not for what was said.

    Args:
        samples: ``(n,)`` at 16 kHz.
        clip: what :func:`prosody` found in them.
    """
    hiss, hum, f1, f2 = _by_block(samples, _bands_and_formants, 4)
    names = ("SIL", "S", "M", *_VOWELS)
    formants = np.stack([_bark(f1), _bark(f2)], axis=-1)
    means = _bark(np.array(list(_VOWELS.values())))
    distance = np.square((formants[:, None] - means) * (1.0, 0.7)).sum(axis=2)
    label = 3 + distance.argmin(axis=1)
    dip = _running_max(clip.level, 15) - clip.level
    label[(dip > 11) & (hum > 0.98)] = 2
    label[hiss > 0.55] = 1
    label[~clip.active] = 0
    return _segments(_majority(label, len(names), 7), names)


# F1 and F2 in Hz. Only vowels whose mouth shapes differ are kept.
_VOWELS = {
    "IY": (390.0, 2540.0), "EH": (655.0, 1930.0), "AE": (630.0, 2150.0), "AA": (852.0, 1440.0),
    "AO": (716.0, 1060.0), "OW": (526.0, 972.0), "UW": (418.0, 1050.0), "AH": (688.0, 1313.0), "ER": (498.0, 1480.0),
}  # fmt: skip


def _by_block(samples: Array, function: Callable[[Array], tuple[Array, ...]], n_results: int) -> list[Array]:
    """``function`` on all windows ``(N, _WINDOW)``, some seconds at a time so that memory stays flat."""
    n_frames = max(1, -(-len(samples) // _HOP))
    margin = (_WINDOW - _HOP) // 2
    results: list[list[Array]] = [[] for _ in range(n_results)]
    for start in range(0, n_frames, _BLOCK):
        stop = min(start + _BLOCK, n_frames)
        first, last = start * _HOP - margin, stop * _HOP + margin
        piece = samples[max(first, 0) : min(last, len(samples))]
        piece = np.pad(piece, (max(0, -first), max(0, last - len(samples))))
        windows = np.lib.stride_tricks.sliding_window_view(piece, _WINDOW)[::_HOP]
        for found, part in zip(results, function(windows), strict=True):
            found.append(np.asarray(part, np.float32))
    return [np.concatenate(parts) for parts in results]


def _level_and_pitch(windows: Array) -> tuple[Array, ...]:
    n_fft = 1024  # holds a window and the longest lag, so that the correlation does not wrap around
    window = np.hanning(_WINDOW).astype(np.float32)
    frames = (windows - windows.mean(axis=1, keepdims=True)) * window
    power = np.square(np.abs(np.fft.rfft(frames, n_fft)))
    frequency = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
    band = (frequency >= 100) & (frequency <= 7000)
    mean_square = 2 * power[:, band].sum(axis=1) / n_fft / np.square(window).sum()
    level = 10 * np.log10(mean_square + 1e-10)

    power[:, frequency > 1500] = 0  # breath noise would hide the period
    correlation = np.fft.irfft(power, n_fft)
    of_window = np.fft.irfft(np.square(np.abs(np.fft.rfft(window, n_fft))), n_fft)
    shortest, longest = (round(SAMPLE_RATE / f) for f in (PITCH_RANGE[1], PITCH_RANGE[0]))
    lags = np.arange(shortest, longest + 1)
    at = correlation[:, lags] / (correlation[:, :1] + 1e-9) * (of_window[0] / of_window[lags])
    # Of equal peaks the shorter period is the voice, the longer ones its multiples.
    best = (at - 0.02 * np.log2(lags / shortest)).argmax(axis=1).clip(1, len(lags) - 2)
    rows = np.arange(len(at))
    left, peak, right = at[rows, best - 1], at[rows, best], at[rows, best + 1]
    shift = 0.5 * (left - right) / np.minimum(left - 2 * peak + right, -1e-9)
    return level, SAMPLE_RATE / (lags[best] + shift.clip(-0.5, 0.5)), peak


def _bands_and_formants(windows: Array) -> tuple[Array, ...]:
    """Shares of the energy above 3 kHz and below 500 Hz (of that below 3 kHz), and the first two formants in Hz."""
    frames = windows * np.hanning(_WINDOW).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames, 1024)))
    frequency = np.fft.rfftfreq(1024, 1 / SAMPLE_RATE)
    high = power[:, frequency > 3000].sum(axis=1)
    low = power[:, frequency < 500].sum(axis=1)
    below = power[:, frequency <= 3000].sum(axis=1) + 1e-9
    # Linear prediction of the band to 4 kHz, with the tilt of the voice removed by pre-emphasis.
    emphasis = 1 + 0.97**2 - 2 * 0.97 * np.cos(2 * np.pi * frequency / SAMPLE_RATE)
    order = 10
    half = (power * emphasis)[:, frequency <= 4000]
    correlation = np.fft.irfft(half, axis=1)[:, : order + 1]
    correlation[:, 0] = correlation[:, 0] * 1.0001 + 1e-9
    toeplitz = correlation[:, np.abs(np.subtract.outer(np.arange(order), np.arange(order)))]
    predictor = np.linalg.solve(toeplitz, correlation[:, 1:, None])[..., 0]
    companion = np.zeros((len(power), order, order))
    companion[:, 0] = predictor
    companion[:, np.arange(1, order), np.arange(order - 1)] = 1
    roots = np.linalg.eigvals(companion)
    hertz = np.angle(roots) * 8000 / (2 * np.pi)
    bandwidth = -np.log(np.abs(roots) + 1e-9) * 8000 / np.pi
    hertz = np.sort(np.where((hertz > 200) & (bandwidth < 500), hertz, np.inf), axis=1)
    f1 = np.where(np.isfinite(hertz[:, 0]), hertz[:, 0], 500)
    f2 = np.where(np.isfinite(hertz[:, 1]), hertz[:, 1], 1500)
    return high / (high + below), low / below, f1, f2


def _bark(hertz: npt.NDArray[np.floating]) -> Array:
    """Critical-band rate (Traunmüller 1990)."""
    return np.asarray(26.81 * hertz / (1960 + hertz) - 0.53, np.float32)


def _runs(labels: npt.NDArray[np.generic]) -> list[tuple[int, int]]:
    """``(start, stop)`` of every stretch of equal values."""
    edges = [0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), len(labels)]
    return list(pairwise(edges))


def _hysteresis(level: Array, low: float, high: float) -> Bools:
    active = level > low
    for start, stop in _runs(active):
        if active[start] and level[start:stop].max() < high:
            active[start:stop] = False
    return active


def _drop_runs(mask: Bools, *, value: bool, shorter_than: float) -> Bools:
    """``mask`` with its short inner runs of ``value`` turned over."""
    mask = mask.copy()
    for start, stop in _runs(mask):
        inner = value or 0 < start < stop < len(mask)
        if mask[start] == value and inner and (stop - start) * HOP < shorter_than - 1e-9:
            mask[start:stop] = not value
    return mask


def _median5(curve: Array) -> Array:
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(np.pad(curve, 2), 5), axis=1), np.float32)


def _running_max(curve: Array, reach: int) -> Array:
    padded = np.pad(curve, reach, mode="edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1), np.float32)


def _majority(label: Ints, n_labels: int, width: int) -> Ints:
    """The commonest label within ``width`` frames; a label keeps its place when there is a tie."""
    votes = np.zeros((len(label), n_labels), np.float32)
    votes[np.arange(len(label)), label] = 1
    counts = np.stack([np.convolve(column, np.ones(width), "same") for column in votes.T], axis=1)
    return np.asarray((counts + 0.5 * votes).argmax(axis=1), np.int64)


def _segments(label: Ints, names: tuple[str, ...]) -> tuple[Phone, ...]:
    return tuple(Phone(names[label[start]], start * HOP, stop * HOP) for start, stop in _runs(label))
