"""NED in the pipelines: a request becomes styles, and the motion is translated.

What ships stretches and shifts the curves of the motion, so that mean and spread are the style's, and can be undone
(:mod:`mien.motion.ned_reversible`). Trained networks of the paper (``--weights``) say how a face in this style moves;
how strongly an expression stands on average they say too faintly for faces unlike those they learned from, so their
mean is put where it is known to belong: at the mean of the reference, or at what the emotion lane of ``mien speak``
makes of the label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.direction import LABELS
from mien.errors import InputError, needs_torch
from mien.motion.ned_reversible import CURVES, LabelStyles, Values, load_reversible, style_of, translate, values_of
from mien.progress import Progress
from mien.spans import EmotionPlan
from mien.types import Array, FaceMotion

if TYPE_CHECKING:
    from mien.motion.ned import NedEditor

OPENING = ("jaw", "mouthClose", "mouthFunnel", "mouthUpperUp", "mouthLowerDown", "mouthShrugUpper", "mouthRoll")
"""Beginnings of the expressions that part the lips; their mean is the speech's as much as the emotion's."""

REVERSIBLE_MODEL = "reversible-1"
"""What reads a style of what ships: not its weights, but the definition of mean and spread."""

_MODEL_DIGITS = 12


@dataclass(frozen=True, eq=False)
class NedStyle:
    """A style, and how the one who has it looks on average.

    Attributes:
        style: ``(S,)`` for the networks.
        means: ``(D,)`` mean of the clip's jaw and expressions.
        model: what read it: :data:`REVERSIBLE_MODEL`, or first digits of the SHA-256 of the networks.
    """

    style: Array
    means: Array
    model: str


def ned_motion(
    motion: FaceMotion,
    plan: EmotionPlan,
    references: Sequence[FaceMotion | Path] = (),
    *,
    shots: tuple[int, ...] = (0,),
    weights: Path | None = None,
    seed: int = 0,
) -> FaceMotion:
    """The motion translated as the plan says, by labels or towards references.

    Args:
        motion: tracked, absolute.
        plan: what to feel, frame by frame.
        references: motions, or style files of ``mien style``; all of them together are one style.
        shots: first frame of every shot; no window of the paper's networks reaches across a cut.
        weights: of NED; those that ship with mien if ``None``.
        seed: of the noise that decides how a label is shown.

    Raises:
        InputError: if the plan names an emotion that the networks do not know, or a reference cannot be used.
        MissingExtraError: if the networks are the paper's and PyTorch is not installed.
    """
    model = load_reversible(weights)
    if model is None:
        assert weights is not None  # what ships is reversible
        return _by_networks(motion, plan, references, shots, weights, seed)
    source = values_of(motion)
    change = np.zeros_like(source)
    for style, amount in _wishes(model, motion, plan, references, seed):
        change += amount[:, None] * (translate(motion, style) - source)
    return motion.with_columns(dict(zip(CURVES, (source + change).T.astype(np.float32), strict=True)))


def _wishes(
    model: LabelStyles, motion: FaceMotion, plan: EmotionPlan, references: Sequence[FaceMotion | Path], seed: int
) -> Iterator[tuple[Values, Array]]:
    """Styles, and how much of each is asked for in every frame."""
    if references:
        yield np.mean([_reversible_style(each) for each in references], axis=0), plan.intensity
        return
    own = style_of(motion)
    for label in np.flatnonzero(plan.weights.max(axis=0, initial=0) > 0):
        yield model(LABELS[label], own, seed), plan.weights[:, label]


def _reversible_style(reference: FaceMotion | Path) -> Values:
    """``(2, 41)`` the style of a motion, or the one in a file."""
    if isinstance(reference, FaceMotion):
        return style_of(reference)
    return _saved(reference, REVERSIBLE_MODEL).style.reshape(2, -1).astype(np.float64)


def is_reversible(weights: Path | None) -> bool:
    """Whether these weights, or those that ship, stretch and shift the curves of a motion and keep their course.

    Raises:
        InputError: if the file is missing.
        FormatError: if it is damaged.
    """
    return load_reversible(weights) is not None


def _by_networks(
    motion: FaceMotion,
    plan: EmotionPlan,
    references: Sequence[FaceMotion | Path],
    shots: tuple[int, ...],
    weights: Path,
    seed: int,
) -> FaceMotion:
    """The translation by the paper's networks, its mean put where it belongs."""
    editor = editor_of(weights)
    source = editor.values(motion)
    wishes = []
    if references:
        wanted = _together([_style(editor, reference, motion.fps, weights) for reference in references])
        wishes.append((wanted.style, plan.intensity, wanted.means - source.mean(0)))
    else:
        for label in np.flatnonzero(plan.weights.max(axis=0, initial=0) > 0):
            lane = editor.values(_felt(motion, int(label), shots, seed))
            wishes.append((editor.label_style(LABELS[label], seed), plan.weights[:, label], lane - source))
    names = ("jaw", *editor.config.expression_names)
    standing = np.array([not name.startswith(OPENING) for name in names])
    change = np.zeros_like(source)
    for style, amount, goal in wishes:
        moved = np.zeros_like(source)
        for start, end in zip(shots, (*shots[1:], len(motion)), strict=True):
            moved[start:end] = editor.translate(source[start:end], style) - source[start:end]
        moved[:, standing] += (goal - moved.mean(0))[..., standing]
        change += amount[:, None] * moved
    return editor.with_values(motion, np.clip(source + change, 0, 1))


