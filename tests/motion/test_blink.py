from itertools import pairwise

import numpy as np
import pytest

from mien.direction import BlinkEvent
from mien.motion.blink import MIN_GAP, blinks, schedule


def peaks(curve):
    """Maximal runs above one half."""
    above = np.concatenate([[False], curve > 0.5, [False]])
    return int(np.count_nonzero(above[1:] & ~above[:-1]))


@pytest.mark.parametrize("rate", [0, 6, 12, 30, 60])
@pytest.mark.parametrize("fps", [25.0, 30.0])
def test_as_many_blinks_as_asked_each_seen_apart(rate, fps):
    n = round(60 * fps)
    for seed in range(5):
        events = schedule(n, fps, rate=rate, seed=seed)
        motion = blinks(n, fps, events)
        assert len(events) == rate
        assert peaks(motion.column("eyeBlinkLeft")) == peaks(motion.column("eyeBlinkRight")) == rate


def test_events_lie_inside_the_clip_with_the_lids_open_between():
    for seed in range(20):
        events = schedule(250, 25.0, rate=40, seed=seed)
        assert all(event.time >= 0 and event.time + event.duration <= 10 for event in events)
        for first, second in pairwise(events):
            assert first.time + first.duration + MIN_GAP <= second.time + 1e-9


def test_intervals_are_skewed_not_regular():
    starts = np.array([event.time for event in schedule(25 * 1200, 25.0, rate=15)])
    gaps = np.diff(starts)
    assert 0.3 < gaps.std() / gaps.mean() < 0.9
    assert np.median(gaps) < gaps.mean()


def test_a_rate_curve_places_blinks_where_it_is_high():
    rate = np.where(np.arange(1500) < 750, 2.0, 40.0)
    early = [event.time < 30 for event in schedule(1500, 25.0, rate=rate)]
    assert sum(early) <= 2
    assert len(early) - sum(early) >= 18


@pytest.mark.parametrize("fps", [15.0, 23.976, 25.0, 60.0])
@pytest.mark.parametrize("time", [0.0, 0.51, 1.0])
def test_explicit_event_happens_at_its_time_and_shuts_the_eye(fps, time):
    motion = blinks(round(3 * fps), fps, schedule(round(3 * fps), fps, rate=0, events=[BlinkEvent(time, 0.3)]))
    lid = motion.column("eyeBlinkLeft")
    assert lid.max() == 1
    assert abs(lid.argmax() / fps - (time + 0.1)) <= 0.5 / fps + 1e-6
    moving = np.flatnonzero(lid) / fps
    assert moving.min() >= time - 1 / fps
    assert moving.max() <= time + 0.3 + 1 / fps


def test_the_lid_closes_faster_than_it_opens():
    lid = blinks(1000, 1000.0, [BlinkEvent(0.2, 0.3)]).column("eyeBlinkLeft")
    closing, opening = np.count_nonzero(lid[: lid.argmax()]), np.count_nonzero(lid[lid.argmax() + 1 :])
    assert 1.7 < opening / closing < 2.3


def test_a_wink_moves_one_eye():
    motion = blinks(50, 25.0, [BlinkEvent(0.5, side="left")])
    assert motion.column("eyeBlinkLeft").max() == 1
    assert not motion.column("eyeBlinkRight").any()


def test_spontaneous_blinks_keep_away_from_explicit_ones():
    wanted = [BlinkEvent(t, 0.25) for t in (1.0, 3.0, 5.0)]
    events = schedule(250, 25.0, rate=60, events=wanted, seed=1)
    assert set(wanted) <= set(events)
    lid = blinks(250, 25.0, events).column("eyeBlinkLeft")
    assert peaks(lid) == len(events)


def test_event_outside_the_clip_is_left_out_and_said(caplog):
    assert schedule(25, 25.0, rate=0, events=[BlinkEvent(0.9)]) == ()
    assert "does not fit" in caplog.text
