"""Make the data that NED's default is trained on: invented people who say real sentences in seven emotions.

    python scripts/make_ned_data.py --clips CLIP... --speech SOUND... -o DATA
    mien train ned --method reversible -i DATA -o RUN

What is said comes from tracked clips (their mouths, blinks and small movements, without the mood) and from recordings
that mien speaks. A person is a set of looks and a way of feeling: each emotion is a FACS prototype whose action units
are stronger or weaker, with some of another's, and swells and ebbs.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mien.direction import Direction
from mien.face.actions import expression_from_units
from mien.face.rhythm import wander
from mien.media.audio import read_audio
from mien.motion.emotion import PROTOTYPES, REPLACED
from mien.motion.ned import NedConfig
from mien.perception.speech import analyse
from mien.perception.tracking import track_video
from mien.pipelines.speak import perform
from mien.types import ARKIT_NAMES, Array, FaceMotion

FPS, LENGTH = 25.0, 80
LOOKS = [i for i, n in enumerate(ARKIT_NAMES) if n.startswith(("brow", "cheekSquint", "eyeSquint", "mouthSmile",
         "mouthFrown", "mouthPress", "mouthShrug", "mouthRoll", "mouthStretch"))]  # fmt: skip
MOOD = [i for i, n in enumerate(ARKIT_NAMES) if n.startswith(REPLACED)]


def sentences(clips: list[Path], speech: list[Path]) -> list[FaceMotion]:
    """Pieces of ``LENGTH`` frames in which somebody talks without a mood."""
    pieces = []
    for path in clips:
        motion = track_video(path).motion.resample(FPS)
        expression = np.array(motion.expression)
        expression[:, MOOD] -= gaussian_filter1d(expression[:, MOOD], 0.5 * FPS, axis=0, mode="nearest")
        pieces.append(replace(motion, expression=np.clip(expression, 0, 1)))
    for path in speech:
        pieces.append(perform(Direction.parse("neutral"), analyse(read_audio(path, 16000), FPS)))
    cut = [m[s : s + LENGTH] for m in pieces for s in range(0, max(len(m) - LENGTH + 1, 0), LENGTH)]
    cut += [long_enough(m) for m in pieces if LENGTH * 0.8 <= len(m) < LENGTH]
    return cut


def long_enough(motion: FaceMotion) -> FaceMotion:
    """A piece a little too short, played backwards at its end."""
    return motion.concat(motion[::-1])[:LENGTH]


def way_of_feeling(label: str, rng: np.random.Generator) -> Array:
    """``(52,)`` how somebody shows an emotion."""
    units = {unit: value * rng.uniform(0.7, 1.2) for unit, value in PROTOTYPES[label].items()}
    for other in rng.choice(list(PROTOTYPES), 2):
        for unit, value in PROTOTYPES[other].items():
            if rng.random() < (0.15 if label != "neutral" else 0.05):
                units[unit] = max(units.get(unit, 0.0), value * rng.uniform(0, 0.5))
    sided = {}
    for unit, value in units.items():
        for side in unit[-1] if unit[-1] in "LR" else "LR":
            sided[unit.rstrip("LR") + side] = np.full(1, min(value * rng.uniform(0.9, 1), 1), np.float32)
    return expression_from_units(sided, 1)[0]


def worn(said: FaceMotion, looks: Array, feeling: Array, rng: np.random.Generator) -> FaceMotion:
    """A sentence in an emotion that swells and ebbs."""
    own = np.clip(said.expression + looks, 0, 1)
    swell = 1 - 0.5 * wander(len(said), FPS, 1, 3.0, rng)
    return replace(said, expression=own + np.clip(feeling * swell, 0, 1) * (1 - own))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--speech", type=Path, nargs="*", default=[])
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--sentences", type=int, default=3, help="of each person in each emotion")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    pieces = sentences(options.clips, options.speech)
    print(f"{len(pieces)} sentences")
    for person in range(options.people):
        looks = np.zeros(len(ARKIT_NAMES), np.float32)
        looks[LOOKS] = np.where(rng.random(len(LOOKS)) < 0.4, rng.gamma(1.0, 0.1, len(LOOKS)), 0)
        chosen = rng.choice(len(pieces), options.sentences, replace=False)
        for emotion in NedConfig().emotions:
            feeling = way_of_feeling(emotion.value, rng)
            folder = options.output / f"person_{person:03d}" / emotion.value
            folder.mkdir(parents=True, exist_ok=True)
            for number in chosen:
                worn(pieces[number], looks, feeling, rng).save(folder / f"sentence_{number:03d}.npz")


if __name__ == "__main__":
    main()
