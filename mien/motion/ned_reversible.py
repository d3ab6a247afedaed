"""NED's default: a face in motion feels something else, and can be brought back to what it felt.

NED's task and mapping network (``ned.py``, Paraperas Papantoniou et al., CVPR 2022), and in the place of its recurrent
style encoder and translator something of mien's own that keeps whose movement it was.

A *style* is how the face stands and moves in a clip: mean and spread (standard deviation) of each of 41 expressions.
Translating stretches and shifts the curve of every expression until it has the mean and the spread of the style:

    y(t) = m + g (x(t) - mean of x),    g = wanted spread / spread of x, within 1/10 and 10

Such maps form a group, and mean and spread of the result are those asked for. So translating the result to the style of
the original is the inverse map: the original comes back exactly, from nothing but the two clips. Therefore

*   curves fit in [0, 1] instead of being cut off: g falls until they do, at most to 1/10; then the mean gives way;
*   nothing depends on where in the clip a frame stands, and no curve on another.

In a blink an expression of the lids does nothing: the map is applied to the power a(t), from 1 where the eye is open to
0 where it is shut. x -> b + g x to the power a is x -> g^a x + b (g^a - 1) / (g - 1). Means and spreads of the lids are
those of open eyes.

A label's style comes from the mapping network, as a change of the face's own style, for looks are not emotions: of mean
and spread a share is kept, and something is added to what is left to 1. Only training needs PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from mien.direction import ALIASES
from mien.errors import FormatError, InputError
from mien.types import ARKIT_NAMES, Array, Emotion, FaceMotion

FEELING: tuple[str, ...] = tuple(
    name for name in ARKIT_NAMES if not name.startswith(("jawOpen", "eyeLook", "eyeBlink", "tongue"))
)
"""The expressions that show an emotion, besides the jaw: all but where the eyes look, and blinks."""

CURVES: tuple[str, ...] = ("jawOpen", *FEELING)
"""The expressions that are translated, in the order of a style."""

HEADER = "mien.ned_reversible"
"""Name of the entry in the head of a file of weights: version, emotions and size of the noise."""

REVERSIBLE_FORMAT = 1

MOST = 10.0
"""How much larger or smaller a curve may become."""

TYPICAL = 0.4
"""Factor on the noise of a label, so that no seed shows it as hardly anybody does."""

FULL = 1.15
"""Factor on what a label adds: the people of the training feel less than the emotion lane at intensity 1."""

PARTED = 0.5
"""Factor on how far a label bares the teeth: lips that speak have to close over them."""

_TEETH = [i for i, name in enumerate(CURVES) if name.startswith(("mouthUpperUp", "mouthLowerDown"))]
_LIDS = {
    side: [CURVES.index(f"{stem}{side}") for stem in ("eyeSquint", "eyeWide", "cheekSquint")]
    for side in ("Left", "Right")
}
_STILL = 1e-6  # a curve that spreads less than this does not move

Values = npt.NDArray[np.float64]


def values_of(motion: FaceMotion) -> Values:
    """``(T, 41)`` the curves.

    Raises:
        InputError: if the motion is of another rig, or has no frames.
    """
    if motion.rig != "builtin" or not set(CURVES) <= set(motion.expression_names):
        raise InputError(
            f"the motion is of the rig {motion.rig!r}; NED's default is for 'builtin'", "retarget it first"
        )
    if not len(motion):
        raise InputError("the motion has no frames", "use a longer clip")
    return np.stack([motion.column(name) for name in CURVES], 1).astype(np.float64)


def style_of(motion: FaceMotion) -> Values:
    """``(2, 41)`` mean and spread of each curve, of the lids' while the eyes are open.

    Raises:
        InputError: as :func:`values_of`.
    """
    values, seen = values_of(motion), _openness(motion) == 1
    n = seen.sum(0)
    mean = (values * seen).sum(0) / n
    return np.stack([mean, np.sqrt(((values - mean) ** 2 * seen).sum(0) / n)])


def translate(motion: FaceMotion, style: npt.ArrayLike) -> Values:
    """``(T, 41)`` the curves in a style ``(2, 41)``, in [0, 1] where the motion's are.

    Raises:
        InputError: as :func:`values_of`.
    """
    values, openness = values_of(motion), _openness(motion)
    mean, spread = style_of(motion)
    wanted_mean, wanted_spread = np.asarray(style, np.float64)
    seen = openness == 1
    below, above = mean - values.min(0, where=seen, initial=1), values.max(0, where=seen, initial=0) - mean
    gain = np.where(spread > _STILL, wanted_spread / np.maximum(spread, _STILL), 1)
    room = np.minimum(wanted_mean / np.maximum(below, _STILL), (1 - wanted_mean) / np.maximum(above, _STILL))
    gain = np.clip(np.minimum(gain, room), 1 / MOST, MOST)
    shift = np.clip(wanted_mean, gain * below, 1 - gain * above) - gain * mean
    power = openness * np.log(gain)
    even = np.abs(gain - 1) < 1e-9
    share = np.where(even, openness, np.expm1(power) / np.where(even, 1, gain - 1))
    return np.asarray(np.clip(np.exp(power) * values + shift * share, 0, 1))


def _openness(motion: FaceMotion) -> Values:
    """``(T, 41)`` how far the map is applied: less than 1 to the lids while an eye is more shut than it usually is."""
    powers = np.ones((len(motion), len(CURVES)))
    for side, lids in _LIDS.items():
        shut = motion.column(f"eyeBlink{side}").astype(np.float64)
        usual = max(1 - float(np.median(shut)), _STILL)
        powers[:, lids] = np.clip(2 * (1 - shut) / usual - 0.5, 0, 1)[:, None]
    return powers


@dataclass(frozen=True, eq=False)
class LabelStyles:
    """What becomes of a face's own style when it feels something: NED's mapping network.

    Attributes:
        emotions: in the order of the network's branches.
        latent_dim: numbers of noise.
        weights: of the layers under the names of :class:`mien.motion.ned.MappingNetwork`.
    """

    emotions: tuple[Emotion, ...]
    latent_dim: int
    weights: Mapping[str, Array]

    def __call__(self, emotion: Emotion | str, own: npt.ArrayLike, seed: int = 0) -> Values:
        """``(2, 41)`` the style in which a face of the style ``own`` feels something; another seed shows it otherwise.

        Raises:
            InputError: if the network does not know the emotion; the message lists those it knows.
        """
        branch = label_index(emotion, self.emotions)
        hidden = TYPICAL * np.random.default_rng(seed).standard_normal(self.latent_dim)
        for layer in ("shared.0", "shared.2", "shared.4", f"unshared.{branch}.0"):
            hidden = np.maximum(self._dense(layer, hidden), 0)
        change = 1 / (1 + np.exp(-self._dense(f"unshared.{branch}.2", hidden)))
        kept_mean, more, kept_spread, livelier = change.reshape(4, len(CURVES))
        mean, spread = np.asarray(own, np.float64)
        more = np.minimum(FULL * more, 1)
        more[_TEETH] *= PARTED
        return np.stack([more + (1 - more) * kept_mean * mean, np.hypot(kept_spread * spread, livelier)])

    def _dense(self, layer: str, values: Values) -> Values:
        return np.asarray(self.weights[f"{layer}.weight"] @ values + self.weights[f"{layer}.bias"], np.float64)


def label_index(emotion: Emotion | str, emotions: Sequence[Emotion]) -> int:
    """Which of a model's emotions is meant.

    Raises:
        InputError: if none is; the message lists them.
    """
    asked = str(emotion).lower()
    known = [label.value for label in emotions]
    if ALIASES.get(asked, asked) not in known:
        raise InputError(f"NED does not know the emotion {str(emotion)!r}", f"known: {', '.join(known)}")
    return known.index(ALIASES.get(asked, asked))


def load_reversible(path: Path | None = None) -> LabelStyles | None:
    """The mapping network in a file, of those that ship with mien by default; ``None`` if it holds something else.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is damaged or newer.
    """
    if path is None:
        with as_file(files("mien.motion") / "data" / "ned.safetensors") as shipped:
            return load_reversible(shipped)
    if not path.is_file():
        raise InputError(f"{path}: no such file", "check the path")
    if path.suffix.lower() != ".safetensors":
        return None
    try:
        with safe_open(path, "np") as file:
            header = (file.metadata() or {}).get(HEADER)
            if header is None:
                return None
            content = json.loads(header)
            if content["version"] > REVERSIBLE_FORMAT:
                raise ValueError(f"version {content['version']}, this mien reads up to {REVERSIBLE_FORMAT}")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        model = LabelStyles(tuple(map(Emotion, content["emotions"])), int(content["latent_dim"]), weights)
        for emotion in model.emotions:
            model(emotion, np.zeros((2, len(CURVES))))
        return model
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise FormatError(f"{path}: not a NED model of mien, or damaged ({error})", "train it again") from error
