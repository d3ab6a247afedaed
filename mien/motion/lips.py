"""The lips lane: phones, loudness and a gain become the motion of jaw and lips.

Coarticulation by dominance functions (Cohen and Massaro 1993, "Modeling coarticulation in synthetic visual speech"):
at time t an articulator stands at the mean of all phones' targets, weighted by dominances that decay exponentially
before and after each phone. As in JALI (Edwards et al. 2016, section 4) jaw and lips are separate articulators and the
rules that viewers notice stand above the mean: p b m shut the lips, silence is a closed, still mouth.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.face.rhythm import smooth_step
from mien.motion.visemes import ARTICULATORS, CLOSING, VISEMES
from mien.types import Array, FaceMotion, Phone, SpeechFeatures

Curves = npt.NDArray[np.floating]

_RATE = 100.0  # Hz at which curves are made, whatever the video rate
_REACH = 0.4  # seconds beyond which a phone has no say

# Seconds in which dominance falls to 1/e before and after a phone: lips prepare a sound longer than they keep it.
_BEFORE = {"jaw": 0.04, "funnel": 0.06, "pucker": 0.06, "spread": 0.05, "lower": 0.042, "upper": 0.042, "teeth": 0.018}
_AFTER = {"jaw": 0.04, "funnel": 0.05, "pucker": 0.05, "spread": 0.042, "lower": 0.042, "upper": 0.042, "teeth": 0.018}

_SMOOTH = 0.028  # seconds, standard deviation of the Gaussian that takes out what lips cannot follow (-3 dB at 4.7 Hz)
_LEAD = 0.02  # seconds by which lips come before the sound
_HOLD = 0.045  # seconds for which closed lips stay closed; a little over a frame at 25 fps
_RAMP = 0.08  # seconds for closing and for opening
_OPENING, _CLOSING_TIME = 0.16, 0.14  # seconds in which the mouth leaves rest before speech and comes back after it


def lips(speech: SpeechFeatures, *, gain: npt.ArrayLike = 1.0) -> FaceMotion:
    """The mouth that says ``speech``, on the builtin rig.

    Only mouth and jaw shapes are set; all of them are exactly 0 in silence and lie in [0, 1].

    Args:
        speech: phones and loudness; the motion has as many frames and the same rate.
        gain: how far the lips move, in [0, 2]: one number or ``(T,)``; 0 keeps the mouth shut, 1 is a plain talker.
            Lips shut on p, b and m at any gain.

    Raises:
        ValueError: if ``gain`` is out of range or of another length.
    """
    n = len(speech)
    amount = _checked_gain(gain, n)
    curves = dict(zip(ARTICULATORS, _articulation(speech).T, strict=True))
    closure = closure_frames(speech)
    teeth = curves["teeth"] * np.minimum(amount, 1)
    free = (1 - closure) * amount

    # While the lips are shut the jaw may stay down a little: mouthClose of the same weight seals them over it. For f
    # and v the lower lip comes up as far as the teeth.
    jaw = np.minimum(curves["jaw"] * amount, 1) * (1 - np.maximum(0.5 * closure, 0.3 * teeth))
    sealed = jaw * np.maximum(closure, 0.4 * teeth)
    press = closure * np.minimum(amount, 1)
    pairs = {
        "mouthSmile": 0.25 * curves["spread"] * free,
        "mouthStretch": 0.45 * curves["spread"] * free,
        "mouthLowerDown": curves["lower"] * free * (1 - teeth),
        "mouthUpperUp": curves["upper"] * free,
        "mouthPress": 0.25 * press,
    }
    columns = {name + side: curve for name, curve in pairs.items() for side in ("Left", "Right")}
    columns |= {
        "jawOpen": jaw,
        "mouthClose": sealed,
        "mouthFunnel": curves["funnel"] * free,
        "mouthPucker": curves["pucker"] * amount * (1 - 0.5 * closure),
        "mouthRollLower": 0.12 * press + 0.4 * teeth * (1 - closure),
        "mouthRollUpper": 0.10 * press,
    }
    limited = {name: np.clip(curve, 0, 1) for name, curve in columns.items()}
    return FaceMotion.zeros(n, speech.fps).with_columns(limited)


def closure_frames(speech: SpeechFeatures) -> Array:
    """``(T,)`` in [0, 1]: how shut the speech wants the lips, 1 around the middle of every p, b and m.

    Whatever else moves the mouth must leave it shut where this is 1.
    """
    at = np.arange(len(speech)) / speech.fps
    closure = np.zeros(len(speech))
    hold = max(_HOLD, 1.1 / speech.fps) / 2  # at any rate one frame falls into it
    for phone in speech.phones:
        if phone.symbol in CLOSING:
            low, high = np.searchsorted(at, (phone.start - _REACH, phone.end + _REACH))
            away = np.abs(at[low:high] - (phone.start + phone.end) / 2) - hold
            np.maximum(closure[low:high], smooth_step(1 - away / _RAMP), out=closure[low:high])
    return np.asarray(closure, np.float32)


def _articulation(speech: SpeechFeatures) -> Array:
    """``(T, A)`` articulator positions at the video rate."""
    n = int(np.ceil(len(speech) / speech.fps * _RATE)) + round(_REACH * _RATE)
    time = np.arange(n) / _RATE
    weighted = np.zeros((n, len(ARTICULATORS)))
    total = np.full((n, len(ARTICULATORS)), 1e-6)
    before = np.array([_BEFORE[name] for name in ARTICULATORS])
    after = np.array([_AFTER[name] for name in ARTICULATORS])
    for phone in speech.phones:
        viseme = VISEMES.get(phone.symbol, VISEMES["SIL"])
        low, high = np.searchsorted(time, (phone.start - _REACH, phone.end + _REACH))
        # Full dominance in the middle half of the phone.
        inner = (phone.end - phone.start) / 4
        early = np.maximum(0, phone.start + inner - time[low:high, None])
        late = np.maximum(0, time[low:high, None] - (phone.end - inner))
        dominance = np.array(viseme.dominances) * np.exp(-early / before - late / after)
        weighted[low:high] += dominance * np.array(viseme.targets)
        total[low:high] += dominance
    curves = weighted / total
    curves[:, ARTICULATORS.index("jaw")] *= _jaw_effort(speech, time)
    curves = _gaussian(curves, _SMOOTH) * _speaking(speech.phones, time)[:, None]
    at = np.arange(len(speech)) / speech.fps + _LEAD
    return np.stack([np.interp(at, time, curve) for curve in curves.T], axis=1).astype(np.float32)


def _jaw_effort(speech: SpeechFeatures, time: Curves) -> Array:
    """Louder syllables open the jaw wider: 0.7 to 1.1 over the range of loudness."""
    loudness = np.interp(time, np.arange(len(speech)) / speech.fps, speech.loudness)
    return np.asarray(0.7 + 0.4 * _gaussian(loudness[:, None], 0.1)[:, 0], np.float32)


def _speaking(phones: tuple[Phone, ...], time: Curves) -> Array:
    """1 in speech, exactly 0 in silence, with smooth ways between that do not depend on the phones."""
    gate = np.zeros(len(time))
    for phone in phones:
        if phone.symbol in VISEMES and phone.symbol != "SIL":
            low, high = np.searchsorted(time, (phone.start - _OPENING, phone.end + _CLOSING_TIME))
            part = time[low:high]
            inside = np.minimum(1 - (phone.start - part) / _OPENING, 1 - (part - phone.end) / _CLOSING_TIME)
            np.maximum(gate[low:high], smooth_step(inside), out=gate[low:high])
    return np.asarray(gate, np.float32)


def _gaussian(curves: Curves, deviation: float) -> Array:
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(curves, deviation * _RATE, axis=0, mode="nearest", truncate=4))


def _checked_gain(gain: npt.ArrayLike, n: int) -> Array:
    amount = np.asarray(gain, np.float32)
    if amount.ndim > 1 or (amount.ndim == 1 and len(amount) != n):
        raise ValueError(f"gain: expected one number or ({n},), got shape {amount.shape}")
    if amount.size and not (np.min(amount) >= 0 and np.max(amount) <= 2):
        raise ValueError(f"gain: expected values in [0, 2], got {np.min(amount):.3g} to {np.max(amount):.3g}")
    return np.asarray(np.broadcast_to(amount, (n,)), np.float32)
