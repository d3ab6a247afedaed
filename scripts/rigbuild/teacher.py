"""MediaPipe's Face Landmarker as teacher: landmarks and ARKit coefficients of real faces.

``track`` runs the whole task on a clip; ``Teacher`` runs only its last network, which turns landmarks into the 52
coefficients, on any landmarks: also on those of the rig itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.types import ARKIT_NAMES
from rigbuild.sources import Array


@dataclass(frozen=True)
class Clip:
    """``landmarks`` (T, 478, 3) px with y up and z towards the camera, ``coefficients`` (T, 52) by ``ARKIT_NAMES``."""

    name: str
    landmarks: Array
    coefficients: Array


def track(path: Path, task: Path, every: int = 1) -> Clip:
    """Every ``every``-th frame of a clip (or a picture) in which the landmarker finds a face."""
    import av
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=task.read_bytes()),
        running_mode=vision.RunningMode.VIDEO,
        output_face_blendshapes=True,
    )
    landmarks, coefficients = [], []
    with vision.FaceLandmarker.create_from_options(options) as landmarker, av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % every:
                continue
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(frame.to_ndarray(format="rgb24")))
            found = landmarker.detect_for_video(image, 40 * (number + 1))
            if not found.face_landmarks:
                continue
            points = np.array([[p.x, p.y, p.z] for p in found.face_landmarks[0]])
            landmarks.append(points * [image.width, -image.height, -image.width])
            scores = {c.category_name: c.score for c in found.face_blendshapes[0]}
            coefficients.append([scores.get(name, 0.0) for name in ARKIT_NAMES])
    return Clip(path.stem, np.array(landmarks).reshape(-1, 478, 3), np.array(coefficients).reshape(-1, len(ARKIT_NAMES)))
