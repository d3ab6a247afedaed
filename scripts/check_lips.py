#!/usr/bin/env python
"""Measure the lips lane against people: does the made mouth move like the filmed one when both hear the same sound?

    ./run python scripts/check_lips.py [--data ../shared/data] [--cache FOLDER]

Filmed clips with sound (GRID, speaker 1, and others) are tracked with the Face Landmarker task, an estimator that mien
does not use. From the sound alone mien makes lip motion. Printed are, per road to the phones (text, recognised,
acoustic): the correlation of the inner-lip opening over time, its lag (minus: the made lips come first), the
distribution of the opening and of mouth shapes, and how fast the lips move. A and B are every other clip: constants
were chosen by hand with A in view. Also printed: agreement of the phone loop with forced
alignment, and closures found in German, which has no text here.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from landmarker import Landmarker

from mien.face.rig import load_rig
from mien.media.audio import read_audio
from mien.metrics import log_mel, sync_score
from mien.motion.lips import lips
from mien.perception.acoustics import acoustic_phones, prosody
from mien.perception.phones import posteriors, recognise
from mien.perception.speech import analyse
from mien.types import ARKIT_NAMES, FaceMotion, Phone, SpeechFeatures

SHAPES = ("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthSmileLeft", "mouthStretchLeft",
          "mouthLowerDownLeft", "mouthUpperUpLeft", "mouthRollLower")  # fmt: skip
RATE = 16_000
UPPER_LIP, LOWER_LIP, FOREHEAD, CHIN = 13, 14, 10, 152  # landmarks


@dataclass(frozen=True)
class Filmed:
    """A tracked clip: inner-lip opening as a share of the face's height, and the 52 coefficients by name."""

    fps: float
    found: np.ndarray
    opening: np.ndarray
    shapes: dict[str, np.ndarray]


def track(path: Path, task: Path, cache: Path) -> Filmed:
    store = cache / f"{path.parent.name}_{path.stem}.npz"
    if not store.exists():
        _track_to(path, task, store)
    with np.load(store) as file:
        points, found = file["points"], file["found"]
        height = np.linalg.norm(points[:, FOREHEAD] - points[:, CHIN], axis=1)
        opening = np.linalg.norm(points[:, UPPER_LIP] - points[:, LOWER_LIP], axis=1) / np.maximum(height, 1)
        shapes = dict(zip(file["names"].tolist(), file["shapes"].T, strict=True))
        return Filmed(float(file["fps"]), found, opening, shapes)


def _track_to(path: Path, task: Path, store: Path) -> None:
    landmarker = Landmarker(task, video=True)
    nothing = np.zeros((478, 3)), np.zeros(len(ARKIT_NAMES))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate)
        seen = [
            landmarker(frame.to_ndarray(format="rgb24"), int(1000 * i / fps))
            for i, frame in enumerate(container.decode(stream))
        ]
    points, scores = (np.float32(rows) for rows in zip(*(one or nothing for one in seen), strict=True))
    shapes = scores[:, [ARKIT_NAMES.index(name) for name in SHAPES]]
    found = [one is not None for one in seen]
    np.savez(store, points=points, shapes=shapes, found=found, fps=fps, names=list(SHAPES))


def opening_of(motion: FaceMotion) -> np.ndarray:
    """Inner-lip opening of the builtin rig as a share of the face's height."""
    rig = load_rig()
    vertices = rig.vertices(motion)
    neutral = rig.neutral()
    return (vertices[:, UPPER_LIP, 1] - vertices[:, LOWER_LIP, 1]) / np.linalg.norm(neutral[FOREHEAD] - neutral[CHIN])


def correlation_by_lag(made: np.ndarray, filmed: Filmed, reach: int) -> dict[int, float]:
    """Pearson r of made(t) with filmed(t - lag): the best lag is minus when the made lips come first."""
    n = min(len(made), len(filmed.opening))
    result = {}
    for lag in range(-reach, reach + 1):
        i = np.arange(max(0, lag), min(n, n + lag))
        use = filmed.found[i - lag]
        result[lag] = float(np.corrcoef(made[i][use], filmed.opening[i - lag][use])[0, 1])
    return result


def by_acoustics(path: Path, speech: SpeechFeatures) -> SpeechFeatures:
    samples = read_audio(path, RATE).samples
    return dataclasses.replace(speech, phones=acoustic_phones(samples, prosody(samples)), source="acoustic")


def grid_text(path: Path) -> str:
    lines = (path.parent / "align" / f"{path.stem}.align").read_text().split("\n")
    return " ".join(line.split()[2] for line in lines if line and line.split()[2] not in ("sil", "sp"))


