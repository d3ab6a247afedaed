"""DSM in ``mien redirect``: the person's own decoder takes them from where they are on the disc to a wanted place."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import InputError, needs_torch
from mien.media.person_folder import DECODER_FILE, DECODER_RUN
from mien.motion.va_path import span_path
from mien.spans import EmotionPlan, certainty
from mien.types import Array, FaceIdentity, FaceMotion

if TYPE_CHECKING:
    from mien.motion.dsm import Dsm

log = logging.getLogger(__name__)

_ROUNDS, _GAIN, _MOST = 8, 0.7, 1.0  # looks at the result, share of what it lacks that is asked on top, and limit
_SLOW = 0.5  # s: what it lacks for a moment is speech
_GIVES_WAY = 2.0  # share of the own brows and eyes that gives way to anybody's, by what is asked for on top
_UNKNOWN = 0.1  # share of the asked frames from which on it is said that the person was not seen there


def is_trained(person: Path | None) -> bool:
    """Whether a person's folder holds a decoder."""
    return person is not None and (person / DECODER_RUN / DECODER_FILE).exists()


def weights_of(person: Path | None) -> Path:
    """The file with a person's decoder.

    Raises:
        InputError: if there is no person, or none was trained.
    """
    if person is None:
        raise InputError("--method dsm needs to know the person", "give --person FOLDER, made by `mien person`")
    if not is_trained(person):
        raise InputError(f"{person}: has no decoder", f"run `mien train dsm -i {person}`")
    return person / DECODER_RUN / DECODER_FILE


def dsm_motion(
    motion: FaceMotion,
    plan: EmotionPlan,
    person: Path | None,
    *,
    intensity: float,
    faithful: bool,
    seed: int,
    identity: FaceIdentity | None = None,
    shots: tuple[int, ...] = (0,),
) -> FaceMotion:
    """The motion in the emotion that the plan asks for.

    Args:
        motion: as it was tracked, absolute.
        plan: stretches become a path through drawn points, keyframes are the path themselves.
        person: the person's folder.
        intensity: factor on the radius of the path of stretches.
        faithful: put the decoder's face in the place of the person's, as in the paper.
        seed: of the drawn points.
        identity: whose face it is, and
        shots: first frame of every shot, for the speech that will be kept.

    Raises:
        InputError: if the person has no decoder, or it was trained on another estimator's readings.
        MissingExtraError: if PyTorch is not installed.
    """
    model = load_decoder(person)
    wanted = plan.va
    if plan.spans:
        path = span_path(plan.spans, len(motion), motion.fps, seed=seed)
        wanted = np.asarray(path.va * np.float32(intensity), np.float32)
    _warn(model, wanted[plan.amount > 0])
    if faithful:
        return model.replaced(motion, wanted)
    own = _read(motion)
    # Towards intensity 0 the way to the wanted point shrinks as well, so that 0 leaves the person as they are.
    share = certainty(plan.weights.sum(1))[:, None] if plan.spans else np.float32(1)
    return _steered(model, motion, own, own + share * (wanted - own), plan.amount, identity, shots)


def _steered(
    model: Dsm, motion: FaceMotion, own: Array, wanted: Array, felt: Array, identity: FaceIdentity | None,
    shots: tuple[int, ...],
) -> FaceMotion:  # fmt: skip
    """The motion that reads most like the wanted path once the speech is kept: what is short of it is asked for on top.

    A person's smile may be read as half as happy as it is asked for, and speech takes a part of every mouth. The more
    is asked for on top, the more do brows and eyes go anybody's way: what of their looks the decoder leaves as it was
    filmed gives way as well. ``felt`` is 0 in the frames that nobody asked for.
    """
    from scipy.ndimage import gaussian_filter1d

    from mien.direction import disc_weights
    from mien.motion.emotion import REPLACED, emotion_over, expression_at
    from mien.motion.keep_speech import keep_speech

    upper = np.array([name.startswith(REPLACED) and "mouth" not in name for name in motion.expression_names])
    best, least, more = motion, np.inf, np.zeros_like(wanted)
    for _ in range(_ROUNDS):
        asked = np.asarray(np.clip(wanted + more, -1, 1), np.float32)
        moved = model.moved(motion, own, asked, expression_at)
        if more.any():
            anybody = emotion_over(motion, np.stack([disc_weights(*place) for place in asked]), shots=shots).expression
            yielding = np.minimum(_GIVES_WAY * np.hypot(*more.T), 1)[:, None] * upper
            moved = replace(moved, expression=moved.expression + yielding * (anybody - moved.expression))
        kept = keep_speech(motion, moved, identity=identity, shots=shots)
        short = np.where(felt[:, None] > 0, wanted - _read(kept), 0)
        error = float(np.square(short).sum())
        if error < least:
            best, least = moved, error
        lacking = gaussian_filter1d(short, _SLOW * motion.fps, axis=0, mode="nearest")
        more = np.clip(more + _GAIN * lacking, -_MOST, _MOST)
    return best


def _read(motion: FaceMotion) -> Array:
    """``(T, 2)`` valence and arousal of the motion."""
    from mien.perception.emotion import load_emotion_reader

    return load_emotion_reader()(motion).va


def load_decoder(person: Path | None) -> Dsm:
    """A person's decoder.

    Raises:
        InputError: if the person has none, or it was trained on another estimator's readings.
        MissingExtraError: if PyTorch is not installed.
    """
    path = weights_of(person)
    with needs_torch("DSM"):
        from mien.motion.dsm import load_dsm
    model = load_dsm(path)
    if model.config.estimator != "own":
        raise InputError(
            f"{path}: was trained on readings of {model.config.estimator}, videos are read by mien's own estimator",
            "prepare the person without --estimator and train again",
        )
    return model


def _warn(model: Dsm, wanted: Array) -> None:
    """Say where the person was never seen like this."""
    known = model.coverage(wanted)
    unknown = known < 0.5
    if len(wanted) and unknown.mean() > _UNKNOWN:
        worst = int(known.argmin())
        apart = np.sqrt(np.square(wanted[worst] - model.cloud[:, :2]).sum(1).min())
        log.warning(
            "in %.0f %% of the frames the wanted emotion is none that the person was seen in (valence %.2f, arousal "
            "%.2f is %.2f from the nearest); there the face is generic (see `mien plot regions`)",
            100 * unknown.mean(), *wanted[worst], apart,
        )  # fmt: skip
