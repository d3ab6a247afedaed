"""Sound and picture: how loud it is, and how well the mouth follows, without learned weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mien.metrics.statistics import pearson
from mien.types import Array, Audio

_RATE, _WINDOW, _HOP, _BANDS = 16_000, 400, 160, 26


def sound_level(audio: Audio, fps: float, n_frames: int) -> Array:
    """``(n_frames,)`` RMS level of the sound per video frame, dB relative to the clip's speech level.

    The speech level is the 95th percentile of the frames; silence is held at -120 dB.
    """
    edges = np.round(np.arange(n_frames + 1) * audio.sample_rate / fps).astype(np.int64)
    squares = np.concatenate([[0.0], np.cumsum(audio.samples.astype(np.float64) ** 2)])
    edges = np.minimum(edges, len(audio.samples))
    power = (squares[edges[1:]] - squares[edges[:-1]]) / np.maximum(edges[1:] - edges[:-1], 1)
    level = 10 * np.log10(np.maximum(power, 1e-12))
    return np.asarray(np.maximum(level - np.percentile(level, 95), -120), np.float32)


def log_mel(audio: Audio, fps: float, n_frames: int, context: int = 2) -> Array:
    """``(n_frames, (2 context + 1) x 26)`` log energies of 26 mel bands, each row with its neighbours.

    Windows of 25 ms every 10 ms (Hann), triangular bands over 0 to 8 kHz, averaged over each video frame.

    Args:
        audio: at 16 kHz.
        fps: video frames per second.
        n_frames: rows wanted; beyond the sound it is silent.
        context: video frames on either side that a row knows of; 0 tells lags apart more sharply.

    Raises:
        ValueError: if the sound is not at 16 kHz.
    """
    if audio.sample_rate != _RATE:
        raise ValueError(f"the sound must be at {_RATE} Hz, got {audio.sample_rate}")
    hops = int(np.ceil(n_frames / fps * _RATE / _HOP)) + 1
    samples = np.zeros(hops * _HOP + _WINDOW, np.float32)
    kept = audio.samples[: len(samples) - _WINDOW // 2]
    samples[_WINDOW // 2 : _WINDOW // 2 + len(kept)] = kept
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP][:hops]
    power = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), 512)) ** 2
    energy = np.log(power @ _mel_bank().T + 1e-8)
    edges = np.clip(np.round(np.arange(n_frames + 1) / fps * _RATE / _HOP).astype(np.int64), 0, hops - 1)
    sums = np.concatenate([np.zeros((1, _BANDS)), np.cumsum(energy, 0)])
    ends = np.maximum(edges[1:], edges[:-1] + 1)
    rows = (sums[ends] - sums[edges[:-1]]) / (ends - edges[:-1])[:, None]
    padded = np.pad(rows, ((context, context), (0, 0)), mode="edge")
    return np.hstack([padded[i : i + n_frames] for i in range(2 * context + 1)]).astype(np.float32)


def _mel_bank() -> npt.NDArray[np.float64]:
    """``(26, 257)`` triangles between points that are equally far apart in mel."""
    points = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + _RATE / 2 / 700), _BANDS + 2) / 2595) - 1)
    bins = np.linspace(0, _RATE / 2, 257)
    low, middle, high = points[:-2, None], points[1:-1, None], points[2:, None]
    return np.asarray(np.clip(np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)), 0, None))


@dataclass(frozen=True, slots=True)
class SyncScore:
    """How well a picture's mouth follows a sound.

    Attributes:
        at_zero: mean correlation with sound and picture as they are.
        best: the highest correlation over all lags.
        lag: seconds at which it stands; negative when the picture leads.
        off_peak: median correlation farther than 200 ms from zero, what chance gives; NaN if no such lag was tried.
    """

    at_zero: float
    best: float
    lag: float
    off_peak: float


def sync_score(
    sound: npt.ArrayLike, mouth: npt.ArrayLike, fps: float, max_lag: float = 0.5, ridge: float = 100.0, folds: int = 5
) -> SyncScore:
    """Sound-picture correlation without learned weights.

    For each lag a ridge regression from sound features to mouth coefficients is cross-validated over contiguous
    blocks; the score is the mean Pearson correlation over coefficients between prediction and truth.

    Args:
        sound: ``(T, D)`` features such as log-mel, one row per video frame.
        mouth: ``(T, K)`` mouth coefficients or apertures; columns without variance are left out.
        fps: rows per second.
        max_lag: largest shift tried, seconds.
        ridge: penalty on standardised features.
        folds: blocks of the cross-validation.

    Raises:
        ValueError: if there are fewer than four seconds to judge, or no mouth column moves.
    """
    x, y = np.asarray(sound, np.float64), np.asarray(mouth, np.float64)
    if len(x) != len(y) or len(x) < 4 * fps:
        raise ValueError(f"need at least 4 s of equally long rows, got {len(x)} and {len(y)} at {fps} fps")
    y = y[:, y.std(0) > 1e-4]
    if y.shape[1] == 0:
        raise ValueError("no mouth column moves")
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    frames = round(max_lag * fps)
    lags = np.arange(-frames, frames + 1)
    scores = np.array([_ridge_correlation(*_shifted(x, y, int(lag)), ridge, folds) for lag in lags])
    best = int(scores.argmax())
    far = scores[np.abs(lags) > 0.2 * fps]
    off_peak = float(np.median(far)) if len(far) else float("nan")
    return SyncScore(float(scores[frames]), float(scores[best]), float(lags[best] / fps), off_peak)


def _shifted(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], lag: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sound row ``t`` beside mouth row ``t + lag``: a picture that comes late matches at a positive lag."""
    return (x[: len(x) - lag], y[lag:]) if lag >= 0 else (x[-lag:], y[:lag])


def _ridge_correlation(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], ridge: float, folds: int) -> float:
    edges = np.linspace(0, len(x), folds + 1).astype(int)
    prediction = np.empty_like(y)
    for start, stop in pairwise(edges):
        rest = np.r_[0:start, stop : len(x)]
        mean = y[rest].mean(0)
        gram = x[rest].T @ x[rest] + ridge * np.eye(x.shape[1])
        # Without its mean: that of the rest goes against the block's own and would count as disagreement.
        prediction[start:stop] = x[start:stop] @ np.linalg.solve(gram, x[rest].T @ (y[rest] - mean))
    return float(np.mean([pearson(prediction[:, k], y[:, k]) for k in range(y.shape[1])]))
