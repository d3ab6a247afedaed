"""How long the whole job takes: from a video to the first redirected clip, and the speed of the next ones.

    python scripts/time_person.py VIDEO [--emotion "2s-6s:happy:0.8"] [--minutes 60] [--folder FOLDER]

Runs the commands a user would, one after the other, each in a process of its own: `mien person` without a renderer
(prepare, decoder, report), `mien person` again (the renderer, at most --minutes), then `mien redirect` with either
renderer. For each step: minutes on the clock, minutes of processor time, frames of the video per second on the clock.
Measure on an idle machine. With --folder the person is kept, and what is done there already is not done again.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mien.media.video import VideoReader


def timed(name: str, n_frames: int, *command: str) -> float:
    """Run mien; seconds on the clock."""
    began, used = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "mien", *command], check=True)
    seconds, after = time.perf_counter() - began, os.times()
    cpu = after.children_user - used.children_user + after.children_system - used.children_system
    print(f"{name:<44} {seconds / 60:7.2f} {cpu / 60:7.2f} {n_frames / seconds:9.1f}", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--emotion", default="2s-6s:happy:0.8")
    parser.add_argument("--minutes", default="60", help="at most, for the renderer")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    n = sum(1 for _ in VideoReader(options.video))
    with tempfile.TemporaryDirectory() as scratch:
        folder, video = str(options.folder or Path(scratch) / "person"), str(options.video)
        print(f"{n} frames\n{'step':<44} minutes     cpu  frames/s")
        first = timed("person: prepare and decoder", n, "person", video, "-o", folder, "--renderer", "none")
        first += timed("person: renderer", n, "person", "-o", folder, "--minutes", options.minutes)
        for renderer in ("person", "warp"):
            wish = ["-e", options.emotion, "--person", folder, "--renderer", renderer]
            seconds = timed(
                f"redirect --renderer {renderer}", n, "redirect", "-i", video, "-o", f"{scratch}/{renderer}.mp4", *wish
            )
            first += seconds if renderer == "person" else 0
        print(f"from the video to the first redirected clip: {first / 60:.1f} minutes")


if __name__ == "__main__":
    main()
