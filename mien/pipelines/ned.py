"""NED in the pipelines: a request becomes styles, and the motion is translated shot by shot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.direction import LABELS
from mien.errors import InputError, MissingExtraError
from mien.progress import Progress
from mien.spans import EmotionPlan
from mien.types import Array, FaceMotion

if TYPE_CHECKING:
    from mien.motion.ned import NedEditor

_MODEL_DIGITS = 12


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
        shots: first frame of every shot; no window reaches across a cut.
        weights: of NED; those that ship with mien if ``None``.
        seed: of the noise that decides how a label is shown.

    Raises:
        InputError: if the plan names an emotion that the networks do not know, or a reference cannot be used.
        MissingExtraError: if PyTorch is not installed.
    """
    editor = editor_of(weights)
    if references:
        wishes = [(_style(editor, references, motion.fps, weights), plan.intensity)]
    else:
        shown = np.flatnonzero(plan.weights.max(axis=0, initial=0) > 0)
        wishes = [(editor.label_style(LABELS[i], seed), plan.weights[:, i]) for i in shown]
    source = editor.values(motion)
    change = np.zeros_like(source)
    for start, end in zip(shots, (*shots[1:], len(motion)), strict=True):
        for style, amount in wishes:
            if amount[start:end].any():
                moved = editor.translate(source[start:end], style) - source[start:end]
                change[start:end] += amount[start:end, None] * moved
    return editor.with_values(motion, np.clip(source + change, 0, 1))


def style_of_motion(motion: FaceMotion, weights: Path | None = None) -> tuple[Array, str]:
    """``(S,)`` NED's style of a clip, and the first digits of the SHA-256 of the networks that read it."""
    from mien.motion.ned import NedEditor, load_ned

    return NedEditor(load_ned(weights or "default")).reference_style(motion), _model(weights)


def motion_of(path: Path, progress: Progress | None) -> FaceMotion:
    """The motion in a file, or of the face in a video.

    Raises:
        InputError: if the file cannot be used.
    """
    from mien.media.motion_file import ENDINGS, read_motion
    from mien.perception.tracking import track_video

    return read_motion(path) if path.suffix.lower() in ENDINGS else track_video(path, progress=progress).motion


def editor_of(weights: Path | None) -> NedEditor:
    """NED, ready to translate.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        InputError: if the weights cannot be used.
    """
    try:
        from mien.motion.ned import NedEditor, load_ned
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("NED needs PyTorch", "pip install 'mien[networks]'") from error
    return NedEditor(load_ned(weights or "default"))


def _style(editor: NedEditor, references: Sequence[FaceMotion | Path], fps: float, weights: Path | None) -> Array:
    """One style of all references: of several, the geometric median."""
    from mien.media.style_file import read_style
    from mien.motion.ned import geometric_median

    styles = []
    for reference in references:
        if isinstance(reference, FaceMotion):
            styles.append(editor.reference_style(reference.resample(fps)))
            continue
        saved = read_style(reference)
        if saved.ned is None or saved.ned_model != _model(weights):
            raise InputError(f"{reference}: its style was read by other networks", "make it again with `mien style`")
        styles.append(saved.ned)
    return np.asarray(geometric_median(np.stack(styles)), np.float32)


def _model(weights: Path | None) -> str:
    from importlib.resources import as_file, files

    from mien.assets import sha256_of

    if weights is not None:
        return sha256_of(weights)[:_MODEL_DIGITS]
    with as_file(files("mien.motion") / "data" / "ned.safetensors") as shipped:
        return sha256_of(shipped)[:_MODEL_DIGITS]
