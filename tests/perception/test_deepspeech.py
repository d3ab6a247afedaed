"""The front end against numbers of the official program (../shared/reference)."""

import numpy as np
import pytest
from reference import stored

from mien.errors import InputError
from mien.motion.voca import windows
from mien.perception.deepspeech import at_video_rate, deepspeech_features, mfcc, recogniser_input, to_int16
from mien.types import Audio


@pytest.fixture(scope="module")
def reference():
    arrays, said = stored("voca_audio")
    return arrays, said["outputs"]


def test_each_step_is_the_official_one(reference):
    arrays, outputs = reference
    cepstra = mfcc(arrays["out/resampled_int16"])
    rows = recogniser_input(cepstra)
    logits = rows @ arrays["in/projection"]
    n = round(60 * len(arrays["in/audio_int16"]) / 22000)
    at_60 = at_video_rate(logits, 60, n)
    steps = {"mfcc": cepstra, "ds_input": rows, "logits": logits, "interpolated60": at_60}
    for name, got in steps.items():
        assert got.shape == tuple(outputs[name]["shape"])
        assert np.abs(got - arrays[f"out/{name}"]).max() <= outputs[name]["tolerance"]
    view = windows(at_60)
    assert view.shape == tuple(outputs["windows"]["shape"])
    assert np.abs(view[::5] - arrays["out/windows"]).max() <= outputs["windows"]["tolerance"]


def test_other_resampler_hardly_matters(reference):
    arrays, _ = reference
    audio = Audio(arrays["in/audio_int16"] / np.float32(32768), 22000)
    ours, wanted = to_int16(audio).astype(float), arrays["out/resampled_int16"].astype(float)
    assert abs(len(ours) - len(wanted)) <= 1
    n = min(len(ours), len(wanted))
    inner = slice(200, n - 200)
    assert np.std(ours[inner] - wanted[inner]) < 0.02 * np.std(wanted)
    difference = np.abs(mfcc(ours[:n])[2:-2] - mfcc(wanted[:n])[2:-2]).mean()
    assert difference < 0.1 * np.std(mfcc(wanted))


def test_official_sample_sentence():
    arrays, said = stored("voca_audio_frontend_reference")
    tolerance = said["tolerance"]
    rows = recogniser_input(arrays["mfcc"])
    at_60 = at_video_rate(arrays["dummy_logits"], 60, 306)
    view = windows(at_60)
    assert np.abs(rows - arrays["ds_input"]).max() <= tolerance["ds_input"]
    assert np.abs(at_60 - arrays["interp60"]).max() <= tolerance["interp60"]
    assert np.abs(view - arrays["windows"]).max() <= tolerance["windows"]


def noise(seconds, rate):
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def test_window_arithmetic():
    """5.095 s give 508 cepstra, 254 rows and 306 frames at 60 per second."""
    audio = Audio(noise(5.095, 22000), 22000)
    cepstra = mfcc(to_int16(audio))
    rows = recogniser_input(cepstra)
    assert (len(cepstra), len(rows)) == (508, 254)
    speech = deepspeech_features(audio, 60, lambda rows: rows[:, :29])
    assert (speech.kind, speech.fps, speech.values.shape) == ("deepspeech29", 60, (306, 29))
    np.testing.assert_allclose(speech.values[6], rows[5, :29], atol=1e-6)  # both at 0.1 s


def test_silence_and_short_sounds_stay_finite():
    for samples in (np.zeros(16000), np.zeros(1), noise(0.01, 16000) * 1000):
        cepstra = mfcc(samples)
        assert len(cepstra) >= 1
        assert np.isfinite(recogniser_input(cepstra)).all()


def test_wrong_recogniser_is_refused():
    with pytest.raises(InputError, match="29 labels"):
        deepspeech_features(Audio(noise(0.5, 16000), 16000), 60, lambda rows: rows[:, :32])
    with pytest.raises(InputError, match="empty"):
        mfcc([])