def _felt(motion: FaceMotion, label: int, shots: tuple[int, ...], seed: int) -> FaceMotion:
    """What the emotion lane makes of the motion at full intensity."""
    from mien.motion.emotion import emotion_over

    weights = np.zeros((len(motion), len(LABELS)), np.float32)
    weights[:, label] = 1
    return emotion_over(motion, weights, shots=shots, seed=seed)


def style_of_motion(motion: FaceMotion, weights: Path | None = None) -> NedStyle:
    """The style of a clip.

    Raises:
        InputError: if the clip cannot be used.
        MissingExtraError: if the networks are the paper's and PyTorch is not installed.
    """
    if weights is None or is_reversible(weights):
        style = style_of(motion).astype(np.float32)
        return NedStyle(style.ravel(), style[0], REVERSIBLE_MODEL)
    editor = editor_of(weights)
    return NedStyle(editor.reference_style(motion), editor.values(motion).mean(0), _model(weights))


def motion_of(path: Path, progress: Progress | None) -> FaceMotion:
    """The motion in a file, or of the face in a video.

    Raises:
        InputError: if the file cannot be used.
    """
    from mien.media.motion_file import ENDINGS, read_motion
    from mien.perception.tracking import track_video

    return read_motion(path) if path.suffix.lower() in ENDINGS else track_video(path, progress=progress).motion


def editor_of(weights: Path) -> NedEditor:
    """The paper's networks, ready to translate.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        InputError: if the weights cannot be used.
    """
    with needs_torch("NED"):
        from mien.motion.ned import NedEditor, load_ned
    return NedEditor(load_ned(weights))


def _style(editor: NedEditor, reference: FaceMotion | Path, fps: float, weights: Path) -> NedStyle:
    """The style of a motion, or the one in a file."""
    if isinstance(reference, FaceMotion):
        same_rate = reference.resample(fps)
        return NedStyle(editor.reference_style(same_rate), editor.values(same_rate).mean(0), _model(weights))
    return _saved(reference, _model(weights))


def _saved(path: Path, model: str) -> NedStyle:
    """The style in a file, if this model read it."""
    from mien.media.style_file import read_style

    saved = read_style(path)
    if saved.ned is None or saved.ned_means is None or saved.ned_model != model:
        raise InputError(f"{path}: its style was read by other networks", "make it again with `mien style`")
    return NedStyle(saved.ned, saved.ned_means, model)


def _together(styles: Sequence[NedStyle]) -> NedStyle:
    """One style of several: their geometric median, and the mean of their means."""
    from mien.motion.ned import geometric_median

    median = geometric_median(np.stack([each.style for each in styles])).astype(np.float32)
    return NedStyle(median, np.mean([each.means for each in styles], axis=0), styles[0].model)


def _model(weights: Path) -> str:
    from mien.assets import sha256_of

    return sha256_of(weights)[:_MODEL_DIGITS]
