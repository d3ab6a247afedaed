"""mediapipe's networks, started and run without what they write to standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mien.types import Frame

_NOTHING = np.zeros((64, 64, 3), np.uint8)
_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what C++ writes to the process' standard error into a file that goes away.

    mediapipe and TensorFlow Lite greet from C++ when a graph starts; no Python setting reaches that. One thread at a
    time: another would take the file for standard error, and put it back for good.
    """
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _ONE_AT_A_TIME:
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            with tempfile.TemporaryFile() as sink:
                os.dup2(sink.fileno(), 2)
                yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _started(make: Callable[[], Any]) -> Any:
    """A mediapipe solution, made and run once so that its greetings are over."""
    with quiet():
        solution = make()
        solution.process(_NOTHING)
    return solution


class Mesh:
    """mediapipe's face mesh for one face, without its messages.

    Its detector starts, and writes to standard error, in a thread of its own, which is over when a first picture has
    been processed; its other networks start when they first see a face. Until then every picture is processed quietly.
    """

    def __init__(self, *, static: bool, confidence: float) -> None:
        with quiet():
            from mediapipe.python.solutions.face_mesh import FaceMesh

            self._graph: Any = FaceMesh(
                static_image_mode=static,
                max_num_faces=1,
                refine_landmarks=True,
                min_detection_confidence=confidence,
                min_tracking_confidence=confidence,
            )
            self._graph.process(_NOTHING)
        self._started = False

    def process(self, picture: Frame) -> Any:
        """The 478 landmarks of the face in the picture, or ``None``."""
        if self._started:
            found = self._graph.process(picture).multi_face_landmarks
        else:
            with quiet():
                found = self._graph.process(picture).multi_face_landmarks
            self._started = bool(found)
        return found[0].landmark if found else None

    def reset(self) -> None:
        """Forget where the face was."""
        with quiet():
            self._graph.reset()
            self._graph.process(_NOTHING)
        self._started = False


def face_detection(model: int, confidence: float) -> Any:
    """mediapipe's detector: ``model`` 0 is the short-range, 1 the full-range network."""
    with quiet():
        from mediapipe.python.solutions.face_detection import FaceDetection

    return _started(lambda: FaceDetection(model_selection=model, min_detection_confidence=confidence))


def selfie_segmentation() -> Any:
    """mediapipe's segmentation of people from their surroundings."""
    with quiet():
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

    return _started(lambda: SelfieSegmentation(model_selection=0))
