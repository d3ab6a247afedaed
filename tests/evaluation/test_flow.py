"""Brows and lips by optical flow, on a photo that is moved by a known amount."""

import cv2
import numpy as np
import pytest

from mien.evaluation.flow import brow_rises, lip_motion, lip_parting
from mien.evaluation.leakage import NATURAL
from mien.evaluation.observer import Observer
from mien.media.image import read_image
from mien.metrics import eye_distance, face_height
from mien.pipelines.bench_speak import sample_portrait


@pytest.fixture(scope="module")
def face():
    """The photo around the head as grey levels, and landmarks."""
    picture = np.ascontiguousarray(read_image(sample_portrait())[:420])
    points = Observer()(picture)
    assert points is not None
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), points


def moved(face, shift):
    """The photo and its landmarks after ``shift(x, y) -> dx, dy`` in pixels, by where things are afterwards."""
    grey, points = face
    x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in grey.shape[::-1]))
    dx, dy = shift(x, y)
    after = cv2.remap(grey, (x - dx).astype(np.float32), (y - dy).astype(np.float32), cv2.INTER_CUBIC)
    landmarks = points.copy()
    landmarks[:, :2] += np.stack(shift(*points[:, :2].T), -1)
    return after, landmarks


def mouth(points):
    """Middle of the mouth and half its width."""
    middle = points[[13, 14], :2].mean(0)
    return *middle, np.linalg.norm(points[61, :2] - points[291, :2]) / 2


@pytest.mark.parametrize("opening", [1.0, 3.0, 6.0])
def test_a_lip_that_drops_is_seen_to_drop_as_far(face, opening):
    cx, cy, half = mouth(face[1])

    def shift(x, y):
        near = np.exp(-(((x - cx) / (1.5 * half)) ** 4) - ((np.maximum(y - cy - half, 0) / half) ** 2))
        return 0 * x, near * np.clip(y - cy, 0, opening)

    after, landmarks = moved(face, shift)
    lower = [14, 17, 84, 87, 178, 181, 314, 317, 402, 405]
    landmarks[lower, 1] = face[1][lower, 1] + opening
    assert lip_parting(face[0], after, face[1], landmarks) == pytest.approx(opening, rel=0.15)
    assert lip_parting(after, face[0], landmarks, face[1]) == pytest.approx(-opening, rel=0.15)


def test_a_lip_that_grows_thicker_parts_as_far_as_its_inner_edge(face):
    """The lower lip drops by 3 px and grows by a quarter: its body moves farther than its edge."""
    cx, cy, half = mouth(face[1])
    edge = face[1][14, 1]

    def shift(x, y):
        near = np.exp(-(((x - cx) / (1.5 * half)) ** 4) - ((np.maximum(y - cy - half, 0) / half) ** 2))
        return 0 * x, near * (np.clip(y - cy, 0, 3) + np.clip(y - 3 - edge, 0, half) / 5)

    after, landmarks = moved(face, shift)
    for i in (14, 17, 84, 87, 178, 181, 314, 317, 402, 405):
        landmarks[i, 1] = face[1][i, 1] + 3 + max(face[1][i, 1] - edge, 0) / 4
    assert lip_parting(face[0], after, face[1], landmarks) == pytest.approx(3, rel=0.15)


def test_a_mouth_that_widens_does_not_open(face):
    """A smile by a quarter of the width: under a tenth of a natural deviation of the gap."""
    cx, cy, half = mouth(face[1])

    def shift(x, y):
        near = np.exp(-(((x - cx) / (2 * half)) ** 2) - ((y - cy) / (1.5 * half)) ** 2)
        return 0.25 * (x - cx) * near, 0 * y

    after, landmarks = moved(face, shift)
    seen = lip_parting(face[0], after, face[1], landmarks) / face_height(face[1])
    assert abs(seen) < 0.1 * NATURAL["lip opening"]


def test_a_mouth_whose_corners_drop_does_not_open(face):
    """A frown: the corners go down by 4 px, the middle stays."""
    cx, cy, half = mouth(face[1])

    def shift(x, y):
        aside = np.minimum(((x - cx) / half) ** 2, 1)
        return 0 * x, 4 * aside * np.exp(-(((x - cx) / (2 * half)) ** 4) - ((y - cy) / half) ** 2)

    after, landmarks = moved(face, shift)
    seen = lip_parting(face[0], after, face[1], landmarks) / face_height(face[1])
    assert abs(seen) < 0.1 * NATURAL["lip opening"]
    assert lip_motion(face[0], after, face[1], landmarks)[2] < -2  # but the corners are seen to drop


def head_motion(points, degrees=3.0):
    middle, turn = points[6, :2], np.deg2rad(degrees)

    def shift(x, y):
        dx, dy = x - middle[0], y - middle[1]
        return (dx * (np.cos(turn) - 1) - dy * np.sin(turn) + 4, dx * np.sin(turn) + dy * (np.cos(turn) - 1) - 2)

    return shift


def test_a_head_that_moves_parts_no_lips_and_raises_no_brow(face):
    after, landmarks = moved(face, head_motion(face[1]))
    assert abs(lip_parting(face[0], after, face[1], landmarks)) / face_height(face[1]) < 0.1 * NATURAL["lip opening"]
    right, left = brow_rises(face[0], after, face[1], landmarks) / eye_distance(face[1])
    assert abs(left - right) < 0.2 * NATURAL["brow asymmetry"]


@pytest.mark.parametrize("roll", [0.0, 12.0])
def test_brows_rise_as_the_face_stands(face, roll):
    """The left brow up by 3 px, both drawn together by 4 px; on a head that leans that is no less and no more."""
    points, grey = face[1], face[0]
    middle = tuple(float(v) for v in points[6, :2])
    lean = cv2.getRotationMatrix2D(middle, roll, 1)
    leaning = points.copy()
    leaning[:, :2] = points[:, :2] @ lean[:, :2].T + lean[:, 2]
    eyes = leaning[263, :2] - leaning[33, :2]
    along = eyes / np.linalg.norm(eyes)
    up = np.array([along[1], -along[0]])
    brows = [leaning[list(i), :2].mean(0) for i in ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))]
    wide = 0.3 * np.linalg.norm(eyes)

    def shift(x, y):
        near = [np.exp(-((((x - b[0]) ** 2 + (y - b[1]) ** 2) / wide**2) ** 2)) for b in brows]
        dx, dy = (4 * along[k] * (near[0] - near[1]) + 3 * up[k] * near[1] for k in range(2))
        return dx, dy

    tilted = cv2.warpAffine(grey, lean, grey.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    after, landmarks = moved((tilted, leaning), shift)
    true = float(((landmarks - leaning)[[300, 293, 334, 296, 336], :2] @ up).mean())
    right, left = brow_rises(tilted, after, leaning, landmarks)
    assert true > 2 and left == pytest.approx(true, rel=0.12) and abs(right) < 0.25
