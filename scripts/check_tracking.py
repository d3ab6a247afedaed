"""How well mien's expressions agree with MediaPipe's Face Landmarker, clip by clip, and what tracking costs.

    ./run python scripts/check_tracking.py --data ../shared/data

Correlation (Pearson) and slope of mien's weights against the task's coefficients on the same pictures. "pooled" takes
all frames of all clips together; "per clip" is the mean over clips, without those in which the task's own value hardly
moves (standard deviation below 0.02), where there is nothing to agree on. The last row tells how well the task in its
video mode agrees with itself on single pictures: nobody can do much better than that.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

os.environ.setdefault("GLOG_minloglevel", "3")

from landmarker import Landmarker

from mien.media.video import VideoReader
from mien.perception.tracking import track_video
from mien.types import ARKIT_NAMES

Array = npt.NDArray[np.float64]

ROOT = Path(__file__).parents[1]
TASK = "weights/mediapipe/face_landmarker.task"
CLIPS = ("video/edtalk/*.mp4", "video/icface/*.mp4", "video/liveportrait/*.mp4", "video/pyfeat/Wolfgang*.mp4",
         "video/styletalk_source/*.mp4", "video/styletalk_style/*.mp4")  # fmt: skip
"""Clips that taught the reader nothing."""
NAMES = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "browDownLeft", "browDownRight",
         "eyeBlinkLeft", "eyeBlinkRight", "mouthPucker")  # fmt: skip
STILL = 0.02


def measure(path: Path, task: Path, longest: int) -> tuple[Array, Array, Array, float]:
    """mien's values, the task's on pictures and on video ``(T, 9)`` each, and mien's CPU milliseconds per frame."""
    frames = [frame for frame, _ in zip(VideoReader(path), range(longest), strict=False)]
    started = time.process_time()
    track = track_video(frames, fps=VideoReader(path).fps)
    cost = (time.process_time() - started) / len(frames) * 1000
    pictures, video = Landmarker(task), Landmarker(task, video=True)
    rows = [(pictures(frame), video(frame, 40 * (i + 1))) for i, frame in enumerate(frames)]
    kept = [i for i, (one, other) in enumerate(rows) if track.found[i] and one is not None and other is not None]
    theirs = ([rows[i][mode][1] for i in kept] for mode in (0, 1))
    mien, *both = (
        np.array(values, float)[:, [ARKIT_NAMES.index(name) for name in NAMES]]
        for values in (track.motion.expression[kept], *theirs)
    )
    return mien, *both, cost


def correlations(ours: Array, theirs: Array) -> Array:
    """``(9,)`` Pearson correlations, NaN where theirs hardly moves."""
    moves = theirs.std(axis=0) >= STILL
    return np.array([np.corrcoef(ours[:, i], theirs[:, i])[0, 1] if moves[i] else np.nan for i in range(len(NAMES))])


def show(title: str, values: Array) -> None:
    cells = " ".join("     ." if np.isnan(value) else f"{value:6.2f}" for value in values)
    print(f"{title:34s} {cells}  {np.nanmean(values):6.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder with video and weights")
    parser.add_argument("--frames", type=int, default=250, help="no more than this many frames of each clip")
    options = parser.parse_args()
    clips = [path for pattern in CLIPS for path in sorted(options.data.glob(pattern))]
    if not clips:
        raise SystemExit(f"check_tracking: no clips in {options.data}; name the data folder with --data")
    print(
        f"{'':34s} "
        + " ".join(f"{name.replace('mouth', 'm').replace('eye', 'e')[:6]:>6s}" for name in NAMES)
        + "    mean"
    )
    measured, per_clip, per_clip_video = [], [], []
    for path in clips:
        ours, pictures, video, cost = measure(path, options.data / TASK, options.frames)
        measured.append((ours, pictures, video))
        per_clip.append(correlations(ours, pictures))
        per_clip_video.append(correlations(video, pictures))
        show(f"{path.parent.name}/{path.stem} ({cost:.0f} ms)", per_clip[-1])
    ours, pictures, video = (np.concatenate(column) for column in zip(*measured, strict=True))
    show("per clip", np.nanmean(per_clip, axis=0))
    show("pooled", correlations(ours, pictures))
    show("pooled slope", np.array([np.polyfit(pictures[:, i], ours[:, i], 1)[0] for i in range(len(NAMES))]))
    show("the task's video mode: per clip", np.nanmean(per_clip_video, axis=0))
    show("the task's video mode: pooled", correlations(video, pictures))


if __name__ == "__main__":
    main()
