"""Judge mien's action units against somebody else's eyes: 3D faces that another group fitted to the same clips.

    ./run python scripts/check_actions.py --data ../shared/data

StyleTalk's clips come with the coefficients that Deep3DFaceRecon (Deng et al. 2019, Basel Face Model; 64 of them for
expression) found in every frame. Those have no names, so a ridge regression learns from the other people what a unit
looks like in them, and the person left out is measured: a unit that mien made up, or saw in other frames than they did,
could not be told from their coefficients. Printed is the correlation over time, averaged over clips in which mien's
unit moves at all, and over all their frames together. What regression cannot say, and what the other fit misses (lids,
one-sided and fine movement), counts against mien: these are lower bounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.face.actions import units_from_motion
from mien.media.video import VideoReader
from mien.perception.tracking import track_video

Array = npt.NDArray[np.float64]

ROOT = Path(__file__).parents[1]
CLIPS = "video/styletalk_*/*.mat"
SECONDS = 12
EXPRESSION = slice(80, 144)
"""Where Deep3DFaceRecon's 257 coefficients speak of expression."""
STILL = 0.03
RIDGE = 0.05
"""Of the variance of a coefficient."""


def person(name: str) -> str:
    """Who a clip shows: the first word of its name."""
    return name.split("_")[0]


def both(path: Path) -> tuple[Array, Array, tuple[str, ...]]:
    """Their coefficients ``(T, 64)`` and mien's units ``(T, 25)`` without their means, and the units' names."""
    from scipy.io import loadmat

    reader = VideoReader(path.with_suffix(".mp4"))
    seen = track_video(islice(reader, round(SECONDS * reader.fps)), fps=reader.fps)
    units = units_from_motion(seen.motion)
    theirs = np.asarray(loadmat(path)["coeff"], float)[: len(units.values), EXPRESSION]
    ours = np.asarray(units.values[: len(theirs)], float)
    return theirs - theirs.mean(0), ours - ours.mean(0), units.names


def told(clips: Mapping[str, tuple[Array, Array]], left_out: str) -> Array:
    """``(64, 25)``: what the other people's clips say a coefficient has to do with a unit."""
    others = [pair for name, pair in clips.items() if person(name) != left_out]
    theirs, ours = (np.concatenate(column) for column in zip(*others, strict=True))
    size = theirs.std(0) + 1e-6
    scaled = theirs / size
    normal = scaled.T @ scaled + RIDGE * len(scaled) * np.eye(scaled.shape[1])
    return np.asarray(np.linalg.solve(normal, scaled.T @ ours) / size[:, None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    data = parser.parse_args().data
    paths = sorted(data.glob(CLIPS))
    if not paths:
        raise SystemExit(f"check_actions: no {CLIPS} in {data}; name the data folder with --data")
    clips, names = {}, ()
    for path in paths:
        theirs, ours, names = both(path)
        clips[path.stem] = theirs, ours
    said = {name: pair[0] @ told(clips, person(name)) for name, pair in clips.items()}
    print("| unit | clips | r per clip | worst | r over all |\n|---|---|---|---|---|")
    for i, unit in enumerate(names):
        moving = [name for name, (_, ours) in clips.items() if ours[:, i].std() > STILL]
        if moving:
            pairs = [(said[name][:, i], clips[name][1][:, i]) for name in moving]
            r = [float(np.corrcoef(*pair)[0, 1]) for pair in pairs]
            pooled = np.corrcoef(*(np.concatenate(column) for column in zip(*pairs, strict=True)))[0, 1]
            print(f"| {unit} | {len(r)} | {np.mean(r):.2f} | {min(r):.2f} | {pooled:.2f} |")


if __name__ == "__main__":
    main()
