"""A mouth that says the same in another emotion: gap between the lips, closures, lids, and what stays untouched."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mien.direction import LABELS
from mien.face.rig import load_rig
from mien.metrics import lip_aperture, pearson
from mien.motion.emotion import emotion_over
from mien.motion.keep_speech import MOST_NARROWER, keep_gaps, keep_speech
from mien.types import ARKIT_NAMES, FaceMotion

FPS = 25.0
EMOTIONS = ("happy", "sad", "anger", "surprise", "fear", "disgust")


def talking(n: int = 150, seed: int = 3) -> FaceMotion:
    """A mouth that opens five times a second's worth of syllables, closes in between, and one blink."""
    time = np.arange(n) / FPS
    rng = np.random.default_rng(seed)
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time + rng.normal(0, 0.3, n).cumsum() * 0.1), 0, 1)
    blink = np.exp(-(((time - 3) / 0.06) ** 2))
    return FaceMotion.zeros(n, FPS).with_columns(
        {
            "jawOpen": 0.35 * syllables,
            "mouthFunnel": 0.3 * syllables * (np.sin(time) > 0),
            "mouthLowerDownLeft": 0.2 * syllables,
            "mouthLowerDownRight": 0.2 * syllables,
            "eyeBlinkLeft": blink,
            "eyeBlinkRight": blink,
        }
    )


def felt(motion: FaceMotion, label: str, amount: float = 1.0) -> FaceMotion:
    weights = np.zeros((len(motion), len(LABELS)), np.float32)
    weights[:, LABELS.index(label)] = amount
    return emotion_over(motion, weights)


def aperture(motion: FaceMotion) -> np.ndarray:
    return lip_aperture(load_rig().vertices(motion)[:, :478] * 1000)


