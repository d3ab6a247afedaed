#!/usr/bin/env python
"""Train the default VOCA and measure it on speech and speakers it was not trained on.

    mien prepare voca ../shared/data/video/grid_s1/*.mpg -o DATA/grid_s1               (and so on, see docs/voca.md)
    ./run python scripts/check_voca.py --train DATA/grid_s1 DATA/demo3 ... --clear SOUND... --check DATA/other ...

The style "clear" is taught by mien's own phone-driven lips on the sounds of --clear.

Measured on every clip left out, with p, b, m and silence shut as `mien speak` does it: the lip vertex error (mean over
frames of the largest error of a lip vertex, mm) of the mean face of the training data (of people alone), of the
phone-driven lips and of VOCA, all three placed on the person's closed lips and knowing nothing else of the person; the
same after every clip's own mean is taken out of all, so that how far somebody's lips are parted as a habit does not
count; the correlation of the lip opening with the filmed one, over all frames, and of opening and width where somebody
speaks; and metrics.sync_score (log-mel to opening, width and protrusion of the lips) of the filmed and the made mouths.
A speaker left out is shown in the model's default style.

The ceiling says how much of a filmed mouth the sound can tell at all: the same figures for a linear model of phones and
log-mel that has learned from four fifths of the very speaker's film and is tried on the fifth.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mien.direction import Direction
from mien.face.rig import load_rig
from mien.media.audio import read_audio, resample
from mien.metrics import closure_rate, lip_vertex_error, log_mel, pearson, sync_score
from mien.motion.lips import lips
from mien.motion.voca import Voca, load_voca, windows
from mien.motion.voca_lips import MOUTH
from mien.perception.speech import analyse
from mien.pipelines.speak import perform
from mien.training.datasets.vocaset import Clip, Vocaset, open_vocaset
from mien.training.options import TrainVocaOptions
from mien.training.prepare import Take, write_dataset
from mien.training.recipes.voca import run, split
from mien.types import Array, Audio

UPPER, LOWER, RIGHT, LEFT = 13, 14, 61, 291  # landmarks of the inner lips' middles and the corners


CLEAR = "clear"


def joined(folders: Sequence[Path], sounds: Sequence[Path], output: Path) -> Vocaset:
    """Several data sets as one, and other sounds said by the phone-driven lips."""
    sets = [open_vocaset(folder) for folder in folders]
    rig = load_rig()
    fps = sets[0].fps

    def takes() -> Iterator[Take]:
        for data in sets:
            for clip in data.clips:
                template = data.templates[clip.subject]
                filmed = np.asarray(data.vertices[clip.rows]) - template
                yield Take(clip.subject, clip.sentence, data.sound(clip), template, filmed)
        for path in sounds:
            sound = read_audio(path, 16_000)
            spoken = lips(analyse(sound, fps)).expression
            yield Take(CLEAR, path.stem, sound, rig.template, np.tensordot(spoken, rig.expression_basis, 1))

    write_dataset(output, takes(), fps)
    return open_vocaset(output)


class Heard:
    """A clip with all that is compared on it."""

    def __init__(self, dataset: Vocaset, clip: Clip) -> None:
        self.subject = clip.subject
        sound = dataset.sound(clip)
        self.speech = analyse(sound, dataset.fps)
        self.n = min(len(clip.rows), len(self.speech))
        self.filmed = np.asarray(dataset.vertices[clip.rows[: self.n]]) - dataset.templates[clip.subject]
        clean = Audio(resample(sound, 16_000).samples, 16_000)
        self.sound = log_mel(clean, dataset.fps, self.n, context=0)
        self.phones = self.shown("{source: speech}")
        self.spoken = self.speech.voiced[: self.n] > 0.5

    def voca(self, model: Voca, style: str) -> Array:
        return self.shown(f"{{source: voca, speaker: '{style}'}}", model)

    def shown(self, lane: str, model: Voca | None = None) -> Array:
        """Offsets of the mouth alone, as every lane together leaves it."""
        motion = perform(Direction.parse(f"lips: {lane}\nblink: 0"), self.speech, voca=model)
        rig = load_rig()
        at = [rig.expression_index[name] for name in MOUTH]
        columns = [motion.expression_names.index(name) for name in MOUTH]
        return np.tensordot(motion.expression[: self.n, columns], rig.expression_basis[at], 1)


def mouth(offsets: Array) -> Array:
    """``(T, 4)`` opening, width, protrusion of both lips, metres."""
    columns = [offsets[:, UPPER, 1] - offsets[:, LOWER, 1], offsets[:, LEFT, 0] - offsets[:, RIGHT, 0]]
    return 1000 * np.stack([*columns, offsets[:, UPPER, 2], offsets[:, LOWER, 2]], axis=1)


def report(title: str, clips: Sequence[Heard], mean: Array, made: Sequence[Array], fps: float) -> dict[str, float]:
    """Print and return the figures of one row."""
    rig = load_rig()
    vertices = np.unique(np.r_[rig.contours["lips_outer"], rig.contours["lips_inner"]])
    n = [clip.n for clip in clips]
    motions = {
        "mean": [np.broadcast_to(mean, c.filmed.shape) for c in clips],
        "lips": [c.phones for c in clips],
        "voca": list(made),
    }
    figures = {}

    def averaged(name: str, values: Sequence[float]) -> None:
        figures[name] = float(np.average(values, weights=n))

    for name, motion in motions.items():
        pairs = [(c.filmed, np.asarray(p)) for c, p in zip(clips, motion, strict=True)]
        averaged(name, [lip_vertex_error(f, p, vertices) for f, p in pairs])
        averaged(f"moving {name}", [lip_vertex_error(f - f.mean(0), p - p.mean(0), vertices) for f, p in pairs])
        if name != "mean":
            averaged(f"r {name}", [pearson(mouth(f)[:, 0], mouth(p)[:, 0]) for f, p in pairs])
            for k, what in enumerate(("opening", "width")):
                film, other = (np.concatenate([mouth(m)[c.spoken, k] for c, m in zip(clips, part, strict=True)])
                               for part in ([f for f, _ in pairs], [p for _, p in pairs]))  # fmt: skip
                figures[f"{what} {name}"] = pearson(film, other)
            closed = [
                closure_rate(mouth(p)[:, 0], fps, c.speech.phones) for c, (_, p) in zip(clips, pairs, strict=True)
            ]
            figures[f"closed {name}"] = float(np.nanmean(closed))
    sound = np.concatenate([c.sound for c in clips])
    figures["sync filmed"] = sync_score(sound, np.concatenate([mouth(c.filmed) for c in clips]), fps).best
    for name in ("lips", "voca"):
        figures[f"sync {name}"] = sync_score(sound, np.concatenate([mouth(p) for p in motions[name]]), fps).at_zero
    print(f"{title:34} {sum(n) / fps:5.0f} s  " + "  ".join(f"{v:5.2f}" for v in figures.values()), flush=True)
    return figures


def ceiling(clips: Sequence[Heard], ridge: float = 300, folds: int = 5) -> tuple[float, float]:
    """By how much a linear model of the same speaker lowers the moving error, and its correlation of the opening."""
    rig = load_rig()
    lips = np.unique(np.r_[rig.contours["lips_outer"], rig.contours["lips_inner"], UPPER, LOWER])
    phones, sound = (
        np.concatenate([windows(rows).reshape(len(rows), -1) for rows in part])
        for part in ([c.speech.values[: c.n] for c in clips], [c.sound - c.sound.mean(0) for c in clips])
    )
    x = np.hstack([phones - phones.mean(0), sound / (3 * sound.std())])
    y = np.concatenate([c.filmed[:, lips] - c.filmed[:, lips].mean(0) for c in clips])
    flat, made = y.reshape(len(y), -1), np.empty((len(y), 3 * len(lips)))
    for block in np.array_split(np.arange(len(y)), folds):
        rest = np.setdiff1d(np.arange(len(y)), np.arange(block[0] - 15, block[-1] + 16))
        gram = x[rest].T @ x[rest] + ridge * np.eye(x.shape[1])
        made[block] = x[block] @ np.linalg.solve(gram, x[rest].T @ (flat[rest] - flat[rest].mean(0)))
    other = made.reshape(y.shape)
    every = np.arange(len(lips))
    error = lip_vertex_error(y, other, every) / lip_vertex_error(y, np.zeros_like(y), every)
    upper, lower = np.searchsorted(lips, (UPPER, LOWER))
    return 1 - error, pearson(*(m[:, upper, 1] - m[:, lower, 1] for m in (y, other)))


def mean_offset(dataset: Vocaset, clips: Sequence[Clip]) -> Array:
    """The mean of the speakers' means."""
    subjects = sorted({c.subject for c in clips} - {CLEAR})
    means = []
    for subject in subjects:
        rows = np.concatenate([c.rows for c in clips if c.subject == subject])
        means.append(np.asarray(dataset.vertices[rows]).mean(0) - dataset.templates[subject])
    return np.asarray(np.mean(means, axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="data sets to train on")
    parser.add_argument("--clear", type=Path, nargs="*", default=[], help="sounds for the style 'clear'")
    parser.add_argument("--check", type=Path, nargs="*", default=[], help="data sets only to measure on")
    parser.add_argument("--runs", type=Path, help="where the runs go; the default's weights are in all/")
    parser.add_argument("--epochs", type=int, default=TrainVocaOptions.epochs)
    parser.add_argument("--learning-rate", type=float, default=TrainVocaOptions.learning_rate)
    parser.add_argument("--decay", type=float, default=TrainVocaOptions.decay)
    parser.add_argument("--velocity-weight", type=float, default=TrainVocaOptions.velocity_weight)
    parser.add_argument("--lip-weight", type=float, default=TrainVocaOptions.lip_weight)
    parser.add_argument("--style", default="all", help="style of the models for speakers they do not know")
    options = parser.parse_args()
    runs = options.runs or Path(tempfile.mkdtemp(prefix="voca_"))
    there = (runs / "data").exists()
    dataset = open_vocaset(runs / "data") if there else joined(options.train, options.clear, runs / "data")
    speakers = sorted({clip.subject for clip in dataset.clips} - {CLEAR})

    def trained(name: str, leave_out: tuple[str, ...] = ()) -> Voca:
        result = run(
            TrainVocaOptions(
                dataset.folder, runs / name, leave_out=leave_out, epochs=options.epochs,
                learning_rate=options.learning_rate, decay=options.decay, checkpoint_every=options.epochs,
                velocity_weight=options.velocity_weight, lip_weight=options.lip_weight,
            )
        )  # fmt: skip
        return load_voca(result.output)

    columns = "mean: error, moving; lips: error, moving, r, r of opening and width in speech, closed; voca: the same"
    print(f"{'':44}{columns}; sync: filmed, lips, voca")
    model = trained("all")
    train, validation = split(dataset)
    mean = mean_offset(dataset, train)
    rows, ceilings = [], []
    for speaker in speakers:
        clips = [Heard(dataset, c) for c in validation if c.subject == speaker]
        if sum(c.n for c in clips) >= 4 * dataset.fps:
            made = [c.voca(model, speaker) for c in clips]
            report(f"sentences of {speaker}", clips, mean, made, dataset.fps)
    for folder in options.check:
        other = open_vocaset(folder)
        clips = [Heard(other, c) for c in other.clips]
        made = [c.voca(model, options.style) for c in clips]
        rows.append(report(f"{clips[0].subject}, unknown", clips, mean, made, dataset.fps))
        ceilings.append(ceiling(clips))
    for speaker in speakers:
        model = trained(f"without_{speaker}", (speaker,))
        clips = [Heard(dataset, c) for c in dataset.clips if c.subject == speaker]
        made = [c.voca(model, options.style) for c in clips]
        train, _ = split(dataset, (speaker,))
        rows.append(report(f"{speaker}, left out", clips, mean_offset(dataset, train), made, dataset.fps))
        ceilings.append(ceiling(clips))
    everyone = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    print(f"{'mean over speakers':44}  " + "  ".join(f"{v:5.2f}" for v in everyone.values()))
    for name in ("", "moving "):
        error = everyone[f"{name}voca"]
        below = [100 * (1 - error / everyone[f"{name}{other}"]) for other in ("mean", "lips")]
        print(
            f"{name}error of VOCA: {below[0]:.0f} % below the mean face, {below[1]:.0f} % below the phone-driven lips"
        )
    below, r = np.mean(ceilings, axis=0)
    each = ", ".join(f"{100 * one:.0f}" for one, _ in ceilings)
    print(f"ceiling, learned from the same speaker: moving error {100 * below:.0f} % below ({each}), r {r:.2f}")
    print(f"sync of VOCA: {100 * everyone['sync voca'] / everyone['sync filmed']:.0f} % of the filmed")
    last = json.loads((runs / "all" / "log.jsonl").read_text().splitlines()[-1])
    print(f"default: {options.epochs} epochs, train {last['train']}, validation {last['validation']}")


if __name__ == "__main__":
    main()
