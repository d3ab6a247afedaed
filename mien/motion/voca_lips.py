"""VOCA as the lips lane: what the network does to the vertices becomes mouth shapes that all other lanes go with.

The network knows nothing of the rules that viewers notice, so they are laid over it as over the phone-driven lips: in
silence the mouth is shut and still (here), and p, b and m close the lips (rule 3 of :mod:`mien.motion.compose`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mien.errors import InputError
from mien.face.regions import regions_of_expression
from mien.face.rhythm import speaking
from mien.face.rig import load_rig
from mien.face.solve import non_negative
from mien.motion.voca import Voca, resampled
from mien.types import ARKIT_NAMES, FaceMotion, SpeechFeatures

MOUTH = tuple(
    name for name in ARKIT_NAMES if any(region.startswith(("mouth", "jaw")) for region in regions_of_expression(name))
)
"""The shapes that speech moves."""


def voca_lips(
    model: Voca,
    speech: SpeechFeatures,
    style: str | Mapping[str, float] | None = None,
    *,
    gain: npt.ArrayLike = 1.0,
) -> FaceMotion:
    """The mouth that says ``speech`` as ``model`` has learned it, on the builtin rig.

    Args:
        model: made for the builtin rig.
        speech: features of the kind the model was trained on; the motion has as many frames and the same rate.
        style: see :meth:`mien.motion.voca.Voca.animate`.
        gain: one factor or ``(T,)``, at least 0.

    Returns:
        Shapes of mouth and jaw in [0, 1], exactly 0 in silence.

    Raises:
        InputError: if model, features or style do not fit.
    """
    model.check(speech)
    rig = load_rig()
    if (model.config.rig, model.config.n_vertices) != (rig.name, rig.n_vertices):
        raise InputError(
            f"a VOCA model for rig {model.config.rig} does not move the lips of a direction",
            f"train one for rig {rig.name}, or use `mien animate --voca` with --rig {model.config.rig}",
        )
    basis = rig.expression_basis[[rig.expression_index[name] for name in MOUTH]].reshape(len(MOUTH), -1)
    axes, triangle = np.linalg.qr(basis.T.astype(np.float64))  # as many rows as shapes instead of three per vertex
    n = max(1, round(len(speech) / speech.fps * model.config.fps))
    values = resampled(speech.values, speech.fps, model.config.fps, n)
    blocks = [block.reshape(len(block), -1) @ axes for block in model.blocks(values, style)]
    weights = non_negative(triangle.T, np.concatenate(blocks))
    curves = resampled(weights, model.config.fps, speech.fps, len(speech))
    curves = curves * (speaking(speech) * np.asarray(gain, np.float32))[:, None]
    still = FaceMotion.zeros(len(speech), speech.fps)
    return still.with_columns(dict(zip(MOUTH, curves.clip(0, 1).T, strict=True)))
