"""Speech made by rule, for tests of what follows it."""

import numpy as np

from mien.types import Phone, SpeechFeatures

SENTENCE = ["SIL", "B", "AH", "M", "P", "SIL", "IY", "F", "UW", "M", "AA", "SIL"]


def make_speech(n_frames, fps):
    """A talker with stresses and a pause in the middle; phones of a sixth of a second."""
    clock = np.arange(n_frames) / fps
    step = 1 / 6
    phones, start = [], 0.0
    while start < n_frames / fps - 1e-9:
        symbol = SENTENCE[len(phones) % len(SENTENCE)]
        phones.append(Phone(symbol, start, min(start + step, n_frames / fps)))
        start += step
    voiced = np.array([SENTENCE[int(t / step + 1e-9) % len(SENTENCE)] != "SIL" for t in clock], np.float32)
    loudness = voiced * (0.6 + 0.35 * np.sin(2 * np.pi * clock / 0.9)).astype(np.float32)
    pitch = voiced * (120 + 30 * np.sin(2 * np.pi * clock / 0.9)).astype(np.float32)
    values = np.full((n_frames, 42), 1 / 42, np.float32)
    return SpeechFeatures(values, fps, "phones42", tuple(phones), loudness, pitch, voiced)
