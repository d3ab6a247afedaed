"""The blink lane: lids that close fully, at a commanded rate or at commanded times.

Natural statistics:
    shape: the lid closes about twice as fast as it opens (VanderWerf et al., "Eyelid movements: behavioral studies of
    blinking in humans under different stimulus conditions", 2003; Trutoiu et al., "Modeling and animating eye
    blinks", 2011); a blink lasts 0.2 to 0.35 s;
    rate: about 17 per minute at rest and more in conversation (Bentivoglio et al., "Analysis of blink rate patterns in
    normal subjects", 1997);
    intervals: skewed, many short and few long ones (Ponder and Kennedy, "On the act of blinking", 1927), drawn here
    from a log-normal distribution;
    talkers and listeners blink at breaks of speech (Nakano and Kitazawa, "Eyeblink entrainment at breakpoints of
    speech", 2010).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from mien.direction import BlinkEvent
from mien.face.rhythm import pauses, smooth_step
from mien.types import Array, FaceMotion, SpeechFeatures

NATURAL_RATE = 15.0
"""Blinks per minute when the direction asks for no rate."""

MIN_GAP = 0.25
"""Seconds that the lids stay open at least between two spontaneous blinks, so that they read as two."""

_CLOSING_SHARE = 1 / 3
_MARGIN = 0.08  # s at either end of the clip without spontaneous blinks
_SKEW = 0.55  # sigma of the log-normal intervals
_DURATIONS = (0.2, 0.32)  # s, of spontaneous blinks

_log = logging.getLogger(__name__)


def schedule(
    n_frames: int,
    fps: float,
    *,
    rate: Array | float = NATURAL_RATE,
    events: Sequence[BlinkEvent] = (),
    speech: SpeechFeatures | None = None,
    seed: int = 0,
) -> tuple[BlinkEvent, ...]:
    """When the eyes blink: the explicit events, and spontaneous blinks between them at ``rate``.

    Args:
        n_frames: length of the clip.
        fps: frames per second.
        rate: spontaneous blinks per minute, ``(n_frames,)`` or constant; 0 gives none. The number of blinks is the
            rate times the length, rounded; only their times and durations are drawn.
        events: blinks that must happen; one that does not fit into the clip is left out with a warning.
        speech: if given, spontaneous blinks move to a pause that is less than 0.4 s away.
        seed: of the spontaneous blinks.

    Returns:
        Events in order of time, all inside the clip.
    """
    length = n_frames / fps
    kept = [event for event in events if event.time + event.duration <= length]
    for event in events:
        if event not in kept:
            _log.warning(
                "blink at %g s for %g s does not fit into the clip of %.2f s", event.time, event.duration, length
            )
    breaks = [start for start, _ in pauses(speech)] if speech is not None else []
    drawn: list[BlinkEvent] = []
    for event in _spontaneous(n_frames, fps, rate, seed):
        near = min(breaks, key=lambda b: abs(b - event.time), default=None)
        if near is not None and abs(near - event.time) < 0.4:
            event = BlinkEvent(near, event.duration)
        earliest = drawn[-1].time + drawn[-1].duration + MIN_GAP if drawn else _MARGIN
        latest = length - _MARGIN - event.duration
        event = BlinkEvent(min(max(event.time, earliest), max(latest, 0)), event.duration)
        if earliest <= event.time <= latest and all(_apart(event, other) for other in kept):
            drawn.append(event)
    return tuple(sorted((*kept, *drawn), key=lambda event: event.time))


def blinks(n_frames: int, fps: float, events: Sequence[BlinkEvent]) -> FaceMotion:
    """The lids of ``events`` as motion: each reaches exactly 1 on the frame nearest to its moment of closure."""
    motion = FaceMotion.zeros(n_frames, fps)
    lids = {"left": np.zeros(n_frames, np.float32), "right": np.zeros(n_frames, np.float32)}
    for event in events:
        closing = event.duration * _CLOSING_SHARE
        closed = round((event.time + closing) * fps) / fps
        first, last = max(int((closed - event.duration) * fps), 0), int((closed + event.duration) * fps) + 1
        since = np.arange(first, min(last, n_frames)) / fps - closed
        shut = np.where(since < 0, 1 + since / closing, 1 - since / (event.duration - closing))
        curve = smooth_step(shut).astype(np.float32)
        for side in lids:
            if event.side in ("both", side):
                part = lids[side][first:last]
                np.maximum(part, curve, out=part)
    return motion.with_columns({"eyeBlinkLeft": lids["left"], "eyeBlinkRight": lids["right"]})


def _apart(a: BlinkEvent, b: BlinkEvent) -> bool:
    return a.time + a.duration + MIN_GAP <= b.time or b.time + b.duration + MIN_GAP <= a.time


def _spontaneous(n_frames: int, fps: float, rate: Array | float, seed: int) -> list[BlinkEvent]:
    """Blinks whose count follows the rate exactly and whose intervals are skewed."""
    expected = np.concatenate([[0.0], np.cumsum(np.broadcast_to(np.asarray(rate, np.float64) / 60 / fps, n_frames))])
    count = int(expected[-1] + 0.5)
    if count == 0:
        return []
    rng = np.random.default_rng([seed, 2])
    # Part of every interval is fixed, so that at high rates too no two blinks run into one.
    fixed = min(0.9, 0.6 * float(np.max(rate)) / 60)
    gaps = fixed + (1 - fixed) * rng.lognormal(-(_SKEW**2) / 2, _SKEW, count + 1)
    gaps[[0, -1]] *= 0.5  # the clip begins and ends somewhere inside an interval
    position = np.cumsum(gaps)[:-1] / gaps.sum() * expected[-1]
    times = np.interp(position, expected, np.arange(n_frames + 1) / fps)
    durations = rng.uniform(*_DURATIONS, count)
    return [BlinkEvent(float(t), float(d)) for t, d in zip(times, durations, strict=True)]
