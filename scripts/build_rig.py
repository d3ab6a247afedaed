"""Build the built-in rig, ``mien/face/data/builtin.npz``, and its card from the sources in a data folder.

    ./run python scripts/build_rig.py --data ../shared/data

What it does is told in docs/rig.md. Running it again on the same files writes the same arrays.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from rigbuild import assemble, sources, teacher  # noqa: E402

ROOT = Path(__file__).parents[1]

PEOPLE = {
    "GRID s1": ("video/grid_s1/*.mpg",),
    "LatentSync demo 1": ("video/latentsync/demo1_video.mp4",),
    "LatentSync demo 3": ("video/latentsync/demo3_video.mp4",),
    **{f"AniTalker {name}": (f"portraits/anitalker_ai/{name}.png",) for name in ("aiface2", "aiface3", "aiface4", "aiface6")},
}
"""Whose tracked faces shape the rig: only material whose licence allows it (GRID is CC BY 4.0, the rest Apache-2.0)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder with models3d, video, weights")
    parser.add_argument("--out", type=Path, default=ROOT / "mien/face/data", help="where builtin.npz and builtin.md go")
    options = parser.parse_args()
    models = options.data / "models3d"
    canonical = sources.read_canonical(models / "mediapipe/canonical_face_model.obj")
    ict = sources.read_ict(models / "ict_facekit")
    task = options.data / "weights/mediapipe/face_landmarker.task"
    faces = []
    for person, patterns in PEOPLE.items():
        files = sorted(file for pattern in patterns for file in options.data.glob(pattern))
        if not files:
            raise SystemExit(f"build_rig: no files of {person} ({', '.join(patterns)}) under {options.data}")
        faces.append(teacher.neutral_face([teacher.track(file, task) for file in files], canonical.vertices))
    header, arrays = assemble.assemble(canonical, ict, np.array(faces))
    options.out.mkdir(parents=True, exist_ok=True)
    encoded = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(options.out / "builtin.npz", header=encoded, **arrays)


if __name__ == "__main__":
    main()
