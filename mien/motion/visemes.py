"""What each English phone asks of the mouth.

One table row per phone: for every articulator the target it wants and how much it insists (its dominance). A phone
that does not insist takes the shape of its neighbours: the tongue makes /t/ or /k/ whatever the lips do, so they are
rounded in "too" and spread in "tea". The order of the targets follows phonetics (vowel height sets the jaw, rounding
the pucker; Ladefoged and Johnson, *A Course in Phonetics*); their size is learned from filmed talkers, held near such
an order (scripts/fit_visemes.py, docs/speech.md).
"""

from __future__ import annotations

from dataclasses import dataclass

ARTICULATORS: tuple[str, ...] = ("jaw", "funnel", "pucker", "spread", "lower", "upper", "teeth")
"""What moves on its own.

``jaw`` opens; ``funnel`` pushes both lips forward and open; ``pucker`` draws the corners in; ``spread`` draws them
apart; ``lower`` and ``upper`` bare the teeth; ``teeth`` brings the lower lip to the upper teeth.
"""

CLOSING: frozenset[str] = frozenset({"P", "B", "M"})
"""Phones that need the lips shut."""


@dataclass(frozen=True, slots=True)
class Viseme:
    """Targets and dominances of one phone, each for :data:`ARTICULATORS` in [0, 1]."""

    targets: tuple[float, ...]
    dominances: tuple[float, ...]


def _viseme(**articulators: tuple[float, float]) -> Viseme:
    """``jaw=(target, dominance)`` and so on; what is not named rests and insists a little."""
    pairs = [articulators.pop(name, (0.0, 0.15)) for name in ARTICULATORS]
    if articulators:
        raise TypeError(f"unknown articulators {sorted(articulators)}")
    return Viseme(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))


