"""How much real clips differ from each other in what the leakage matrix measures: the table of natural deviations.

    ./run python scripts/measure_natural.py CLIP... --landmarker face_landmarker.task

One line per clip (its first 10 s) and the standard deviation over clips. The table in mien/evaluation/leakage.py is
the one of 37 clips: talks, interviews, acted emotions and people making faces (docs/evaluate.md lists them). Brows are
measured on landmarks here, as a clip has no other one to follow them from; that adds the landmarks' own error to the
natural deviation of brows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mien import metrics
from mien.direction import LABEL_ANGLES
from mien.evaluation.emotion_judge import JUDGED_EMOTIONS, face_box, judge
from mien.evaluation.observer import Observer
from mien.media.video import VideoReader

SECONDS = 10
NAMES = ("valence", "lip movement", "lip opening", "head movement", "blink rate", "brow asymmetry", "brow height")


def measured(path: Path, observer: Observer) -> list[float] | None:
    """One number per name, or ``None`` for a clip with less than 2 s of a face."""
    reader = VideoReader(path)
    valence = np.array([np.cos(np.deg2rad(LABEL_ANGLES.get(label.value, 90))) for label in JUDGED_EMOTIONS])
    points, judged, box = [], [], None
    for i, frame in enumerate(reader.between(0, round(SECONDS * reader.fps))):
        seen = observer(frame)
        if seen is not None:
            points.append(seen)
        if i % 5 == 0:
            box = face_box(frame) or box
            if box is not None:
                judged.append(float(judge([frame], box)[0] @ valence))
    if len(points) < 2 * reader.fps or not judged:
        return None
    landmarks = np.stack(points)
    gap, brows = metrics.lip_aperture(landmarks), metrics.brow_heights(landmarks)
    closure = metrics.closure_from_openness(metrics.eye_openness(landmarks), reader.fps)
    return [
        float(np.mean(judged)), float(gap.std()), float(gap.mean()),
        float(metrics.head_angles(landmarks).std(0).mean()),
        metrics.blink_rate(metrics.blinks_of(closure, reader.fps), len(landmarks) / reader.fps),
        float((brows[:, 1] - brows[:, 0]).mean()), float(brows.mean()),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--landmarker", type=Path, help="face_landmarker.task; else mediapipe's mesh")
    options = parser.parse_args()
    observer, rows = Observer(options.landmarker), []
    print(f"{'':40s}" + "".join(f"{name:>15s}" for name in NAMES))
    for path in options.clips:
        row = measured(path, observer)
        if row is not None:
            rows.append(row)
            print(f"{path.parent.name + '/' + path.stem:40s}" + "".join(f"{value:15.3f}" for value in row), flush=True)
    if len(rows) > 1:
        print(f"{'standard deviation':40s}" + "".join(f"{value:15.3f}" for value in np.std(rows, axis=0, ddof=1)))


if __name__ == "__main__":
    main()
