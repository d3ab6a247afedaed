"""MediaPipe's Face Landmarker as teacher: landmarks and ARKit coefficients of real faces.

``track`` runs the whole task on a clip; ``Teacher`` runs only its last network, which turns landmarks into the 52
coefficients, on any landmarks: also on those of the rig itself.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from landmarker import Landmarker

from mien.types import ARKIT_NAMES
from rigbuild.binding import similarity
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

    landmarker = Landmarker(task, video=True)
    landmarks, coefficients = [], []
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            found = None if number % every else landmarker(frame.to_ndarray(format="rgb24"), 40 * (number + 1))
            if found is not None:
                landmarks.append(found[0] * [1, -1, -1])
                coefficients.append(found[1])
    return Clip(
        path.stem, np.array(landmarks).reshape(-1, 478, 3), np.array(coefficients).reshape(-1, len(ARKIT_NAMES))
    )


NEUTRAL_SHARE = 0.1
"""The share of a clip's frames, the stillest by the teacher's scores, that its neutral face is the mean of."""


def neutral_face(clips: list[Clip], canonical: Array) -> Array:
    """One person's mean neutral landmarks ``(478, 3)`` m, in the place and size of the canonical face."""
    still = [not name.startswith(("eyeLook", "eyeSquint", "brow")) for name in ARKIT_NAMES]
    blink = [name.startswith("eyeBlink") for name in ARKIT_NAMES]
    means = []
    for clip in clips:
        activity = clip.coefficients[:, still].sum(1) + clip.coefficients[:, blink].sum(1)
        chosen = np.argsort(activity, kind="stable")[: max(1, int(len(activity) * NEUTRAL_SHARE))]
        means.append(np.mean([align(face, canonical) for face in clip.landmarks[chosen]], 0))
    return np.asarray(np.mean(means, 0))


def align(face: Array, reference: Array) -> Array:
    """Landmarks moved by the similarity that brings their first ``len(reference)`` points nearest to ``reference``."""
    scale, rotation, shift = similarity(face[: len(reference)], reference)
    return np.asarray(scale * face @ rotation.T + shift)


class Teacher:
    """The network that turns landmarks into coefficients, by itself.

    Args:
        task: the Face Landmarker task file; only its ``face_blendshapes.tflite`` is read.
    """

    SIZE = 1000
    """Side of the picture the landmarks are told to lie in, px."""

    def __init__(self, task: Path) -> None:
        import mediapipe as mp
        import mediapipe.tasks.python  # registers the graph
        from mediapipe.framework import calculator_pb2
        from mediapipe.tasks.cc.vision.face_landmarker.proto import face_blendshapes_graph_options_pb2 as graph_options

        with zipfile.ZipFile(task) as archive:
            model = archive.read("face_blendshapes.tflite")
        config = calculator_pb2.CalculatorGraphConfig()
        config.input_stream.extend(["LANDMARKS:landmarks", "IMAGE:image"])
        config.output_stream.extend(["BLENDSHAPES:blendshapes"])
        size = config.node.add(calculator="ImagePropertiesCalculator")
        size.input_stream.append("IMAGE:image")
        size.output_stream.append("SIZE:size")
        network = config.node.add(calculator="mediapipe.tasks.vision.face_landmarker.FaceBlendshapesGraph")
        network.input_stream.extend(["LANDMARKS:landmarks", "IMAGE_SIZE:size"])
        network.output_stream.append("BLENDSHAPES:blendshapes")
        options = graph_options.FaceBlendshapesGraphOptions()
        options.base_options.model_asset.file_content = model
        network.options.Extensions[graph_options.FaceBlendshapesGraphOptions.ext].CopyFrom(options)
        self._config = config
        self._image = mp.packet_creator.create_image(
            mp.Image(image_format=mp.ImageFormat.SRGB, data=np.zeros((self.SIZE, self.SIZE, 3), np.uint8))
        )

    def __call__(self, landmarks: Array) -> Array:
        """Coefficients ``(T, 52)`` of landmarks ``(T, 478, 3)`` with y up, in any unit; each face is scaled to fit."""
        import mediapipe as mp
        from mediapipe.framework.formats import classification_pb2, landmark_pb2
        from mediapipe.python import packet_creator, packet_getter

        results: list[list[float]] = []

        def keep(_: str, packet: object) -> None:
            proto = packet_getter.get_proto(packet)
            assert isinstance(proto, classification_pb2.ClassificationList)
            scores = {c.label: c.score for c in proto.classification}
            results.append([scores.get(name, 0.0) for name in ARKIT_NAMES])

        graph = mp.CalculatorGraph(graph_config=self._config)  # a graph that was closed cannot run again
        graph.observe_output_stream("blendshapes", keep)
        graph.start_run()
        for number, face in enumerate(landmarks):
            low, high = face[:, :2].min(0), face[:, :2].max(0)
            unit = (face - [*(0.5 * (low + high)), 0]) / (1.6 * (high - low).max()) * [1, -1, -1] + [0.5, 0.5, 0]
            points = landmark_pb2.NormalizedLandmarkList()
            for x, y, z in unit:
                points.landmark.add(x=x, y=y, z=z)
            graph.add_packet_to_input_stream("landmarks", packet_creator.create_proto(points).at(number))
            graph.add_packet_to_input_stream("image", self._image.at(number))
        graph.close()
        return np.array(results)
