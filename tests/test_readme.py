"""The README runs: its Python works as printed, its verbs and links exist."""

import re
import shutil
from pathlib import Path

import pytest
import soundfile

import mien
from mien.cli import VERBS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_example_makes_a_video(tmp_path, monkeypatch, sample_portrait):
    shutil.copy(sample_portrait, tmp_path / "photo.jpg")
    samples, rate = soundfile.read(ROOT / "examples" / "speech.flac")
    soundfile.write(tmp_path / "voice.wav", samples[: rate * 2], rate)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "out.mp4").stat().st_size > 10_000


def test_verbs_in_the_table_are_those_of_the_command_line():
    assert set(
        re.findall(r"^\| `mien ((?:train|plot) \w+|prepare voca|evaluate control|\w+)", README, re.MULTILINE)
    ) == set(VERBS)


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), f"{page} points to {target}"


def test_public_names_can_be_had():
    for name in mien.__all__:
        assert getattr(mien, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        mien.nonsense  # noqa: B018