VISEMES: dict[str, Viseme] = {
    # open and mid vowels
    "AA": _viseme(jaw=(0.56, 1.0), lower=(0.24, 0.6), upper=(0.04, 0.4)),
    "AE": _viseme(jaw=(0.50, 1.0), spread=(0.37, 0.6), lower=(0.36, 0.7), upper=(0.16, 0.5)),
    "AH": _viseme(jaw=(0.31, 0.7), lower=(0.19, 0.5), upper=(0.06, 0.3)),
    "AO": _viseme(jaw=(0.37, 0.9), funnel=(0.21, 0.8), pucker=(0.15, 0.5), lower=(0.06, 0.4)),
    "AW": _viseme(jaw=(0.52, 1.0), funnel=(0.14, 0.6), pucker=(0.04, 0.5), lower=(0.17, 0.4)),
    "AY": _viseme(jaw=(0.56, 1.0), spread=(0.30, 0.4), lower=(0.35, 0.6), upper=(0.11, 0.4)),
    "EH": _viseme(jaw=(0.44, 0.9), spread=(0.31, 0.5), lower=(0.34, 0.6), upper=(0.10, 0.4)),
    # close front vowels: spread
    "EY": _viseme(jaw=(0.44, 0.8), spread=(0.47, 0.7), lower=(0.37, 0.6), upper=(0.10, 0.4)),
    "IH": _viseme(jaw=(0.10, 0.6), spread=(0.28, 0.5), lower=(0.17, 0.5), upper=(0.05, 0.3)),
    "IY": _viseme(jaw=(0.24, 0.8), spread=(0.53, 0.9), lower=(0.31, 0.6), upper=(0.08, 0.4)),
    # rounded vowels
    "OW": _viseme(jaw=(0.24, 0.9), funnel=(0.14, 0.8), pucker=(0.38, 0.9), lower=(0.03, 0.4)),
    "OY": _viseme(jaw=(0.31, 0.9), funnel=(0.20, 0.8), pucker=(0.26, 0.7), lower=(0.08, 0.4)),
    "UH": _viseme(jaw=(0.12, 0.7), funnel=(0.11, 0.7), pucker=(0.29, 0.7), lower=(0.06, 0.3)),
    "UW": _viseme(jaw=(0.08, 0.9), funnel=(0.08, 0.8), pucker=(0.52, 1.0), lower=(0.00, 0.5)),
    "ER": _viseme(jaw=(0.10, 0.7), funnel=(0.16, 0.7), pucker=(0.22, 0.5), lower=(0.08, 0.4)),
    # glides and liquids
    "W": _viseme(jaw=(0.08, 0.8), funnel=(0.08, 0.8), pucker=(0.67, 1.0), lower=(0.00, 0.5)),
    "R": _viseme(jaw=(0.08, 0.5), funnel=(0.16, 0.6), pucker=(0.22, 0.5), lower=(0.06, 0.3)),
    "Y": _viseme(jaw=(0.16, 0.6), spread=(0.39, 0.5), lower=(0.19, 0.4)),
    "L": _viseme(jaw=(0.18, 0.5), lower=(0.17, 0.4)),
    "HH": _viseme(jaw=(0.24, 0.15), lower=(0.12, 0.1)),
    # lips shut; how is up to the closure itself
    "P": _viseme(jaw=(0.10, 1.0), spread=(0.0, 0.3), lower=(0.00, 0.9), upper=(0.00, 0.9)),
    "B": _viseme(jaw=(0.10, 1.0), spread=(0.0, 0.3), lower=(0.00, 0.9), upper=(0.00, 0.9)),
    "M": _viseme(jaw=(0.10, 1.0), spread=(0.0, 0.3), lower=(0.00, 0.9), upper=(0.00, 0.9)),
    # lower lip to upper teeth
    "F": _viseme(jaw=(0.10, 0.9), lower=(0.00, 0.9), upper=(0.21, 0.8), teeth=(1.0, 1.0)),
    "V": _viseme(jaw=(0.10, 0.9), lower=(0.00, 0.9), upper=(0.17, 0.8), teeth=(0.9, 1.0)),
    # teeth nearly together
    "S": _viseme(jaw=(0.08, 1.0), spread=(0.27, 0.4), lower=(0.25, 0.5), upper=(0.05, 0.3)),
    "Z": _viseme(jaw=(0.08, 1.0), spread=(0.27, 0.4), lower=(0.25, 0.5), upper=(0.05, 0.3)),
    "SH": _viseme(jaw=(0.07, 1.0), funnel=(0.36, 0.9), pucker=(0.22, 0.6), lower=(0.14, 0.4), upper=(0.10, 0.3)),
    "ZH": _viseme(jaw=(0.07, 1.0), funnel=(0.33, 0.9), pucker=(0.22, 0.6), lower=(0.14, 0.4), upper=(0.10, 0.3)),
    "CH": _viseme(jaw=(0.07, 1.0), funnel=(0.33, 0.9), pucker=(0.19, 0.6), lower=(0.14, 0.4), upper=(0.10, 0.3)),
    "JH": _viseme(jaw=(0.07, 1.0), funnel=(0.31, 0.9), pucker=(0.19, 0.6), lower=(0.14, 0.4), upper=(0.10, 0.3)),
    # tongue tip
    "T": _viseme(jaw=(0.11, 0.8), lower=(0.19, 0.3)),
    "D": _viseme(jaw=(0.12, 0.7), lower=(0.19, 0.3)),
    "N": _viseme(jaw=(0.06, 0.6), lower=(0.16, 0.3)),
    "TH": _viseme(jaw=(0.10, 0.8), lower=(0.22, 0.5), upper=(0.06, 0.3)),
    "DH": _viseme(jaw=(0.10, 0.7), lower=(0.21, 0.5), upper=(0.05, 0.3)),
    # back of the tongue
    "K": _viseme(jaw=(0.06, 0.5), lower=(0.15, 0.2)),
    "G": _viseme(jaw=(0.06, 0.5), lower=(0.15, 0.2)),
    "NG": _viseme(jaw=(0.06, 0.5), lower=(0.15, 0.2)),
    # nobody speaks
    "SIL": Viseme((0.0,) * len(ARTICULATORS), (0.6,) * len(ARTICULATORS)),
}
