"""NED's default in ``mien redirect``: what ships, labels and references by their means, shots, intensity, files."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from mien.errors import InputError
from mien.media.style_file import StyleFile, write_style
from mien.motion.emotion import emotion_over
from mien.motion.keep_speech import keep_gaps
from mien.motion.ned import NedNetworks, builtin_config, save_ned
from mien.motion.ned_reversible import CURVES, FEELING, load_reversible
from mien.pipelines.ned import OPENING, is_reversible, ned_motion, style_of_motion
from mien.pipelines.redirect import RedirectOptions, redirect
from mien.spans import EmotionPlan, EmotionSpan, parse_spans, plan_spans
from mien.types import FaceMotion

STANDING = [name for name in FEELING if not name.startswith(OPENING)]


def talking(n: int = 100, seed: int = 0, **standing: float) -> FaceMotion:
    time = np.arange(n) / 25
    mouth = np.clip(0.2 + 0.2 * np.sin(12 * time + seed), 0, 1)
    return FaceMotion.zeros(n, 25.0).with_columns(
        {"jawOpen": mouth, "mouthFunnel": 0.5 * mouth, "browInnerUp": 0.1, **standing}
    )


def asked(text: str, n: int = 100) -> EmotionPlan:
    return plan_spans(parse_spans(text), n, 25.0)


def means(motion: FaceMotion) -> np.ndarray:
    return np.array([motion.column(name).mean() for name in STANDING])


def test_the_default_is_small_and_complete() -> None:
    assert (files("mien.motion") / "data" / "ned.safetensors").stat().st_size < 10e6  # type: ignore[attr-defined]
    model = load_reversible()
    assert model is not None and len(model.emotions) == 7


def test_a_reference_is_reached_and_the_speech_goes_on() -> None:
    source, sad = talking(), talking(80, 3, browInnerUp=0.7, mouthFrownLeft=0.5, mouthFrownRight=0.5)
    made = ned_motion(source, plan_spans([EmotionSpan(None)], 100, 25.0), [sad])
    way, went = means(sad) - means(source), means(made) - means(source)
    assert went @ way / (way @ way) > 0.85
    assert np.corrcoef(made.column("jawOpen"), source.column("jawOpen"))[0, 1] > 0.9
    assert np.array_equal(made.column("eyeBlinkLeft"), source.column("eyeBlinkLeft"))


@pytest.mark.parametrize("label", ["happy", "anger"])
def test_labels_are_as_strong_as_the_emotion_lane(label: str) -> None:
    source = talking()
    plan = asked(label)
    lane = means(emotion_over(source, plan.weights)) - means(source)
    went = means(ned_motion(source, plan)) - means(source)
    assert went @ lane / (lane @ lane) > 0.85


def test_intensity_nothing_is_the_source_and_seeds_differ() -> None:
    source = talking()
    nothing = replace(asked("happy"), weights=np.zeros((100, 10), np.float32))
    assert np.array_equal(ned_motion(source, nothing).expression, source.expression)
    again = [ned_motion(source, asked("happy"), seed=seed).expression for seed in (1, 1, 2)]
    assert np.array_equal(again[0], again[1]) and not np.array_equal(again[0], again[2])


def test_a_saved_style_is_the_clip_itself_and_foreign_ones_are_refused(tmp_path: Path) -> None:
    clip = talking(80, 3, browDownLeft=0.6, browDownRight=0.6)
    found = style_of_motion(clip)
    saved = StyleFile("clip.npz", {}, found.style, found.means, found.model)
    write_style(tmp_path / "a.json", saved)
    plan = plan_spans([EmotionSpan(None)], 100, 25.0)
    by_clip, by_file = (ned_motion(talking(), plan, [each]) for each in (clip, tmp_path / "a.json"))
    np.testing.assert_allclose(by_clip.expression, by_file.expression, atol=1e-4)
    write_style(tmp_path / "b.json", replace(saved, ned_model="of another"))
    with pytest.raises(InputError, match="read by other networks"):
        ned_motion(talking(), plan, [tmp_path / "b.json"])


EVERYTHING = [EmotionSpan(None)]


def lost(source: FaceMotion, back: FaceMotion) -> float:
    """Root mean square error over the standard deviation of the source."""
    before, after = (np.stack([motion.column(name) for name in CURVES], 1) for motion in (source, back))
    return float(np.sqrt(np.mean((after - before) ** 2) / before.var(0).mean()))


@pytest.mark.parametrize("emotion", ["happy", "sad", "anger", "surprise", "fear", "disgust"])
def test_an_emotion_can_be_taken_back_with_the_original_as_reference(emotion: str) -> None:
    time = np.arange(200) / 25
    brow = {f"browDown{side}": 0.3 + 0.2 * np.sin(0.9 * time) for side in ("Left", "Right")}
    source = talking(200, mouthSmileLeft=0.3 + 0.2 * np.sin(time), mouthSmileRight=0.3 + 0.2 * np.sin(time), **brow)
    plan = plan_spans(EVERYTHING, 200, 25.0)
    there = ned_motion(source, asked(emotion, 200))
    assert lost(source, there) > 0.5
    assert lost(source, ned_motion(there, plan, [source])) < 0.02  # the translation alone
    kept = keep_gaps(source, there)
    assert lost(source, keep_gaps(kept, ned_motion(kept, plan, [source]))) < 0.1  # as mien redirect does it


def test_a_motion_is_redirected_and_brought_back_by_the_verb(tmp_path: Path) -> None:
    smile = 0.3 + 0.2 * np.sin(np.arange(100) / 25)
    source = talking(mouthSmileLeft=smile, mouthSmileRight=smile)
    original, sad, back = (tmp_path / f"{name}.npz" for name in ("original", "sad", "back"))
    source.save(original)
    redirect(RedirectOptions(original, sad, emotion="sad", method="ned"))
    assert lost(source, FaceMotion.load(sad)) > 0.5
    redirect(RedirectOptions(sad, back, reference=(original,)))
    assert lost(source, FaceMotion.load(back)) < 0.1
    with pytest.raises(InputError, match="has no pictures"):
        redirect(RedirectOptions(sad, tmp_path / "back.mp4", reference=(original,)))


def test_trained_networks_of_the_paper_are_taken_too(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_ned(path, NedNetworks(builtin_config(8, 16)))
    assert is_reversible(None) and not is_reversible(path)
    source, sad = talking(), talking(80, 3, browInnerUp=0.7, mouthFrownLeft=0.5, mouthFrownRight=0.5)
    plan = plan_spans(EVERYTHING, 100, 25.0)
    went = means(ned_motion(source, plan, [sad], weights=path)) - means(source)
    way = means(sad) - means(source)
    assert went @ way / (way @ way) > 0.85  # its mean is put there
    found = style_of_motion(sad, path)
    write_style(tmp_path / "sad.json", StyleFile("sad.npz", {}, found.style, found.means, found.model))
    by_file = ned_motion(source, plan, [tmp_path / "sad.json"], weights=path)
    np.testing.assert_allclose(means(by_file) - means(source), went, atol=1e-4)
    with pytest.raises(InputError, match="read by other networks"):
        ned_motion(source, plan, [tmp_path / "sad.json"])


def test_an_emotion_that_ned_does_not_know_is_named() -> None:
    with pytest.raises(InputError, match="'contempt'"):
        ned_motion(talking(), asked("contempt"))
