from dataclasses import replace

import numpy as np
from fake_speech import make_speech

from mien.face.rhythm import accents, bumps, pauses, smooth, speaking, wander
from mien.types import Phone


def test_wander_is_bounded_smooth_and_the_same_at_any_rate():
    slow = wander(250, 25.0, 3, 4.0, np.random.default_rng(5))
    fast = wander(1000, 100.0, 3, 4.0, np.random.default_rng(5))
    np.testing.assert_allclose(fast[::4], slow, atol=1e-5)
    assert np.abs(slow).max() <= 1
    assert (slow.std(0) > 0.1).all()
    assert np.abs(np.diff(fast, axis=0)).max() < 2 * np.pi * 2 / 4.0 / 100  # the fastest wave has half the period


def test_bumps_stand_at_their_times_and_add_up():
    curve = bumps(100, 50.0, [0.5, 1.0, 1.1], [1.0, 0.5, 0.5], 0.4)
    assert curve[25] == 1
    assert curve[0] == curve[14] == 0
    assert curve[52] > 0.8
    np.testing.assert_allclose(bumps(10, 25.0, [-5.0, 99.0], [1, 1], 0.5), 0)


def test_smooth_keeps_constants_and_length():
    np.testing.assert_allclose(smooth(np.full(40, 0.3), 25.0, 0.4), 0.3, atol=1e-6)
    assert len(smooth(np.arange(3.0), 25.0, 1.0)) == 3
    assert len(smooth([], 25.0, 1.0)) == 0


def test_accents_are_the_loud_moments():
    speech = make_speech(500, 25.0)
    found = accents(speech)
    frames = [round(time * 25) for time, _ in found]
    assert len(found) >= 10
    assert np.mean(speech.loudness[frames]) > np.mean(speech.loudness) * 1.2
    assert all(0 < strength <= 1 for _, strength in found)
    assert min(np.diff(frames)) >= 0.35 * 25
    assert accents(replace(speech, loudness=np.zeros(500, np.float32))) == []


def test_pauses_are_found_with_their_times():
    speech = make_speech(50, 25.0)
    voiced = np.ones(50, np.float32)
    voiced[10:20] = 0
    voiced[30] = 0
    assert pauses(replace(speech, voiced=voiced)) == [(0.4, 0.8)]


def test_speaking_follows_the_phones_and_bridges_breaths():
    phones = (Phone("SIL", 0, 0.6), Phone("AA", 0.6, 1.0), Phone("SIL", 1.0, 1.1), Phone("B", 1.1, 1.5),
              Phone("SIL", 1.5, 3.0))  # fmt: skip
    speech = replace(make_speech(75, 25.0), phones=phones)
    curve = speaking(speech)
    assert (curve[18:34] == 1).all()
    assert not curve[:10].any()
    assert not curve[45:].any()
    assert np.abs(np.diff(curve)).max() < 0.45
    silent = replace(speech, phones=(), voiced=np.ones(75, np.float32))
    np.testing.assert_allclose(speaking(silent), 1, atol=1e-6)  # no phones at all: voice activity decides
