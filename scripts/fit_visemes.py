#!/usr/bin/env python
"""Move the targets of mien/motion/visemes.py towards what filmed people do, and measure the lips on people left out.

    mien prepare voca ../shared/data/video/grid_s1/*.mpg -o DATA/grid_s1               (and so on, see docs/voca.md)
    ./run python scripts/fit_visemes.py --train DATA/grid_s1 DATA/demo1 DATA/demo3 --check DATA/other ...

Where somebody speaks, the lip vertices that `lips` makes are compared with the filmed ones, each speaker's means taken
off and the made ones scaled by one factor per speaker, so that only when and how far one phone moves the mouth against
the others counts, not how widely this person talks. Targets go by least squares (Gauss-Newton on `lips` itself),
held back by a penalty on every change; p b m f v and silence, whose shapes are rules, stay, and sounds that look alike
move together. Printed are the correlations of lip opening and width with the filmed ones, as the table is and after the
step: on every speaker of --train when learned without this speaker, and on those of --check; then the new rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.face.rig import load_rig
from mien.metrics import pearson
from mien.motion.lips import lips
from mien.motion.visemes import ARTICULATORS, CLOSING, VISEMES, Viseme
from mien.perception.speech import analyse
from mien.training.datasets.vocaset import open_vocaset
from mien.types import Array, SpeechFeatures

UPPER, LOWER, RIGHT, LEFT = 0, 1, 2, 3  # of the vertices below
VERTICES = [13, 14, 61, 291, 0, 17, 37, 267, 84, 314, 82, 312, 87, 317, 40, 270, 91, 321]
FIXED = CLOSING | {"F", "V", "SIL"}
ALIKE = ({"S", "Z"}, {"SH", "ZH", "CH", "JH"}, {"K", "G", "NG"}, {"T", "D"}, {"TH", "DH"})
INSISTS = 0.2  # dominance above which a phone has a target of its own
LARGE = 0.15  # a change of a target that costs as much as one unit of the penalty
STEP = 0.05


@dataclass(frozen=True, eq=False)
class Spoken:
    """One speaker: what is said, where somebody speaks, and the filmed lip vertices there in mm, mean taken off."""

    name: str
    speech: list[tuple[SpeechFeatures, Array]]
    filmed: Array


def speaker(folder: Path) -> Spoken:
    dataset = open_vocaset(folder)
    speech, filmed = [], []
    for clip in dataset.clips:
        heard = analyse(dataset.sound(clip), dataset.fps)
        rows = np.flatnonzero(heard.voiced[: min(len(clip.rows), len(heard))] > 0.5)
        speech.append((heard, rows))
        filmed.append(np.asarray(dataset.vertices[clip.rows])[np.ix_(rows, VERTICES)])
    joined = 1000 * np.concatenate(filmed)
    return Spoken(dataset.clips[0].subject, speech, joined - joined.mean(0))


def made(spoken: Spoken) -> Array:
    """``(T, V, 3)`` mm what `lips` makes of it with the table as it is, mean taken off."""
    basis = 1000 * load_rig().expression_basis[:, VERTICES]
    offsets = np.concatenate([np.tensordot(lips(h).expression[rows], basis, 1) for h, rows in spoken.speech])
    return np.asarray(offsets - offsets.mean(0))


def parameters() -> list[tuple[tuple[str, ...], int]]:
    """Phones that move together, and the articulator of theirs that may."""
    groups = [tuple(sorted(group)) for group in ALIKE]
    alone = set(VISEMES) - FIXED - {phone for group in groups for phone in group}
    return [
        (group, k)
        for group in [*groups, *((phone,) for phone in sorted(alone))]
        for k in range(len(ARTICULATORS))
        if VISEMES[group[0]].dominances[k] > INSISTS
    ]


def shift(changes: dict[tuple[tuple[str, ...], int], float]) -> None:
    """Change the table in place; targets stay in [0, 1]."""
    for (group, k), change in changes.items():
        for phone in group:
            old = VISEMES[phone]
            targets = list(old.targets)
            targets[k] = float(np.clip(targets[k] + change, 0, 1))
            VISEMES[phone] = Viseme(tuple(targets), old.dominances)


def step(people: Sequence[Spoken], penalty: float) -> None:
    """One Gauss-Newton step of the table towards the filmed lips."""
    free, table = parameters(), dict(VISEMES)
    now = [made(one) for one in people]
    factors = [np.clip((m * p.filmed).sum() / (m * m).sum(), 0.1, 2) for m, p in zip(now, people, strict=True)]
    sizes = [np.sqrt((p.filmed**2).sum() / np.sqrt(len(p.filmed) / 600)) for p in people]
    scales = list(zip(factors, sizes, strict=True))
    wrong = np.concatenate([(p.filmed - g * m).ravel() / s for p, m, (g, s) in zip(people, now, scales, strict=True)])
    slopes = []
    for parameter in free:
        shift({parameter: STEP})
        moved = [g * (made(p) - m).ravel() / s for p, m, (g, s) in zip(people, now, scales, strict=True)]
        slopes.append(np.concatenate(moved) / STEP)
        VISEMES.update(table)
    slope = np.stack(slopes, axis=1)
    gram = slope.T @ slope + np.eye(len(free)) * penalty / LARGE**2
    shift(dict(zip(free, np.linalg.solve(gram, slope.T @ wrong).tolist(), strict=True)))


def agreement(spoken: Spoken) -> str:
    both = made(spoken), spoken.filmed
    opening = pearson(*(m[:, UPPER, 1] - m[:, LOWER, 1] for m in both))
    width = pearson(*(m[:, LEFT, 0] - m[:, RIGHT, 0] for m in both))
    return f"{opening:.2f} {width:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="data sets of one speaker each")
    parser.add_argument("--check", type=Path, nargs="*", default=[], help="data sets only to measure on")
    parser.add_argument("--penalty", type=float, default=0.005, help="of a change of 0.15")
    options = parser.parse_args()
    people, others = ([speaker(folder) for folder in part] for part in (options.train, options.check))
    table = dict(VISEMES)
    print("correlation of opening and width: as the table is, after the step")
    for one in people:
        before = agreement(one)
        step([other for other in people if other is not one], options.penalty)
        print(f"{one.name:12} left out  {before}   {agreement(one)}", flush=True)
        VISEMES.update(table)
    before_all = [agreement(one) for one in others]
    step(people, options.penalty)
    for one, before in zip(others, before_all, strict=True):
        print(f"{one.name:12}           {before}   {agreement(one)}", flush=True)
    for phone, viseme in VISEMES.items():
        pairs = zip(ARTICULATORS, viseme.targets, table[phone].targets, viseme.dominances, strict=True)
        changed = [f"{name}=({new:.2f}, {d})" for name, new, old, d in pairs if abs(new - old) >= 0.005]
        if changed:
            print(f"{phone:3} {', '.join(changed)}")


if __name__ == "__main__":
    main()
