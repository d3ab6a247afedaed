#!/usr/bin/env python
"""Make examples/speech.flac and examples/speech.txt: a short line of speech by a freely licensed synthetic voice.

Run once by whoever changes the line; needs the ``flite`` program (Debian, Ubuntu: ``apt-get install flite``).
Sentences are spoken one by one and placed at fixed times, so that a direction can be written for them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

VOICE = "slt"
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PEAK = 0.8

# When each sentence starts, in seconds, and what is said; examples/demo.yaml places the moods around these times.
LINES = (
    (0.4, "Hello. I am a photograph."),
    (2.8, "Today somebody made me smile!"),
    (5.2, "Oh! Is that my own voice?"),
    (7.5, "Before, nobody listened to me."),
    (9.9, "Not even once!"),
    (11.8, "Thank you."),
)
AFTER = 0.5  # seconds of silence at the end


def main() -> None:
    if not shutil.which("flite"):
        sys.exit("make_demo_speech: the program flite is missing; install it (Debian, Ubuntu: apt-get install flite)")
    spoken = {}
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "line.wav"
        for _, text in LINES:
            subprocess.run(["flite", "-voice", VOICE, "-t", text, "-o", str(wav)], check=True)
            sound, rate = soundfile.read(wav, dtype="float32")
            loud = np.flatnonzero(np.abs(sound) > 0.005)
            spoken[text] = sound[max(loud[0] - rate // 50, 0) : loud[-1] + rate // 20]

    samples = np.zeros(round((LINES[-1][0] + AFTER) * rate) + len(spoken[LINES[-1][1]]), np.float32)
    for start, text in LINES:
        at = round(start * rate)
        if samples[: at + 1].any() and np.flatnonzero(samples)[-1] > at:
            sys.exit(f"make_demo_speech: {text!r} starts before the sentence before it ends")
        samples[at : at + len(spoken[text])] = spoken[text]
        print(f"{start:6.2f} to {start + len(spoken[text]) / rate:6.2f} s  {text}")
    samples *= PEAK / np.abs(samples).max()
    path = EXAMPLES / "speech.flac"
    soundfile.write(path, samples, rate, subtype="PCM_16", compression_level=1.0)
    (EXAMPLES / "speech.txt").write_text("\n".join(text for _, text in LINES) + "\n")
    print(f"{path.name}: {len(samples) / rate:.2f} s, {rate} Hz, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
