"""The demo: a public-domain portrait speaks a line and passes through its feelings.

Writes out/demo.mp4 and out/demo.png (the photo and moments of the film beside each other).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from matplotlib import cbook

from mien.cli import main
from mien.direction import Direction
from mien.media.image import read_image, write_image
from mien.media.sheet import contact_sheet
from mien.media.video import VideoReader

HERE = Path(__file__).parent
OUT = HERE.parent / "out"
HEAD = slice(20, 420), slice(70, 470)  # where the head is in the sample portrait: rows, columns


def moments(direction: Direction) -> dict[float, str]:
    """Seconds at which to look, and what is asked for there: each emotion a little after it is reached."""
    return {key.time + 0.5: f"{key.time + 0.5:.1f} s  {key.label} {key.intensity:g}" for key in direction.emotion}


def demo() -> int:
    """Make the film and the contact sheet; the exit code is that of ``mien speak``."""
    started = time.perf_counter()
    portrait = str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))  # US Navy, public domain
    film, sheet = OUT / "demo.mp4", OUT / "demo.png"
    code = main(
        ["speak", "-p", portrait, "-s", str(HERE / "speech.flac"), "--text", str(HERE / "speech.txt"),
         "-d", str(HERE / "demo.yaml"), "-o", str(film)]
    )  # fmt: skip
    if code:
        return code
    wanted = moments(Direction.load(HERE / "demo.yaml"))
    frames, captions = [read_image(portrait)], ["the photo"]
    video = VideoReader(film)
    for i, frame in enumerate(video):
        for seconds, caption in wanted.items():
            if i == round(seconds * video.fps):
                frames.append(frame)
                captions.append(caption)
    write_image(sheet, contact_sheet([frame[HEAD] for frame in frames], captions))
    print(f"{film}\n{sheet}\n{time.perf_counter() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(demo())
