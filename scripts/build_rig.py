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

from rigbuild import assemble, sources  # noqa: E402

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder with models3d, video, weights")
    parser.add_argument("--out", type=Path, default=ROOT / "mien/face/data", help="where builtin.npz and builtin.md go")
    options = parser.parse_args()
    models = options.data / "models3d"
    canonical = sources.read_canonical(models / "mediapipe/canonical_face_model.obj")
    ict = sources.read_ict(models / "ict_facekit")
    header, arrays = assemble.assemble(canonical, ict)
    options.out.mkdir(parents=True, exist_ok=True)
    encoded = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(options.out / "builtin.npz", header=encoded, **arrays)


if __name__ == "__main__":
    main()
