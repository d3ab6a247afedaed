"""Fixtures for all tests; it also lets tests in any folder import the helpers that stand beside it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from reference import FACE_LANDMARKER


@pytest.fixture(scope="session")
def sample_portrait() -> Path:
    """A public-domain photo of a face that every installation has: matplotlib's sample of Grace Hopper (US Navy)."""
    from matplotlib import cbook

    return Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))


@pytest.fixture(scope="session")
def face_landmarker() -> Callable[[np.ndarray], dict[str, float]] | None:
    """A frame to ARKit coefficients by MediaPipe's Face Landmarker, an estimator mien does not contain.

    ``None`` where its model file is not at hand: tests then say what they use instead.
    """
    if not FACE_LANDMARKER.exists():
        return None
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(FACE_LANDMARKER)), output_face_blendshapes=True
    )
    landmarker = vision.FaceLandmarker.create_from_options(options)

    def coefficients(frame: np.ndarray) -> dict[str, float]:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        return {shape.category_name: shape.score for shape in landmarker.detect(image).face_blendshapes[0]}

    return coefficients
