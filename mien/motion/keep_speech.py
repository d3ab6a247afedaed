"""A filmed face in another emotion still says what it said: the wanted motion, with the mouth's work of the source.

Whatever changes the emotion of a face in motion (a rule, DSM, NED) knows little of speech: its mouths gape where the
source closes on p, b, m, or mumble. Speech and emotion share the mouth, but not its time scale: articulation takes
tenths of a second, an emotion lasts seconds. So

1.  of what the wanted motion does to jaw and mouth only the slow part is taken, as a posture; the source's articulation
    goes on over it. Where the lips round (o, u, w), a smile gives way.
2.  the gap between the lips is the source's, up to a factor (:data:`MOST_WIDER`): an emotion that opens the mouth opens
    an open mouth wider, a calm one opens it less, and a closed one stays closed.
3.  lids: a blink of the source stays a blink, and no emotion narrows the eyes by more than :data:`MOST_NARROWER`.

Brows, nose and cheeks are taken as wanted; head and gaze stay the source's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.face.rig import load_rig
from mien.types import ARKIT_NAMES, Array, FaceIdentity, FaceMotion

MOST_WIDER = 0.25
"""How much wider an emotion may open the mouth, as a share of the source's gap; narrower, by the same factor."""

MOST_NARROWER = 0.4
"""How far an emotion may narrow the eyes, as a share of the source's gap between the lids."""

_POSTURE = 0.2  # s, standard deviation of the Gaussian that separates posture from articulation (-3 dB at 0.7 Hz)
_FULLY_WIDER = 0.010  # m: an emotion that parts the lips by this much on a resting face opens the mouth most
_JAW_SHUT = 0.02  # a jaw that is open by less is shut
_LIPS_APART = 0.003  # m: lips of a clip that never come nearer than this are open
_SLIGHTLY = 0.03  # of mouthClose: lips pressed on each other by less are not let go
_OPEN = 0.004  # m: a mouth that nobody opens further in the clip counts as this open
_MOUTH = tuple(name for name in ARKIT_NAMES if name.startswith(("jaw", "mouth", "tongue", "cheekPuff")))
_OPENERS = (
    "jawOpen", "mouthFunnel", "mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight",
)  # fmt: skip
_WIDENERS = ("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight")
_NARROWERS = ("eyeBlink", "eyeSquint", "cheekSquint")

_INDEX = {name: i for i, name in enumerate(ARKIT_NAMES)}


def keep_speech(
    source: FaceMotion, wanted: FaceMotion, *, identity: FaceIdentity | None = None, shots: tuple[int, ...] = (0,)
) -> FaceMotion:
    """The wanted motion with the lips of the source.

    Args:
        source: the tracked motion of the builtin rig, absolute.
        wanted: the same frames in another emotion.
        identity: whose face it is; tells how far lips and lids are apart.
        shots: first frame of every shot; no posture is carried across a cut.

    Returns:
        Expressions in [0, 1]; a frame whose neighbours are all unchanged comes out exactly as the source's. Head pose,
        gaze and translation are the source's.

    Raises:
        ValueError: if the two differ in length, rate or rig.
    """
    _check_alike(source, wanted)
    own = source.expression
    change = wanted.expression - own
    mouth = [_INDEX[name] for name in _MOUTH]
    change[:, mouth] = _posture(change[:, mouth], source.fps, shots)
    total = _mouth(own, change, identity)
    lids = _lids(own, change, identity)
    others = [i for i, name in enumerate(ARKIT_NAMES) if name not in _MOUTH]
    total[:, others] = np.clip(own + lids, 0, 1)[:, others]
    untouched = ~change.any(1)
    total[untouched] = own[untouched]
    return replace(source, expression=total)


