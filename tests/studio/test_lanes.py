"""A direction on the page and back again."""

import json
import shlex

import numpy as np
import pytest

from mien.cli import parse
from mien.direction import CONTROLS, REGIONS, Direction
from mien.errors import DirectionError
from mien.studio.lanes import command, direction_of, drawn, lanes_of, written
from mien.studio.server import presets

DIRECTIONS = {
    "nothing": "neutral",
    "one emotion": "happy:0.8",
    "emotions": "0s:neutral, 1.2s:happy:0.9, 4s:va(-0.6,0.7)",
    "every lane": """
emotion: 0s:sad:0.3, 2s:anger
transition: 0.8
lips: {gain: "0s:1, 3s:1.4", source: none}
style: lively:0.7
blink: {rate: "0s:10, 5s:30", events: [2.5, {at: 4, duration: 0.3, side: left}]}
regions: {brows: 1.4, mouth_left: "0s:1, 2s:0"}
head: {amount: 0.8, yaw: "0s:0, 1s:12", roll: 3}
gaze: {yaw: -10}
""",
    "habits": "style: {vector: {head: 0.5, brows: 2}, strength: 1.5}",
    "a clip": "style: {reference: clip.npz, strength: 0.5}\nregions: {cheeks: {source: clip.npz}, jaw: 0.5}",
    "blinks alone": "blink: {events: [1, 2]}",
    "strength 0": "style: calm:0",
}
DIRECTIONS |= {preset["name"]: preset["text"] for preset in presets()}


@pytest.mark.parametrize("name", DIRECTIONS)
def test_there_and_back(name):
    direction = Direction.read(DIRECTIONS[name])
    assert direction_of(json.loads(json.dumps(lanes_of(direction)))) == direction
    assert Direction.read(written(direction)) == direction


def test_short_form_where_it_says_all():
    assert written(Direction.read("1s:happy:0.5")) == "0s:neutral, 1s:happy:0.5"
    assert written(Direction.read("{lips: 0.5}")) == "lips:\n  gain: 0.5"


@pytest.mark.parametrize("name", DIRECTIONS)
def test_command_makes_the_same(name):
    direction = Direction.read(DIRECTIONS[name])
    line = command(direction, "my photo.jpg", "it's.wav", {"seed": 3, "text": "Oh! It's me.", "max_size": 720})
    program, verb, *arguments = shlex.split(line)
    options, _ = parse(verb, arguments)
    assert (program, verb, str(options.portrait), str(options.speech)) == ("mien", "speak", "my photo.jpg", "it's.wav")
    assert (options.seed, options.text, options.max_size) == (3, "Oh! It's me.", 720)
    assert Direction.parse(options.direction) == direction


def test_curves_are_what_the_direction_samples():
    direction = Direction.read(DIRECTIONS["every lane"])
    curves = drawn(direction, 8)
    assert curves.keys() == {"emotion", "lips.gain", "blink.rate", "regions.mouth_left", "head.yaw"}
    gain = np.array(curves["lips.gain"])
    assert gain[0] == 1 and gain[-1] == pytest.approx(1.4) and len(gain) == 200
    n_late = round(3 / 8 * 199) + 1
    assert gain[n_late] == pytest.approx(1.4) and 1 < gain[n_late - 8] < 1.4  # reached at 3 s, minimum jerk before
    assert len(drawn(direction, 3600)["emotion"]) == 1200


@pytest.mark.parametrize("key", [key for key in CONTROLS if key not in ("emotion.valence", "emotion.arousal")])
def test_limits_that_the_page_shows_are_those_that_hold(key):
    control, (lane, _, name) = CONTROLS[key], key.partition(".")
    for value, fits in ((control.low, True), (control.high, True), (control.high * 1.01, False)):
        content = {
            "transition": {"transition": value},
            "emotion.intensity": {"emotion": f"happy:{value}"},
            "style.strength": {"style": {"name": "calm", "strength": value}},
            "style.vector": {"style": {"vector": {"head": value}}},
            "blink.duration": {"blink": {"events": [{"at": 1, "duration": value}]}},
            "regions.gain": {"regions": {REGIONS[4]: value}},
        }.get(key, {lane: {name: value}})
        if fits:
            Direction.from_dict(content)
        else:
            with pytest.raises(DirectionError, match="allowed"):
                Direction.from_dict(content)
