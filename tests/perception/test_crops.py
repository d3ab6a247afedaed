"""Where faces are cut out of clips, and how sharp they are there."""

import cv2
import numpy as np

from mien.face.rig import load_rig
from mien.perception.crops import face_boxes, sharpness
from mien.perception.geometry import project
from mien.types import FaceIdentity, FaceMotion

N = 100


def somebody():
    rig = load_rig()
    return FaceIdentity(rig.name, np.zeros(len(rig.identity_basis)), np.zeros_like(rig.template))


def boxes(x=0.0, scale=2000.0, shots=(0,), **weights):
    """Of a face at ``x`` metres, with ``scale`` px per metre."""
    motion = FaceMotion.zeros(N, 25).with_columns(weights)
    place = np.zeros((N, 3), np.float32)
    place[:, 0] = x
    motion = FaceMotion(25, motion.rig, motion.expression_names, motion.expression, motion.jaw_pose, motion.head_pose,
                        motion.eye_pose, place)  # fmt: skip
    cameras = np.tile(np.array([1, 300, 300], np.float32), (N, 1))
    cameras[:, 0] = scale
    return face_boxes(somebody(), motion, cameras, shots), project(load_rig(), somebody(), motion, cameras)


def test_the_whole_head_is_in_and_speech_moves_nothing():
    still, points = boxes()
    assert np.ptp(still, axis=0).max() == 0
    left, top, side = still[0]
    assert side / np.ptp(points[0, :, 1]) == np.float32(2)
    assert points[0, :, 1].min() - top > 0.25 * side and top + side - points[0, :, 1].max() > 0.1 * side
    assert abs(points[0, :, 0].mean() - (left + side / 2)) < 0.05 * side
    talking, _ = boxes(jawOpen=np.abs(np.sin(np.arange(N))))
    np.testing.assert_array_equal(talking, still)


def test_a_nodding_head_keeps_its_square_and_a_walking_one_takes_it_along():
    swaying, _ = boxes(x=0.02 * np.sin(np.arange(N) / 5))
    assert np.ptp(swaying, axis=0).max() == 0
    walking, points = boxes(x=np.linspace(0, 0.5, N))
    centre = walking[:, 0] + walking[:, 2] / 2
    assert (np.diff(centre) > 0).all() and np.abs(np.diff(centre, 2)).max() < 2
    assert np.abs(centre - points[..., 0].mean(1)).max() < 0.1 * walking[0, 2]
    nearing, points = boxes(scale=np.linspace(1000, 2000, N))
    assert np.abs(nearing[:, 2] / np.ptp(points[..., 1], axis=1) - 2).max() < 0.25


def test_shots_have_squares_of_their_own():
    x = np.where(np.arange(N) < 40, 0, 0.3)
    cut, _ = boxes(x=x, shots=(0, 40))
    assert np.ptp(cut[:40], axis=0).max() == 0 and np.ptp(cut[40:], axis=0).max() == 0
    assert cut[40, 0] - cut[39, 0] > 500


def test_blur_is_less_sharp_whatever_the_light():
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    levels = [sharpness(cv2.GaussianBlur(picture, (0, 0), deviation)) for deviation in (0.5, 1, 2, 4)]
    assert (np.diff(levels) < 0).all()
    dim = (picture // 2).astype(np.uint8)
    assert abs(sharpness(dim) / sharpness(picture) - 1) < 0.1
    assert sharpness(np.full((64, 64, 3), 90, np.uint8)) == 0
