"""DSM in ``mien redirect``: the person's own decoder takes them from where they are on the disc to a wanted place."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import InputError, needs_torch
from mien.motion.va_path import span_path
from mien.spans import EmotionPlan, certainty
from mien.types import Array, FaceMotion

if TYPE_CHECKING:
    from mien.motion.dsm import Dsm

log = logging.getLogger(__name__)

FOLDER, WEIGHTS = "dsm", "dsm.safetensors"
"""Where ``mien train dsm`` leaves a person's decoder in the person's folder."""

_UNKNOWN = 0.1  # share of the asked frames from which on it is said that the person was not seen there


def is_trained(person: Path | None) -> bool:
    """Whether a person's folder holds a decoder."""
    return person is not None and (person / FOLDER / WEIGHTS).exists()


def weights_of(person: Path | None) -> Path:
    """The file with a person's decoder.

    Raises:
        InputError: if there is no person, or none was trained.
    """
    if person is None:
        raise InputError("--method dsm needs to know the person", "give --person FOLDER, made by `mien person`")
    if not is_trained(person):
        raise InputError(f"{person}: has no decoder", f"run `mien train dsm -i {person}`")
    return person / FOLDER / WEIGHTS


def dsm_motion(
    motion: FaceMotion, plan: EmotionPlan, person: Path | None, *, intensity: float, faithful: bool, seed: int
) -> FaceMotion:
    """The motion in the emotion that the plan asks for.

    Args:
        motion: as it was tracked, absolute.
        plan: stretches become a path through drawn points, keyframes are the path themselves.
        person: the person's folder.
        intensity: factor on the radius of the path of stretches.
        faithful: put the decoder's face in the place of the person's, as in the paper.
        seed: of the drawn points.

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
    from mien.motion.emotion import expression_at
    from mien.perception.emotion import load_emotion_reader

    own = load_emotion_reader()(motion).va
    # Towards intensity 0 the way to the wanted point shrinks as well, so that 0 leaves the person as they are.
    share = certainty(plan.weights.sum(1))[:, None] if plan.spans else np.float32(1)
    return model.moved(motion, own, np.asarray(own + share * (wanted - own), np.float32), expression_at)


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
