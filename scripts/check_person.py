"""The figures of docs/person.md: trained renderers on frames of their person that they have never seen.

    ./run mien prepare clip.mp4 -o person
    ./run mien train renderer -i person
    .venv/bin/python scripts/check_person.py person another_person

prints one table for each folder: face and mouth in dB beside the nearest training frame and the warp renderer, SSIM,
pixel distances, flicker, expression distance; and what the fast engine costs against float32.
"""

import argparse
from pathlib import Path

import numpy as np

from mien.metrics.pictures import psnr
from mien.pipelines.person_renderer import load_window_renderer
from mien.rendering.conditioning import Conditioner
from mien.training.datasets.person_frames import open_frames
from mien.training.renderer_report import draw, held_out, measure, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", nargs="+", type=Path, help="folders of mien prepare")
    parser.add_argument("--run", type=Path, help="folder of the run, if it is not the one in the person's folder")
    options = parser.parse_args()
    for folder in options.people:
        frames = open_frames(folder)
        figures, _ = measure(frames, load_window_renderer(options.run or folder))
        print(f"\n{folder.name}, {figures['n_frames']} frames of the last quarter\n")
        print("\n".join(table(figures)))
        rows = held_out(frames)[::10]
        conditioner = Conditioner(frames.rig, frames.size)
        faces = [conditioner.draw(frames.points[row]).mask > 0 for row in rows]
        drawn = [
            list(draw(load_window_renderer(options.run or folder, engine), frames, rows, modelled=False))
            for engine in ("float32", "auto")
        ]
        quality = [
            np.mean(
                [psnr(frames.crop(row), picture, face) for row, picture, face in zip(rows, some, faces, strict=True)]
            )
            for some in drawn
        ]
        print(f"face in float32 {quality[0]:.2f} dB, with the engine {quality[1]:.2f} dB")


if __name__ == "__main__":
    main()
