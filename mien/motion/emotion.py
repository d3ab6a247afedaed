"""The emotion lane: labels over time to expression.

A label is a prototype of FACS action units (tables below); a mixture of labels is the weighted sum of prototypes, so
every point of the valence-arousal disc has a face and the face follows it continuously.

Sources of the prototypes:
    Ekman, Friesen and Hager, FACS Investigator's Guide, 2002, table 10-2 (happiness, sadness, surprise, fear, anger,
    disgust);
    the same guide lists an open-mouthed anger that bares the teeth (4+5+7+10+16+25+26): it is taken here because a
    pressed mouth reads as anger only at close sight;
    Ekman and Friesen, "A new pan-cultural facial expression of emotion", 1986 (contempt: one corner tightened and
    raised, AU12 and AU14 on one side);
    Matsumoto and Ekman, "Facial expression analysis", 2008 (the same core units).
    relaxed and tired are ours: an easy, slight smile, and heavy lids with slack corners.
Intensities within a prototype are ours, tuned on rendered photographs: strong enough to be named by people and by an
independent classifier at intensity 1, short of a grimace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mien.direction import LABELS, disc_weights
from mien.face.actions import expression_from_units
from mien.face.rhythm import wander
from mien.types import Array, FaceMotion

_SLOW = 0.5  # s, standard deviation of the Gaussian that tells a filmed face's mood from what it does in passing

PROTOTYPES: Mapping[str, Mapping[str, float]] = {
    "neutral": {},
    "happy": {"AU6": 0.85, "AU12": 1.0, "AU7": 0.25, "AU10": 0.25, "AU25": 0.45, "AU26": 0.3},
    "sad": {
        "AU1": 1.0, "AU4": 0.65, "AU15": 0.8, "AU16": 0.7, "AU17": 0.7, "AU26": 0.5, "AU6": 0.15, "AU7": 0.3,
        "AU45": 0.34,
    },
    "surprise": {"AU1": 1.0, "AU2": 1.0, "AU5": 0.8, "AU25": 0.2, "AU26": 1.0, "AU27": 0.15},
    "fear": {
        "AU1": 1.0, "AU2": 0.4, "AU4": 0.5, "AU5": 0.95, "AU7": 0.1, "AU20": 0.9, "AU15": 0.3, "AU16": 0.5,
        "AU25": 0.3, "AU26": 0.65,
    },
    "disgust": {
        "AU9": 0.95, "AU10": 0.15, "AU15": 0.5, "AU17": 0.4, "AU4": 0.3, "AU6": 0.4, "AU7": 0.6, "AU26": 0.25,
    },
    "anger": {
        "AU4": 1.0, "AU5": 0.3, "AU7": 0.7, "AU9": 0.95, "AU10": 0.55, "AU16": 0.6, "AU25": 0.35, "AU15": 0.2,
        "AU26": 0.35,
    },
    "contempt": {"AU12R": 0.5, "AU14R": 0.75, "AU14L": 0.1, "AU17": 0.2, "AU7": 0.3, "AU4": 0.25, "AU2R": 0.35},
    "relaxed": {"AU12": 0.4, "AU6": 0.3, "AU45": 0.15},
    "tired": {"AU45": 0.45, "AU1": 0.25, "AU15": 0.35},
}  # fmt: skip
"""Action units of each label at intensity 1; L and R are the subject's sides."""

REPLACED = ("brow", "cheekSquint", "noseSneer", "eyeSquint", "eyeWide", "mouthSmile", "mouthFrown", "mouthDimple",
            "mouthStretch")  # fmt: skip
"""Beginnings of the expressions in which a photo shows an emotion of its own."""

POUT = ("mouthShrugLower", "mouthShrugUpper", "mouthPucker")
"""Expressions of a photo's pout; lips may be pushed forward by nature, so ``mouthPucker`` counts as far as the chin
is raised with it."""

ASYMMETRY = 0.06
"""How far a side may be stronger than the other, as a share of the movement: no face is a mirror image."""

_BROWS = ("AU1", "AU2", "AU4")  # move alike on both sides: a lopsided brow is the region's lane

LIVELINESS = 0.1
"""How far a held emotion swells and ebbs, as a share of the movement: a face that is held still looks frozen."""


