import numpy as np

from mien.motion.gaze import gaze


def test_zero_amount_is_the_target_alone():
    motion = gaze(100, 25.0, amount=0, yaw=10, pitch=-4)
    np.testing.assert_allclose(np.degrees(motion.eye_pose), np.broadcast_to([-4, 10, 0], (100, 2, 3)), atol=1e-5)


def test_eyes_fixate_and_jump():
    yaw = np.degrees(gaze(1500, 25.0, seed=3).eye_pose[:, 0, 1])
    step = np.abs(np.diff(yaw))
    assert np.mean(step < 1e-4) > 0.8  # fixations
    jumps = np.count_nonzero((step[1:] > 0.3) & (step[:-1] <= 0.3))
    assert 20 < jumps < 80  # in a minute
    assert 1.5 < yaw.std() < 5


def test_both_eyes_look_at_one_place_mostly_at_the_viewer():
    pose = gaze(3000, 25.0, seed=1).eye_pose
    np.testing.assert_array_equal(pose[:, 0], pose[:, 1])
    away = np.hypot(pose[:, 0, 0], pose[:, 0, 1])
    assert np.mean(np.degrees(away) < 6) > 0.75


def test_amount_scales():
    one, two = gaze(200, 25.0, seed=5), gaze(200, 25.0, amount=2.0, seed=5)
    np.testing.assert_allclose(two.eye_pose, 2 * one.eye_pose, atol=1e-6)
