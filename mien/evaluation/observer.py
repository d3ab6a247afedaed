"""Eyes that share nothing with what makes the pictures: landmarks frame by frame, and a reader of emotion.

mien's own tracker smooths over time and reads expressions with a network of its own, which also told the renderer where
the face is. Here every picture is looked at anew, and what is measured is the plain geometry of the landmarks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mien.assets import sha256_of
from mien.errors import InputError
from mien.types import Array, Frame

LANDMARKER_PAGE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"


class Observer:
    """Finds the landmarks of one face in a picture, without memory of the one before.

    With MediaPipe's Face Landmarker task file its own detector and mesh are used, which mien does not contain; without
    it the mesh inside the mediapipe wheel, each picture by itself.

    Args:
        task: ``face_landmarker.task``.

    Attributes:
        name: what looks, with the hash of its file, for the report.

    Raises:
        InputError: if the task file cannot be used.
    """

    def __init__(self, task: Path | None = None) -> None:
        if task is None:
            from mien.perception.landmarks import MediapipeBackend

            backend = MediapipeBackend()
            self.name = "MediaPipe face mesh of the 0.10.21 wheel, every picture by itself"

            def find(frame: Frame) -> Array | None:
                faces = backend.detect(frame, patient=False)
                return faces[0] if faces else None

            self._find = find
        else:
            self._find = _landmarker(task)
            self.name = f"MediaPipe Face Landmarker, {task.name} sha256 {sha256_of(task)[:16]}"

    def __call__(self, frame: Frame) -> Array | None:
        """``(478, 3)`` pixels as in :class:`~mien.types.Portrait`, or ``None`` where there is no face."""
        return self._find(frame)


def _landmarker(task: Path) -> Any:
    if not task.is_file():
        raise InputError(f"{task}: no such file", f"MediaPipe's Face Landmarker comes from {LANDMARKER_PAGE}")
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    try:
        options = vision.FaceLandmarkerOptions(base_options=BaseOptions(model_asset_buffer=task.read_bytes()))
        landmarker = vision.FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{task}: is not a Face Landmarker task", f"it comes from {LANDMARKER_PAGE}") from error

    def find(frame: Frame) -> Array | None:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        faces = landmarker.detect(image).face_landmarks
        if not faces:
            return None
        size = frame.shape[1], frame.shape[0], frame.shape[1]
        return np.array([(p.x, p.y, p.z) for p in faces[0]], np.float32) * np.array(size, np.float32)

    return find
