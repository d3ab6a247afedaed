"""mien's own reader of emotion: what prototypes read as, what must not matter, and labelled faces."""

import numpy as np
import pytest
from reference import DATA

from mien.face.actions import expression_from_units
from mien.media.image import read_image
from mien.perception.emotion import SHAPES, UNEQUAL, emotion_features, load_emotion_reader
from mien.types import ARKIT_NAMES, Emotion, FaceMotion

PORTRAITS = DATA / "portraits"


def still(**weights: float) -> FaceMotion:
    return FaceMotion.zeros(1, 25).with_columns(weights)


def wearing(units: dict[str, float], n: int = 1) -> FaceMotion:
    expression = expression_from_units(units, n)
    return FaceMotion.zeros(n, 25).with_columns(dict(zip(ARKIT_NAMES, expression.T, strict=True)))


@pytest.mark.parametrize(
    ("units", "label", "pleasant", "aroused"),
    [
        ({}, Emotion.NEUTRAL, None, None),
        ({"AU7": 0.4, "AU12": 0.9, "AU10": 0.5}, Emotion.HAPPY, True, None),
        ({"AU1": 0.8, "AU2": 0.8, "AU5": 0.6, "AU26": 0.9}, Emotion.SURPRISE, None, True),
        ({"AU4": 0.9, "AU7": 0.7, "AU24": 0.7}, Emotion.ANGER, False, True),
        ({"AU1": 0.8, "AU4": 0.4, "AU15": 0.8, "AU17": 0.4}, Emotion.SAD, False, False),
    ],
)
def test_prototypes_read_as_their_label(units, label, pleasant, aroused):
    track = load_emotion_reader()(wearing(units))
    assert track.best() == (label,)
    valence, arousal = track.va[0]
    assert pleasant is None or (valence > 0.15) == pleasant
    assert aroused is None or (arousal > 0.15) == aroused
    if label == Emotion.NEUTRAL:
        assert np.hypot(valence, arousal) < 0.25


def test_the_mirror_image_feels_the_same():
    reader = load_emotion_reader()
    left, right = still(mouthSmileLeft=0.8, mouthDimpleLeft=0.5), still(mouthSmileRight=0.8, mouthDimpleRight=0.5)
    np.testing.assert_allclose(reader(left).va, reader(right).va, atol=1e-6)
    assert emotion_features(left.expression).shape == (1, len(SHAPES) + len(UNEQUAL))


def test_a_stronger_smile_is_more_pleasant():
    valence = [load_emotion_reader()(wearing({"AU12": s, "AU10": s / 2})).va[0, 0] for s in (0, 0.3, 0.6, 0.9)]
    assert (np.diff(valence) > 0).all()


def test_a_clip_is_smooth_and_a_held_face_stays():
    reader = load_emotion_reader()
    held = reader(wearing({"AU12": 0.9, "AU7": 0.4, "AU10": 0.5}, 50))
    np.testing.assert_allclose(held.va, np.repeat(held.va[:1], 50, 0), atol=1e-5)
    assert set(held.best()) == {Emotion.HAPPY}
    smile = np.where(np.arange(100) < 50, 0, 0.9)
    motion = FaceMotion.zeros(100, 25).with_columns({"mouthSmileLeft": smile, "mouthSmileRight": smile})
    valence = reader(motion).va[:, 0]
    assert np.abs(np.diff(valence)).max() < 0.2 * np.ptp(valence)
    assert np.ptp(valence) > 0.4


def talking(n: int, **worn: float) -> FaceMotion:
    """A mouth that opens and closes four times a second in an otherwise constant face."""
    jaw = 0.35 * (1 - np.cos(2 * np.pi * 4 * np.arange(n) / 25))
    motion = FaceMotion.zeros(n, 25).with_columns({"jawOpen": jaw})
    return motion.with_columns(
        {side: weight for name, weight in worn.items() for side in (f"{name}Left", f"{name}Right")}
    )


def test_talking_hides_neither_a_smile_nor_a_calm_face():
    reader = load_emotion_reader()
    assert set(reader(talking(100, mouthSmile=0.7)).best()) == {Emotion.HAPPY}
    calm = talking(250).with_columns({"browInnerUp": 0.35, "browOuterUpLeft": 0.25, "browOuterUpRight": 0.25})
    assert set(reader(calm).best()) == {Emotion.NEUTRAL}  # brows raised for ten seconds are a habit
    gaping = calm.with_columns({"jawOpen": 0.7, "eyeWideLeft": 0.6, "eyeWideRight": 0.6})[:25]
    assert set(reader(gaping).best()) == {Emotion.SURPRISE}


