"""The style lane: how a person talks, whatever is felt: habits, not emotions.

A style is a vector of eight habits (:data:`mien.direction.HABITS`), all 1 (``smile`` 0) for the neutral style:

    lips    amplitude of lip movement          jaw    amplitude of the jaw beyond that of the lips
    brows   eyebrow flashes on accents         head   amount of head movement
    gaze    amount of eye movement             blink  spontaneous blinks relative to the natural rate
    smile   a faint standing smile, 0 to 1     tempo  speed of changes from one emotion to the next

It comes from a preset, from numbers, or from a reference motion whose statistics are compared with those of the
neutral style.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mien.direction import HABITS, StyleChoice
from mien.errors import InputError
from mien.face.rhythm import accents, bumps, speaking
from mien.motion.blink import NATURAL_RATE
from mien.types import Array, FaceMotion, SpeechFeatures

PRESETS: Mapping[str, Mapping[str, float]] = {
    "neutral": {},
    "lively": {"lips": 1.15, "brows": 1.6, "head": 1.5, "gaze": 1.2, "blink": 1.15, "smile": 0.25, "tempo": 1.3},
    "calm": {"lips": 0.9, "jaw": 0.9, "brows": 0.5, "head": 0.6, "gaze": 0.7, "blink": 0.8, "tempo": 0.7},
    "mumbling": {"lips": 0.55, "jaw": 0.6, "brows": 0.4, "head": 0.7, "tempo": 0.8},
    "theatrical": {"lips": 1.35, "jaw": 1.2, "brows": 2.2, "head": 1.9, "gaze": 1.4, "tempo": 1.5},
    "stern": {"lips": 0.95, "jaw": 0.9, "brows": 0.3, "head": 0.5, "gaze": 0.5, "blink": 0.7, "tempo": 0.9},
    "warm": {"brows": 1.2, "head": 1.1, "smile": 0.7, "tempo": 0.9},
    "still": {"brows": 0.0, "head": 0.0, "gaze": 0.0},
}
"""Habits of each named style; what is not listed is as in the neutral style."""

_NEUTRAL = {habit: 0.0 if habit == "smile" else 1.0 for habit in HABITS}

TYPICAL = {"lips": 0.084, "jaw": 0.098, "brows": 0.043, "head": 0.029, "gaze": 0.053}
"""Temporal standard deviation in the neutral style: mean over the habit's expressions, and rad for head and gaze.

