"""Emotions in stretches of a clip: the short form of ``mien redirect``, and what it means frame by frame.

    happy:0.8                                       the whole clip
    2s-5s:happy:0.8, 6s-9s:sad                      two stretches; between them the clip stays as it is
    0s-4s:happy, 4s-8s:va(-0.6,0.7)                 one changes into the other
    2s-5s:0.8                                       at this intensity, where a reference clip says what to show

Convention: seconds from the start of the clip. An emotion comes and goes inside its stretch, within :data:`RAMP`
seconds; at the clip's own ends, and where two stretches touch, there is nothing to come from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mien.direction import LABELS, Direction, EmotionKey, check_range
from mien.errors import DirectionError
from mien.types import Array

RAMP = 0.4
"""Seconds in which an emotion comes and goes; less in stretches shorter than two of them."""

_CERTAIN = 0.15  # share of all labels from which on a keyframed emotion counts as fully asked for


@dataclass(frozen=True, slots=True)
class EmotionSpan:
    """An emotion from ``start`` to ``end`` seconds.

    Attributes:
        emotion: label with intensity, or a point of the disc; its label is ``None`` in ``"2s-5s:0.8"``.
        start: seconds.
        end: seconds, infinite for the end of the clip.
        intensity: in [0, 1].
    """

    emotion: EmotionKey | None
    start: float = 0.0
    end: float = math.inf
    intensity: float = 1.0

    @property
    def weights(self) -> Array:
        """``(len(LABELS),)`` shares of the labels; what they lack to 1 is the face's own emotion."""
        weights = np.zeros(len(LABELS), np.float32)
        if self.emotion is None:
            return weights
        if self.emotion.va is not None:
            return self.emotion.weights
        weights[LABELS.index(self.emotion.label)] = self.emotion.intensity
        return weights


@dataclass(frozen=True, eq=False)
class EmotionPlan:
    """What is asked of every frame of a clip.

    Attributes:
        weights: ``(T, len(LABELS))`` shares of the labels, summing to at most 1; what they lack to 1 is the face's own
            emotion. ``neutral`` takes the own emotion away. They hold on where ``amount`` fades.
        va: ``(T, 2)`` the same as valence and arousal.
        intensity: ``(T,)`` in [0, 1] of what a reference shows.
        amount: ``(T,)`` in [0, 1], 0 where the clip stays as it is, 1 inside the stretches.
        spans: the stretches, in order; empty if the emotion was given by keyframes.
    """

    weights: Array
    va: Array
    intensity: Array
    amount: Array
    spans: tuple[EmotionSpan, ...] = ()


def parse_spans(text: str) -> tuple[EmotionSpan, ...]:
    """Read the short form.

    Raises:
        DirectionError: naming the part that is wrong and what is allowed there.
    """
    spans = [_span(part.strip()) for part in re.split(r",(?![^(]*\))", text)]
    for before, after in pairwise(spans):
        if after.start < before.end:
            raise DirectionError(
                f"emotion {text!r}: a stretch starts at {after.start:g} s, before the one before it ends",
                "give stretches one after the other, such as 2s-5s:happy:0.8, 6s-9s:sad",
            )
    return tuple(spans)


def _span(part: str) -> EmotionSpan:
    match = re.fullmatch(r"(?:([\d.]+)\s*s?\s*-\s*([\d.]+)(?:\s*s?\s*:|\s*s$))?(.*)", part)
    assert match is not None  # the last group takes anything
    try:
        start, end = (float(match[1]), float(match[2])) if match[1] else (0.0, math.inf)
        if start >= end:
            raise DirectionError(f"emotion {part!r}: ends at {end:g} s, before it starts", "write the start first")
        body = match[3].strip()
        if re.fullmatch(r"[-+]?[\d.]*", body):
            intensity = float(body or 1)
            check_range(intensity, 0, 1, f"intensity of {part!r}")
            return EmotionSpan(None, start, end, intensity)
    except ValueError as error:
        raise DirectionError(f"emotion {part!r}: {error}", "write it as in 2s-5s:happy:0.8") from error
    keys = Direction.parse(body).emotion
    if len(keys) != 1:
        raise DirectionError(f"emotion {part!r} has keyframes", "write 2s-5s:happy:0.8, or give keyframes with -d")
    return EmotionSpan(keys[0], start, end, keys[0].intensity)


def plan_spans(spans: Sequence[EmotionSpan], n_frames: int, fps: float) -> EmotionPlan:
    """The stretches frame by frame; frame ``i`` shows time ``i / fps``."""
    time = np.arange(n_frames) / fps
    duration = n_frames / fps
    mixed = span_shares(spans, time)
    amount = np.zeros(n_frames)
    for i, span in enumerate(spans):
        ramp = min(RAMP, (min(span.end, duration) - span.start) / 2)
        touches = (i > 0 and spans[i - 1].end == span.start, i + 1 < len(spans) and spans[i + 1].start == span.end)
        if ramp <= 0:
            continue
        inside = np.where((time >= span.start) & (time < span.end), 1.0, 0.0)
        if span.start > 0 and not touches[0]:
            inside *= _smooth_step((time - span.start) / ramp)
        if span.end < duration and not touches[1]:
            inside *= _smooth_step((span.end - time) / ramp)
        amount = np.maximum(amount, inside)
    weights = mixed @ np.stack([span.weights for span in spans])
    points = [(0.0, 0.0) if span.emotion is None else span.emotion.point for span in spans]
    intensity = mixed @ np.array([span.intensity for span in spans])
    return EmotionPlan(
        weights.astype(np.float32),
        (mixed @ np.array(points)).astype(np.float32),
        intensity.astype(np.float32),
        amount.astype(np.float32),
        tuple(spans),
    )


def plan_direction(direction: Direction, n_frames: int, fps: float) -> EmotionPlan:
    """The emotion lane of a direction; where it is neutral the clip stays as it is."""
    weights = np.array(direction.emotion_curve(n_frames, fps))
    weights[:, LABELS.index("neutral")] = 0
    total = weights.sum(1)
    return EmotionPlan(weights, direction.emotion_track(n_frames, fps).va, total, certainty(total))


def certainty(total: Array) -> Array:
    """``(T,)`` in [0, 1]: how far any emotion is asked for, given the sum of the labels' shares."""
    return _smooth_step(total / _CERTAIN).astype(np.float32)


def span_shares(spans: Sequence[EmotionSpan], time: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``(T, S)`` share of each stretch at each time, rows summing to 1: the nearest, and a mixture where two touch."""
    upto = np.ones((len(time), len(spans)))
    for i, (before, after) in enumerate(pairwise(spans)):
        ramp = min(RAMP, before.end - before.start, after.end - after.start)
        border = (before.end + after.start) / 2
        upto[:, i] = 1 - _smooth_step((time - border) / ramp + 0.5)
    return np.diff(np.maximum.accumulate(upto, axis=1), axis=1, prepend=0)


def _smooth_step(s: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Minimum jerk from 0 to 1, as :func:`mien.direction.sample_keyframes`."""
    x = np.clip(np.asarray(s, np.float64), 0, 1)
    return np.asarray(x**3 * (10 - 15 * x + 6 * x**2))
