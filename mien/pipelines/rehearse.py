"""What ``mien speak`` would make, looked at frame by frame before it is made."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mien.pipelines.speak import SPEECH_RATE, renderer_of
from mien.types import FaceMotion, Frame, Phone, Portrait, SpeechFeatures

if TYPE_CHECKING:
    from mien.perception.landmarks import LandmarkBackend

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Faces:
    """A picture and where its faces are.

    Attributes:
        picture: ``(H, W, 3)``.
        boxes: left, top, right and bottom of every face in pixels, the largest face first.
    """

    picture: Frame
    boxes: tuple[Box, ...]


def find_faces(path: Path, max_size: int, backend: LandmarkBackend | None = None) -> Faces:
    """The faces among which ``face`` of :class:`~mien.pipelines.speak.SpeakOptions` chooses; maybe none.

    Raises:
        InputError: if the picture cannot be used.
    """
    from mien.media.image import read_image
    from mien.perception.landmarks import MediapipeBackend, face_box

    picture = read_image(path, max_side=max_size)
    faces = (backend or MediapipeBackend()).detect(picture)
    return Faces(picture, tuple(tuple(face_box(face).tolist()) for face in faces))


def hear(path: Path, fps: float, text: str | None = None) -> SpeechFeatures:
    """What ``mien speak`` hears in a sound file.

    Raises:
        InputError: if the file or the text cannot be used.
    """
    from mien.media.audio import read_audio
    from mien.perception.speech import analyse

    return analyse(read_audio(path, SPEECH_RATE), fps, text)


def silence(seconds: float, fps: float) -> SpeechFeatures:
    """Nobody speaks: for a face that only feels."""
    from mien.perception.phones import UNITS
    from mien.perception.speech import KIND

    n = round(seconds * fps)
    values, nothing = np.zeros((n, len(UNITS)), np.float32), np.zeros(n, np.float32)
    values[:, UNITS.index("SIL")] = 1
    return SpeechFeatures(values, fps, KIND, (Phone("SIL", 0.0, seconds),), nothing, nothing, nothing, "silent")


class Sitter:
    """A portrait of which single frames can be drawn, by several threads if need be."""

    def __init__(self, portrait: Portrait) -> None:
        self.portrait = portrait
        self._renderers: dict[str, Any] = {}
        self._lock = threading.Lock()

    def draw(self, motion: FaceMotion, index: int, renderer: Literal["warp", "mesh"] = "warp") -> Frame:
        """Frame ``index`` of what the renderer makes of the whole motion."""
        with self._lock:
            if renderer not in self._renderers:
                self._renderers[renderer] = renderer_of(self.portrait, renderer)
            return next(iter(self._renderers[renderer].render(motion[index : index + 1])))