def check_filmed(data: Path, cache: Path) -> None:
    task = data / "weights/mediapipe/face_landmarker.task"
    grid = sorted((data / "video/grid_s1").glob("*.mpg"))
    others = [data / "video" / p for p in ("latentsync/demo3_video.mp4", "edtalk/pose_source2.mp4")]
    filmed = {path: track(path, task, cache) for path in [*grid, *others]}
    heard = {path: analyse(read_audio(path, RATE), filmed[path].fps) for path in filmed}
    read = {path: analyse(read_audio(path, RATE), filmed[path].fps, grid_text(path)) for path in grid}
    guessed = {path: by_acoustics(path, heard[path]) for path in grid}

    print("correlation of the inner-lip opening, made against filmed (mean over clips)")
    rows = [("GRID, text", grid, read), ("GRID, recognised", grid, heard), ("GRID, acoustic", grid, guessed)]
    for name, paths, speech in rows + [(path.stem, [path], heard) for path in others]:
        curves = [correlation_by_lag(opening_of(lips(speech[p])), filmed[p], 6) for p in paths]
        mean = {lag: float(np.mean([c[lag] for c in curves])) for lag in curves[0]}
        best = max(mean, key=lambda lag: mean[lag])
        at_0 = [c[0] for c in curves]
        halves = f"A {np.mean(at_0[::2]):.2f}  B {np.mean(at_0[1::2]):.2f}" if len(paths) > 1 else ""
        print(f"  {name:18} r {mean[0]:.2f}   best {mean[best]:.2f} at {best:+d} frames   {halves}")

    print("sync score of metrics.sync_score (log-mel to mouth shapes by ridge regression), GRID clips joined")
    lengths = {p: min(len(heard[p]), len(filmed[p].opening)) for p in grid}
    sound = np.concatenate([log_mel(read_audio(p, RATE), filmed[p].fps, lengths[p], context=0) for p in grid])
    for name, shapes_of in (
        ("filmed", lambda p: [filmed[p].shapes[s] for s in SHAPES]),
        ("made, recognised", lambda p: [lips(heard[p]).column(s) for s in SHAPES]),
        ("made, text", lambda p: [lips(read[p]).column(s) for s in SHAPES]),
    ):
        mouth = np.concatenate([np.stack([c[: lengths[p]] for c in shapes_of(p)], 1) for p in grid])
        score = sync_score(sound, mouth, 25)
        best = f"best {score.best:.2f} at {1000 * score.lag:+.0f} ms"
        print(f"  {name:18} r {score.at_zero:.2f}   {best}   chance {score.off_peak:.2f}")

    print("mean and 95th percentile while speaking, GRID: filmed, then made from the recognised phones")
    made = {p: lips(heard[p]) for p in grid}

    def spread(curve_of):
        values = np.concatenate([curve_of(p)[: len(heard[p])][heard[p].voiced[: len(curve_of(p))] > 0] for p in grid])
        return f"{values.mean():.3f} {np.percentile(values, 95):.3f}"

    openings = {p: opening_of(made[p]) for p in grid}
    print(f"  {'opening':20} {spread(lambda p: filmed[p].opening)}   {spread(lambda p: openings[p])}")
    for name in SHAPES:
        print(f"  {name:20} {spread(lambda p: filmed[p].shapes[name])}   {spread(lambda p: made[p].column(name))}")  # noqa: B023

    def restlessness(curve, order):
        return np.diff(curve, order).std() / curve.std()

    for order, name in ((1, "speed"), (3, "jerk")):
        real = np.mean([restlessness(filmed[p].opening, order) for p in grid])
        ours = np.mean([restlessness(openings[p], order) for p in grid])
        print(f"  {name} per frame over spread: filmed {real:.2f}, made {ours:.2f}")


def check_phone_loop(data: Path) -> None:
    import json

    same = top = 0
    shut, heard, duration = [], [], 0.0
    for path in sorted((data / "speech/librivox").glob("*.wav")):
        samples = read_audio(path, RATE).samples
        words = json.loads(path.with_suffix(".phone.json").read_text())["w"]
        truth = tuple(Phone(p["t"], p["b"], p["b"] + p["d"]) for w in words for p in w["w"])
        found = recognise(samples)
        n = len(samples) // 160
        wanted, got = (posteriors(phones, n).argmax(axis=1) for phones in (truth, found))
        speaking = wanted != posteriors((), 1).argmax()
        same, top = same + (wanted == got)[speaking].sum(), top + speaking.sum()
        shut += _closures(truth, duration)
        heard += _closures(found, duration)
        duration += n / 100
    hits, wrong = _compare(shut, heard, 0.06)
    print(f"phone loop against forced alignment, LibriVox, {duration:.0f} s: {100 * same / top:.0f} % of frames agree")
    print(f"  p b m: {hits} of {len(shut)} found, {wrong} of {len(heard)} not there (within 60 ms)")


def check_german(data: Path) -> None:
    for name in ("recognised", "acoustic"):
        shut, heard, offset = [], [], 0.0
        for path in sorted((data / "speech/emodb_spk03/wav").glob("*.wav")):
            labels = sorted((data / "speech/emodb_spk03/lablaut").glob(f"{path.stem}*"))
            if not labels:
                continue
            lines = [line.split() for line in labels[0].read_text("latin1").split("#\n")[1].splitlines()]
            marks = [(float(f[0]), f[2] if len(f) > 2 else "") for f in lines if len(f) > 1]
            shut += [offset + (a + b) / 2 for (a, s), (b, _) in pairwise(marks) if s in "pbm" and s]
            samples = read_audio(path, RATE).samples
            phones = recognise(samples) if name == "recognised" else acoustic_phones(samples, prosody(samples))
            heard += _closures(phones, offset)
            offset += len(samples) / RATE + 1
        hits, wrong = _compare(shut, heard, 0.08)
        print(f"German (EmoDB), {name}: p b m {hits} of {len(shut)} found, {wrong} of {len(heard)} not there (80 ms)")


def _closures(phones: tuple[Phone, ...], offset: float) -> list[float]:
    return [offset + (p.start + p.end) / 2 for p in phones if p.symbol in ("P", "B", "M")]


def _compare(wanted: list[float], got: list[float], within: float) -> tuple[int, int]:
    """How many of ``wanted`` were got, and how many of ``got`` were not wanted."""
    distance = np.abs(np.subtract.outer(wanted, got))
    return int((distance.min(axis=1) <= within).sum()), int((distance.min(axis=0) > within).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "mien_check_lips")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"{options.data}: the folder of test clips is not here")
    options.cache.mkdir(parents=True, exist_ok=True)
    check_filmed(options.data, options.cache)
    check_phone_loop(options.data)
    check_german(options.data)


if __name__ == "__main__":
    main()
