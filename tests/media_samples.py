"""Small pictures and sounds made by code, and the rights of an ordinary user."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from mien.types import Frame


def scene(index: int = 0, height: int = 96, width: int = 128) -> Frame:
    """A smooth coloured picture with a bright square whose place tells the frame's number."""
    y, x = np.mgrid[:height, :width]
    picture = np.stack([80 + 60 * x / width, 90 + 50 * y / height, 120 - 40 * x / width], axis=2)
    left = 8 * (index % ((width - 16) // 8))
    picture[8:24, left : left + 16] = 235
    return picture.astype(np.uint8)


def place_of_square(frame: Frame) -> int:
    """The number that :func:`scene` was given, modulo its number of places."""
    bright = frame[10:22].mean(axis=(0, 2)) > 190
    return round((float(np.flatnonzero(bright).mean()) - 7.5) / 8)


def clicks(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    """Noise bursts at irregular times: one lag only fits."""
    rng = np.random.default_rng(1)
    n = round(rate * seconds)
    envelope = np.zeros(n)
    for start in rng.integers(0, max(1, n - rate // 20), 12):
        envelope[start : start + rate // 20] = 0.5
    return (rng.normal(0, 0.3, (n, channels)) * envelope[:, None]).clip(-1, 1)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Without root's right to ignore permissions, if the tests run as root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def hear_ctrl_c() -> None:
    """For ``preexec_fn``: a shell starts background jobs deaf to Ctrl-C, and children would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
