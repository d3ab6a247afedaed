"""Speech features from made sound and from the demo's synthetic voice."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import InputError
from mien.media.audio import read_audio
from mien.perception.acoustics import acoustic_phones, prosody
from mien.perception.phones import UNITS, align, recognise, words_of
from mien.perception.pronunciation import pronounce
from mien.perception.speech import KIND, analyse, n_frames_of, trust
from mien.types import Audio, Phone

ROOT = Path(__file__).parents[2]
RATE = 16_000


@pytest.fixture(scope="module")
def demo():
    return read_audio(ROOT / "examples/speech.flac", RATE)


@pytest.fixture(scope="module")
def demo_text():
    return (ROOT / "examples/speech.txt").read_text()


@pytest.fixture(scope="module")
def spoken(demo, demo_text):
    return analyse(demo, 25, demo_text)


@pytest.fixture(scope="module")
def recognised(demo):
    return analyse(demo, 25)


def babble(seconds=4.0, seed=0):
    """Syllables of a buzzing voice with two formants, four a second, silent in the middle second; of no language."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    time = np.arange(n) / RATE
    phase = np.cumsum(np.where(np.sin(2 * np.pi * 0.3 * time) > 0, 150, 130)) / RATE
    voice = sum(
        np.sin(2 * np.pi * k * phase) / (1 + ((k * 140 - 600) / 300) ** 2) + np.sin(2 * np.pi * k * phase) / (5 + k)
        for k in range(1, 20)
    )
    envelope = np.clip(np.sin(2 * np.pi * 4 * time), 0, 1)
    envelope[(time > 1.5) & (time < 2.5)] = 0
    return np.float32(0.2 * voice * envelope + 0.0005 * rng.standard_normal(n))


@pytest.mark.parametrize("fps", [23.976, 25, 30, 60, 120])
def test_there_is_a_row_for_every_frame(demo, fps):
    audio = Audio(demo.samples[: 2 * RATE + 77], RATE)
    speech = analyse(audio, fps)
    assert len(speech) == n_frames_of(audio, fps) == round(audio.duration * fps)
    assert abs(len(speech) / fps - audio.duration) <= 0.5 / fps
    assert speech.values.shape == (len(speech), 42) and speech.kind == KIND
    np.testing.assert_allclose(speech.values.sum(axis=1), 1, atol=1e-5)
    assert speech.values.min() >= 0
    assert speech.loudness.min() >= 0 and speech.loudness.max() <= 1
    assert set(np.unique(speech.voiced)) <= {0, 1}


def test_phones_cover_the_clip_without_gaps(spoken, recognised, demo):
    for speech in (spoken, recognised):
        assert speech.phones[0].start == 0
        assert speech.phones[-1].end == pytest.approx(demo.duration)
        for before, after in zip(speech.phones[:-1], speech.phones[1:], strict=True):
            assert before.end == pytest.approx(after.start)
            assert not before.symbol == after.symbol == "SIL"
        assert {p.symbol for p in speech.phones} <= set(UNITS)


def test_the_text_is_found_in_order(spoken):
    assert spoken.source == "text"
    symbols = [p.symbol for p in spoken.phones if p.symbol != "SIL"]
    assert " ".join(symbols).startswith("HH EH L OW AY AE M AH F OW T AH G R AE F")
    assert symbols[-5:] == ["AE", "NG", "K", "Y", "UW"]


def test_recognised_phones_agree_with_the_text(spoken, recognised):
    assert recognised.source == "recognised"
    speaking = spoken.voiced > 0
    same = spoken.values.argmax(axis=1) == recognised.values.argmax(axis=1)
    assert same[speaking].mean() > 0.45
    shut = [(p.start + p.end) / 2 for p in spoken.phones if p.symbol in "PBM"]
    heard = [(p.start + p.end) / 2 for p in recognised.phones if p.symbol in "PBM"]
    assert np.mean([min(abs(t - h) for h in heard) < 0.06 for t in shut]) >= 0.6


def test_sentences_are_where_they_were_put(spoken):
    """scripts/make_demo_speech.py starts them at these seconds, with silence between."""
    at = np.arange(len(spoken)) / spoken.fps
    for start in (0.4, 2.8, 5.2, 7.5, 9.9, 11.8):
        assert not spoken.voiced[(at > start - 0.2) & (at < start - 0.04)].any()
        assert spoken.voiced[(at > start + 0.05) & (at < start + 0.15)].all()
        assert not spoken.loudness[(at > start - 0.2) & (at < start - 0.04)].any()
    assert 0.6 < spoken.loudness.max() <= 1