def keep_gaps(source: FaceMotion, wanted: FaceMotion, *, identity: FaceIdentity | None = None) -> FaceMotion:
    """The wanted motion with lips and lids as far apart as the source's, where its curves have the source's course.

    For a method that stretches and shifts the source's own curves (NED's default): articulation and emotion need not be
    told apart, only what opens and closes is set right. It is made to be undone: what jaw and lips gave to keep the gap
    they take back when the emotion is taken back.

    1.  the lips: jaw and ``mouthClose`` are the source's, and make the gap of the source, times one factor for the
        clip, how much wider or narrower the wanted mouth opens, at most :data:`MOST_WIDER`. The jaw makes open mouths
        fit, the lips closed ones.
    2.  the lids: of what narrows or widens the eyes besides ``eyeWide`` one share for the clip is taken, so that the
        gap of the eyes, as far as they are usually open, changes by :data:`MOST_NARROWER` at most.

    Args:
        source: the tracked motion of the builtin rig, absolute.
        wanted: the same frames in another emotion.
        identity: whose face it is; tells how far lips and lids are apart.

    Returns:
        Expressions in [0, 1]; a frame in which nothing is wanted is the source's. Head pose, gaze and translation are
        the source's.

    Raises:
        ValueError: if the two differ in length, rate or rig.
    """
    _check_alike(source, wanted)
    own, total = source.expression, np.array(wanted.expression)
    jaw, lips = _INDEX["jawOpen"], _INDEX["mouthClose"]
    gaps, rest = _gaps("lips", identity)
    gap = own @ gaps + rest
    opening, asked = (np.maximum(each, 0).mean(1) for each in (gap, total @ gaps + rest))
    shut = _when_closed(opening)
    opening, asked = (np.maximum(each - shut, 0) for each in (opening, asked))
    size = np.linalg.norm(opening)
    wider = float(np.clip(np.linalg.norm(asked) / size, 1 / (1 + MOST_WIDER), 1 + MOST_WIDER)) if size else 1.0
    usual = max(float(np.percentile(opening, 90)), _OPEN) if len(opening) else _OPEN
    total[:, [jaw, lips]] = own[:, [jaw, lips]]
    closed = np.clip(1.5 - opening / (0.3 * usual), 0, 1)
    widened = 1 + (wider - 1) * opening / np.maximum(opening + shut, 1e-9)
    excess = total @ gaps + rest - widened[:, None] * gap
    opens, closes = gaps[jaw].mean(), -gaps[lips].mean()
    by_jaw = (1 - closed) * excess.mean(1)
    released = np.clip(-by_jaw, 0, closes * total[:, lips]) * np.clip(1 - total[:, jaw] / _JAW_SHUT, 0, 1)
    by_jaw += released  # lips that hold a gap over a shut jaw let go before it opens
    moved = np.clip(-by_jaw / opens, -total[:, jaw], 1 - total[:, jaw])
    line, line_rest = _gaps("lips", identity, corners=1)
    apart = total @ line + line_rest - widened[:, None] * (own @ line + line_rest)
    parted = _parted(apart / -line[lips])
    by_lips = closed * closes * parted + by_jaw + moved * opens - released
    pressed = np.clip(by_lips / closes, -total[:, lips], 1 - total[:, lips])
    moved -= (by_lips - pressed * closes) / opens
    total[:, jaw] = np.clip(total[:, jaw] + moved, 0, 1)
    total[:, lips] += pressed

    for side in ("Left", "Right"):
        gaps, rest = _gaps(f"eye_{side.lower()}", identity)
        blink, narrowers = _INDEX[f"eyeBlink{side}"], [_INDEX[f"{stem}{side}"] for stem in _NARROWERS]
        usual = float(np.median((own[:, blink, None] * gaps[blink] + rest).mean(1))) if len(own) else 0.0
        change = (total - own)[:, narrowers]
        most = float(np.abs((change @ gaps[narrowers]).mean(1)).max(initial=0))
        total[:, narrowers] = own[:, narrowers] + np.clip(MOST_NARROWER * usual / max(most, 1e-9), 0, 1) * change
    untouched = ~(wanted.expression != own).any(1)
    total[untouched] = own[untouched]
    return replace(source, expression=total)


def _check_alike(source: FaceMotion, wanted: FaceMotion) -> None:
    if (len(source), source.fps, source.rig, source.expression_names) != (
        len(wanted), wanted.fps, wanted.rig, wanted.expression_names,
    ) or source.expression_names != ARKIT_NAMES:  # fmt: skip
        raise ValueError(
            f"wanted: expected {len(source)} frames at {source.fps:g} frames/s of rig {source.rig!r} under ARKit's "
            f"names, got {len(wanted)} at {wanted.fps:g} of {wanted.rig!r}"
        )


def _posture(change: Array, fps: float, shots: tuple[int, ...]) -> Array:
    """The slow part of curves ``(T, N)``, shot by shot; exactly 0 far from everything that changes."""
    from scipy.ndimage import gaussian_filter1d

    slow = np.array(change)
    for start, end in zip(shots, (*shots[1:], len(change)), strict=True):
        slow[start:end] = gaussian_filter1d(change[start:end], _POSTURE * fps, axis=0, mode="nearest", truncate=3)
    return slow


