"""Stretches of emotion: what can be written, and what it means frame by frame."""

import numpy as np
import pytest

from mien.direction import LABELS, Direction
from mien.errors import DirectionError
from mien.spans import RAMP, parse_spans, plan_direction, plan_spans

FPS = 50.0


def test_the_short_form() -> None:
    first, second = parse_spans("2s-5s:happy:0.8, 6s-9.5s:va(-0.6,0.7)")
    assert (first.start, first.end, first.emotion.label, first.emotion.intensity) == (2, 5, "happy", 0.8)
    assert (second.start, second.end, second.emotion.va) == (6, 9.5, (-0.6, 0.7))
    (whole,) = parse_spans("angry")
    assert (whole.start, whole.emotion.label) == (0, "anger") and whole.end == np.inf
    assert parse_spans("2-5:happy:0.8") == parse_spans("2s-5s:happy:0.8")
    (bare,) = parse_spans("2s-5s:0.7")
    assert (bare.emotion, bare.intensity) == (None, 0.7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2s-5s:hapy", "did you mean 'happy'"),
        ("5s-2s:happy", "before it starts"),
        ("0s-3s:happy, 2s-5s:sad", "before the one before it ends"),
        ("2s-5s:happy:1.5", "allowed: 0 to 1"),
        ("2s-5s:1.5", "allowed: 0 to 1"),
        ("2.5.1s-5s:happy", "2s-5s:happy:0.8"),
        ("-1s-1s:happy", "expected seconds, as in 1.2s, found '-1s-1'"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(DirectionError) as error:
        parse_spans(text)
    assert says in str(error.value)


def test_emotions_come_and_go_smoothly_inside_their_stretch() -> None:
    plan = plan_spans(parse_spans("2s-5s:happy:0.8, 6s-9s:sad"), 500, FPS)
    amount, time = plan.amount, np.arange(500) / FPS
    assert (amount[(time < 2) | ((time >= 5) & (time < 6)) | (time >= 9)] == 0).all()
    assert (amount[(time > 2 + RAMP) & (time < 5 - RAMP)] == 1).all()
    assert np.abs(np.diff(amount)).max() < 2 / (RAMP * FPS)
    happy, sad = LABELS.index("happy"), LABELS.index("sad")
    assert plan.weights[150, happy] == pytest.approx(0.8) and plan.weights[375, sad] == pytest.approx(1)
    assert plan.weights.sum(1).max() <= 1 + 1e-6
    assert plan.va[150, 0] > 0.5 and plan.va[375, 0] < -0.5


def test_touching_stretches_change_into_each_other() -> None:
    plan = plan_spans(parse_spans("0s-4s:happy, 4s-8s:sad"), 400, FPS)
    assert (plan.amount == 1).all()  # the clip's own ends need no ramp
    happy = plan.weights[:, LABELS.index("happy")]
    assert happy[180] == 1 and happy[220] == 0 and 0.3 < happy[200] < 0.7
    assert np.allclose(plan.weights.sum(1), 1)


def test_a_short_stretch_and_one_beyond_the_clip() -> None:
    plan = plan_spans(parse_spans("1s-1.2s:happy, 20s-30s:sad"), 100, FPS)
    assert 0.5 < plan.amount.max() <= 1
    assert (plan.amount[:50] == 0).all() and (plan.amount[60:] == 0).all()


def test_keyframes_leave_neutral_alone() -> None:
    plan = plan_direction(Direction.parse("0s:neutral, 2s:happy:0.8, 6s:neutral"), 400, FPS)
    assert (plan.amount[:60] == 0).all() and (plan.amount[310:] == 0).all()
    assert plan.amount[150] == 1 and plan.weights[150, LABELS.index("happy")] == pytest.approx(0.8)
    assert (plan.weights[:, LABELS.index("neutral")] == 0).all()
