"""What every lane of motion keeps to, whatever it does."""

import numpy as np
import pytest
from fake_speech import make_speech

from mien.direction import LABELS, BlinkEvent, Direction, StyleChoice
from mien.face.rhythm import speaking
from mien.motion.blink import blinks, schedule
from mien.motion.compose import Voice, compose
from mien.motion.emotion import emotion
from mien.motion.gaze import gaze
from mien.motion.head import head
from mien.motion.lips import closure_frames, lips
from mien.motion.style import habits, style_of
from mien.types import ARKIT_NAMES, FaceMotion


def lane_lips(n, fps, amount, seed):
    return lips(make_speech(n, fps), gain=amount)


def lane_emotion(n, fps, amount, seed):
    keys = ", ".join(f"{i * 0.8}s:{label}:{amount}" for i, label in enumerate(LABELS))
    return emotion(Direction.parse(keys).emotion_curve(n, fps), fps, seed=seed)


def lane_blink(n, fps, amount, seed):
    return blinks(n, fps, schedule(n, fps, rate=30 * amount, speech=make_speech(n, fps), seed=seed))


def lane_gaze(n, fps, amount, seed):
    return gaze(n, fps, amount=amount, seed=seed)


def lane_head(n, fps, amount, seed):
    return head(n, fps, amount=amount, speech=make_speech(n, fps), seed=seed)


def lane_habits(n, fps, amount, seed):
    style = style_of(StyleChoice(vector=(("brows", float(amount)), ("smile", float(amount)))))
    return habits(n, fps, style, make_speech(n, fps), seed=seed)


def lane_compose(n, fps, amount, seed):
    speech = make_speech(n, fps)
    return compose(
        lane_lips(n, fps, amount, seed), emotion=lane_emotion(n, fps, amount, seed),
        blink=lane_blink(n, fps, amount, seed), gaze=lane_gaze(n, fps, amount, seed),
        head=lane_head(n, fps, amount, seed), habits=lane_habits(n, fps, amount, seed),
        voice=Voice(closure_frames(speech), speaking(speech)),
    )  # fmt: skip


LANES = {
    "lips": lane_lips, "emotion": lane_emotion, "blink": lane_blink, "gaze": lane_gaze, "head": lane_head,
    "habits": lane_habits, "compose": lane_compose,
}  # fmt: skip
SEEDLESS = {"lips"}
RANDOM_ENOUGH_TO_DIFFER = set(LANES) - SEEDLESS


def arrays(motion):
    return [motion.expression, motion.jaw_pose, motion.head_pose, motion.eye_pose, motion.translation]


@pytest.fixture(params=LANES.values(), ids=LANES.keys())
def lane(request):
    return request.param


@pytest.mark.parametrize(("n", "fps"), [(1, 25.0), (2, 30.0), (150, 25.0), (180, 29.97), (240, 60.0)])
def test_length_rate_and_names(lane, n, fps):
    motion = lane(n, fps, 1.0, 0)
    assert isinstance(motion, FaceMotion)
    assert (len(motion), motion.fps, motion.rig) == (n, fps, "builtin")
    assert motion.expression_names == ARKIT_NAMES


def test_in_range(lane):
    for seed in range(3):
        motion = lane(250, 25.0, 1.0, seed)
        assert motion.expression.min() >= 0
        assert motion.expression.max() <= 1
        assert np.abs(np.degrees(motion.head_pose)).max() <= 20
        assert np.abs(np.degrees(motion.eye_pose)).max() <= 35
        assert np.abs(motion.translation).max() <= 0.02
        assert not motion.jaw_pose.any()
        assert motion.offsets is None


def test_lane_moves(lane):
    motion = lane(250, 25.0, 1.0, 0)
    assert max(np.ptp(array, axis=0).max() for array in arrays(motion)) > 0.02


def test_same_seed_same_motion(lane):
    for first, second in zip(arrays(lane(150, 25.0, 1.0, 7)), arrays(lane(150, 25.0, 1.0, 7)), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", sorted(RANDOM_ENOUGH_TO_DIFFER))
def test_other_seed_other_motion(name):
    one, two = LANES[name](250, 25.0, 1.0, 1), LANES[name](250, 25.0, 1.0, 2)
    assert any(not np.array_equal(a, b) for a, b in zip(arrays(one), arrays(two), strict=True))


def test_zero_setting_is_exactly_zero_motion(lane):
    if lane is lane_lips:
        return  # lips shut on p, b and m at any gain; tests/motion/test_lips.py looks at gain 0
    motion = lane(150, 25.0, 0.0, 0)
    shut = [ARKIT_NAMES.index(n) for n in ("mouthPressLeft", "mouthPressRight", "mouthRollLower", "mouthRollUpper")]
    for array in arrays(motion):
        moved = np.delete(array, shut, axis=1) if lane is lane_compose and array.shape[1] == 52 else array
        assert not moved.any()


def test_smooth_in_time(lane):
    """At 1000 frames/s nothing jumps: the fastest thing is a lid, which closes within 60 ms, next a saccade."""
    motion = lane(6000, 1000.0, 1.0, 3)
    assert np.abs(np.diff(motion.expression, axis=0)).max() < 0.06
    assert np.abs(np.diff(motion.eye_pose, axis=0)).max() < np.radians(0.7)  # saccades reach 500 degrees/s
    assert np.abs(np.diff(motion.head_pose, axis=0)).max() < np.radians(0.06)


def test_conformance_of_explicit_blinks_at_every_rate():
    for fps in (12.0, 25.0, 29.97, 60.0):
        motion = blinks(round(3 * fps), fps, [BlinkEvent(1.013, 0.25)])
        assert motion.expression.max() == 1
