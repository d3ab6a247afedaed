"""The sound as DeepSpeech 0.1 wants it, and its answers as speech features at the video rate.

What VOCA hears (its paper's section 4.1 and released program): 26 mel cepstra as ``python_speech_features`` computes
them, every second frame, 19 frames side by side, standardised over the whole utterance; DeepSpeech (Hannun et al. 2014)
turns each row into 29 logits, 50 rows per second, which are interpolated to the video rate. The recogniser itself is
given as a function: :func:`mien.perception.deepspeech_network.load_deepspeech` makes it of the official graph.

What differs: sound is brought to 16 kHz by soxr instead of resampy; the steps after that agree with the official
program to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mien.errors import InputError
from mien.media.audio import resample
from mien.perception.speech import analyse, n_frames_of
from mien.types import Array, Audio, SpeechFeatures

KIND = "deepspeech29"
"""Name of the columns: logits of space, a to z, apostrophe, blank."""

N_LOGITS = 29
SAMPLE_RATE = 16_000

_WINDOW, _HOP, _FFT = 400, 160, 512  # samples: 25 ms, 10 ms
_BANDS = 26
_LIFTER = 22
_PRE_EMPHASIS = 0.97
_CONTEXT = 9  # frames before and after
ROW = _BANDS * (2 * _CONTEXT + 1)
"""Numbers that the recogniser sees at a time."""

_LOGITS_PER_SECOND = 50.0

Recogniser = Callable[[Array], npt.ArrayLike]
"""Rows ``(N, 494)`` of :func:`recogniser_input` to logits ``(N, 29)`` before softmax."""


def deepspeech_features(
    audio: Audio, fps: float, recogniser: Recogniser, speech: SpeechFeatures | None = None
) -> SpeechFeatures:
    """Features of kind ``"deepspeech29"`` at the video rate; phones, loudness and pitch as for all other features.

    Args:
        audio: mono sound.
        fps: video frames per second; VOCA's own rate is 60.
        recogniser: DeepSpeech 0.1, or anything with its inputs and outputs.
        speech: phones, loudness and pitch of this sound at this rate, if they are known already.

    Raises:
        InputError: if the recogniser answers with another shape.
    """
    rows = recogniser_input(mfcc(to_int16(audio)))
    logits = np.asarray(recogniser(rows), np.float32)
    if logits.shape != (len(rows), N_LOGITS):
        raise InputError(
            f"the speech recogniser gave {logits.shape}, expected {(len(rows), N_LOGITS)}",
            "use DeepSpeech 0.1, which has 29 labels",
        )
    n = n_frames_of(audio, fps)
    return replace(speech or analyse(audio, fps), values=at_video_rate(logits, fps, n), kind=KIND)


def to_int16(audio: Audio) -> npt.NDArray[np.int16]:
    """The sound at 16 kHz as 16-bit numbers, cut off towards zero as the official program does."""
    samples = resample(audio, SAMPLE_RATE).samples * 32768.0
    return np.asarray(np.clip(samples, -32768, 32767), np.int16)


def mfcc(samples: npt.ArrayLike) -> Array:
    """``(N,)`` 16-bit samples at 16 kHz to ``(M, 26)`` mel cepstra, 100 per second; the first is the log energy.

    Pre-emphasis 0.97, rectangular windows of 25 ms every 10 ms (the last filled up with zeros), power spectrum of 512
    points, 26 triangular mel bands from 0 to 8 kHz, log, orthonormal DCT-II, lifter 22.
    """
    from scipy.fft import dct

    power = _power(np.asarray(samples, np.float64))
    energy = _floored(power.sum(axis=1))
    bands = _floored(power @ _mel_bank().T)
    cepstra = dct(np.log(bands), type=2, axis=1, norm="ortho")
    cepstra *= 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(_BANDS) / _LIFTER)
    cepstra[:, 0] = np.log(energy)
    return np.asarray(cepstra, np.float32)


def recogniser_input(cepstra: npt.ArrayLike) -> Array:
    """``(M, 26)`` cepstra to ``(ceil(M / 2), 494)``: every second frame with 9 before and 9 after, standardised."""
    kept = np.asarray(cepstra, np.float64)[::2]
    padded = np.pad(kept, ((_CONTEXT, _CONTEXT), (0, 0)))
    stacked = np.lib.stride_tricks.sliding_window_view(padded, 2 * _CONTEXT + 1, axis=0)  # (N, 26, 19)
    rows = stacked.transpose(0, 2, 1).reshape(len(kept), -1)
    return np.asarray((rows - rows.mean()) / max(rows.std(), 1e-12), np.float32)


def at_video_rate(logits: npt.ArrayLike, fps: float, n_frames: int) -> Array:
    """Logits ``(N, D)``, 50 per second, interpolated linearly to ``(n_frames, D)``; the last is held."""
    rows = np.asarray(logits, np.float64)
    given, wanted = np.arange(len(rows)) / _LOGITS_PER_SECOND, np.arange(n_frames) / fps
    return np.stack([np.interp(wanted, given, column) for column in rows.T], axis=1).astype(np.float32)


def _power(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``(M, 257)`` power spectra of the pre-emphasised windows."""
    if not len(samples):
        raise InputError("the sound is empty", "give a sound with speech")
    emphasised = np.append(samples[0], samples[1:] - _PRE_EMPHASIS * samples[:-1])
    n = 1 + max(0, int(np.ceil((len(samples) - _WINDOW) / _HOP)))
    padded = np.pad(emphasised, (0, max(0, (n - 1) * _HOP + _WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[: n * _HOP : _HOP]
    return np.asarray(np.abs(np.fft.rfft(frames, _FFT)) ** 2 / _FFT)


def _floored(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Zeros, of which there is no logarithm, become the least double."""
    return np.where(values == 0, np.finfo(np.float64).eps, values)


def _mel_bank() -> npt.NDArray[np.float64]:
    """``(26, 257)`` triangles between points that are equally far apart in mel."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), _BANDS + 2)
    edges = np.floor((_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / SAMPLE_RATE)
    bins = np.arange(_FFT // 2 + 1)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.clip(np.minimum(rise, fall), 0, None))
