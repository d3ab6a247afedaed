"""Playing directions on one portrait and summing up what is to be seen, with eyes that the renderer does not use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame whose brows and lips are followed from clip to clip.

    Attributes:
        grey: the frame.
        points: ``(478, 3)`` landmarks in it.
        risen: ``(2,)`` pixels by which the right and left brow have risen since the clip of defaults.
        gap: between the lips, face heights: by landmarks in the clip of defaults, from there on as flow adds it up.
    """

    grey: Grey
    points: Array
    risen: Array
    gap: float


@dataclass(frozen=True, eq=False)
class Clip:
    """What was seen of one clip.

    Attributes:
        measures: all of :data:`~mien.evaluation.leakage.MEASURES`.
        picture: the loudest moment.
        moments: frame number → what is followed.
    """

    measures: Measures
    picture: Frame
    moments: Mapping[int, Moment]


class Watcher:
    """Plays directions on one portrait and sums up what is to be seen.

    Args:
        portrait: the face.
        observer: finds landmarks.
        name: of the portrait, for errors.

    Raises:
        NoFaceError: if the observer does not find the face of the photo.
    """

    def __init__(self, portrait: Portrait, observer: Observer, name: str) -> None:
        from mien.evaluation.emotion_judge import face_box
        from mien.rendering.warp import WarpRenderer

        seen = observer(portrait.image)
        if seen is None:
            raise NoFaceError(f"{name}: the observer finds no face", "give a picture from the front, in good light")
        self._portrait, self._observer, self._reference = portrait, observer, seen
        self._renderer = WarpRenderer(portrait)
        left, top = seen[:, :2].min(0)
        right, bottom = seen[:, :2].max(0)
        whole = int(left), int(top), int(right), int(bottom)
        self._box = face_box(portrait.image) or whole

    def play(self, direction: Direction, speech: SpeechFeatures, seed: int, before: Clip | None = None) -> Clip:
        """Play one clip and look at it.

        Args:
            direction: what is played.
            speech: the voice.
            seed: of blinks, glances and head movement.
            before: the clip from which brows and lips are followed, one step nearer to the defaults; ``None`` if this
                is the clip of defaults. Small steps are what optical flow sees best.
        """
        import cv2

        from mien import metrics

        points: list[Array] = []
        judged: dict[int, float] = {}
        moments: dict[int, Moment] = {}
        picture = self._portrait.image
        silent, spoken = far_from_speech(speech), np.asarray(speech.voiced) > 0.5
        loudest = int(np.argmax(speech.loudness))
        for i, frame in enumerate(self._frames(direction, speech, seed)):
            seen = self._observer(frame)
            points.append(points[-1] if seen is None and points else self._reference if seen is None else seen)
            if i == loudest:
                picture = frame
            if i % _LOOK_EVERY == 0 and (silent[i] or spoken[i]):
                grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
                judged[i] = self._valence(frame, points[-1])
                moments[i] = self._moment(grey, points[-1], bool(spoken[i]), before.moments[i] if before else None)
        landmarks = np.stack(points)
        face = metrics.steadied(landmarks, self._reference)
        closure = metrics.closure_from_openness(metrics.eye_openness(face), speech.fps)
        raised = np.mean([m.risen for m in moments.values()], axis=0) / float(metrics.eye_distance(self._reference))
        gaps = [max(m.gap, 0.0) for i, m in moments.items() if spoken[i]]  # lips that thin come no closer than shut
        measures = {
            "valence": float(np.median([v for i, v in judged.items() if silent[i]])),
            "lip movement": float(np.std(gaps)),
            "lip opening": float(np.mean(gaps)),
            "head movement": float(metrics.head_angles(landmarks, self._reference).std(0).mean()),
            "blink rate": metrics.blink_rate(metrics.blinks_of(closure, speech.fps), len(landmarks) / speech.fps),
            "brow asymmetry": float(raised[1] - raised[0]),
            "valence in speech": float(np.median([v for i, v in judged.items() if spoken[i]])),
            "brow height": float(raised.mean()),
        }
        return Clip(measures, picture, moments)

    def _moment(self, grey: Grey, points: Array, spoken: bool, before: Moment | None) -> Moment:
        """A frame, followed from the same frame of another clip; lips where somebody speaks."""
        if before is None:
            return Moment(grey, points, np.zeros(2, np.float32), self._gap(points))
        pair = before.grey, grey, before.points, points
        wider = lip_parting(*pair) / self._height if spoken else 0.0
        return Moment(grey, points, before.risen + brow_rises(*pair), before.gap + wider)

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
