"""MediaPipe's Face Landmarker, an estimator that mien does not contain: teacher and judge in the scripts beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mien.types import ARKIT_NAMES, Array, Frame


class Landmarker:
    """The whole task, on single pictures or on the frames of a video in their order.

    Args:
        task: the file ``face_landmarker.task``.
        video: follow a face from frame to frame instead of looking for it in each picture.
    """

    def __init__(self, task: Path, *, video: bool = False) -> None:
        from mediapipe.tasks.python import BaseOptions, vision

        self._video = video
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=task.read_bytes()),
            running_mode=vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE,
            output_face_blendshapes=True,
        )
        self._task = vision.FaceLandmarker.create_from_options(options)

    def __call__(self, frame: Frame, milliseconds: int = 0) -> tuple[Array, Array] | None:
        """Landmarks ``(478, 3)`` px (y down, z away) and ``(52,)`` coefficients by ``ARKIT_NAMES``, if there is a face.

        Args:
            frame: ``(H, W, 3)``.
            milliseconds: when a video shows it; later than the frame before it.
        """
        import mediapipe as mp

        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        found = self._task.detect_for_video(image, milliseconds) if self._video else self._task.detect(image)
        if not found.face_landmarks:
            return None
        points = np.array([(p.x, p.y, p.z) for p in found.face_landmarks[0]]) * [image.width, image.height, image.width]
        scores = {shape.category_name: shape.score for shape in found.face_blendshapes[0]}
        return points, np.array([scores.get(name, 0.0) for name in ARKIT_NAMES])  # it has no tongueOut
