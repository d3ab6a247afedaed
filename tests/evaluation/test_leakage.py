"""The leakage matrix on measures made up here: what does not leak is 0, what does is found and counted right."""

import json
from pathlib import Path

import numpy as np
import pytest

from mien.direction import Direction
from mien.errors import InputError, OutputError
from mien.evaluation import control as module
from mien.evaluation.control import HELD, ControlOptions, controls, evaluate_control
from mien.evaluation.leakage import FACTORS, MEASURES, NATURAL, Sweep, beside, doses, matrix
from mien.evaluation.watcher import Clip

STILL = dict.fromkeys(MEASURES, 0.0)


def swept(control: str, **slopes: float) -> Sweep:
    """Seven settings from 0 to 2; each measure rises by its slope, in natural deviations per unit."""
    values = tuple(np.linspace(0, 2, 7).tolist())
    clips = tuple(STILL | {m.replace("_", " "): v * k * NATURAL[m.replace("_", " ")] for m, k in slopes.items()}
                  for v in values)  # fmt: skip
    return Sweep(control, values, clips, STILL)


def test_a_generator_that_does_nothing_leaks_nothing_and_answers_nothing():
    (dose,) = doses([swept("lips")])
    assert all(cell.mean == cell.low == cell.high == 0 for cell in matrix([swept("lips")])["lips"].values())
    assert dose.spearman == dose.reach == 0 and dose.dead == 1


def test_response_and_leak_are_counted_in_natural_deviations():
    row = matrix([swept("lips", lip_movement=1.5, valence=0.2)])["lips"]
    assert row["lips"].mean == pytest.approx(3)
    assert row["emotion"].mean == pytest.approx(0.4)
    assert row["blink"].mean == 0


def test_a_factor_of_several_measures_counts_the_one_that_changed_most():
    row = matrix([swept("emotion", lip_movement=0.1, lip_opening=-0.3)])["emotion"]
    assert row["lips"].mean == pytest.approx(0.6)


def test_the_mean_over_clips_comes_with_an_interval():
    row = matrix([swept("style", head_movement=k) for k in (0.5, 1.0, 1.5)])["style"]
    assert row["style"].mean == pytest.approx(2)
    assert 1 <= row["style"].low < 2 < row["style"].high <= 3


def test_a_control_that_turns_back_is_found_by_its_rank_correlation():
    sweep = swept("region", brow_asymmetry=1.0)
    clips = list(sweep.clips)
    clips[4], clips[6] = clips[6], clips[4]
    (dose,) = doses([Sweep("region", sweep.values, tuple(clips), STILL)])
    assert dose.spearman < 0.95 and dose.r_squared < 0.99
    (straight,) = doses([sweep])
    assert (straight.spearman, straight.r_squared, straight.reach) == pytest.approx((1, 1, 2))
    assert straight.dead == 0


def test_a_dead_zone_is_a_share_of_the_range():
    sweep = swept("lips", lip_movement=1.0)
    clips = [sweep.clips[max(i, 3)] for i in range(7)]  # nothing happens up to the middle
    (dose,) = doses([Sweep("lips", sweep.values, tuple(clips), STILL)])
    assert dose.dead == pytest.approx(0.5)


def test_measures_without_a_goal_stand_beside():
    row = beside([swept("emotion", brow_height=0.5)])["emotion"]
    assert row["brow height"].mean == pytest.approx(1) and row["valence in speech"].mean == 0


def test_every_control_goes_through_its_documented_range(tmp_path):
    found = controls(tmp_path / "brow.npz")
    assert [control.name for control in found] == [factor.name for factor in FACTORS]
    for control in found:
        assert len(control.values) >= 7 and list(control.values) == sorted(control.values)
        for value in control.values:
            Direction.from_dict({**HELD, **control.lanes(value)})  # refuses what is out of range


class PretendWatcher:
    """A face on which lips leak into brows, as a broken generator's might."""

    def __init__(self, portrait, observer, name):
        pass

    def play(self, direction, speech, seed, before=None):
        gain = direction.lips.gain.keys[0][1]
        style = direction.style.strength if direction.style.name != "neutral" else 0
        measures = STILL | {
            "lip movement": 0.01 * gain, "brow asymmetry": 0.013 * gain, "head movement": style,
            "blink rate": direction.blink.rate.keys[0][1], "valence": direction.emotion[0].point[0],
        }  # fmt: skip
        return Clip(measures, np.zeros((64, 64, 3), np.uint8), {})


@pytest.mark.parametrize("ending", [".json", ".html"])
def test_the_verb_finds_the_leak_and_writes_the_report(ending, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "Watcher", PretendWatcher)
    result = evaluate_control(ControlOptions(output=tmp_path / f"report{ending}", seconds=2, size=128))
    assert result.worst_leak == ("lips", "region", pytest.approx(1.0))
    assert "largest leak: lips into region, 1.00 (goal 0.1)" in str(result)
    assert result.matrix["blink"]["blink"].mean > 1 and result.matrix["blink"]["lips"].mean == 0
    text = (tmp_path / f"report{ending}").read_text()
    if ending == ".json":
        numbers = json.loads(text)
        assert numbers["matrix"]["lips"]["region"]["mean"] == pytest.approx(1)
        assert len(numbers["sweeps"]) == 5 and numbers["natural"] == NATURAL
    else:
        assert "#f4c7bd" in text and "data:image/jpeg" in text  # the leak is red, pictures are inside


def test_what_cannot_be_done_is_said_before_any_work(tmp_path):
    with pytest.raises(OutputError, match="html"):
        evaluate_control(ControlOptions(output=tmp_path / "report.pdf"))
    with pytest.raises(InputError, match="--seconds"):
        evaluate_control(ControlOptions(seconds=1))
    with pytest.raises(InputError, match="no such file"):
        evaluate_control(ControlOptions(landmarker=Path("nowhere.task")))
