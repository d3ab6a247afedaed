"""Small pictures, sounds and videos made by code."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mien.media.video import write_video
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


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    soundfile.write(path, clicks(44100, 1.0), 44100)
    return path


@pytest.fixture
def clip(tmp_path: Path, wav: Path) -> Path:
    """One second of video with sound at 25 frames per second."""
    return write_video(tmp_path / "clip.mp4", (scene(i) for i in range(25)), 25, sound=wav)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user can enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="mien-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


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
