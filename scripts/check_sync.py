"""Does the ridge score know clips in step with their sound from the same clips shifted by 200 ms?

    ./run python scripts/check_sync.py [--data ../shared/data] [--landmarker face_landmarker.task]

Filmed talking clips of 4 s or more with their own sound; long ones are cut into stretches of 10 s, short ones of one
speaker joined. Published clips are not all in step themselves, so a stretch is first moved by the median of the shifts
found best in the other stretches of its speaker; a speaker of one stretch is taken as is. Each is compared with itself
shifted by 200 ms either way: in step wins if its correlation is the higher one.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien.evaluation.measures import mouth_shape
from mien.evaluation.observer import Observer
from mien.media.audio import read_audio
from mien.media.video import VideoReader
from mien.metrics import log_mel, sync_score

ROOT = Path(__file__).parents[1]
CLIPS = ("video/edtalk/mouth_source.mp4", "video/edtalk/pose_source2.mp4", "video/icface/*.mp4",
         "video/latentsync/*.mp4", "video/styletalk_source/*.mp4")  # fmt: skip
JOINED = "video/grid_s1/*.mpg"  # 3 s each, of one speaker
STRETCH, SHIFT = 10.0, 0.2  # seconds
TRUSTED = 0.25  # a stretch with a lower best score says nothing about its shift


def seen(path: Path, observer: Observer) -> tuple[np.ndarray, np.ndarray, float]:
    """Sound and mouth, a row per frame in which the face was found, and the frame rate."""
    reader = VideoReader(path)
    sound = path.with_suffix(".wav")
    points = [observer(frame) for frame in reader]
    rows = np.flatnonzero([point is not None for point in points])
    mouth = mouth_shape(np.stack([points[i] for i in rows]))
    audio = read_audio(sound if sound.exists() else path, 16_000)
    return log_mel(audio, reader.fps, len(points))[rows], mouth, reader.fps


def stretches(data: Path, observer: Observer) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
    for path in [path for pattern in CLIPS for path in sorted(data.glob(pattern))]:
        sound, mouth, fps = seen(path, observer)
        n = max(1, round(len(mouth) / fps / STRETCH))
        for i, rows in enumerate(np.array_split(np.arange(len(mouth)), n)):
            yield f"{path.parent.name}/{path.stem} {i + 1}", sound[rows], mouth[rows], fps
    short = [seen(path, observer) for path in sorted(data.glob(JOINED))]
    for i in range(0, len(short) - 2, 3):
        sound, mouth, fps = zip(*short[i : i + 3], strict=True)
        yield f"grid_s1 {i + 1} to {i + 3}", np.concatenate(sound), np.concatenate(mouth), fps[0]


def correlation(sound: np.ndarray, mouth: np.ndarray, fps: float, frames: int) -> float:
    """The score of the sound beside the mouth so many frames later."""
    if frames > 0:
        sound, mouth = sound[:-frames], mouth[frames:]
    elif frames < 0:
        sound, mouth = sound[-frames:], mouth[:frames]
    return sync_score(sound, mouth, fps, max_lag=0).at_zero


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder with video")
    parser.add_argument("--landmarker", type=Path, help="face_landmarker.task; else mediapipe's mesh")
    options = parser.parse_args()
    found = list(stretches(options.data, Observer(options.landmarker)))
    if not found:
        raise SystemExit(f"check_sync: no clips in {options.data}; name the data folder with --data")
    scores = [sync_score(sound, mouth, fps) for _, sound, mouth, fps in found]
    speakers = [re.sub(r"(_clip| ).*", "", name) for name, *_ in found]
    won = []
    for i, (name, sound, mouth, fps) in enumerate(found):
        others = [s.lag for j, s in enumerate(scores) if speakers[j] == speakers[i] and j != i and s.best > TRUSTED]
        offset = round(float(np.median(others)) * fps) if others else 0
        step = round(SHIFT * fps)
        aligned, late, early = (correlation(sound, mouth, fps, offset + move) for move in (0, step, -step))
        won += [aligned > late, aligned > early]
        print(
            f"{name:36s} in step {aligned:5.2f} (moved {offset / fps:+.2f} s)  200 ms off {late:5.2f} {early:5.2f}  "
            f"best at {scores[i].lag:+.2f} s",
            flush=True,
        )
    print(f"in step ahead of shifted by {SHIFT:g} s: {sum(won)} of {len(won)}, {np.mean(won):.0%}")


if __name__ == "__main__":
    main()
