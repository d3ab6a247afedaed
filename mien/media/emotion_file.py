"""Emotion over time as a table: one row per frame, columns by name.

``frame`` counts from 1, ``timestamp`` is in seconds, ``success`` is 0 where the face was not seen and the row is a
guess, ``valence`` and ``arousal`` are in [-1, 1], ``label`` is the likeliest; then one column per label with its
probability.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import FormatError, InputError
from mien.types import Emotion, EmotionTrack

ENDING = ".emotion.csv"
"""What the name of such a file ends in."""

_FIXED = ("frame", "timestamp", "success", "valence", "arousal", "label")


def is_emotion(path: str | Path) -> bool:
    """Whether a name asks for this format."""
    return Path(path).name.lower().endswith(ENDING)


def write_emotion(path: str | Path, track: EmotionTrack, found: npt.NDArray[np.bool_]) -> None:
    """Write a track; ``found`` ``(T,)`` says where the face was seen."""
    probabilities = np.zeros((len(track), 0)) if track.probabilities is None else track.probabilities
    best = track.best() or ("",) * len(track)
    with Path(path).open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_FIXED, *track.labels])
        for i, (seen, va, label) in enumerate(zip(found, track.va, best, strict=True)):
            row = [i + 1, f"{i / track.fps:.4f}", int(seen), *(f"{value + 0.0:.4f}" for value in va), label]
            writer.writerow([*row, *(f"{share:.4f}" for share in probabilities[i])])


def read_emotion(path: str | Path) -> EmotionTrack:
    """Read what :func:`write_emotion` wrote.

    Raises:
        InputError: if the file cannot be read.
        FormatError: if it is something else or damaged.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path}: is not a text file with comma-separated values ({error})") from error
    if not rows or any(name not in rows[0] for name in _FIXED):
        raise FormatError(f"{path}: is no table of emotion", "write one with mien track -o NAME.emotion.csv")
    try:
        labels = tuple(Emotion(name) for name in rows[0] if name not in _FIXED)
        times = [float(row["timestamp"]) for row in rows]
        fps = round((len(rows) - 1) / (times[-1] - times[0]), 3) if len(rows) > 1 else 25.0
        shares = [[float(row[name]) for name in labels] for row in rows]
        va = [[float(row["valence"]), float(row["arousal"])] for row in rows]
        return EmotionTrack(np.array(va), fps, labels, np.array(shares) if labels else None)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise FormatError(f"{path}: is damaged ({error})", "write it again with mien track") from error
