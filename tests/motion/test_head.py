from dataclasses import replace

import numpy as np
from fake_speech import make_speech

from mien.face.rhythm import accents
from mien.motion.head import head


def test_zero_amount_is_the_given_pose_alone():
    motion = head(100, 25.0, amount=0, pitch=-3, yaw=10, roll=2, speech=make_speech(100, 25.0))
    np.testing.assert_allclose(np.degrees(motion.head_pose), np.broadcast_to([-3, 10, 2], (100, 3)), atol=1e-5)


def test_moves_like_a_talker():
    spread = np.degrees(
        np.mean([head(1500, 25.0, speech=make_speech(1500, 25.0), seed=s).head_pose.std(0) for s in range(8)], axis=0)
    )
    assert (spread > 0.8).all()
    assert (spread < 3.5).all()


def test_nods_fall_on_the_accents():
    speech = make_speech(500, 25.0)
    calm = replace(speech, loudness=np.zeros(500, np.float32))
    nods = head(500, 25.0, speech=speech, seed=2).head_pose[:, 0] - head(500, 25.0, speech=calm, seed=2).head_pose[:, 0]
    at = [round(time * 25) for time, _ in accents(speech)]
    assert len(at) > 5
    assert nods[at].mean() > 2 * nods.mean()


def test_a_listener_moves_less_than_a_talker():
    talker = head(1500, 25.0, speech=make_speech(1500, 25.0), seed=4).head_pose.std()
    listener = head(1500, 25.0, seed=4).head_pose.std()
    assert 0 < listener < 0.8 * talker
