"""mien's own reader of emotion: expression weights in; valence, arousal and the eight labels out.

A network of one hidden layer looks at ARKit weights, the mean of both sides and how unequal the mouth is. It learned
from faces of the rig that wear FACS prototypes of the labels, seen through mien's own expression reader
(``scripts/train_emotion.py`` makes it, ``data/emotion_reader.md`` says on what and how good it is). Nobody labelled
what it learned from: take it for a careful guess, and a user's EmoNet (:mod:`mien.perception.emonet`) for the better
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mien.assets import load_shipped
from mien.perception.curves import interpolate_gaps
from mien.types import ARKIT_NAMES, Array, Emotion, EmotionTrack, FaceMotion

EMOTION_READER_FORMAT = 1
"""Version of the ``.npz`` layout that ``scripts/train_emotion.py`` writes."""

SHAPES: tuple[str, ...] = (
    "browDown", "browInnerUp", "browOuterUp", "eyeBlink", "eyeSquint", "eyeWide", "jawOpen", "mouthDimple",
    "mouthFrown", "mouthFunnel", "mouthLowerDown", "mouthPress", "mouthPucker", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmile", "mouthStretch", "mouthUpperUp",
)  # fmt: skip
"""What the network looks at; a shape of both sides as their mean. Tracking hardly sees noses and cheeks."""

UNEQUAL: tuple[str, ...] = ("mouthSmile", "mouthDimple")
"""Shapes whose difference between the sides it sees as well: contempt is one-sided."""

LABEL_SMOOTHING, VA_SMOOTHING = 0.8, 0.4
"""Standard deviations in seconds by which labels and values of a clip are smoothed: moods change slower than lips, and
what a word hides the next one shows."""

RESTING_BROWS = 0.3
"""Share of the lowest fifth of a clip's brow weights that counts as the person's looks, not as emotion."""

LONGEST_SURPRISE, RAISED_HABIT = 8.0, 1.0
"""Seconds; of brows that stay raised, and of a jaw and eyes that stay open, through a clip of this length this share is
habit: nobody is surprised so long."""

HOLD_SECONDS = 1.0
"""What speech does with lips and jaw is read as at the middle of the time around: a smile outlasts a vowel."""

_SPOKEN = ("jawOpen", "mouthFunnel", "mouthPucker", "mouthSmile", "mouthDimple", "mouthStretch")
"""Lips that bare teeth are not among them: that is how anger talks."""


def emotion_features(expression: Array) -> Array:
    """``(T, 52)`` weights under ARKit's names to ``(T, 22)``: :data:`SHAPES`, then :data:`UNEQUAL`."""

    def sides(stem: str) -> Array:
        names = [stem] if stem in ARKIT_NAMES else [f"{stem}Left", f"{stem}Right"]
        return expression[:, [ARKIT_NAMES.index(name) for name in names]]

    means = [sides(stem).mean(1) for stem in SHAPES]
    return np.stack(means + [np.ptp(sides(stem), 1) for stem in UNEQUAL], 1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class EmotionReader:
    """A trained network.

    Attributes:
        mean: ``(22,)`` subtracted from the features.
        weights: ``(22, H)`` and ``(H, 10)``.
        biases: ``(H,)`` and ``(10,)``; outputs are eight logits in the order of :class:`~mien.types.Emotion`, then
            valence and arousal before a tanh.
    """

    mean: Array
    weights: tuple[Array, Array]
    biases: tuple[Array, Array]

    def __call__(self, motion: FaceMotion, found: npt.NDArray[np.bool_] | None = None) -> EmotionTrack:
        """Valence, arousal and labels of a motion under ARKit's names; one frame is a picture, more are a clip.

        Args:
            motion: ``T`` frames.
            found: ``(T,)`` in which of them the face was seen, all if ``None``; the others are filled in.

        Raises:
            KeyError: if the motion lacks an expression of ARKit's.
        """
        seen = np.ones(len(motion), np.bool_) if found is None or not found.any() else found
        expression = np.stack([motion.column(name) for name in ARKIT_NAMES], 1)[seen]
        if len(expression) < 2:
            probabilities, va = self.frames(expression)
        else:
            held = _held(_without_looks(expression, len(expression) / motion.fps), motion.fps)
            probabilities, va = self.frames(held)
            probabilities = _smooth(probabilities, LABEL_SMOOTHING * motion.fps)
            va = _smooth(va, VA_SMOOTHING * motion.fps)
        va, probabilities = (_filled_in(values, seen) for values in (np.clip(va, -1, 1), probabilities))
        return EmotionTrack(va, motion.fps, tuple(Emotion), probabilities)

    def frames(self, expression: Array) -> tuple[Array, Array]:
        """``(T, 52)`` weights to probabilities ``(T, 8)`` and valence-arousal ``(T, 2)``, every row by itself."""
        hidden = np.maximum((emotion_features(expression) - self.mean) @ self.weights[0] + self.biases[0], 0)
        values = hidden @ self.weights[1] + self.biases[1]
        shares = np.exp(values[:, :8] - values[:, :8].max(1, keepdims=True))
        return shares / shares.sum(1, keepdims=True), np.tanh(values[:, 8:])


def _filled_in(values: Array, seen: npt.NDArray[np.bool_]) -> Array:
    """``(T, D)`` from the rows of the frames that were seen."""
    rows = np.zeros((len(seen), values.shape[1]), np.float32)
    rows[seen] = values
    return interpolate_gaps(rows, seen)


def _without_looks(expression: Array, duration: float) -> Array:
    """What stays through a whole clip is the person's own; of what surprise raises or opens, the more the longer."""
    expression = np.array(expression)
    brows, opened, lowered = (
        _columns(*stems) for stems in (("browInnerUp", "browOuterUp"), ("jawOpen", "eyeWide"), ("browDown",))
    )
    lowest = np.percentile(expression, 20, axis=0)
    together = min(lowest[_columns("browInnerUp")].mean(), lowest[_columns("browOuterUp")].mean())
    lasting = RAISED_HABIT * min(duration / LONGEST_SURPRISE, 1)
    habit = RESTING_BROWS + (1 - RESTING_BROWS) * lasting
    expression[:, brows] -= habit * together + RESTING_BROWS * (lowest[brows] - together)
    expression[:, opened] -= lasting * lowest[opened]
    expression[:, lowered] -= RESTING_BROWS * lowest[lowered]
    return expression


def _held(expression: Array, fps: float) -> Array:
    """Without what lips and jaw do for a sound or two."""
    from scipy.ndimage import median_filter

    spoken, reach = _columns(*_SPOKEN), round(HOLD_SECONDS * fps / 2)
    held = np.array(expression)
    held[:, spoken] = median_filter(expression[:, spoken], (2 * reach + 1, 1), mode="nearest")
    return held


def _columns(*stems: str) -> list[int]:
    """Where the weights of some shapes stand, those of both sides."""
    return [i for i, name in enumerate(ARKIT_NAMES) if name.removesuffix("Left").removesuffix("Right") in stems]


def _smooth(curve: Array, deviation: float) -> Array:
    """``(T, D)`` weighted by a bell of ``deviation`` frames; the ends are held."""
    reach = max(1, round(3 * deviation))
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(deviation, 1e-6)) ** 2)
    held = np.pad(curve, ((reach, reach), (0, 0)), mode="edge")
    columns = [np.convolve(column, bell / bell.sum(), mode="valid") for column in held.T]
    return np.asarray(np.stack(columns, 1), np.float32)


@lru_cache(maxsize=1)
def load_emotion_reader() -> EmotionReader:
    """The network that ships with mien.

    Raises:
        AssetError: if its file is missing or damaged.
    """
    _, arrays = load_shipped("mien.perception", "emotion_reader.npz", "mien.EmotionReader", EMOTION_READER_FORMAT)
    return EmotionReader(
        mean=arrays["mean"],
        weights=(arrays["weight_0"], arrays["weight_1"]),
        biases=(arrays["bias_0"], arrays["bias_1"]),
    )