def test_rows_show_the_phone_of_their_time(spoken):
    for phone in spoken.phones:
        if phone.end - phone.start > 0.1:
            row = spoken.values[round((phone.start + phone.end) / 2 * spoken.fps)]
            assert UNITS[row.argmax()] == phone.symbol


def test_the_rate_of_the_sound_does_not_matter(demo, recognised):
    soxr = pytest.importorskip("soxr")
    fast = Audio(np.clip(soxr.resample(demo.samples, RATE, 48_000), -1, 1), 48_000)
    same = analyse(fast, 25).values.argmax(axis=1) == recognised.values.argmax(axis=1)
    assert same.mean() > 0.9


def test_the_video_rate_does_not_change_what_is_said(demo, recognised):
    fast = analyse(demo, 50)
    assert fast.phones == recognised.phones
    np.testing.assert_allclose(fast.loudness[::2][: len(recognised)], recognised.loudness, atol=0.25)


def test_the_same_sound_gives_the_same_bytes(demo, recognised):
    again = analyse(demo, 25)
    assert again.phones == recognised.phones
    assert again.values.tobytes() == recognised.values.tobytes()
    assert again.loudness.tobytes() == recognised.loudness.tobytes()


def test_pitch_of_a_known_voice():
    time = np.arange(2 * RATE) / RATE
    buzz = np.float32(0.2 * sum(np.sin(2 * np.pi * 170 * k * time) / k for k in range(1, 12)))
    buzz[RATE // 2 : RATE] = 0
    clip = prosody(buzz)
    assert np.median(clip.pitch[clip.pitch > 0]) == pytest.approx(170, rel=0.01)
    assert (clip.pitch[10:45] > 0).all()
    assert not clip.pitch[55:95].any()


@pytest.mark.parametrize("fill", [0.0, 0.2])
def test_silence_and_a_steady_hum_are_nobody(fill, caplog):
    rng = np.random.default_rng(3)
    samples = np.float32(fill * rng.uniform(-1, 1, 3 * RATE))
    with caplog.at_level(logging.WARNING):
        speech = analyse(Audio(samples, RATE), 25)
    assert "nobody speaks" in caplog.text
    assert not speech.voiced.any() and not speech.loudness.any() and not speech.pitch.any()
    assert [p.symbol for p in speech.phones] == ["SIL"] and speech.source == "silent"


def test_voice_is_found_in_noise():
    clean = babble()
    noisy = clean + np.float32(0.006) * np.random.default_rng(1).standard_normal(len(clean)).astype(np.float32)
    at = (np.arange(400) + 0.5) / 100
    pause = (at > 1.6) & (at < 2.4)
    for samples in (clean, noisy, clean * np.float32(0.02)):
        active = prosody(samples).active
        assert not active[pause].any()
        assert active[~pause].mean() > 0.5


def test_the_shortest_sound_allowed():
    speech = analyse(Audio(babble(0.1), RATE), 25)
    assert len(speech) == 2


def test_what_is_not_recognised_falls_back_to_acoustics(monkeypatch, caplog):
    monkeypatch.setattr("mien.perception.speech.recognise", lambda samples, progress: (Phone("AA", 0.0, 4.0),))
    with caplog.at_level(logging.WARNING):
        speech = analyse(Audio(babble(), RATE), 25)
    assert speech.source == "acoustic"
    assert "not recognised" in caplog.text
    at = np.arange(len(speech)) / 25
    assert all(p.symbol == "SIL" for p in speech.phones if 1.7 < (p.start + p.end) / 2 < 2.3)
    assert not speech.voiced[(at > 1.7) & (at < 2.3)].any()
    assert len({p.symbol for p in speech.phones}) > 1


def test_the_fallback_hears_hiss_and_vowels():
    time = np.arange(RATE // 2) / RATE
    hiss = np.diff(np.random.default_rng(2).standard_normal(RATE // 2 + 1)) * 0.1
    hiss = np.convolve(hiss, np.convolve([1, -1], [1, -1]), "same")

    def vowel(f1, f2):
        return sum(
            np.sin(2 * np.pi * 120 * k * time) * sum(1 / (1 + ((120 * k - f) / 60) ** 2) for f in (f1, f2))
            for k in range(1, 30)
        )

    quiet = np.zeros(RATE // 4)
    samples = np.float32(0.1 * np.concatenate([quiet, vowel(850, 1440), hiss, vowel(390, 2500), quiet]))
    phones = acoustic_phones(samples, prosody(samples))

    def at(second):
        return next(p.symbol for p in phones if p.start <= second < p.end)

    assert at(0.1) == "SIL" and at(1.9) == "SIL"
    assert at(0.5) in ("AA", "AH")
    assert at(1.0) == "S"
    assert at(1.5) == "IY"


def test_trust_measures_plausible_phones():
    clip = prosody(babble())
    assert trust((Phone("SIL", 0, 4),), clip) == 0
    assert trust((Phone("AA", 0, 4),), clip) == 0
    assert trust(tuple(Phone("AA", k / 10, (k + 1) / 10) for k in range(40)), clip) > 0.95


def test_long_sound_is_recognised_in_blocks(demo, recognised):
    """Three times the demo (39 s) crosses a seam; every copy must read nearly alike."""
    long = recognise(np.tile(demo.samples, 3))
    assert long[-1].end == pytest.approx(3 * demo.duration)
    each = [[p.symbol for p in long if k <= p.start / demo.duration < k + 1] for k in range(3)]
    assert max(len(e) for e in each) - min(len(e) for e in each) <= 4


def test_long_text_is_aligned_in_stretches(demo, demo_text, spoken):
    long = align(np.tile(demo.samples, 3), " ".join([demo_text] * 3))
    said = [p.symbol for p in long if p.symbol != "SIL"]
    once = [p.symbol for p in spoken.phones if p.symbol != "SIL"]
    assert len(said) == pytest.approx(3 * len(once), abs=3)
    m = [p.start for p in spoken.phones if p.symbol == "M"]
    again = [p.start - demo.duration for p in long if p.symbol == "M" and 1 <= p.start / demo.duration < 2]
    np.testing.assert_allclose(m, again, atol=0.03)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no words"),
        ("?!  —", "no words"),
        ("It is 2024.", "2024"),
        ("schöne Grüße", "schöne"),
        ("Hello", "not in the text"),
    ],
)
def test_a_text_that_cannot_be_followed_is_refused(demo, text, found):
    with pytest.raises(InputError, match=found):
        analyse(demo, 25, text)


def test_far_too_much_text_is_refused(demo):
    with pytest.raises(InputError, match="follow"):
        analyse(Audio(demo.samples[: 2 * RATE], RATE), 25, "supercalifragilistic " * 40)


def test_words_of_a_text():
    assert words_of("“Don’t—stop,” she said; re-do it!") == ["don't", "stop", "she", "said", "re", "do", "it"]


def test_unknown_words_are_pronounced():
    known = {"dash": "D AE SH", "wood": "W UH D", "mien": None, "blog": "B L AA G"}
    assert pronounce("dashwood", known.get) == "D AE SH W UH D"
    assert pronounce("blogs", known.get) == "B L AA G Z"
    assert pronounce("phime", known.get) == "F AY M"
    assert pronounce("chooppa", known.get) == "CH UW P AE"
    assert pronounce("x9", known.get) is None
    for word in ("zzyzx", "mien", "wug", "gize", "yatt"):
        assert set(pronounce(word, known.get).split()) <= set(UNITS)


@pytest.mark.parametrize("road", ["recognised", "acoustic"])
@pytest.mark.parametrize("name", ["other/japanese.wav", "other/deyu.wav", "emodb_spk03/wav/03a01Fa.wav"])
def test_other_languages_move_the_lips_in_time(name, road):
    from mien.motion.lips import lips

    path = ROOT / "../shared/data/speech" / name
    if not path.exists():
        pytest.skip("the shared test recordings are not here")
    audio = read_audio(path, RATE)
    speech = analyse(audio, 25)
    assert speech.source == "recognised"
    if road == "acoustic":
        speech = replace(speech, phones=acoustic_phones(audio.samples, prosody(audio.samples)))
    jaw = lips(speech).column("jawOpen")
    assert np.corrcoef(jaw, speech.loudness)[0, 1] > 0.3
    spoken = speech.voiced > 0
    assert jaw[spoken].mean() > 0.08
    pause = np.convolve(spoken, np.ones(13), "same") == 0
    assert not jaw[pause].any()


@pytest.mark.parametrize("sound", ["voice.wav", np.zeros(16_000), (np.zeros(16_000), 16_000)])
def test_what_is_no_sound_is_said(sound):
    with pytest.raises(TypeError, match=r"audio: expected Audio, got (str|ndarray|tuple); read_audio makes one"):
        analyse(sound, 25)


def test_no_rate_is_refused():
    with pytest.raises(ValueError, match="fps: expected more than 0"):
        analyse(Audio(np.zeros(16_000), 16_000), 0)
