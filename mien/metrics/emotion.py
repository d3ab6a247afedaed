"""Measures of what a face feels: labels, valence and arousal, action units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mien.metrics.statistics import ccc, pearson, rmse
from mien.types import ActionUnits, Emotion


def emotion_accuracy(asked: Sequence[Emotion], probabilities: npt.ArrayLike, labels: Sequence[Emotion]) -> float:
    """Share in [0, 1] of rows whose likeliest label is the asked one.

    Args:
        asked: ``T`` labels.
        probabilities: ``(T, L)`` by one classifier; name it beside the number, for every paper has its own.
        labels: ``L`` columns.
    """
    found = np.asarray(probabilities).argmax(1)
    return float(np.mean([labels[i] == want for i, want in zip(found, asked, strict=True)]))


def va_error(truth: npt.ArrayLike, other: npt.ArrayLike) -> dict[str, float]:
    """How far valence and arousal ``(T, 2)`` are from those asked for.

    Returns:
        For ``valence`` and ``arousal`` each ``_rmse``, ``_ccc``, ``_pcc`` (Pearson), and ``_sagr``, the share of rows
        with the same sign (Nicolaou, Gunes and Pantic 2011).
    """
    x, y = np.asarray(truth, np.float64), np.asarray(other, np.float64)
    found: dict[str, float] = {}
    for axis, name in enumerate(("valence", "arousal")):
        a, b = x[:, axis], y[:, axis]
        found |= {f"{name}_rmse": rmse(a, b), f"{name}_ccc": ccc(a, b), f"{name}_pcc": pearson(a, b)}
        found[f"{name}_sagr"] = float(np.mean(np.sign(a) == np.sign(b)))
    return found


def au_error(truth: ActionUnits, other: ActionUnits) -> Mapping[str, float]:
    """Mean absolute difference per action unit that both know, in OpenFace's intensities 0 to 5; ``mean`` over them.

    Raises:
        ValueError: if the lengths differ or they share no unit.
    """
    shared = [name for name in truth.names if name in other.names]
    if len(truth) != len(other) or not shared:
        raise ValueError(f"need equally long action units with a name in common, got {len(truth)} and {len(other)}")
    errors = {
        name: float(np.abs(truth.values[:, truth.names.index(name)] - other.values[:, other.names.index(name)]).mean())
        * 5
        for name in shared
    }
    return {**errors, "mean": float(np.mean(list(errors.values())))}
