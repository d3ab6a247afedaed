"""The lips lane on phone lists made by hand."""

import numpy as np
import pytest

from mien.motion.lips import closure_frames, lips
from mien.motion.visemes import ARTICULATORS, VISEMES
from mien.perception.phones import SILENT_UNITS, UNITS
from mien.types import Phone, SpeechFeatures


def speech_of(symbols, fps=25.0, each=0.09, loud=0.8):
    """Phones of equal length with half a second of silence before and after."""
    phones, at = [Phone("SIL", 0.0, 0.5)], 0.5
    for symbol in symbols.split():
        phones.append(Phone(symbol, at, at + each))
        at += each
    phones.append(Phone("SIL", at, at + 0.5))
    n = round((at + 0.5) * fps)
    voiced = np.array([0.5 <= i / fps < at for i in range(n)], np.float32)
    return SpeechFeatures(np.full((n, 42), 1 / 42), fps, "phones42", tuple(phones), voiced * loud, voiced * 120, voiced)


def opening(motion):
    """What parts the lips: the jaw as far as mouthClose does not seal it, and lips drawn off the teeth."""
    lifted = motion.column("mouthLowerDownLeft") + motion.column("mouthUpperUpLeft") + motion.column("mouthFunnel")
    return motion.column("jawOpen") - motion.column("mouthClose") + lifted


def middle_frames(speech, symbols):
    return [round((p.start + p.end) / 2 * speech.fps) for p in speech.phones if p.symbol in symbols]


def test_every_phone_has_a_viseme():
    assert set(VISEMES) == set(UNITS) - SILENT_UNITS | {"SIL"}
    for viseme in VISEMES.values():
        assert len(viseme.targets) == len(viseme.dominances) == len(ARTICULATORS)
        assert min(viseme.targets) >= 0 and max(viseme.targets) <= 1 and min(viseme.dominances) > 0


@pytest.mark.parametrize("fps", [12, 24, 25, 29.97, 50, 60])
@pytest.mark.parametrize("gain", [0.2, 1.0, 2.0])
def test_lips_meet_on_every_p_b_m(fps, gain):
    speech = speech_of("AA P AA S B IY AE M OW P UW AA M B AY T EH B AA", fps, each=0.077)
    motion = lips(speech, gain=gain)
    for phone in speech.phones:
        if phone.symbol in ("P", "B", "M"):
            middle = (phone.start + phone.end) / 2
            near = np.abs(np.arange(len(speech)) / fps - middle) <= max(0.03, 0.56 / fps)
            assert opening(motion)[near].min() < 0.005
            assert closure_frames(speech)[near].max() == 1


def test_lips_part_between_closures():
    speech = speech_of("AA P AA S M AA T")
    motion = lips(speech)
    assert all(opening(motion)[i] > 0.15 for i in middle_frames(speech, {"AA"}))
    assert closure_frames(speech_of("AA S IY T UW")).max() == 0


def test_silence_is_closed_and_still():
    speech = speech_of("AA M AY S OW")
    expression = lips(speech).expression
    at = np.arange(len(speech)) / speech.fps
    silent = (at < 0.5 - 0.25) | (at > speech.phones[-1].start + 0.25)
    assert silent.sum() > 8
    assert not expression[silent].any()
    assert expression[~silent].any()


def test_a_clip_without_speech_does_not_move():
    speech = SpeechFeatures(np.full((30, 42), 1 / 42), 25, "phones42", (Phone("SIL", 0, 1.2),), *np.zeros((3, 30)))
    assert not lips(speech).expression.any()
    assert not closure_frames(speech).any()


def test_sounds_look_like_themselves():
    def at_middle(symbol, name):
        speech = speech_of(f"T {symbol} T", each=0.15)
        return lips(speech).column(name)[middle_frames(speech, {symbol})[0]]

    assert at_middle("AA", "jawOpen") > 2 * at_middle("IY", "jawOpen")
    assert at_middle("UW", "mouthPucker") > 0.3 > 0.05 > at_middle("IY", "mouthPucker")
    assert at_middle("IY", "mouthStretchLeft") > 0.1 > 0.03 > at_middle("UW", "mouthStretchLeft")
    assert at_middle("SH", "mouthFunnel") > 0.15 > at_middle("S", "mouthFunnel")
    assert at_middle("F", "mouthRollLower") > 0.25 > 0.02 > at_middle("S", "mouthRollLower")
    assert at_middle("F", "mouthUpperUpLeft") > at_middle("F", "mouthLowerDownLeft")


def test_neighbours_colour_a_consonant():
    """The t of "too" is rounded, that of "tea" is not (Cohen and Massaro 1993)."""

    def pucker_on_t(vowel):
        speech = speech_of(f"T {vowel}")
        return lips(speech).column("mouthPucker")[middle_frames(speech, {"T"})[0]]

    assert pucker_on_t("UW") > 0.1
    assert pucker_on_t("UW") > 5 * pucker_on_t("IY")


def test_rounding_comes_before_the_sound():
    speech = speech_of("T T T UW T T T", 100.0)
    pucker = lips(speech).column("mouthPucker")
    start = next(p.start for p in speech.phones if p.symbol == "UW")
    assert pucker[round((start - 0.05) * 100)] > 0.25 * pucker.max()


def test_louder_opens_wider():
    assert (
        lips(speech_of("T AA T", loud=1.0)).column("jawOpen").max()
        > 1.2 * lips(speech_of("T AA T", loud=0.1)).column("jawOpen").max()
    )


@pytest.mark.parametrize("other", [24, 50, 60])
def test_the_frame_rate_changes_nothing_but_the_sampling(other):
    phones = "HH EH L OW AY AE M AH F OW T AH G R AE F"
    low, high = lips(speech_of(phones, 25)), lips(speech_of(phones, other))
    sampled = high.resample(25)
    n = min(len(low), len(sampled))
    assert np.abs(low.column("jawOpen")[:n] - sampled.column("jawOpen")[:n]).mean() < 0.01
    assert np.abs(low.expression[:n] - sampled.expression[:n]).mean() < 0.005


@pytest.mark.parametrize("fps", [25, 60])
def test_motion_is_smooth(fps):
    """No shape crosses more than three tenths of its range in a hundredth of a second."""
    expression = lips(speech_of("AA P AA F UW IY S AA M OW T", fps)).expression
    steps = np.abs(np.diff(expression, axis=0))
    assert (steps.max(axis=0) <= 0.3 * np.ptp(expression, axis=0).clip(0.05) * 100 / fps).all()


def test_gain_zero_is_still_and_more_is_more():
    speech = speech_of("AA P IY S OW M AA")
    assert not lips(speech, gain=0).expression.any()
    half, whole, double = (lips(speech, gain=g).column("jawOpen").max() for g in (0.5, 1, 2))
    assert half < whole < double
    curve = np.where(np.arange(len(speech)) < len(speech) // 2, 0, 1)
    motion = lips(speech, gain=curve)
    assert not motion.expression[: len(speech) // 2].any()
    assert motion.expression.any()
    assert lips(speech, gain=2).expression.max() <= 1


@pytest.mark.parametrize("gain", [-0.1, 2.1, np.ones(3), np.nan])
def test_a_gain_out_of_range_is_refused(gain):
    with pytest.raises(ValueError, match="gain"):
        lips(speech_of("AA T"), gain=gain)


def test_the_same_speech_gives_the_same_bytes():
    a, b = (lips(speech_of("AA P IY S OW M AA")).expression.tobytes() for _ in range(2))
    assert a == b
