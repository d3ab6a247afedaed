"""``mien person``: every step once, again only for other film or another wish."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

from mood_samples import mood_person
from PIL import Image

from mien.cli import main
from mien.errors import FormatError, InputError
from mien.person import PersonOptions, person


@pytest.fixture
def prepared(tmp_path):
    """What ``mien prepare`` leaves."""
    folder = mood_person(tmp_path / "ann", n_clips=1, n_frames=200)
    Image.fromarray(np.full((80, 120, 3), 200, np.uint8)).save(folder / "report.png")
    (folder / "report.json").write_text(json.dumps({"warnings": ["8 s are little to learn from"]}))
    return folder


def learn(folder, **changes):
    return person(PersonOptions(folder, renderer="none", **changes))


def test_it_learns_once_and_again_from_other_film(prepared):
    result = learn(prepared)
    assert result.n_clips == 1 and result.seconds == 8.0 and result.face_psnr is None
    assert result.warnings[0] == "8 s are little to learn from"
    assert np.asarray(Image.open(prepared / "person.png").convert("RGB")).std() > 5
    weights = prepared / "dsm" / "dsm.safetensors"
    made = weights.stat().st_mtime_ns
    assert learn(prepared) == result
    assert weights.stat().st_mtime_ns == made

    state = json.loads((prepared / "person.json").read_text())
    state["wish"]["clips"] = ["0" * 63 + "9"]  # as if it had been learned from another clip
    state["renderer"] = {"face_psnr": 30.0}
    (prepared / "person.json").write_text(json.dumps(state))
    (prepared / "renderer").mkdir()
    assert learn(prepared) == result
    assert weights.stat().st_mtime_ns > made and not (prepared / "renderer").exists()


def test_bad_input_is_refused(prepared, tmp_path, capsys):
    with pytest.raises(InputError, match="no videos"):
        learn(tmp_path / "nobody")
    with pytest.raises(InputError, match="minutes"):
        person(PersonOptions(prepared, minutes=0))
    (prepared / "person.json").write_text("{")
    with pytest.raises(FormatError, match="damaged"):
        learn(prepared)
    assert main(["person", "-o", str(tmp_path / "nobody")]) == 2
    assert "no videos" in capsys.readouterr().err
