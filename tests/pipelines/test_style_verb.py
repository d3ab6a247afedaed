"""``mien style``: what it finds, what it writes, and who takes it."""

import json
from pathlib import Path

import numpy as np
import pytest

from mien.direction import HABITS, Direction
from mien.errors import FormatError, InputError, OutputError
from mien.media.style_file import StyleFile, read_style, write_style
from mien.pipelines.speak import with_style
from mien.pipelines.style import StyleOptions, style
from mien.types import FaceMotion


@pytest.fixture
def lively(tmp_path: Path) -> Path:
    """Three seconds of a smiling face with restless brows."""
    time = np.arange(75) / 25
    motion = FaceMotion.zeros(75, 25.0).with_columns(
        {name: 0.2 + 0.2 * np.sin(9 * time) for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")}
        | {"mouthSmileLeft": 0.4, "mouthSmileRight": 0.4}
    )
    path = tmp_path / "lively.npz"
    motion.save(path)
    return path


def test_a_style_is_found_saved_and_spoken_in(lively: Path, tmp_path: Path) -> None:
    result = style(StyleOptions(lively, tmp_path / "lively.json"))
    assert tuple(result.habits) == HABITS
    assert result.habits["brows"] > 2 and result.habits["smile"] == 1 and result.habits["head"] < 0.5
    saved = read_style(tmp_path / "lively.json")
    assert saved.source == "lively.npz" and saved.habits == pytest.approx(dict(result.habits), abs=1e-3)
    assert saved.ned is not None and saved.ned.shape == (82,)
    assert result.ned["mouthSmileLeft"] == (0.4, 0) and "mouthSmileLeft      0.40 ± 0.00" in str(result)
    spoken = with_style(Direction.parse("happy"), str(tmp_path / "lively.json"))
    assert dict(spoken.style.vector)["brows"] == saved.habits["brows"] and spoken.emotion[0].label == "happy"


def test_a_name_or_a_clip_is_a_style_too(lively: Path) -> None:
    assert with_style(Direction(), "warm:0.5").style.strength == 0.5
    assert with_style(Direction(), str(lively)).style.reference == str(lively)
    assert with_style(Direction.parse("sad"), None) == Direction.parse("sad")


def test_what_cannot_be_used_is_refused(lively: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.json"):
        style(StyleOptions(lively, tmp_path / "style.txt"))
    FaceMotion.zeros(10, 25.0).save(tmp_path / "short.npz")
    with pytest.raises(InputError, match="at least 2 s"):
        style(StyleOptions(tmp_path / "short.npz"))
    (tmp_path / "other.json").write_text(json.dumps({"style": "warm"}))
    with pytest.raises(FormatError, match="not a style file"):
        with_style(Direction(), str(tmp_path / "other.json"))
    with pytest.raises(InputError, match="did you mean 'lively'"):
        with_style(Direction(), "livly")


def test_a_file_without_ned_is_read(tmp_path: Path) -> None:
    write_style(tmp_path / "a.json", StyleFile("clip.mp4", {"lips": 1.2}))
    assert read_style(tmp_path / "a.json").ned is None
