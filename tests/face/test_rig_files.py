"""Rig files that are missing, damaged or of another kind, and motion that goes from one rig to another."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from mien.errors import AssetError
from mien.face.rig import load_rig, retarget
from mien.types import FaceMotion

BUILTIN = Path(str(files("mien.face") / "data" / "builtin.npz"))
FPS = 25.0


def rewritten(
    path: Path, drop: str = "", name: str = "other", rename: dict[str, str] | None = None, **header: object
) -> str:
    """The builtin rig written to ``path`` with changes; returns the path as text."""
    with np.load(BUILTIN) as file:
        arrays = {key: file[key] for key in file.files if key != drop}
    head = json.loads(bytes(arrays.pop("header")).decode()) | {"name": name} | header
    head["expression_names"] = [(rename or {}).get(n, n) for n in head["expression_names"]]
    np.savez(path, header=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
    return str(path)


def test_the_file_is_small_and_has_a_card() -> None:
    assert BUILTIN.stat().st_size <= 3e6
    card = BUILTIN.with_suffix(".md").read_text(encoding="utf-8")
    assert "jawOpen" in card
    assert "sha256" in card


@pytest.mark.parametrize("content", [b"", b"not a zip file", None])
def test_damaged_files_are_asset_errors(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(BUILTIN.read_bytes()[:100_000] if content is None else content)
    with pytest.raises(AssetError, match="not a mien rig, or damaged"):
        load_rig(str(path))


@pytest.mark.parametrize("drop", ["template", "lid_spread"])
def test_a_file_without_an_array_says_which(tmp_path: Path, drop: str) -> None:
    with pytest.raises(AssetError, match=drop):
        load_rig(rewritten(tmp_path / "part.npz", drop=drop))


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"format mien\.Rig 99"):
        load_rig(rewritten(tmp_path / "new.npz", version=99))


def random_motion(rig_name: str, names: tuple[str, ...]) -> FaceMotion:
    expression = np.random.default_rng(0).uniform(0, 1, (4, len(names)))
    zeros = FaceMotion.zeros(4, FPS)
    return FaceMotion(
        FPS, rig_name, names, expression, zeros.jaw_pose, np.full((4, 3), 0.1), zeros.eye_pose, np.full((4, 3), 0.2)
    )


def test_retarget_to_its_own_rig_changes_nothing() -> None:
    rig = load_rig()
    motion = random_motion("builtin", rig.expression_names)
    same, residual = retarget(motion, rig)
    assert same is motion
    assert residual == 0


def test_retarget_keeps_shared_names(tmp_path: Path) -> None:
    other = load_rig(rewritten(tmp_path / "other.npz"))
    motion = random_motion("builtin", ("mouthPucker", "jawOpen"))
    moved, residual = retarget(motion, other)
    assert moved.rig == "other"
    assert residual < 1e-6
    np.testing.assert_array_equal(moved.expression[:, other.expression_index["jawOpen"]], motion.expression[:, 1])
    np.testing.assert_array_equal(moved.head_pose, motion.head_pose)
    np.testing.assert_array_equal(moved.translation, motion.translation)


def test_retarget_finds_unshared_expressions_by_what_they_do(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "renamed.npz", rename={"jawOpen": "AU26", "mouthPucker": "AU18"})
    other = load_rig(path)
    motion = random_motion("builtin", ("mouthPucker", "jawOpen", "browInnerUp"))
    moved, residual = retarget(motion, other)
    assert residual < 1e-5
    for column, name in enumerate(("AU18", "AU26", "browInnerUp")):
        found = moved.expression[:, other.expression_index[name]]
        np.testing.assert_allclose(found, motion.expression[:, column], atol=0.02)


def test_retarget_finds_offsets_by_what_they_do_and_tells_what_it_loses(tmp_path: Path) -> None:
    other = load_rig(rewritten(tmp_path / "other.npz"))
    rig = load_rig()
    smile = 0.5 * rig.expression_basis[rig.expression_index["mouthSmileLeft"]]
    offsets = np.stack([smile, np.full((rig.n_vertices, 3), [0.003, 0, 0.004])])
    motion = replace(FaceMotion.zeros(2, FPS), offsets=offsets)
    moved, residual = retarget(motion, other)
    assert moved.offsets is None
    assert moved.column("mouthSmileLeft")[0] == pytest.approx(0.5, abs=1e-3)
    assert retarget(motion[:1], other)[1] < 1e-6
    assert 0.002 < residual < 0.005  # a face that drifts as a whole is no expression


def test_retarget_from_an_unknown_rig_is_an_asset_error() -> None:
    with pytest.raises(AssetError, match="no such rig"):
        retarget(FaceMotion.zeros(1, FPS, rig="nobody", expression_names=("a",)), load_rig())
