"""Correlations, errors and intervals that other measures are made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


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


def rmse(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Root of the mean squared difference, in the unit of the values."""
    return float(np.sqrt(np.mean((np.asarray(truth, np.float64) - np.asarray(prediction, np.float64)) ** 2)))


def r_squared(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Share in [0, 1] of the variance of ``y`` that a straight line over ``x`` explains."""
    return pearson(x, y) ** 2


def bootstrap_interval(
    values: npt.ArrayLike, *, share: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the mean: the values are drawn with replacement ``draws`` times (Efron 1979).

    Args:
        values: ``(N,)``, one per clip.
        share: of the means that lie inside.
        draws: resamples.
        seed: of the draws.

    Returns:
        Lower and upper bound; both the value itself if there is only one.
    """
    sample = np.asarray(values, np.float64)
    picks = np.random.default_rng(seed).integers(0, len(sample), (draws, len(sample)))
    low, high = np.percentile(sample[picks].mean(1), [50 * (1 - share), 50 * (1 + share)])
    return float(low), float(high)
