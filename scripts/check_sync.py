"""Does the ridge score know clips in step with their sound from the same clips shifted by 200 ms?

    ./run python scripts/check_sync.py [--data ../shared/data] [--landmarker face_landmarker.task]

Filmed talking clips of 4 s or more with their own sound; long ones are cut into stretches of 10 s, short ones of one
speaker joined. Each is compared with itself shifted by 200 ms either way: in step wins if its correlation without
shift is the higher one. Printed are correlation in step, best correlation and its shift, and far off.
"""

from __future__ import annotations

import argparse
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


def shifted(sound: np.ndarray, mouth: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    return (sound[: len(sound) - frames], mouth[frames:]) if frames > 0 else (sound[-frames:], mouth[:frames])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder with video")
    parser.add_argument("--landmarker", type=Path, help="face_landmarker.task; else mediapipe's mesh")
    options = parser.parse_args()
    won = []
    for name, sound, mouth, fps in stretches(options.data, Observer(options.landmarker)):
        score = sync_score(sound, mouth, fps)
        moved = [
            sync_score(*shifted(sound, mouth, frames), fps, max_lag=0).at_zero
            for frames in (round(SHIFT * fps), -round(SHIFT * fps))
        ]
        won += [score.at_zero > other for other in moved]
        print(
            f"{name:36s} in step {score.at_zero:5.2f}  shifted {moved[0]:5.2f} {moved[1]:5.2f}  "
            f"best {score.best:5.2f} at {score.lag:+.2f} s  far off {score.off_peak:5.2f}",
            flush=True,
        )
    if not won:
        raise SystemExit(f"check_sync: no clips in {options.data}; name the data folder with --data")
    print(f"in step ahead of shifted by {SHIFT:g} s: {sum(won)} of {len(won)}, {np.mean(won):.0%}")


if __name__ == "__main__":
    main()
