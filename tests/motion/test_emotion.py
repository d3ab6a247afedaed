import numpy as np
import pytest

from mien.direction import LABELS, Direction
from mien.motion.emotion import ASYMMETRY, LIVELINESS, PROTOTYPES, emotion
from mien.types import FaceMotion


def held(label, intensity=1.0, n=50, seed=0):
    return emotion(Direction.parse(f"{label}:{intensity}").emotion_curve(n, 25.0), 25.0, seed=seed)


def test_every_label_has_a_prototype():
    assert set(PROTOTYPES) == set(LABELS)


def test_neutral_is_exactly_nothing():
    assert not held("neutral").expression.any()


@pytest.mark.parametrize(
    ("label", "shown", "absent"),
    [
        ("happy", ["mouthSmileLeft", "cheekSquintRight"], ["mouthFrownLeft", "browDownLeft"]),
        ("sad", ["browInnerUp", "mouthFrownLeft"], ["mouthSmileLeft", "eyeWideLeft"]),
        ("surprise", ["browInnerUp", "browOuterUpLeft", "eyeWideRight", "jawOpen"], ["browDownLeft", "mouthSmileLeft"]),
        ("fear", ["browInnerUp", "eyeWideLeft", "mouthStretchRight"], ["mouthSmileLeft"]),
        ("disgust", ["noseSneerLeft", "mouthFrownLeft"], ["eyeWideLeft", "mouthSmileLeft"]),
        ("anger", ["browDownLeft", "eyeSquintLeft", "mouthLowerDownLeft"], ["browInnerUp", "mouthSmileLeft"]),
        ("contempt", ["mouthDimpleRight"], ["mouthSmileLeft", "browInnerUp"]),
    ],
)
def test_core_action_units(label, shown, absent):
    motion = held(label)
    for name in shown:
        assert motion.column(name).min() > 0.3, name
    for name in absent:
        assert motion.column(name).max() < 0.05, name


def test_contempt_is_one_sided():
    motion = held("contempt")
    assert motion.column("mouthDimpleRight").mean() > 4 * motion.column("mouthDimpleLeft").mean()


@pytest.mark.parametrize("label", [name for name in LABELS if name != "neutral"])
def test_expression_grows_with_intensity(label):
    steps = np.array([held(label, i / 10).expression.mean(0) for i in range(11)])
    full = steps[-1]
    assert (np.diff(steps[:, full > 0.01], axis=0) > 0).all()


@pytest.mark.parametrize("label", [name for name in LABELS if name not in ("neutral", "contempt")])
def test_a_held_emotion_lives_within_its_bounds(label):
    motion = held(label, n=500)
    name = motion.expression_names[int(motion.expression.mean(0).argmax())]
    curve = motion.column(name)
    assert 0.01 * curve.max() < np.ptp(curve) <= LIVELINESS * curve.max() * 1.01
    other = name.replace("Left", "R!ght").replace("Right", "Left").replace("R!ght", "Right")
    assert abs(1 - motion.column(other).mean() / curve.mean()) <= ASYMMETRY * 1.1


def test_the_asked_emotion_replaces_that_of_the_photo():
    smile = FaceMotion.zeros(1, 25.0).with_columns({"mouthSmileLeft": 0.8, "mouthSmileRight": 0.7, "jawOpen": 0.2})
    for intensity in (0.0, 0.4, 1.0):
        curve = Direction.parse(f"anger:{intensity}").emotion_curve(20, 25.0)
        plain, on_smile = emotion(curve, 25.0), emotion(curve, 25.0, rest=smile)
        np.testing.assert_allclose(on_smile.column("mouthSmileLeft"), -0.8 * intensity, atol=1e-6)
        np.testing.assert_array_equal(on_smile.column("jawOpen"), plain.column("jawOpen"))
    happy = emotion(Direction.parse("happy").emotion_curve(20, 25.0), 25.0, rest=smile).column("mouthSmileRight")
    assert (happy + 0.7).max() <= 1  # a smile on a smile is one smile


def test_a_pout_gives_way_but_not_lips_that_are_full_by_nature():
    curve = Direction.parse("happy").emotion_curve(1, 25.0)
    for chin, left in ((0.5, 0.2), (0.0, 0.7)):
        rest = FaceMotion.zeros(1, 25.0).with_columns({"mouthPucker": [0.7], "mouthShrugLower": [chin]})
        made = emotion(curve, 25.0, rest=rest)
        assert 0.7 + made.column("mouthPucker")[0] == pytest.approx(left)
        assert chin + made.column("mouthShrugLower")[0] == pytest.approx(0)


def test_wrong_columns_are_named():
    with pytest.raises(ValueError, match=r"expected \(T, 10\), got \(5, 8\)"):
        emotion(np.zeros((5, 8), np.float32), 25.0)
