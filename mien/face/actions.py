"""FACS action units and ARKit's expressions, each in terms of the other.

Sources: Ekman, Friesen and Hager, "Facial Action Coding System", 2002, for what an action unit does; Ozel, "ARKit to
FACS cheat sheet" (melindaozel.com/arkit-to-facs-cheat-sheet), for the ARKit shape that shows it. Where ARKit has no
shape of its own the comment says what stands in for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mien.types import ARKIT_NAMES, ActionUnits, Array, FaceMotion

SHAPES_OF_UNIT: Mapping[str, Mapping[str, float]] = {
    "AU1": {"browInnerUp": 1.0},  # inner brow raiser
    "AU2": {"browOuterUp": 1.0},  # outer brow raiser
    "AU4": {"browDown": 1.0},  # brow lowerer
    "AU5": {"eyeWide": 1.0},  # upper lid raiser
    "AU6": {"cheekSquint": 1.0},  # cheek raiser
    "AU7": {"eyeSquint": 1.0},  # lid tightener
    "AU9": {"noseSneer": 1.0},  # nose wrinkler
    "AU10": {"mouthUpperUp": 1.0},  # upper lip raiser
    "AU12": {"mouthSmile": 1.0},  # lip corner puller
    "AU14": {"mouthDimple": 1.0},  # dimpler
    "AU15": {"mouthFrown": 1.0},  # lip corner depressor
    "AU16": {"mouthLowerDown": 1.0},  # lower lip depressor
    "AU17": {"mouthShrugLower": 1.0, "mouthShrugUpper": 0.4},  # chin raiser; the upper lip is pushed along
    "AU18": {"mouthPucker": 1.0},  # lip pucker
    "AU20": {"mouthStretch": 1.0},  # lip stretcher
    "AU22": {"mouthFunnel": 1.0},  # lip funneler
    "AU23": {"mouthPress": 0.5, "mouthRollLower": 0.3, "mouthRollUpper": 0.3},  # lip tightener; no shape of its own
    "AU24": {"mouthPress": 1.0},  # lip pressor
    "AU25": {"mouthUpperUp": 0.4, "mouthLowerDown": 0.4},  # lips part; no shape of its own
    "AU26": {"jawOpen": 0.5},  # jaw drop: what falls open by relaxing
    "AU27": {"jawOpen": 1.0},  # mouth stretch: what is pulled open
    "AU28": {"mouthRollLower": 1.0, "mouthRollUpper": 1.0},  # lip suck
    "AU29": {"jawForward": 1.0},  # jaw thrust
    "AU34": {"cheekPuff": 1.0},  # puff
    "AU45": {"eyeBlink": 1.0},  # blink; AU43, eyes closed, is the same movement held
}
"""Each unit at full intensity as ARKit weights; a name that exists for both sides stands for both."""

UNITS: tuple[str, ...] = tuple(SHAPES_OF_UNIT)

_SIDES = {"": ("Left", "Right"), "L": ("Left",), "R": ("Right",)}


def shapes_of_unit(unit: str) -> dict[str, float]:
    """ARKit weights of one unit at full intensity; ``"AU12L"`` is the subject's left side only.

    Shapes that have no sides take half the weight for one side.

    Raises:
        KeyError: if the unit is unknown; the message lists the units.
    """
    side = unit[-1] if unit[-1:] in ("L", "R") else ""
    name = unit.removesuffix(side) if side else unit
    if name not in SHAPES_OF_UNIT:
        raise KeyError(f"no action unit {unit!r}; known: {', '.join(UNITS)}, each also with L or R")
    weights: dict[str, float] = {}
    for stem, weight in SHAPES_OF_UNIT[name].items():
        if stem in ARKIT_NAMES:
            weights[stem] = weight * (0.5 if side else 1)
        else:
            weights.update({f"{stem}{end}": weight for end in _SIDES[side]})
    return weights


def expression_from_units(units: Mapping[str, npt.ArrayLike], n_frames: int) -> Array:
    """``(n_frames, 52)`` ARKit weights in [0, 1] of action units given as curves ``(n_frames,)`` or constants."""
    expression = np.zeros((n_frames, len(ARKIT_NAMES)), np.float32)
    for unit, intensity in units.items():
        for name, weight in shapes_of_unit(unit).items():
            expression[:, ARKIT_NAMES.index(name)] += weight * np.asarray(intensity, np.float32)
    return np.clip(expression, 0, 1)


def motion_from_units(units: ActionUnits) -> FaceMotion:
    """Action units as motion of the builtin rig."""
    columns = {name: units.values[:, i] for i, name in enumerate(units.names)}
    motion = FaceMotion.zeros(len(units), units.fps)
    return motion.with_columns(dict(zip(ARKIT_NAMES, expression_from_units(columns, len(units)).T, strict=True)))


LIP_GAP: Mapping[str, float] = {
    "jawOpen": 24.7, "mouthClose": -24.7, "mouthFunnel": 7.9, "mouthUpperUp": 6.3, "mouthLowerDown": 7.0,
    "mouthPucker": -5.5, "mouthPress": -3.4,
}  # fmt: skip
"""How far each shape at full weight parts the lips on the builtin rig, mm; a name of both sides means both."""

PARTED = 1.0
"""Gap of the lips in mm at which AU25 has reached 63 %: it says that lips part, AU26 and AU27 say how far."""


def units_from_motion(motion: FaceMotion) -> ActionUnits:
    """Action units that a motion under ARKit's names shows.

    The table is not one to one (AU26 and AU27 both open the jaw), so a unit is read from the one shape that it drives
    most, as the mean of both sides over the unit's weight in the table. AU25 is read from the gap between the lips
    whatever opens it.
    """
    values = []
    for unit, shapes in SHAPES_OF_UNIT.items():
        if unit == "AU25":
            gap = sum(weight * _both_sides(motion, stem) for stem, weight in LIP_GAP.items())
            values.append(1 - np.exp(-np.maximum(gap, 0) / PARTED))
        else:
            main, weight = max(shapes.items(), key=lambda item: item[1])
            values.append(np.clip(_both_sides(motion, main) / weight, 0, 1))
    return ActionUnits(np.stack(values, 1), UNITS, motion.fps)


def _both_sides(motion: FaceMotion, stem: str) -> Array:
    """``(T,)`` weight of a shape, the mean of both sides if it has sides."""
    names = [stem] if stem in ARKIT_NAMES else [f"{stem}Left", f"{stem}Right"]
    return np.asarray(np.mean([motion.column(name) for name in names], axis=0), np.float32)
