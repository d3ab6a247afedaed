#!/usr/bin/env python
"""Train the default VOCA and measure it on speech and speakers it was not trained on.

    mien prepare ../shared/data/video/grid_s1/*.mpg -o DATA/grid_s1                    (and so on, see docs/voca.md)
    ./run python scripts/check_voca.py --train DATA/grid_s1 DATA/demo3 ... --check DATA/other ... --runs FOLDER

Measured on every clip left out: the lip vertex error (mean over frames of the largest error of a lip vertex, mm) of a
mouth at rest, of the mean face of the training data, of the phone-driven lips and of VOCA; the correlation of the lip
opening with the filmed one; and metrics.sync_score (log-mel to opening, width and protrusion of the lips) of the filmed
and the made mouths. A speaker left out is shown with the mean of all styles.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from check_lips import log_mel

from mien.face.rig import load_rig
from mien.media.audio import resample
from mien.metrics import lip_vertex_error, pearson, sync_score
from mien.motion.lips import lips
from mien.motion.voca import Voca, load_voca
from mien.perception.speech import analyse
from mien.training.datasets.vocaset import Clip, Vocaset, open_vocaset
from mien.training.prepare import Take, write_dataset
from mien.training.recipes.voca import run, split
from mien.training.train import TrainVocaOptions
from mien.types import Array, Audio

UPPER, LOWER, RIGHT, LEFT = 13, 14, 61, 291  # landmarks of the inner lips' middles and the corners


def joined(folders: Sequence[Path], output: Path) -> Vocaset:
    """Several data sets as one."""
    sets = [open_vocaset(folder) for folder in folders]
    takes = (
        Take(
            c.subject,
            c.sentence,
            s.sound(c),
            s.templates[c.subject],
            np.asarray(s.vertices[c.rows]) - s.templates[c.subject],
        )
        for s in sets
        for c in s.clips
    )
    write_dataset(output, takes, sets[0].fps)
    return open_vocaset(output)


class Heard:
    """A clip with all that is compared on it."""

    def __init__(self, dataset: Vocaset, clip: Clip) -> None:
        rig = load_rig()
        self.subject = clip.subject
        sound = dataset.sound(clip)
        self.speech = analyse(sound, dataset.fps)
        self.n = min(len(clip.rows), len(self.speech))
        self.filmed = np.asarray(dataset.vertices[clip.rows[: self.n]]) - dataset.templates[clip.subject]
        self.phones = np.tensordot(lips(self.speech).expression[: self.n], rig.expression_basis, 1)
        clean = Audio(resample(sound, 16_000).samples, 16_000)
        self.sound = log_mel(clean, self.n, dataset.fps)

    def voca(self, model: Voca, style: str | dict[str, float]) -> Array:
        return np.concatenate(list(model.blocks(self.speech.values[: self.n], style)))


def mouth(offsets: Array) -> Array:
    """``(T, 4)`` opening, width, protrusion of both lips, metres."""
    columns = [offsets[:, UPPER, 1] - offsets[:, LOWER, 1], offsets[:, LEFT, 0] - offsets[:, RIGHT, 0]]
    return 1000 * np.stack([*columns, offsets[:, UPPER, 2], offsets[:, LOWER, 2]], axis=1)


def report(title: str, clips: Sequence[Heard], mean: Array, made: Sequence[Array], fps: float) -> None:
    rig = load_rig()
    vertices = np.unique(np.r_[rig.contours["lips_outer"], rig.contours["lips_inner"]])
    n = [clip.n for clip in clips]
    rows = {
        "rest": [np.zeros_like(c.filmed) for c in clips],
        "mean": [np.broadcast_to(mean, c.filmed.shape) for c in clips],
        "lips": [c.phones for c in clips],
        "voca": list(made),
    }
    errors = {
        name: np.average(
            [lip_vertex_error(c.filmed, p, vertices) for c, p in zip(clips, motion, strict=True)], weights=n
        )
        for name, motion in rows.items()
    }
    opening = {
        name: np.average(
            [pearson(mouth(c.filmed)[:, 0], mouth(p)[:, 0]) for c, p in zip(clips, rows[name], strict=True)], weights=n
        )
        for name in ("lips", "voca")
    }
    sound = np.concatenate([c.sound for c in clips])
    print(f"{title:34} {sum(n) / fps:5.0f} s  " + "  ".join(f"{errors[k]:5.2f}" for k in rows), end="")
    print(f"   {opening['lips']:5.2f} {opening['voca']:5.2f}", end="")
    if len(sound) >= 8 * fps:
        filmed = sync_score(sound, np.concatenate([mouth(c.filmed) for c in clips]), fps)
        ours = [sync_score(sound, np.concatenate([mouth(p) for p in rows[k]]), fps).at_zero for k in ("lips", "voca")]
        print(f"   {filmed.best:5.2f} {ours[0]:5.2f} {ours[1]:5.2f}", end="")
    print(flush=True)


def mean_offset(dataset: Vocaset, clips: Sequence[Clip]) -> Array:
    rows = [np.asarray(dataset.vertices[c.rows]) - dataset.templates[c.subject] for c in clips]
    return np.concatenate(rows).mean(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="data sets to train on")
    parser.add_argument("--check", type=Path, nargs="*", default=[], help="data sets only to measure on")
    parser.add_argument("--runs", type=Path, help="where the runs go; the default's weights are in all/")
    parser.add_argument("--epochs", type=int, default=TrainVocaOptions.epochs)
    parser.add_argument("--learning-rate", type=float, default=TrainVocaOptions.learning_rate)
    parser.add_argument("--decay", type=float, default=TrainVocaOptions.decay)
    options = parser.parse_args()
    runs = options.runs or Path(tempfile.mkdtemp(prefix="voca_"))

    dataset = joined(options.train, runs / "data") if not (runs / "data").exists() else open_vocaset(runs / "data")
    speakers = sorted({clip.subject for clip in dataset.clips})

    def trained(name: str, leave_out: tuple[str, ...] = ()) -> Voca:
        result = run(
            TrainVocaOptions(
                dataset.folder, runs / name, leave_out=leave_out, epochs=options.epochs,
                learning_rate=options.learning_rate, decay=options.decay, checkpoint_every=options.epochs,
            )
        )  # fmt: skip
        return load_voca(result.output)

    print(f"{'left out':34} {'':7}  {'lip vertex error, mm':26}   {'r of opening':11}   sync score")
    print(f"{'':34} {'':7}   rest   mean   lips   voca    lips  voca   filmed lips voca")
    model = trained("all")
    train, validation = split(dataset)
    mean = mean_offset(dataset, train)
    for speaker in speakers:
        clips = [Heard(dataset, c) for c in validation if c.subject == speaker]
        if clips:
            made = [c.voca(model, speaker) for c in clips]
            report(f"sentences of {speaker}", clips, mean, made, dataset.fps)
    for folder in options.check:
        other = open_vocaset(folder)
        clips = [Heard(other, c) for c in other.clips]
        name = clips[0].subject
        for style in speakers:
            report(f"{name}, style {style}", clips, mean, [c.voca(model, style) for c in clips], dataset.fps)
        made = [c.voca(model, dict.fromkeys(speakers, 1.0)) for c in clips]
        report(f"{name}, all styles", clips, mean, made, dataset.fps)
    for speaker in speakers:
        model = trained(f"without_{speaker}", (speaker,))
        train, validation = split(dataset, (speaker,))
        clips = [Heard(dataset, c) for c in validation]
        made = [c.voca(model, dict.fromkeys(model.config.speakers, 1.0)) for c in clips]
        report(f"speaker {speaker}", clips, mean_offset(dataset, train), made, dataset.fps)
    last = json.loads((runs / "all" / "log.jsonl").read_text().splitlines()[-1])
    print(f"default: {options.epochs} epochs, train {last['train']}, validation {last['validation']}")


if __name__ == "__main__":
    main()
