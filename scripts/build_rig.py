"""Build the built-in rig, ``mien/face/data/builtin.npz``, and its card from the sources in a data folder.

    ./run python scripts/build_rig.py --data ../shared/data

What it does is told in docs/rig.md. It takes some three minutes; the same files give the same arrays again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from rigbuild import assemble, binding, card, learn, sources, teacher

ROOT = Path(__file__).parents[1]
CANONICAL = "models3d/mediapipe/canonical_face_model.obj"
ICT = "models3d/ict_facekit"
TASK = "weights/mediapipe/face_landmarker.task"

PEOPLE = {
    "GRID s1": ("video/grid_s1/*.mpg",),
    "LatentSync demo 1": ("video/latentsync/demo1_video.mp4",),
    "LatentSync demo 3": ("video/latentsync/demo3_video.mp4",),
    "AniTalker aiface2": ("portraits/anitalker_ai/aiface2.png",),
    "AniTalker aiface3": ("portraits/anitalker_ai/aiface3.png",),
    "AniTalker aiface4": ("portraits/anitalker_ai/aiface4.png",),
    "AniTalker aiface6": ("portraits/anitalker_ai/aiface6.png",),
}
"""Whose tracked faces shape the rig: only material whose licence allows it (GRID is CC BY 4.0, the rest Apache-2.0)."""

CHECK = (
    "video/liveportrait/*.mp4", "video/styletalk_style/*.mp4", "video/styletalk_source/*_clip[13].mp4",
    "video/styletalk_source/andrew_clip_1.mp4", "video/edtalk/*.mp4", "video/pyfeat/WolfgangLanger_Pexels.mp4",
)  # fmt: skip
"""Clips that only judge the rig and leave no trace in it; every second frame is read."""


def find(data: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files that match, sorted, or the end of the run if a pattern finds none."""
    for pattern in patterns:
        if not any(data.glob(pattern)):
            raise SystemExit(f"build_rig: no file like {pattern} in {data}; name the data folder with --data")
    return sorted(file for pattern in patterns for file in data.glob(pattern))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=ROOT / "../shared/data", help="folder with models3d, video, weights"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "mien/face/data", help="where builtin.npz and builtin.md go")
    options = parser.parse_args()
    data, task = options.data, options.data / TASK
    people = {person: find(data, patterns) for person, patterns in PEOPLE.items()}
    check_files = find(data, CHECK)

    canonical = sources.read_canonical(data / CANONICAL)
    ict = sources.read_ict(data / ICT)
    clips = [[teacher.track(file, task) for file in files] for files in people.values()]
    check_clips = [clip for file in check_files if len((clip := teacher.track(file, task, every=2)).landmarks)]
    faces = np.array([teacher.neutral_face(group, canonical.vertices) for group in clips])
    check_faces = np.array([teacher.neutral_face([clip], canonical.vertices) for clip in check_clips])

    mirror, twins = binding.mirror_landmarks(canonical), assemble.twins()
    neutral = assemble.neutral_face(canonical, ict, faces, mirror)
    prior = assemble.prior_expressions(ict, neutral.binding, mirror)
    seen = learn.motion([clip for group in clips for clip in group], neutral.landmarks)
    network = teacher.Teacher(task)
    learned = learn.learn(prior, seen, faces, network, canonical, mirror[: binding.N_SURFACE], twins)
    shapes = assemble.close(learned.shapes, neutral.landmarks, mirror)
    header, arrays = assemble.assemble(canonical, ict, neutral, shapes, mirror)

    options.out.mkdir(parents=True, exist_ok=True)
    encoded = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(options.out / "builtin.npz", header=encoded, **arrays)
    full = np.ones(len(shapes))
    facts = card.Facts(
        prior=prior,
        learned=learned,
        shapes=shapes,
        answers=learn.answers(network, shapes[:, : binding.N_SURFACE], faces, full),
        check_answers=learn.answers(network, shapes[:, : binding.N_SURFACE], check_faces, full),
        seen=seen,
        check=learn.motion(check_clips, neutral.landmarks),
        check_clips=len(check_clips),
        basis=arrays["expression_basis"].astype(float),
        template=arrays["template"].astype(float),
        identity_basis=arrays["identity_basis"].astype(float),
        faces=faces,
        check_faces=check_faces,
    )
    used = [data / CANONICAL, *sorted((data / ICT).glob("*.tar.xz")), task]
    used += [file for files in people.values() for file in files]
    card.write(options.out / "builtin.md", facts, used, data, list(PEOPLE))


if __name__ == "__main__":
    main()
