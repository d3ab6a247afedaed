"""How far each control reaches, and how far it leaks into what it should leave alone.

Definition (own): a control is swept over its range while all others are held; every clip is summed up in a few numbers
by estimators that the generator does not use. Leakage of control ``i`` into factor ``j`` is

    E[i, j] = mean over portraits and voices of  max over the sweep of  |m_j - m_j of the default| / s_j

where ``s_j`` is the standard deviation of the number over real clips of people (:data:`NATURAL`). On the diagonal the
same number is the response. A factor of several numbers counts the one that changed most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mien.metrics import bootstrap_interval, r_squared, spearman

Measures = Mapping[str, float]
"""Numbers that sum a clip up, by name."""


@dataclass(frozen=True)
class Factor:
    """What can be seen in a clip.

    Attributes:
        name: the same as the control that is meant to move it.
        measures: the numbers that stand for it.
        response: the one of them in which its own control is to be seen.
    """

    name: str
    measures: tuple[str, ...]
    response: str


FACTORS: tuple[Factor, ...] = (
    Factor("emotion", ("valence",), "valence"),
    Factor("lips", ("lip movement", "lip opening"), "lip movement"),
    Factor("style", ("head movement",), "head movement"),
    Factor("blink", ("blink rate",), "blink rate"),
    Factor("region", ("brow asymmetry",), "brow asymmetry"),
)

MEASURES: dict[str, str] = {
    "valence": "valence that the judge of emotions sees while nobody speaks, -1 to 1; median over frames",
    "lip movement": "temporal deviation of the inner-lip gap in speech, in face heights",
    "lip opening": "mean inner-lip gap in speech, in face heights",
    "head movement": "temporal deviation of the head's angles, mean of three axes, degrees",
    "blink rate": "dips of the eye aspect ratio, per minute",
    "brow asymmetry": "rise of the left brow less that of the right over the clip of defaults, in eye distances; mean",
    "valence in speech": "valence that the judge sees while somebody speaks (a still judge takes speech for feeling)",
    "brow height": "mean rise of both brows over the clip of defaults, in eye distances",
}
"""What is measured in every clip, and its unit. Geometry is taken with the head turned back to the photo's pose."""

NATURAL: dict[str, float] = {
    "valence": 0.38, "lip movement": 0.010, "lip opening": 0.025, "head movement": 2.1, "blink rate": 36.0,
    "brow asymmetry": 0.013, "valence in speech": 0.38, "brow height": 0.050,
}  # fmt: skip
"""Standard deviation of each measure over real clips; ``scripts/measure_natural.py`` makes the table."""

GOAL_LEAKAGE, GOAL_SPEARMAN = 0.10, 0.95


@dataclass(frozen=True)
class Sweep:
    """One control played through its range on one portrait with one voice.

    Attributes:
        control: its name.
        values: ``U`` settings, ascending.
        clips: ``U`` clips' measures.
        default: the measures of the clip with every control at its default.
    """

    control: str
    values: tuple[float, ...]
    clips: tuple[Measures, ...]
    default: Measures

    def change(self, measure: str) -> float:
        """Largest change of a measure over the sweep, in natural standard deviations."""
        return max(abs(clip[measure] - self.default[measure]) for clip in self.clips) / NATURAL[measure]

    def moved(self, factor: Factor) -> float:
        """Largest change of a factor over the sweep, in natural standard deviations."""
        return max(self.change(measure) for measure in factor.measures)


@dataclass(frozen=True)
class Dose:
    """How a measure answers a control: mean over portraits and voices of each figure.

    Attributes:
        control: what was swept.
        measure: what was read.
        values: the settings.
        means: mean of the measure at each setting.
        spearman: rank correlation of setting and measure.
        worst: the lowest of the rank correlations.
        r_squared: share of the variance on a straight line.
        reach: (largest - smallest) / natural standard deviation.
        dead: longest share of the range over which the measure changes by less than 0.05 natural deviations.
    """

    control: str
    measure: str
    values: tuple[float, ...]
    means: tuple[float, ...]
    spearman: float
    worst: float
    r_squared: float
    reach: float
    dead: float


@dataclass(frozen=True)
class Cell:
    """One entry of the matrix: the mean over clips and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def matrix(sweeps: Sequence[Sweep]) -> dict[str, dict[str, Cell]]:
    """Control → factor → how far it moved, in natural standard deviations."""
    return {
        control: {factor.name: _cell([sweep.moved(factor) for sweep in own]) for factor in FACTORS}
        for control, own in _by_control(sweeps).items()
    }


def beside(sweeps: Sequence[Sweep]) -> dict[str, dict[str, Cell]]:
    """Control → measures that stand for no factor, as in :func:`matrix`."""
    others = [name for name in MEASURES if all(name not in factor.measures for factor in FACTORS)]
    return {
        control: {measure: _cell([sweep.change(measure) for sweep in own]) for measure in others}
        for control, own in _by_control(sweeps).items()
    }


def doses(sweeps: Sequence[Sweep]) -> list[Dose]:
    """How each control's own measure answers it."""
    responses = {factor.name: factor.response for factor in FACTORS}
    return [_dose(own, responses[control]) for control, own in _by_control(sweeps).items()]


def _by_control(sweeps: Sequence[Sweep]) -> dict[str, list[Sweep]]:
    controls = dict.fromkeys(sweep.control for sweep in sweeps)
    return {control: [sweep for sweep in sweeps if sweep.control == control] for control in controls}


def _cell(values: Sequence[float]) -> Cell:
    return Cell(float(np.mean(values)), *bootstrap_interval(values))


def _dose(sweeps: Sequence[Sweep], measure: str) -> Dose:
    values = sweeps[0].values
    curves = np.array([[clip[measure] for clip in sweep.clips] for sweep in sweeps])
    ranks = [spearman(values, curve) for curve in curves]
    return Dose(
        control=sweeps[0].control,
        measure=measure,
        values=values,
        means=tuple(curves.mean(0).tolist()),
        spearman=float(np.mean(ranks)),
        worst=min(ranks),
        r_squared=float(np.mean([r_squared(values, curve) for curve in curves])),
        reach=float(np.mean(np.ptp(curves, axis=1)) / NATURAL[measure]),
        dead=float(np.mean([_dead_zone(values, curve / NATURAL[measure]) for curve in curves])),
    )


def _dead_zone(values: Sequence[float], curve: np.ndarray) -> float:
    """Longest stretch, as a share of the range, in which the curve stays within 0.05."""
    longest = max(
        values[j] - values[i]
        for i in range(len(values))
        for j in range(i, len(values))
        if np.ptp(curve[i : j + 1]) < 0.05
    )
    return float(longest / (values[-1] - values[0]))
