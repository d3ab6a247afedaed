"""What the watcher says of clips that are made here from one photo, whose lips part by known amounts."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mien.direction import Direction
from mien.evaluation.leakage import GOAL_LEAKAGE, Sweep, matrix
from mien.evaluation.observer import Observer
from mien.evaluation.watcher import Watcher
from mien.media.image import read_image
from mien.metrics import face_height
from mien.perception.tracking import track_image
from mien.pipelines.bench_speak import sample_portrait

LOWER_LIP = [14, 17, 84, 87, 178, 181, 314, 317, 402, 405]
N, SPOKEN = 30, 18
SPEECH = SimpleNamespace(
    fps=25.0, voiced=(np.arange(N) >= SPOKEN).astype(float), loudness=(np.arange(N) == N - 1).astype(float)
)


class Stage:
    """The photo of a face that does not move but for its lips; it knows the landmarks of every frame it made."""

    def __init__(self):
        self.photo = np.ascontiguousarray(read_image(sample_portrait())[:420])
        points = Observer()(self.photo)
        assert points is not None
        self.points, self._known = points, {self.photo.tobytes(): points}
        self.watcher = Watcher(track_image(self.photo), self, "sample")
        self.watcher._valence = lambda frame, landmarks: 0.0
        self.watcher._frames = lambda direction, speech, seed: iter([self.photo] * SPOKEN + self._spoken)
        self._spoken = []

    def __call__(self, frame):
        return self._known[frame.tobytes()]

    def play(self, drops, before=None, wider=0.0):
        """A clip whose lower lip drops by pixels, frame by frame of speech, in a mouth widened by a share."""
        self._spoken = [self._frame(drop, wider) for drop in drops]
        return self.watcher.play(Direction(), SPEECH, 0, before)

    def _frame(self, drop, wider):
        x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in self.photo.shape[1::-1]))
        cx, cy = self.points[[13, 14], :2].mean(0)
        half = np.linalg.norm(self.points[61, :2] - self.points[291, :2]) / 2

        def shift(x, y):
            low = np.exp(-(((x - cx) / (1.5 * half)) ** 4) - ((np.maximum(y - cy - half, 0) / half) ** 2))
            wide = np.exp(-(((x - cx) / (2 * half)) ** 2) - ((y - cy) / (1.5 * half)) ** 2)
            return wider * (x - cx) * wide, low * np.clip(y - cy, 0, drop)

        dx, dy = shift(x, y)
        frame = cv2.remap(self.photo, (x - dx).astype(np.float32), (y - dy).astype(np.float32), cv2.INTER_CUBIC)
        points = self.points.copy()
        points[:, 0] += shift(*self.points[:, :2].T)[0]
        points[LOWER_LIP, 1] += drop
        self._known[frame.tobytes()] = points
        return frame


@pytest.fixture(scope="module")
def stage():
    return Stage()


TALK = np.linspace(1, 4, N - SPOKEN)


def test_what_the_lips_do_from_step_to_step_adds_up(stage):
    """Twice the movement in two steps: mean and deviation of the gap grow by what was drawn, within a tenth."""
    default = stage.play(TALK)
    half = stage.play(1.5 * TALK, default)
    full = stage.play(2 * TALK, half)
    looked = TALK[np.arange(SPOKEN, N) % 3 == 0] / float(face_height(stage.points))
    for clip, gain in ((half, 0.5), (full, 1.0)):
        for measure, drawn in (("lip opening", looked.mean()), ("lip movement", looked.std())):
            change = clip.measures[measure] - default.measures[measure]
            assert change == pytest.approx(gain * drawn, rel=0.1), (measure, gain)


def test_a_generator_whose_emotion_opens_the_mouth_is_found_out(stage):
    """Lips that part two thirds farther at one end of the sweep leak; a mouth that only widens does not."""
    default = stage.play(TALK)

    def lips(clip):
        sweep = Sweep("emotion", (0.0, 1.0), (default.measures, clip.measures), default.measures)
        return matrix([sweep])["emotion"]["lips"].mean

    assert lips(stage.play(TALK, default)) < 0.01
    assert lips(stage.play(TALK, default, wider=0.15)) < GOAL_LEAKAGE
    assert lips(stage.play(1.67 * TALK, default)) > 2 * GOAL_LEAKAGE
