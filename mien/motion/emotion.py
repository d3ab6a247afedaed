"""The emotion lane: labels over time to expression.

A label is a prototype of FACS action units (tables below); a mixture of labels is the weighted sum of prototypes, so
every point of the valence-arousal disc has a face and the face follows it continuously.

Sources of the prototypes:
    Ekman, Friesen and Hager, FACS Investigator's Guide, 2002, table 10-2 (happiness, sadness, surprise, fear, anger,
    disgust);
    Ekman and Friesen, "A new pan-cultural facial expression of emotion", 1986 (contempt: one corner tightened and
    raised, AU12 and AU14 on one side);
    Matsumoto and Ekman, "Facial expression analysis", 2008 (the same core units).
    relaxed and tired are ours: an easy, slight smile, and heavy lids with slack corners.
Intensities within a prototype are ours, tuned on rendered photographs: strong enough to be named by people and by an
independent classifier at intensity 1, short of a grimace.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mien.direction import LABELS
from mien.face.actions import expression_from_units
from mien.face.rhythm import wander
from mien.types import Array, FaceMotion

PROTOTYPES: Mapping[str, Mapping[str, float]] = {
    "neutral": {},
    "happy": {"AU6": 0.75, "AU12": 0.9, "AU25": 0.45, "AU7": 0.2},
    "sad": {"AU1": 0.95, "AU4": 0.55, "AU15": 0.9, "AU17": 0.5, "AU45": 0.12, "AU7": 0.15},
    "surprise": {"AU1": 0.95, "AU2": 0.9, "AU5": 0.9, "AU26": 0.8, "AU25": 0.2},
    "fear": {"AU1": 0.95, "AU2": 0.55, "AU4": 0.5, "AU5": 0.95, "AU7": 0.2, "AU20": 0.8, "AU25": 0.45, "AU26": 0.35},
    "disgust": {"AU9": 0.95, "AU10": 0.6, "AU15": 0.35, "AU17": 0.3, "AU4": 0.45, "AU7": 0.4, "AU6": 0.25},
    "anger": {"AU4": 1.0, "AU5": 0.35, "AU7": 0.55, "AU9": 0.35, "AU23": 0.6, "AU24": 0.5, "AU15": 0.3, "AU17": 0.25},
    "contempt": {"AU12R": 0.45, "AU14R": 0.9, "AU14L": 0.1, "AU7": 0.2, "AU4": 0.1, "AU2R": 0.25},
    "relaxed": {"AU12": 0.3, "AU6": 0.2, "AU45": 0.15},
    "tired": {"AU45": 0.4, "AU1": 0.2, "AU15": 0.25, "AU26": 0.05},
}
"""Action units of each label at intensity 1; L and R are the subject's sides."""

ASYMMETRY = 0.06
"""How far a side may be stronger than the other, as a share of the movement: no face is a mirror image."""

LIVELINESS = 0.1
"""How far a held emotion swells and ebbs, as a share of the movement: a face that is held still looks frozen."""


def emotion(weights: Array, fps: float, *, seed: int = 0) -> FaceMotion:
    """Expression of labels mixed over time.

    Args:
        weights: ``(T, len(LABELS))`` as :meth:`mien.direction.Direction.emotion_curve` gives them.
        fps: frames per second.
        seed: of the slight asymmetry and the slow swelling; both vanish with the emotion.

    Returns:
        Motion with nothing but expression; exactly zero where the label is neutral.

    Raises:
        ValueError: if ``weights`` has not one column per label.
    """
    if weights.ndim != 2 or weights.shape[1] != len(LABELS):
        raise ValueError(f"weights: expected (T, {len(LABELS)}), got {weights.shape}")
    n_frames = len(weights)
    rng = np.random.default_rng([seed, 1])
    side = 1 + rng.uniform(-ASYMMETRY, 0, (len(LABELS), 2))
    silent = np.zeros(n_frames, np.float32)
    columns: dict[str, Array] = {}
    for label, units in PROTOTYPES.items():
        swell = 1 + LIVELINESS * (wander(n_frames, fps, len(units) + 1, 5.0, rng)[:, 1:] - 1) / 2
        for i, (unit, intensity) in enumerate(units.items()):
            curve = weights[:, LABELS.index(label)] * intensity * swell[:, i]
            for letter, factor in zip("LR", side[LABELS.index(label)], strict=True):
                name = unit if unit[-1] in "LR" else unit + letter
                if name[-1] == letter:
                    columns[name] = columns.get(name, silent) + np.asarray(curve * factor, np.float32)
    motion = FaceMotion.zeros(n_frames, fps)
    expression = expression_from_units(columns, n_frames)
    return motion.with_columns(dict(zip(motion.expression_names, expression.T, strict=True)))
