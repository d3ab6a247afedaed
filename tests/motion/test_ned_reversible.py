"""NED's default: styles, translation and its way back, blinks, labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scipy.ndimage import gaussian_filter1d

from mien.errors import FormatError, InputError
from mien.media.weights import save_weights
from mien.motion.ned import MappingNetwork, NedConfig
from mien.motion.ned_reversible import (
    CURVES,
    HEADER,
    MOST,
    TYPICAL,
    load_reversible,
    style_of,
    translate,
    values_of,
)
from mien.training.recipes.ned_reversible import changed
from mien.types import FaceMotion

EMOTIONS = NedConfig().emotions
SMILE, BROW, SQUINT = (CURVES.index(name) for name in ("mouthSmileLeft", "browInnerUp", "eyeSquintLeft"))


def lively(n: int, seed: int) -> FaceMotion:
    """Smooth random curves that touch 0 at times, and a blink every two seconds."""
    rng = np.random.default_rng(seed)
    curves = gaussian_filter1d(rng.standard_normal((n, len(CURVES))), 4, axis=0) * rng.uniform(0, 1, len(CURVES))
    curves = np.clip(curves + rng.uniform(0, 0.5, len(CURVES)) ** 2, 0, 1)
    time = np.arange(n) / 25
    blink = np.exp(-((((time - 1) % 2 - 1) / 0.08) ** 2))
    columns = dict(zip(CURVES, curves.T.astype(np.float32), strict=True))
    return FaceMotion.zeros(n, 25.0).with_columns({**columns, "eyeBlinkLeft": blink, "eyeBlinkRight": blink})


def put(motion: FaceMotion, values: np.ndarray) -> FaceMotion:
    return motion.with_columns(dict(zip(CURVES, values.T.astype(np.float32), strict=True)))


@pytest.mark.parametrize("seed", range(6))
def test_the_way_back_is_exact(seed: int) -> None:
    source, other = lively(200, seed), lively(130, seed + 50)
    there = put(source, translate(source, style_of(other)))
    assert np.abs(values_of(there) - values_of(source)).mean() > 0.05
    back = translate(there, style_of(source))
    lost = np.sqrt(np.mean((back - values_of(source)) ** 2) / values_of(source).var(0).mean())
    assert lost < 0.02


def test_a_second_translation_forgets_the_first() -> None:
    source, first, second = lively(200, 0), lively(150, 1), lively(150, 2)
    detour = put(source, translate(source, style_of(first)))
    direct, over = (translate(motion, style_of(second)) for motion in (source, detour))
    assert np.abs(direct - over).mean() < 0.02


def test_mean_spread_and_course_are_those_asked_for() -> None:
    source = lively(200, 3)
    wanted = style_of(source)
    wanted[0, BROW], wanted[1, BROW] = 0.5, wanted[1, BROW] * 1.5
    made = put(source, translate(source, wanted))
    np.testing.assert_allclose(style_of(made), wanted, atol=1e-5)
    assert np.corrcoef(values_of(made)[:, BROW], values_of(source)[:, BROW])[0, 1] > 0.9999


def test_nothing_is_cut_off_and_what_moves_goes_on_moving() -> None:
    source = FaceMotion.zeros(100, 25.0).with_columns({"mouthSmileLeft": np.abs(np.sin(np.arange(100) / 9))})
    still = np.zeros((2, len(CURVES)))
    made = translate(source, still)
    smile = values_of(source)[:, SMILE]
    assert made.min() >= 0 and made[:, SMILE].max() < 1.01 / MOST
    np.testing.assert_allclose(np.diff(made[:, SMILE]), np.diff(smile) / MOST, atol=1e-6)
    full = translate(source, np.stack([np.ones(len(CURVES)), np.full(len(CURVES), 0.3)]))
    assert full.max() <= 1 and full[:, SMILE].std() > 0.9 * smile.std() / MOST


def test_lids_stay_as_they_are_in_a_blink() -> None:
    source = lively(200, 4)
    wanted = style_of(source)
    wanted[0, SQUINT] = 0.9
    made = translate(source, wanted)
    shut = source.column("eyeBlinkLeft") > 0.95
    assert shut.any()
    np.testing.assert_array_equal(made[shut, SQUINT], values_of(source)[shut, SQUINT])
    assert made[~(source.column("eyeBlinkLeft") > 0.01), SQUINT].mean() > 0.8


def test_still_short_and_foreign_motions() -> None:
    still = FaceMotion.zeros(1, 25.0)
    assert translate(still, style_of(lively(50, 0))).shape == (1, len(CURVES))
    np.testing.assert_allclose(translate(still, style_of(still)), 0, atol=1e-6)
    with pytest.raises(InputError, match="no frames"):
        style_of(still[:0])
    with pytest.raises(InputError, match="retarget"):
        style_of(FaceMotion.zeros(5, 25.0, rig="flame", expression_names=("expression_00",)))


def network(tmp_path: Path) -> tuple[MappingNetwork, Path]:
    torch.manual_seed(0)
    trained = MappingNetwork(NedConfig(style_dim=4 * len(CURVES)))
    header = {"version": 1, "emotions": [each.value for each in EMOTIONS], "latent_dim": 4}
    save_weights(tmp_path / "ned.safetensors", trained.state_dict(), HEADER, header)
    return trained, tmp_path / "ned.safetensors"


def test_labels_are_what_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for factor in ("FULL", "PARTED"):
        monkeypatch.setattr(f"mien.motion.ned_reversible.{factor}", 1.0)
    trained, path = network(tmp_path)
    model = load_reversible(path)
    assert model is not None
    own = style_of(lively(100, 5))
    noise = torch.from_numpy((TYPICAL * np.random.default_rng(7).standard_normal((1, 4))).astype(np.float32))
    expected = changed(torch.from_numpy(own[None].astype(np.float32)), trained(noise, torch.tensor([4])))
    np.testing.assert_allclose(model("happy", own, 7), expected[0].detach().numpy(), atol=1e-5)
    assert np.array_equal(model("joy", own, 7), model("happy", own, 7))
    assert not np.array_equal(model("happy", own, 8), model("happy", own, 7))
    with pytest.raises(InputError, match="'contempt'"):
        model("contempt", own)


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    _, path = network(tmp_path)
    assert load_reversible() is not None
    loaded = load_reversible(path)
    assert loaded is not None
    weights = dict(loaded.weights)
    save_file(weights, tmp_path / "plain.safetensors")
    assert load_reversible(tmp_path / "plain.safetensors") is None
    (tmp_path / "broken.safetensors").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="damaged"):
        load_reversible(tmp_path / "broken.safetensors")
    with pytest.raises(InputError, match="no such file"):
        load_reversible(tmp_path / "none.safetensors")
