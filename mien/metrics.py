"""Measures of what was made: pure functions, one per metric, formula and unit in the docstring.

Landmarks are ``(..., 478, 2 or 3)`` in pixels, mediapipe's order, unless a docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mien.types import Array, Frame, Phone

# mediapipe's numbers, the subject's side: outer eye corners, inner lip middles, chin and forehead middle.
_OUTER_EYE_CORNERS = (33, 263)
_INNER_LIP_PAIRS = ((81, 178), (13, 14), (311, 402))
_FACE_ENDS = (10, 152)

BILABIALS = frozenset({"P", "B", "M"})
"""The sounds for which the lips must close."""


def psnr(a: Frame, b: Frame) -> float:
    """Peak signal-to-noise ratio of two pictures, ``10 log10(255² / MSE)`` in dB; infinite when they are equal."""
    if a.shape != b.shape:
        raise ValueError(f"pictures differ in shape: {a.shape} and {b.shape}")
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def pearson(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Linear correlation in [-1, 1]; 0 when either side is constant."""
    x = np.asarray(a, np.float64) - np.mean(np.asarray(a, np.float64))
    y = np.asarray(b, np.float64) - np.mean(np.asarray(b, np.float64))
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum() / scale) if scale > 1e-12 else 0.0


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Rank correlation in [-1, 1], ties given their mean rank; 0 when either side is constant."""
    from scipy.stats import rankdata

    return pearson(rankdata(a), rankdata(b))


def ccc(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Concordance correlation, ``2 cov / (var + var + (mean - mean)²)`` in [-1, 1] (Lin 1989)."""
    x, y = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    spread = float(x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    return float(2 * np.mean((x - x.mean()) * (y - y.mean())) / spread) if spread > 1e-12 else 0.0


def _distance(landmarks: Array, a: int, b: int) -> Array:
    return np.asarray(np.linalg.norm(landmarks[..., a, :2] - landmarks[..., b, :2], axis=-1), np.float32)


def face_height(landmarks: Array) -> Array:
    """``(...)`` forehead middle to chin, px."""
    return _distance(landmarks, *_FACE_ENDS)


def eye_distance(landmarks: Array) -> Array:
    """``(...)`` between the outer eye corners, px."""
    return _distance(landmarks, *_OUTER_EYE_CORNERS)


def lip_aperture(landmarks: Array) -> Array:
    """``(...)`` mean gap between the inner lips at three places over the face height; 0 when closed, no unit."""
    gaps = [_distance(landmarks, upper, lower) for upper, lower in _INNER_LIP_PAIRS]
    return np.asarray(np.mean(gaps, axis=0) / face_height(landmarks), np.float32)


def landmark_distance(truth: Array, other: Array) -> float:
    """Mean Euclidean distance of landmarks over the eye distance of ``truth``, in per cent; nothing is aligned."""
    error = np.linalg.norm(truth[..., :2] - other[..., :2], axis=-1).mean(-1)
    return float(np.mean(error / eye_distance(truth)) * 100)


def lip_vertex_error(truth: Array, other: Array, lips: npt.NDArray[np.integer]) -> float:
    """Mean over frames of the largest Euclidean error of a lip vertex, ``mean_t max_v |x - y|``, in mm.

    This is the rooted form; CodeTalker's tables give the mean of the squared maximum in m² without a root.

    Args:
        truth: ``(T, V, 3)`` metres.
        other: the same.
        lips: indices of the lip vertices.
    """
    error = np.linalg.norm(truth[:, lips].astype(np.float64) - other[:, lips], axis=-1)
    return float(1000 * error.max(axis=1).mean())


def closure_rate(aperture: npt.ArrayLike, fps: float, phones: Sequence[Phone], reach: float = 0.1) -> float:
    """Share in [0, 1] of the p, b, m sounds whose lips come closed.

    A sound counts as closed if ``aperture`` falls below ``reach`` times the clip's 95th percentile in at least one
    frame that touches its interval (specs: own definition). Returns NaN if there are no such sounds.
    """
    gap = np.asarray(aperture, np.float64)
    limit = reach * float(np.percentile(gap, 95))
    closed = [
        float(gap[max(int(p.start * fps), 0) : int(np.ceil(p.end * fps)) + 1].min()) <= limit
        for p in phones
        if p.symbol in BILABIALS and int(p.start * fps) < len(gap)
    ]
    return float(np.mean(closed)) if closed else float("nan")


def blink_times(closure: npt.ArrayLike, fps: float, close: float = 0.5, reopen: float = 0.3) -> list[float]:
    """Times in seconds of the deepest point of each blink in a lid curve in [0, 1].

    A blink starts when ``closure`` rises to ``close`` and ends when it falls below ``reopen`` (hysteresis).
    """
    curve = np.asarray(closure, np.float64)
    times, start = [], None
    for i, value in enumerate([*curve, 0.0]):
        if start is None and value >= close:
            start = i
        elif start is not None and value < reopen:
            times.append((start + int(np.argmax(curve[start:i]))) / fps)
            start = None
    return times


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


@dataclass(frozen=True, slots=True)
class SyncScore:
    """How well a picture's mouth follows a sound.

    Attributes:
        at_zero: mean correlation with sound and picture as they are.
        best: the highest correlation over all lags.
        lag: seconds at which it stands; negative when the picture leads.
        off_peak: median correlation farther than 200 ms from zero, what chance gives.
    """

    at_zero: float
    best: float
    lag: float
    off_peak: float


def sync_score(
    sound: npt.ArrayLike, mouth: npt.ArrayLike, fps: float, max_lag: float = 0.5, ridge: float = 10.0, folds: int = 5
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
    return SyncScore(float(scores[frames]), float(scores[best]), float(lags[best] / fps), float(np.median(far)))


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
        prediction[start:stop] = x[start:stop] @ np.linalg.solve(gram, x[rest].T @ (y[rest] - mean)) + mean
    return float(np.mean([pearson(prediction[:, k], y[:, k]) for k in range(y.shape[1])]))
