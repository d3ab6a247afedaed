"""Tables of emotion: what is written is read back, other files are refused."""

import numpy as np
import pytest

from mien.errors import FormatError, InputError
from mien.media.emotion_file import read_emotion, write_emotion
from mien.types import Emotion, EmotionTrack


def some_track(n: int = 20, fps: float = 30000 / 1001) -> EmotionTrack:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(8), n)
    return EmotionTrack(rng.uniform(-1, 1, (n, 2)), fps, tuple(Emotion), shares)


@pytest.mark.parametrize("n", [1, 20])
def test_round_trip(tmp_path, n):
    track = some_track(n)
    write_emotion(tmp_path / "a.emotion.csv", track, np.arange(n) != 3)
    read = read_emotion(tmp_path / "a.emotion.csv")
    np.testing.assert_allclose(read.va, track.va, atol=1e-4)
    np.testing.assert_allclose(read.probabilities, track.probabilities, atol=1e-4)
    assert read.best() == track.best() and read.labels == track.labels
    if n > 1:
        assert read.fps == pytest.approx(track.fps, abs=0.01)


def test_columns(tmp_path):
    write_emotion(tmp_path / "a.emotion.csv", some_track(2), np.array([True, False]))
    header, first, second = (tmp_path / "a.emotion.csv").read_text().splitlines()
    assert header.startswith("frame,timestamp,success,valence,arousal,label,neutral,happy,sad,surprise,fear")
    assert first.startswith("1,0.0000,1,") and second.startswith("2,0.0334,0,")


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "frame,timestamp,success,valence,arousal,label\n"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(FormatError, match="no table of emotion"):
        read_emotion(tmp_path / "a.csv")


@pytest.mark.parametrize("row", ["1,0,1,x,0,happy", "1,0,1,3,0,happy", "1,0,1"])
def test_damaged_rows_are_refused(tmp_path, row):
    (tmp_path / "a.csv").write_text(f"frame,timestamp,success,valence,arousal,label\n{row}\n")
    with pytest.raises(FormatError, match="damaged"):
        read_emotion(tmp_path / "a.csv")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_emotion(tmp_path / "a.csv")