def test_heavy_lids_are_calm_and_wide_eyes_excited_whoever_smiles_and_talks():
    for smile in (0.0, 0.6):
        lids = ({"eyeBlink": 0.4}, {}, {"eyeWide": 0.4})
        arousal = [load_emotion_reader()(talking(50, mouthSmile=smile, **worn)).va[25, 1] for worn in lids]
        assert arousal[0] < arousal[1] < arousal[2] - 0.2


def test_a_crooked_mouth_that_talks_is_no_contempt():
    crooked = talking(250).with_columns({"mouthDimpleLeft": 0.1, "mouthSmileRight": 0.05})
    assert set(load_emotion_reader()(crooked).best()) == {Emotion.NEUTRAL}
    sneering = crooked.with_columns({"mouthSmileLeft": 0.6, "mouthDimpleLeft": 0.6})
    assert set(load_emotion_reader()(sneering).best()) == {Emotion.CONTEMPT}


def test_a_jaw_that_never_closes_is_a_habit():
    jaw = 0.4 + 0.1 * (1 - np.cos(2 * np.pi * 4 * np.arange(250) / 25))
    brows = dict.fromkeys(("browInnerUp", "browOuterUpLeft", "browOuterUpRight"), 0.25)
    motion = FaceMotion.zeros(250, 25).with_columns({"jawOpen": jaw, **brows})
    assert set(load_emotion_reader()(motion).best()) == {Emotion.NEUTRAL}


def test_a_smile_as_long_as_a_vowel_is_none():
    smile = np.where(np.abs(np.arange(100) - 50) < 4, 0.5, 0)
    motion = FaceMotion.zeros(100, 25).with_columns({"mouthSmileLeft": smile, "mouthSmileRight": smile})
    assert set(load_emotion_reader()(motion).best()) == {Emotion.NEUTRAL}
    longer = np.where(np.abs(np.arange(100) - 50) < 25, 0.5, 0)
    motion = FaceMotion.zeros(100, 25).with_columns({"mouthSmileLeft": longer, "mouthSmileRight": longer})
    assert load_emotion_reader()(motion).best()[50] == Emotion.HAPPY


def test_brows_that_never_move_count_less_in_a_clip():
    reader = load_emotion_reader()
    always = wearing({"AU4": 0.9}, 50)
    assert reader(always).va[25, 0] > reader(always[:1]).va[0, 0]


def test_frames_without_a_face_say_nothing():
    smile, frown = wearing({"AU12": 0.9, "AU7": 0.4, "AU10": 0.5}, 50), wearing({"AU4": 0.9, "AU7": 0.7}, 150)
    motion = FaceMotion.zeros(200, 25).with_columns(
        {name: np.concatenate([smile.column(name), frown.column(name)]) for name in ARKIT_NAMES}
    )
    alone, track = load_emotion_reader()(smile), load_emotion_reader()(motion, np.arange(200) < 50)
    np.testing.assert_allclose(track.va[:50], alone.va, atol=1e-6)
    np.testing.assert_allclose(track.va[50:], np.repeat(alone.va[-1:], 150, 0), atol=1e-6)
    assert set(track.best()) == {Emotion.HAPPY}


def test_probabilities_add_up():
    track = load_emotion_reader()(wearing({"AU12": 0.5}, 3))
    assert track.labels == tuple(Emotion) and track.probabilities is not None
    np.testing.assert_allclose(track.probabilities.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("happy", Emotion.HAPPY),
        ("surprised", Emotion.SURPRISE),
        ("fearful", Emotion.FEAR),
        ("neutral", Emotion.NEUTRAL),
    ],
)
def test_labelled_faces(name, label):
    path = PORTRAITS / "faceapi_emotions" / f"{name}.jpg"
    if not path.exists():
        pytest.skip("the labelled faces are not beside the repository")
    from mien.perception.tracking import track_image

    assert load_emotion_reader()(track_image(read_image(path)).rest).best() == (label,)
