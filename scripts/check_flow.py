"""How well do landmarks and optical flow see how far lips part? Measured where it is known: on what was drawn.

    ./run python scripts/check_flow.py PORTRAIT... [--speech examples/speech.flac] [--landmarker face_landmarker.task]

Each portrait speaks with every control at its default, then very sad, very happy, theatrically, and with half and twice
the lip gain. The renderer says where it drew the inner lips. Per sweep: how far their gap really changed against the
clip of defaults (mean, temporal deviation, in the natural deviations of the leakage matrix), what each pair of eyes
says of it, and the root mean square of what it is wrong by in single frames, in thousandths of the face height.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from mien import metrics
from mien.direction import Direction
from mien.evaluation.control import FPS, HELD, head_of, voice_of
from mien.evaluation.flow import lip_parting
from mien.evaluation.leakage import NATURAL
from mien.evaluation.observer import Observer
from mien.media.image import read_image
from mien.perception.speech import analyse
from mien.perception.tracking import track_image
from mien.pipelines.speak import perform
from mien.rendering.warp import WarpRenderer
from mien.types import FaceMotion, SpeechFeatures

ROOT = Path(__file__).parents[1]
PAIRS = np.array([(81, 178), (13, 14), (311, 402)])
SWEEPS = {
    "sad": {"emotion": "sad:1"}, "happy": {"emotion": "happy:1"}, "anger": {"emotion": "anger:1"},
    "theatrical": {"style": {"name": "theatrical", "strength": 2}}, "lips 0.5": {"lips": 0.5}, "lips 2": {"lips": 2.0},
}  # fmt: skip


class Sitter:
    """One portrait, those who look at it, and what the renderer drew."""

    def __init__(self, path: Path, eyes: dict[str, Observer], size: int) -> None:
        self._portrait = track_image(head_of(read_image(path), size, path), name=path)
        self._renderer, self._eyes = WarpRenderer(self._portrait), eyes
        self._still = {name: look(self._portrait.image) for name, look in eyes.items()}
        self.height = float(metrics.face_height(self._still[list(eyes)[-1]]))

    def clip(self, lanes: dict, speech: SpeechFeatures, rows: list[int]) -> tuple[list, dict, dict, np.ndarray]:
        """Grey frames, landmarks and inner-lip gaps by who looks, and the drawn gaps; gaps in face heights."""
        direction = Direction.from_dict({**HELD, **lanes})
        motion = perform(direction, speech, rest=self._portrait.rest, identity=self._portrait.identity)
        frames, gaps = self._drawn(motion, rows)
        points = {name: np.stack([look(frame) for frame in frames]) for name, look in self._eyes.items()}
        seen = {name: metrics.lip_aperture(metrics.steadied(p, self._still[name])) for name, p in points.items()}
        return [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames], points, seen, gaps / self.height

    def _drawn(self, motion: FaceMotion, rows: list[int]) -> tuple[list[np.ndarray], np.ndarray]:
        gaps: list[float] = []
        draw_mouth = self._renderer._draw_mouth

        def watched(out, moved):
            lips = moved.surface[PAIRS, 1]
            gaps.append(float(np.abs(lips[:, 1] - lips[:, 0]).mean()))
            draw_mouth(out, moved)

        self._renderer._draw_mouth = watched
        try:
            frames = [frame for i, frame in enumerate(self._renderer.render(motion)) if i in rows]
        finally:
            del self._renderer._draw_mouth
        return frames, np.array(gaps)[rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path, nargs="+")
    parser.add_argument("--speech", type=Path, default=ROOT / "examples/speech.flac")
    parser.add_argument("--landmarker", type=Path, help="face_landmarker.task, as further eyes")
    parser.add_argument("--size", type=int, default=384)
    options = parser.parse_args()
    eyes = {"mesh": Observer()} | ({"landmarker": Observer(options.landmarker)} if options.landmarker else {})
    guide = list(eyes)[-1]
    speech = analyse(voice_of(options.speech, 3), FPS)
    rows = np.flatnonzero(np.asarray(speech.voiced) > 0.5)[::3].tolist()
    wrong: dict[str, list[float]] = {}
    for path in options.portraits:
        sitter = Sitter(path, eyes, options.size)
        grey, points, usual, base = sitter.clip({}, speech, rows)
        for name, lanes in SWEEPS.items():
            after, points_after, seen, gaps = sitter.clip(lanes, speech, rows)
            pairs = zip(grey, after, points[guide], points_after[guide], strict=True)
            flow = [lip_parting(*pair) / sitter.height for pair in pairs]
            told = {"drawn": gaps, "flow": np.maximum(base + flow, 0)}
            told |= {n: base + seen[n] - usual[n] for n in eyes}
            parts = []
            for who, gap in told.items():
                mean = (gap.mean() - base.mean()) / NATURAL["lip opening"]
                deviation = (gap.std() - base.std()) / NATURAL["lip movement"]
                error = 1000 * float(np.sqrt(np.mean((gap - gaps) ** 2)))
                wrong.setdefault(who, []).append(error)
                parts.append(f"{who} {mean:+.2f} {deviation:+.2f}" + (f" ({error:.1f})" if who != "drawn" else ""))
            print(f"{path.stem:12s} {name:10s} " + "   ".join(parts), flush=True)
    print("wrong by, mean: " + ", ".join(f"{who} {np.mean(e):.1f}" for who, e in wrong.items() if who != "drawn"))


if __name__ == "__main__":
    main()