def _mouth(own: Array, change: Array, identity: FaceIdentity | None) -> Array:
    """``(T, 52)`` the source's articulation with a posture over it, and the source's gap between the lips."""
    gaps, rest = _gaps("lips", identity)
    gap = np.maximum(own @ gaps + rest, 0)  # (T, P) of the source
    opening = gap.mean(1)
    opening = np.maximum(opening - _when_closed(opening), 0)
    change = np.array(change)
    wider = np.clip((change @ gaps).mean(1) / _FULLY_WIDER, -1 / (1 + MOST_WIDER), 1) * MOST_WIDER
    openers, wideners = ([_INDEX[name] for name in names] for names in (_OPENERS, _WIDENERS))
    usual = max(float(np.percentile(opening, 90)), _OPEN) if len(opening) else _OPEN
    grow = np.maximum(change[:, openers], 0)
    change[:, openers] += grow * (np.clip(opening / usual, 0, 1)[:, None] - 1)
    rounding = np.clip(own[:, _INDEX["mouthPucker"]] + own[:, _INDEX["mouthFunnel"]], 0, 1)
    change[:, wideners] *= 1 - 0.4 * rounding[:, None]
    # What is added fills up what is left to 1, so that articulation over a strong posture is not cut off.
    total = np.where(change > 0, own + np.clip(change, 0, 1) * (1 - own), np.maximum(own + change, 0))

    closed = np.clip(1.5 - opening / (0.3 * usual), 0, 1)
    difference = total @ gaps + rest - gap - (wider * (1 - closed) * opening)[:, None]
    excess = (1 - closed) * difference.mean(1) + closed * difference.max(1)
    closing, jaw = -gaps[_INDEX["mouthClose"]].mean(), gaps[_INDEX["jawOpen"]].mean()
    shut = np.maximum(total[:, _INDEX["mouthClose"]] + excess / closing, 0)
    lacking = np.maximum(-excess - closing * total[:, _INDEX["mouthClose"]], 0)
    total[:, _INDEX["mouthClose"]] = np.minimum(shut, 1)
    total[:, _INDEX["jawOpen"]] = np.clip(total[:, _INDEX["jawOpen"]] + lacking / jaw, 0, 1)
    return np.asarray(total, np.float32)


def _parted(values: Array) -> Array:
    """What closes the pair that is farthest apart, of values ``(T, P)`` that close each.

    Of opposite values it is the opposite, so that the way back undoes it; but lips that are only slightly pressed on
    each other are not let go.
    """
    weights = np.abs(values) ** 6 + 1e-12
    most = (values * weights).sum(1) / weights.sum(1)
    return np.asarray(np.where(most > 0, most, most**3 / (most**2 + _SLIGHTLY**2)))


def _when_closed(opening: Array) -> float:
    """The least of openings ``(T,)``: there are faces whose lips the rig has apart when they touch."""
    return min(float(np.percentile(opening, 2)), _LIPS_APART) if len(opening) else 0.0


def _lids(own: Array, change: Array, identity: FaceIdentity | None) -> Array:
    """The change of the expressions with that of the lids limited."""
    change = np.array(change)
    for side in ("Left", "Right"):
        gaps, rest = _gaps(f"eye_{side.lower()}", identity)
        gap = np.maximum((own @ gaps + rest).mean(1), 0)
        usual = float(np.percentile(gap, 75)) if len(gap) else 0.0
        blink, is_open = _INDEX[f"eyeBlink{side}"], np.clip(1.5 * gap / max(usual, 1e-6), 0, 1)
        change[:, _INDEX[f"eyeWide{side}"]] *= is_open
        change[:, blink] = np.where(change[:, blink] < 0, is_open, 1) * change[:, blink]
        narrower = -(change @ gaps).mean(1)
        share = np.clip(MOST_NARROWER * gap / np.maximum(narrower, 1e-6), 0, 1)
        for stem in _NARROWERS:
            change[:, _INDEX[f"{stem}{side}"]] *= share
    return change


def _gaps(closure: str, identity: FaceIdentity | None, corners: int | None = None) -> tuple[Array, Array]:
    """Metres by which each expression ``(52, P)`` and the neutral face ``(P,)`` part two edges.

    Of the pairs a quarter at each end counts as the corner and is left out, or as many as are given.
    """
    rig = load_rig()
    basis = rig.expressions_for(identity)[[rig.expression_index[name] for name in ARKIT_NAMES]]
    pairs, neutral = rig.closures[closure], rig.neutral(identity)
    ends = len(pairs) // 4 if corners is None else corners
    upper, lower = pairs[ends : len(pairs) - ends].T
    return basis[:, upper, 1] - basis[:, lower, 1], neutral[upper, 1] - neutral[lower, 1]