Measured on the neutral direction played to seven recordings (English and Mandarin, read and acted) with four seeds, so
that a reference which moves as mien does by itself is the neutral style.
"""

_MEASURED_BY = {
    "lips": ("mouthLowerDownLeft", "mouthLowerDownRight", "mouthFunnel", "mouthPucker", "mouthUpperUpLeft"),
    "jaw": ("jawOpen",),
    "brows": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
}
_BROW_FLASH = 0.28  # weight of the strongest
_FLASH_WIDTH = 0.45  # s
_FLASH_GAP, _FLASHED = 0.8, 0.45  # s between accents that are flashed, and the strength above which one is
_SMILE = 0.3  # weight of the widest standing smile


@dataclass(frozen=True, slots=True)
class Style:
    """Habits of a talker.

    Attributes:
        vector: as many numbers as names.
        names: the habits.
    """

    vector: tuple[float, ...] = tuple(_NEUTRAL.values())
    names: tuple[str, ...] = HABITS

    def __getitem__(self, habit: str) -> float:
        """The value of one habit by name."""
        return dict(zip(self.names, self.vector, strict=True))[habit]


def style_of(choice: StyleChoice, reference: FaceMotion | None = None) -> Style:
    """The style that a direction asks for.

    Args:
        choice: name, reference or vector, and strength: 0 is neutral, 1 the style, 2 twice as far from neutral.
        reference: the motion that ``choice.reference`` names, read by the caller.

    Raises:
        InputError: if the choice names a reference and none is given.
    """
    if choice.reference is not None:
        if reference is None:
            raise InputError(f"style reference {choice.reference} was not read")
        wanted = dict(zip(HABITS, style_from_motion(reference, choice.reference).vector, strict=True))
    else:
        wanted = {**_NEUTRAL, **PRESETS[choice.name], **dict(choice.vector)}
    far = {habit: _NEUTRAL[habit] + choice.strength * (value - _NEUTRAL[habit]) for habit, value in wanted.items()}
    return Style(tuple(float(np.clip(far[habit], 0.2 if habit == "tempo" else 0, 3)) for habit in HABITS))


def style_from_motion(motion: FaceMotion, name: str = "style reference") -> Style:
    """The habits of whoever moves in a reference clip: its temporal spread over that of :data:`TYPICAL`.

    Args:
        motion: the clip.
        name: what to call it in an error.

    Raises:
        InputError: if the clip is shorter than two seconds, which says nothing about habits.
    """
    if motion.duration < 2:
        raise InputError(f"{name}: the motion lasts {motion.duration:.2f} s", "give at least 2 s to learn a style from")
    spread = {
        habit: float(np.mean([motion.column(name).std() for name in names])) for habit, names in _MEASURED_BY.items()
    }
    spread["head"] = float(motion.head_pose.std(0).mean())
    spread["gaze"] = float(motion.eye_pose[:, 0, :2].std(0).mean())
    habits = dict(_NEUTRAL)
    for habit, typical in TYPICAL.items():
        habits[habit] = float(np.clip(spread[habit] / typical, 0.2, 2.5))
    habits["jaw"] = float(np.clip(habits["jaw"] / habits["lips"], 0.5, 2))
    lids = (motion.column("eyeBlinkLeft") + motion.column("eyeBlinkRight")) / 2
    closing = np.count_nonzero((lids[1:] > 0.5) & (lids[:-1] <= 0.5))
    habits["blink"] = float(np.clip(closing / motion.duration * 60 / NATURAL_RATE, 0, 3))
    corners = (motion.column("mouthSmileLeft") + motion.column("mouthSmileRight")) / 2
    habits["smile"] = float(np.clip(np.median(corners) / _SMILE, 0, 1))
    return Style(tuple(habits[habit] for habit in HABITS))


def restyle_lips(lips: FaceMotion, style: Style) -> FaceMotion:
    """The lip lane with this style's jaw; its lip amplitude belongs into the lane's own gain."""
    factor = style["jaw"]
    return lips.with_columns({name: np.clip(lips.column(name) * factor, 0, 1) for name in ("jawOpen", "mouthClose")})


def habits(
    n_frames: int, fps: float, style: Style, speech: SpeechFeatures | None = None, *, seed: int = 0
) -> FaceMotion:
    """What a talker does besides moving the lips: eyebrow flashes on accents and a standing smile.

    Returns:
        Motion with brow and smile expressions alone; exactly zero for a style without brows and smile.
    """
    rng = np.random.default_rng([seed, 5])
    flashes = np.zeros(n_frames, np.float32)
    if speech is not None:
        # Not every accent is flashed: the strongest ones are.
        chosen = [(t, s) for t, s in accents(speech, _FLASH_GAP) if s > _FLASHED]
        heights = [_BROW_FLASH * s * rng.uniform(0.5, 1) for _, s in chosen]
        flashes = bumps(n_frames, fps, [t for t, _ in chosen], heights, _FLASH_WIDTH)
        flashes = np.minimum(flashes * speaking(speech)[:n_frames], _BROW_FLASH)
    brows: Array = flashes * np.float32(style["brows"])
    smile = np.full(n_frames, _SMILE * style["smile"], np.float32)
    return FaceMotion.zeros(n_frames, fps).with_columns(
        {
            "browInnerUp": brows, "browOuterUpLeft": brows * 0.8, "browOuterUpRight": brows * 0.8,
            "mouthSmileLeft": smile, "mouthSmileRight": smile, "cheekSquintLeft": smile * 0.4,
            "cheekSquintRight": smile * 0.4,
        }
    )  # fmt: skip
