import numpy as np
import pytest
from fake_speech import make_speech

from mien.direction import HABITS, STYLES, StyleChoice
from mien.errors import InputError
from mien.motion.lips import lips
from mien.motion.style import PRESETS, Style, habits, restyle_lips, style_from_motion, style_of
from mien.types import FaceMotion


def test_every_style_a_direction_may_name_exists():
    assert tuple(PRESETS) == STYLES
    assert all(set(preset) <= set(HABITS) for preset in PRESETS.values())


def test_strength_goes_from_neutral_to_the_style_and_beyond():
    brows = [style_of(StyleChoice("lively", strength=s))["brows"] for s in (0, 0.5, 1, 2)]
    assert brows == pytest.approx([1, 1.3, 1.6, 2.2])
    assert style_of(StyleChoice("theatrical", strength=0)) == Style()


def test_a_vector_is_taken_by_name():
    style = style_of(StyleChoice(vector=(("head", 0.3), ("smile", 0.5))))
    assert (style["head"], style["smile"], style["lips"]) == pytest.approx((0.3, 0.5, 1))


def moving(scale, n=250):
    clock = np.arange(n) / 25
    wave = scale * (0.5 + 0.5 * np.sin(2 * np.pi * clock / 0.4))
    motion = FaceMotion.zeros(n, 25.0).with_columns({"jawOpen": 0.25 * wave, "mouthLowerDownLeft": 0.4 * wave,
        "mouthLowerDownRight": 0.4 * wave, "mouthFunnel": 0.2 * wave, "mouthPucker": 0.2 * wave,
        "mouthUpperUpLeft": 0.2 * wave, "browInnerUp": 0.15 * wave})  # fmt: skip
    return motion


def test_a_reference_gives_its_own_habits():
    small, large = style_from_motion(moving(0.5)), style_from_motion(moving(1.0))
    assert large["lips"] == pytest.approx(2 * small["lips"], rel=0.01)
    assert large["brows"] > small["brows"]
    assert large["blink"] == 0  # nobody blinked
    lids = np.zeros(250)
    lids[[50, 150]] = 1
    assert style_from_motion(moving(1).with_columns({"eyeBlinkLeft": lids, "eyeBlinkRight": lids}))["blink"] == 0.8


def test_a_reference_that_says_nothing_is_refused():
    with pytest.raises(InputError, match=r"0\.40 s"):
        style_from_motion(moving(1, 10))
    with pytest.raises(InputError, match=r"clip\.npz"):
        style_of(StyleChoice(reference="clip.npz"))


def test_jaw_share_keeps_closures_sealed():
    speech = make_speech(150, 25.0)
    plain = lips(speech)
    styled = restyle_lips(plain, style_of(StyleChoice(vector=(("jaw", 0.5),))))
    np.testing.assert_allclose(styled.column("jawOpen"), 0.5 * plain.column("jawOpen"), atol=1e-6)
    np.testing.assert_allclose(styled.column("mouthClose"), 0.5 * plain.column("mouthClose"), atol=1e-6)
    np.testing.assert_array_equal(styled.column("mouthPucker"), plain.column("mouthPucker"))


def test_brows_flash_only_while_speaking_and_scale_with_the_style():
    speech = make_speech(500, 25.0)
    plain, lively = (habits(500, 25.0, style_of(StyleChoice(n)), speech) for n in ("neutral", "lively"))
    assert plain.column("browInnerUp").max() > 0.05
    np.testing.assert_allclose(lively.column("browInnerUp"), 1.6 * plain.column("browInnerUp"), atol=1e-6)
    assert not habits(500, 25.0, Style()).expression.any()  # nobody speaks