def mean_gap(motion: FaceMotion) -> np.ndarray:
    """Metres between the middle of the lips of the rig."""
    rig = load_rig()
    pairs = rig.closures["lips"]
    middle = pairs[len(pairs) // 4 : len(pairs) - len(pairs) // 4]
    height = rig.vertices(motion)[..., 1]
    return (height[:, middle[:, 0]] - height[:, middle[:, 1]]).mean(1)


def lid_gap(motion: FaceMotion) -> np.ndarray:
    rig = load_rig()
    pairs = rig.closures["eye_left"][2:5]
    vertices = rig.vertices(motion)
    return (vertices[:, pairs[:, 0], 1] - vertices[:, pairs[:, 1], 1]).mean(1)


@pytest.mark.parametrize("label", EMOTIONS)
def test_the_lips_part_and_meet_as_in_the_source(label: str) -> None:
    source = talking()
    kept = keep_speech(source, felt(source, label))
    before, after = aperture(source), aperture(kept)
    assert pearson(before, after) > 0.97
    closed = before < 0.1 * np.percentile(before, 95)
    assert closed.sum() > 30
    assert (after[closed] < 0.1 * np.percentile(after, 95)).mean() >= 0.95
    assert 0.9 < after[~closed].mean() / before[~closed].mean() < 1.35


@pytest.mark.parametrize("label", EMOTIONS)
def test_lips_that_touch_where_the_rig_has_them_apart_stay_as_they_are(label: str) -> None:
    quiet = talking()
    quiet = replace(quiet, expression=0.25 * quiet.expression)
    source = quiet.with_columns({"jawOpen": quiet.column("jawOpen") + 0.06})
    kept = keep_speech(source, felt(source, label))
    before, after = mean_gap(source), mean_gap(kept)
    closed = before < 1.02 * before.min()
    assert before.min() > 0.0015 and closed.sum() > 30  # m
    share = after[closed] / before[closed]
    assert share.min() > 0.8 and share.max() < 1.001


def test_without_it_an_emotion_breaks_the_closures() -> None:
    source = talking()
    closed = aperture(source) < 0.1 * np.percentile(aperture(source), 95)
    gaping = aperture(felt(source, "surprise"))
    assert (gaping[closed] < 0.1 * np.percentile(gaping, 95)).mean() < 0.5


def test_the_emotion_is_there() -> None:
    source = talking()
    happy, angry = (keep_speech(source, felt(source, label)) for label in ("happy", "anger"))
    assert happy.column("mouthSmileLeft").mean() > 0.5
    assert angry.column("browDownLeft").mean() > 0.6


def test_a_blink_stays_a_blink_and_eyes_stay_open_else() -> None:
    source = talking()
    kept = keep_speech(source, felt(source, "happy"))
    before, after = lid_gap(source), lid_gap(kept)
    assert after[75] < 0.1 * before.max()
    wide = before > 0.9 * before.max()
    assert (after[wide] > (1 - MOST_NARROWER - 0.05) * before[wide]).all()
    surprised = lid_gap(keep_speech(source, felt(source, "surprise")))
    assert surprised[75] < 0.1 * before.max()
    assert surprised[wide].mean() > 1.15 * before[wide].mean()


def test_lighter_lids_open_the_eyes_but_no_blink() -> None:
    source = talking()
    lids = ("eyeBlinkLeft", "eyeBlinkRight")
    heavy = source.with_columns({name: np.maximum(source.column(name), 0.3) for name in lids})
    lighter = heavy.with_columns({name: heavy.column(name) - 0.3 for name in lids})
    before, after = lid_gap(heavy), lid_gap(keep_speech(heavy, lighter))
    assert after[75] < 0.1 * before.max()
    assert np.median(after) > 1.1 * np.median(before)


def test_frames_without_a_change_are_the_sources_own() -> None:
    source = talking()
    wanted = felt(source, "sad")
    half = replace(source, expression=np.where(np.arange(150)[:, None] < 75, source.expression, wanted.expression))
    kept = keep_speech(source, half, shots=(0, 75))
    assert np.array_equal(kept.expression[:75], source.expression[:75])
    assert not np.array_equal(kept.expression[75:], source.expression[75:])
    assert np.array_equal(keep_speech(source, source).expression, source.expression)


def test_a_twitching_mouth_of_the_method_is_not_taken_over() -> None:
    source = talking()
    rng = np.random.default_rng(0)
    shaken = source.with_columns({"mouthLeft": rng.uniform(0, 0.5, 150), "browInnerUp": rng.uniform(0, 0.5, 150)})
    kept = keep_speech(source, shaken)
    assert np.abs(np.diff(kept.column("mouthLeft"))).mean() < 0.2 * np.abs(np.diff(shaken.column("mouthLeft"))).mean()
    assert np.array_equal(kept.column("browInnerUp"), shaken.column("browInnerUp"))


def test_expressions_stay_weights_and_other_curves_the_sources() -> None:
    source = replace(talking(), head_pose=np.full((150, 3), 0.1))
    kept = keep_speech(source, felt(source, "anger"))
    assert kept.expression.min() >= 0 and kept.expression.max() <= 1
    assert np.array_equal(kept.head_pose, source.head_pose)


def test_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 150 frames"):
        keep_speech(talking(), talking(100))


def test_a_neutral_label_takes_the_own_mood_away() -> None:
    smiling = talking().with_columns({"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6})
    calm = felt(smiling, "neutral")
    assert calm.column("mouthSmileLeft").max() < 0.01
    assert np.array_equal(calm.column("jawOpen"), smiling.column("jawOpen"))
    assert np.array_equal(felt(smiling, "happy", 0).expression, smiling.expression)
    assert smiling.expression_names == ARKIT_NAMES


def stretched(source: FaceMotion) -> FaceMotion:
    """Own curves larger, smaller and shifted, with a smile, bared teeth, narrow eyes and a wide jaw."""
    moved = {"jawOpen": 1.8 * source.column("jawOpen") + 0.1, "mouthFunnel": 0.4 * source.column("mouthFunnel")}
    standing = {"mouthSmile": 0.7, "mouthUpperUp": 0.4, "mouthLowerDown": 0.3, "eyeSquint": 1.0, "cheekSquint": 0.8}
    for stem, height in standing.items():
        for side in ("Left", "Right"):
            moved[f"{stem}{side}"] = np.clip(0.5 * source.column(f"{stem}{side}") + height, 0, 1)
    return source.with_columns(moved)


def test_gaps_stay_where_own_curves_are_stretched() -> None:
    source = talking()
    kept = keep_gaps(source, stretched(source))
    before, after = aperture(source), aperture(kept)
    assert pearson(before, after) > 0.97
    closed = before < 0.1 * np.percentile(before, 95)
    assert (after[closed] < 0.1 * np.percentile(after, 95)).mean() >= 0.95
    assert 1 < after[~closed].mean() / before[~closed].mean() < 1.35
    awake = source.column("eyeBlinkLeft") < 0.02
    assert (lid_gap(kept)[awake] > (1 - MOST_NARROWER - 0.05) * lid_gap(source)[awake]).all()
    assert kept.column("mouthSmileLeft").mean() > 0.69 and kept.expression.min() >= 0 and kept.expression.max() <= 1


@pytest.mark.parametrize("keep", [keep_speech, keep_gaps])
@pytest.mark.parametrize("label", EMOTIONS)
def test_no_pair_of_closed_lips_is_left_apart(label: str, keep: Callable[..., FaceMotion]) -> None:
    source = talking()
    line = load_rig().closures["lips"][2:-2]
    gaps = [
        vertices[:, line[:, 0], 1] - vertices[:, line[:, 1], 1]
        for vertices in map(load_rig().vertices, (source, keep(source, felt(source, label))))
    ]
    closed = gaps[0].mean(1) < gaps[0].mean(1).min() + 1e-5  # m
    assert closed.sum() > 30 and (gaps[1] - gaps[0])[closed].max() < 0.0008


def test_lips_that_are_only_slightly_pressed_are_not_let_go() -> None:
    source = talking()
    source = source.with_columns({"mouthClose": np.full(len(source), 0.1, np.float32)})
    kept = keep_gaps(source, source.with_columns({"mouthPucker": np.full(len(source), 0.12, np.float32)}))
    before, after = mean_gap(source), mean_gap(kept)
    closed = before < before.min() + 1e-5  # m
    assert closed.sum() > 30 and (after - before)[closed].max() < -0.0001


def test_what_kept_the_gaps_is_taken_back() -> None:
    source = talking()
    there = keep_gaps(source, stretched(source))
    wanted = there.with_columns({name: source.column(name) for name in ARKIT_NAMES})
    back = keep_gaps(there, wanted)
    lost = np.sqrt(np.mean((back.expression - source.expression) ** 2) / source.expression.var(0).mean())
    assert lost < 0.05
    assert np.sqrt(np.mean((there.expression - source.expression) ** 2) / source.expression.var(0).mean()) > 1


def test_frames_in_which_nothing_is_wanted_are_untouched() -> None:
    source = talking()
    wanted = np.array(stretched(source).expression)
    wanted[:70] = source.expression[:70]
    kept = keep_gaps(source, replace(source, expression=wanted))
    assert np.array_equal(kept.expression[:70], source.expression[:70])
    with pytest.raises(ValueError, match="expected 150 frames"):
        keep_gaps(source, source[:10])
