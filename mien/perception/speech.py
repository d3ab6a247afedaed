"""Sound to :class:`~mien.types.SpeechFeatures`: what is said and how, once per video frame.

Phones come from the text when it is known, else from a phone loop, else, where the loop is not to be believed, from
band energies and formants (:func:`~mien.perception.acoustics.acoustic_phones`). ``docs/speech.md`` gives the measured
quality of each.
"""

from __future__ import annotations

import logging

import numpy as np

from mien.errors import InputError
from mien.media.audio import resample
from mien.perception.acoustics import HOP, SAMPLE_RATE, Prosody, acoustic_phones, prosody
from mien.perception.phones import SILENT_UNITS, UNITS, align, merged, posteriors, recognise
from mien.progress import Progress
from mien.types import Array, Audio, Phone, SpeechFeatures, check_fps, check_kind

logger = logging.getLogger(__name__)

KIND = "phones42"
"""Name of the columns of ``SpeechFeatures.values``: shares of :data:`~mien.perception.phones.UNITS`."""

TRUST = 0.5
"""The phone loop is believed when it fills at least this share of the speech with phones of a plausible length."""

_PLAUSIBLE = (0.03, 0.4)  # seconds; in reading English 98 % of all phones lie in between


def n_frames_of(audio: Audio, fps: float) -> int:
    """How many frames of video go with a sound: ``round(duration * fps)``, at least one.

    Frame ``i`` shows time ``i / fps``; picture and sound end within half a frame of each other.
    """
    return max(1, round(audio.duration * fps))


def analyse(audio: Audio, fps: float, text: str | None = None, progress: Progress | None = None) -> SpeechFeatures:
    """Phones, loudness, pitch and voice activity of a clip at the video rate.

    Args:
        audio: mono sound at any rate; 16 kHz (``read_audio(path, 16_000)``) saves a resampling.
        fps: video frames per second.
        text: what is said, in English, if known; gives better phones and much better times.
        progress: told about the blocks of a long clip.

    Returns:
        Features of :func:`n_frames_of` rows. ``phones`` covers the clip without gaps, with ``SIL`` wherever nobody
        speaks. Each row is the mean over the time nearest to its frame.

    Raises:
        InputError: if ``text`` is given and cannot be pronounced or is not what is said.
        TypeError: if ``audio`` is none, but samples or the name of a file.
        ValueError: if ``fps`` is not positive.
    """
    check_kind(audio, Audio, "audio", "read_audio makes one of a file, Audio(samples, sample_rate) of an array")
    check_fps(fps)
    samples = resample(audio, SAMPLE_RATE).samples
    clip = prosody(samples)
    phones, source = _phones(samples, clip, text, progress)

    n_frames, duration = n_frames_of(audio, fps), audio.duration
    in_phase = [posteriors(phones, len(clip.level)), clip.loudness[:, None], clip.active[:, None]]
    values, loudness, voiced = (_at_video_rate(np.asarray(curve, np.float32), n_frames, fps) for curve in in_phase)
    return SpeechFeatures(
        values=values / values.sum(axis=1, keepdims=True),
        fps=fps,
        kind=KIND,
        phones=tuple(Phone(p.symbol, p.start, min(p.end, duration)) for p in phones),
        loudness=np.clip(loudness[:, 0], 0, 1),
        pitch=_pitch_at_video_rate(clip.pitch, n_frames, fps),
        voiced=(voiced[:, 0] >= 0.5).astype(np.float32),
        source=source,
    )


def _phones(
    samples: Array, clip: Prosody, text: str | None, progress: Progress | None
) -> tuple[tuple[Phone, ...], str]:
    """The phone sequence and where it comes from."""
    duration = len(samples) / SAMPLE_RATE
    if not clip.active.any():
        logger.warning("nobody speaks in this sound; the mouth stays closed")
        return (Phone("SIL", 0.0, duration),), "silent"
    scaled = samples * np.float32(0.7 / max(float(np.abs(samples).max()), 1e-6))
    if text is not None:
        phones = align(scaled, text, progress)
        if trust(phones, clip, longest=np.inf) < TRUST:
            raise InputError(
                "much of the sound is not in the text",
                "give all that is said, or leave the text out to recognise sounds",
            )
        return phones, "text"
    phones = _silenced(recognise(scaled, progress), clip)
    believed = trust(phones, clip)
    if believed >= TRUST:
        return phones, "recognised"
    logger.warning(
        "phones not recognised (plausible in %.0f %% of the speech); lips follow loudness and formants instead",
        100 * believed,
    )
    return acoustic_phones(samples, clip), "acoustic"


def trust(phones: tuple[Phone, ...], clip: Prosody, longest: float = _PLAUSIBLE[1]) -> float:
    """Share of the time in which somebody speaks that is filled with phones of a plausible length."""
    plausible = np.zeros(len(clip.active), bool)
    for phone in phones:
        if phone.symbol not in SILENT_UNITS and _PLAUSIBLE[0] <= phone.end - phone.start + 1e-6 <= longest:
            plausible[round(phone.start / HOP) : round(phone.end / HOP)] = True
    return float(plausible[clip.active].mean())


def _silenced(phones: tuple[Phone, ...], clip: Prosody) -> tuple[Phone, ...]:
    """Phones heard where nobody speaks (in breath, hum, music) become silence."""

    def symbol(phone: Phone) -> str:
        inside = clip.active[round(phone.start / HOP) : round(phone.end / HOP)]
        return phone.symbol if phone.symbol not in SILENT_UNITS and inside.any() and inside.mean() >= 0.5 else "SIL"

    return merged(Phone(symbol(phone), phone.start, phone.end) for phone in phones)


def _at_video_rate(curves: Array, n_frames: int, fps: float) -> Array:
    """``(N, D)`` every :data:`HOP` to the ``(n_frames, D)`` means around each frame's time."""
    total = np.vstack([np.zeros((1, curves.shape[1])), np.cumsum(curves, axis=0, dtype=np.float64)])
    edges = np.clip((np.arange(n_frames + 1) - 0.5) / fps / HOP, 0, len(curves))
    low = np.minimum(edges.astype(np.int64), len(curves) - 1)
    at_edges = total[low] + (edges - low)[:, None] * curves[low]
    width = np.maximum(np.diff(edges), 1e-9)[:, None]
    return np.asarray(np.diff(at_edges, axis=0) / width, np.float32)


def _pitch_at_video_rate(pitch: Array, n_frames: int, fps: float) -> Array:
    """The mean of the voiced part around each frame's time, 0 where less than half is voiced."""
    voiced = pitch > 0
    both = _at_video_rate(np.stack([pitch, voiced], axis=1), n_frames, fps)
    return np.where(both[:, 1] >= 0.5, both[:, 0] / np.maximum(both[:, 1], 1e-6), 0)


__all__ = ["KIND", "TRUST", "UNITS", "analyse", "n_frames_of", "trust"]
