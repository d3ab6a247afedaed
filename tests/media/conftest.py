"""Files for the tests of this folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from media_samples import clicks, scene

from mien.media.video import write_video


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
