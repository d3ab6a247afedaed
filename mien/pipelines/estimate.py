"""Who reads emotion in a picture or clip: mien's own reader, or EmoNet with the user's weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import InputError, needs_torch
from mien.types import Array, EmotionTrack, Frame, Portrait

if TYPE_CHECKING:
    from mien.perception.emonet import EmoNetReader
    from mien.perception.tracking import Track

OWN, EMONET = "own", "emonet"


@dataclass(frozen=True)
class EmotionEstimator:
    """An estimator by name.

    Attributes:
        kind: ``"own"`` or ``"emonet"``.
        weights: EmoNet's checkpoint.
    """

    kind: str
    weights: Path | None = None

    @classmethod
    def named(cls, text: str) -> EmotionEstimator:
        """``"own"`` or ``"emonet:FILE"``; a wrong file is found out here, before any work.

        Raises:
            InputError: if it is neither, or the file cannot be used.
            MissingExtraError: if PyTorch is missing.
        """
        kind, _, path = text.partition(":")
        if kind not in (OWN, EMONET) or (kind == EMONET) != bool(path):
            raise InputError(f"--estimator {text}", "give own, or emonet:FILE with EmoNet's official weights")
        estimator = cls(kind, Path(path) if path else None)
        if kind == EMONET:
            _ = estimator._emonet
        return estimator

    @cached_property
    def _emonet(self) -> EmoNetReader:
        with needs_torch("EmoNet"):
            from mien.perception.emonet import EmoNetReader, load_emonet
        assert self.weights is not None
        return EmoNetReader(load_emonet(self.weights))

    @property
    def identity(self) -> str:
        """Its name, and what its weights are whatever their file is called."""
        from mien.assets import sha256_of

        return self.kind if self.weights is None else f"{self.kind}:{sha256_of(self.weights)}"

    def picture(self, portrait: Portrait) -> EmotionTrack:
        """One row for a picture."""
        if self.kind == EMONET:
            return self._emonet([portrait.image], _landmarks_68(portrait.landmarks[None]), portrait.rest.fps)
        from mien.perception.emotion import load_emotion_reader

        return load_emotion_reader()(portrait.rest)

    def clip(self, path: Path, seen: Track) -> EmotionTrack:
        """One row per frame of a tracked clip; EmoNet looks at its pictures once more."""
        if self.kind == EMONET:
            from mien.media.video import VideoReader

            landmarks = _landmarks_68(seen.landmarks)
            return self._emonet(VideoReader(path), landmarks, seen.motion.fps, smooth=True)
        from mien.perception.emotion import load_emotion_reader

        return load_emotion_reader()(seen.motion, seen.found)

    def outputs(self, frames: Iterable[Frame], landmarks: Array) -> Array:
        """What a network says about some frames of a clip, for :meth:`track`; no columns if it looks at motion only."""
        if self.kind == EMONET:
            return self._emonet.outputs(frames, _landmarks_68(landmarks))
        return np.zeros((sum(1 for _ in frames), 0), np.float32)

    def track(self, outputs: Array, own: EmotionTrack) -> EmotionTrack:
        """A clip's emotion from the outputs of all its frames; ``own`` is what mien's own reader says."""
        return self._emonet.track(outputs, own.fps, smooth=True) if self.kind == EMONET else own


def _landmarks_68(landmarks: np.ndarray) -> np.ndarray:
    """``(T, 478, 3)`` to ``(T, 68, 2)`` in iBUG's order."""
    from mien.face.rig import load_rig

    return np.asarray(landmarks[:, load_rig().landmark_indices_68, :2], np.float32)