def emotion(weights: Array, fps: float, *, rest: FaceMotion | None = None, seed: int = 0) -> FaceMotion:
    """Expression of labels mixed over time.

    Args:
        weights: ``(T, len(LABELS))`` as :meth:`mien.direction.Direction.emotion_curve` gives them.
        fps: frames per second.
        rest: one frame, the expression of the photo. The asked emotion takes the place of the photo's own in
            proportion to its intensity, so that somebody who smiles in the photo can be angry: the weights of
            :data:`REPLACED` and :data:`POUT` may then be negative, down to minus the photo's own.
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
        swell = 1 + LIVELINESS * (wander(n_frames, fps, len(units), 5.0, rng) - 0.5) / 2
        for i, (unit, intensity) in enumerate(units.items()):
            curve = weights[:, LABELS.index(label)] * intensity * swell[:, i]
            for letter, factor in zip("LR", side[LABELS.index(label)], strict=True):
                name = unit if unit[-1] in "LR" else unit + letter
                if name[-1] == letter:
                    stronger = 1 if unit in _BROWS else factor
                    columns[name] = columns.get(name, silent) + np.asarray(curve * stronger, np.float32)
    motion = FaceMotion.zeros(n_frames, fps)
    expression = expression_from_units(columns, n_frames)
    if rest is not None:
        strength = 1 - weights[:, LABELS.index("neutral")]
        own = [i for i, name in enumerate(motion.expression_names) if name.startswith((*REPLACED, *POUT))]
        expression[:, own] -= strength[:, None] * np.stack([_own(rest, motion.expression_names[i]) for i in own])
    return motion.with_columns(dict(zip(motion.expression_names, expression.T, strict=True)))


def emotion_over(motion: FaceMotion, weights: Array, *, shots: tuple[int, ...] = (0,), seed: int = 0) -> FaceMotion:
    """A face in motion in another emotion: the lane is added, and takes the place of the face's own mood.

    Args:
        motion: of the builtin rig, absolute, as it was tracked.
        weights: ``(T, len(LABELS))`` shares of the labels; what they lack to 1 is the face's own. ``neutral`` is a
            label as the others are: it takes the own mood away and puts nothing in its place.
        shots: first frame of every shot; a mood is not carried across a cut.
        seed: as in :func:`emotion`.

    Returns:
        The same frames, expressions in [0, 1]; exactly the motion's where all weights are 0.
    """
    from scipy.ndimage import gaussian_filter1d

    strength = np.minimum(weights.sum(1), 1)
    felt = np.array(weights)
    felt[:, LABELS.index("neutral")] += 1 - strength
    added = emotion(felt, motion.fps, seed=seed).expression
    own = [i for i, name in enumerate(motion.expression_names) if name.startswith(REPLACED)]
    mood = np.array(motion.expression[:, own])
    for start, end in zip(shots, (*shots[1:], len(mood)), strict=True):
        mood[start:end] = gaussian_filter1d(mood[start:end], _SLOW * motion.fps, axis=0, mode="nearest")
    expression = motion.expression + added
    expression[:, own] -= strength[:, None] * mood
    return replace(motion, expression=np.where(strength[:, None] > 0, np.clip(expression, 0, 1), motion.expression))


def expression_at(va: Array) -> Array:
    """``(T, 52)`` the face that stands for points ``(T, 2)`` of the disc, both sides alike and at rest in itself."""
    weights = np.stack([disc_weights(*point) for point in va]) if len(va) else np.zeros((0, len(LABELS)), np.float32)
    units: dict[str, Array] = {}
    for label, prototype in PROTOTYPES.items():
        for unit, intensity in prototype.items():
            curve = weights[:, LABELS.index(label)] * np.float32(intensity)
            units[unit] = units[unit] + curve if unit in units else curve
    return expression_from_units(units, len(va))


def _own(rest: FaceMotion, name: str) -> float:
    """What a photo shows of an emotion in one expression; a brow that stands above the other is how it grew."""
    if name == "mouthPucker":
        return float(min(rest.column(name)[0], rest.column("mouthShrugLower")[0]))
    sides = [name.replace(other, side) for side in ("Left", "Right") for other in ("Left", "Right") if other in name]
    return float(min(rest.column(side)[0] for side in (sides if name.startswith("brow") and sides else [name])))
