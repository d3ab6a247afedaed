"""The README runs: its Python works as printed, its verbs and links exist."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import mien
from mien.cli import VERBS
from mien.face.rig import load_rig
from mien.types import FaceIdentity, FaceMotion

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]


def test_python_example_makes_a_video(tmp_path, monkeypatch, sample_portrait):
    shutil.copy(sample_portrait, tmp_path / "photo.jpg")
    samples, rate = soundfile.read(ROOT / "examples" / "speech.flac")
    soundfile.write(tmp_path / "voice.wav", samples[: rate * 2], rate)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "out.mp4").stat().st_size > 10_000


def snippets(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_python_on_the_pages_imports_what_there_is():
    for page in PAGES:
        for code in snippets(page):
            imports = re.findall(r"^from mien\S* import .*$", code, re.MULTILINE)
            assert imports or "import" not in code, f"{page}: {code}"
            exec("\n".join(imports), {})


def test_python_on_the_pages_works_where_no_weights_are_needed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rig, motion = load_rig(), FaceMotion.zeros(3, 25)
    motion.save("take1.npz")
    betas, residual = np.zeros(len(rig.identity_basis), np.float32), np.zeros_like(rig.template)
    names = {"rig": rig, "motion": motion, "identity": FaceIdentity(rig.name, betas, residual)}
    names["cameras"] = np.tile(np.array([1500, 128, 128], np.float32), (3, 1))
    for page in ("cli", "direction", "conditioning"):
        (code,) = snippets(f"docs/{page}.md")
        exec(compile(code, page, "exec"), names)
    assert Path("take1.csv").exists() and Path("scene.yaml").exists() and "condition" in names


def test_verbs_in_the_table_are_those_of_the_command_line():
    assert set(
        re.findall(r"^\| `mien ((?:train|plot) \w+|prepare voca|evaluate control|\w+)", README, re.MULTILINE)
    ) == set(VERBS)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), f"{page} points to {target}"


def test_public_names_can_be_had():
    for name in mien.__all__:
        assert getattr(mien, name).__name__ == name and name in dir(mien)
    assert re.fullmatch(r"\d+\.\d+\.\d+", mien.__version__)
    with pytest.raises(AttributeError, match="nonsense"):
        mien.nonsense  # noqa: B018
