"""How well do landmarks and optical flow see how far lips part? Measured where it is known: on what was drawn.

    ./run python scripts/check_flow.py PORTRAIT... [--speech examples/speech.flac] [--landmarker face_landmarker.task]

Each portrait speaks with every control at its default, then ever sadder, happier, angrier, more theatrically, and with
the lip gain going to a half and to twice, in three steps each. The renderer says where it drew the inner lips. Of each
last step: how far their gap really changed against the clip of defaults (mean, temporal deviation, in the natural
deviations of the leakage matrix), what each pair of eyes says of it, and the root mean square of what it is wrong by in
single frames, in thousandths of the face height. Flow is read as the matrix reads it, from step to step ("flow"), and
from the clip of defaults to the last step at once ("at once"). "leaking" is a sadness that opens the lips, as no
control should. The last line says how these portraits, by themselves, would weigh what flow sees: by least squares, on
the condition that of lips that only part, corners at rest, 0.94 is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mien import metrics
from mien.direction import Direction
from mien.evaluation.control import FPS, HELD, head_of, voice_of
from mien.evaluation.flow import PARTING, lip_motion
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
STEPS = (1 / 3, 2 / 3, 1.0)
ONLY_PARTING, READ = np.array([1, 1, 0.5]), 0.94
"""What flow sees of lips that part by 1, the lower one falling, and how much of it is to be read."""
SWEEPS: dict[str, Callable[[float], dict]] = {
    "sad": lambda s: {"emotion": f"sad:{s:g}"},
    "happy": lambda s: {"emotion": f"happy:{s:g}"},
    "anger": lambda s: {"emotion": f"anger:{s:g}"},
    "leaking": lambda s: {"emotion": f"sad:{s:g}", "lips": 1 + 0.2 * s},
    "theatrical": lambda s: {"style": {"name": "theatrical", "strength": 2 * s}},
    "lips 0.5": lambda s: {"lips": 1 - s / 2},
    "lips 2": lambda s: {"lips": 1 + s},
}


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

    def moved(self, before: list, after: list, points: np.ndarray, points_after: np.ndarray) -> np.ndarray:
        """How flow sees the lips move between frames of two clips, ``(T, 3)`` face heights."""
        pairs = zip(before, after, points, points_after, strict=True)
        return np.array([lip_motion(*pair) for pair in pairs]) / self.height

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


def change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """``(2,)`` change of the mean gap and of its temporal deviation, in natural deviations."""
    mean = (after.mean() - before.mean()) / NATURAL["lip opening"]
    return np.array([mean, (after.std() - before.std()) / NATURAL["lip movement"]])


def weights(seen: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """``(3,)`` of the parts that flow sees, with the least squared error under the condition above."""
    free, inverse = np.linalg.lstsq(seen, drawn)[0], np.linalg.inv(seen.T @ seen)
    return free + inverse @ ONLY_PARTING * (READ - free @ ONLY_PARTING) / (ONLY_PARTING @ inverse @ ONLY_PARTING)


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
    wrong: dict[str, list[tuple[float, float, float]]] = {}
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    for path in options.portraits:
        sitter = Sitter(path, eyes, options.size)
        grey, points, usual, base = sitter.clip({}, speech, rows)
        for name, lanes in SWEEPS.items():
            flow, before, where, open_before = np.zeros(len(rows)), grey, points[guide], base
            for step in STEPS:
                after, points_after, seen, gaps = sitter.clip(lanes(step), speech, rows)
                parts = sitter.moved(before, after, where, points_after[guide])
                steps.append((parts, gaps - open_before))
                flow += parts @ PARTING
                before, where, open_before = after, points_after[guide], gaps
            at_once = sitter.moved(grey, after, points[guide], where) @ PARTING
            told = {"flow": np.maximum(base + flow, 0), "at once": np.maximum(base + at_once, 0)}
            told |= {n: base + seen[n] - usual[n] for n in eyes}
            drawn = change(base, gaps)
            line = ["drawn {:+.2f} {:+.2f}".format(*drawn)]
            for who, gap in told.items():
                said, error = change(base, gap), 1000 * float(np.sqrt(np.mean((gap - gaps) ** 2)))
                wrong.setdefault(who, []).append((*np.abs(said - drawn), error))
                line.append("{} {:+.2f} {:+.2f} ({:.1f})".format(who, *said, error))
            print(f"{path.stem:12s} {name:10s} " + "   ".join(line), flush=True)
    for who, errors in wrong.items():
        print(f"{who} is wrong by {{:.2f}} {{:.2f}} ({{:.1f}})".format(*np.mean(errors, axis=0)))
    seen, drawn = (np.concatenate(each) for each in zip(*steps, strict=True))
    print("these faces would weigh flow by", weights(seen, drawn).round(3), "instead of", PARTING)


if __name__ == "__main__":
    main()
