"""Playing directions on one portrait and summing up what is to be seen, with eyes that the renderer does not use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from mien.direction import LABEL_ANGLES, Direction
from mien.errors import NoFaceError
from mien.evaluation.flow import Grey, brow_rises, lip_parting
from mien.evaluation.leakage import Measures
from mien.evaluation.observer import Observer
from mien.types import Array, Frame, Portrait, SpeechFeatures

_LOOK_EVERY = 3  # frames between those that are judged and whose brows and lips are followed
_RIGID = [33, 133, 362, 263, 168, 6, 195, 127, 356, 234, 454]  # eye corners, nose, temples


class Watcher:
    """Plays directions on one portrait and sums up what is to be seen.

    Args:
        portrait: the face.
        observer: finds landmarks.
        name: of the portrait, for errors.

    Attributes:
        picture: the loudest moment of the last clip.

    Raises:
        NoFaceError: if the observer does not find the face of the photo.
    """

    def __init__(self, portrait: Portrait, observer: Observer, name: str) -> None:
        from mien.evaluation.emotion_judge import face_box
        from mien.rendering.warp import WarpRenderer

        seen = observer(portrait.image)
        if seen is None:
            raise NoFaceError(f"{name}: the observer finds no face", "give a picture from the front, in good light")
        self.picture = portrait.image
        self._portrait, self._observer, self._reference = portrait, observer, seen
        self._renderer = WarpRenderer(portrait)
        left, top = seen[:, :2].min(0)
        right, bottom = seen[:, :2].max(0)
        whole = int(left), int(top), int(right), int(bottom)
        self._box = face_box(portrait.image) or whole
        self._defaults: dict[int, tuple[Grey, Array]] = {}

    def forget(self) -> None:
        """The next clip is the one of defaults."""
        self._defaults.clear()

    def measures(self, direction: Direction, speech: SpeechFeatures, seed: int) -> Measures:
        """All of :data:`~mien.evaluation.leakage.MEASURES` of one clip; the first clip is the one of defaults."""
        import cv2

        from mien import metrics

        points: list[Array] = []
        judged: dict[int, float] = {}
        brows: dict[int, Array] = {}
        gaps: dict[int, float] = {}
        silent, spoken = far_from_speech(speech), np.asarray(speech.voiced) > 0.5
        loudest = int(np.argmax(speech.loudness))
        for i, frame in enumerate(self._frames(direction, speech, seed)):
            seen = self._observer(frame)
            points.append(points[-1] if seen is None and points else self._reference if seen is None else seen)
            if i == loudest:
                self.picture = frame
            if i % _LOOK_EVERY == 0 and (silent[i] or spoken[i]):
                grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
                before, usual = self._defaults.setdefault(i, (grey, points[-1]))
                judged[i] = self._valence(frame, points[-1])
                brows[i] = brow_rises(before, grey, usual, points[-1])
                if spoken[i]:
                    wider = lip_parting(before, grey, usual, points[-1]) / self._height
                    gaps[i] = max(self._gap(usual) + wider, 0.0)  # lips that thin come no closer than shut
        landmarks = np.stack(points)
        face = metrics.steadied(landmarks, self._reference)
        closure = metrics.closure_from_openness(metrics.eye_openness(face), speech.fps)
        raised = np.mean(list(brows.values()), axis=0) / float(metrics.eye_distance(self._reference))
        return {
            "valence": float(np.median([v for i, v in judged.items() if silent[i]])),
            "lip movement": float(np.std(list(gaps.values()))),
            "lip opening": float(np.mean(list(gaps.values()))),
            "head movement": float(metrics.head_angles(landmarks, self._reference).std(0).mean()),
            "blink rate": metrics.blink_rate(metrics.blinks_of(closure, speech.fps), len(landmarks) / speech.fps),
            "brow asymmetry": float(raised[1] - raised[0]),
            "valence in speech": float(np.median([v for i, v in judged.items() if spoken[i]])),
            "brow height": float(raised.mean()),
        }

    def _frames(self, direction: Direction, speech: SpeechFeatures, seed: int) -> Iterator[Frame]:
        from mien.pipelines.speak import perform

        motion = perform(direction, speech, rest=self._portrait.rest, identity=self._portrait.identity, seed=seed)
        return self._renderer.render(motion)

    @property
    def _height(self) -> float:
        from mien import metrics

        return float(metrics.face_height(self._reference))

    def _gap(self, landmarks: Array) -> float:
        """Inner-lip gap in face heights, the head held still."""
        from mien import metrics

        return float(metrics.lip_aperture(metrics.steadied(landmarks[None], self._reference))[0])

    def _valence(self, frame: Frame, landmarks: Array) -> float:
        """What the judge sees in the face, where it stood in the photo and as large."""
        import cv2

        from mien.evaluation.emotion_judge import judge

        moved, _ = cv2.estimateAffinePartial2D(landmarks[_RIGID, :2], self._reference[_RIGID, :2], method=cv2.LMEDS)
        size = frame.shape[1], frame.shape[0]
        upright = frame if moved is None else cv2.warpAffine(frame, moved, size, borderMode=cv2.BORDER_REPLICATE)
        return float(judge([np.asarray(upright, np.uint8)], self._box)[0] @ _judged_valence())


@cache
def _judged_valence() -> Array:
    """``(7,)`` valence of each label that the judge knows."""
    from mien.evaluation.emotion_judge import JUDGED_EMOTIONS

    angles = [LABEL_ANGLES.get(label.value) for label in JUDGED_EMOTIONS]
    return np.array([0 if angle is None else np.cos(np.deg2rad(angle)) for angle in angles], np.float32)


def far_from_speech(speech: SpeechFeatures) -> np.ndarray:
    """``(T,)`` where nobody speaks, nor will or did within a third of a second."""
    from scipy.ndimage import maximum_filter1d

    return np.asarray(maximum_filter1d(np.asarray(speech.voiced), 2 * round(speech.fps / 3) + 1) < 0.5)
