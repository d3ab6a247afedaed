"""Files of weights: what is written comes back, and everything else is one clear line."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from mien.errors import FormatError, InputError, OutputError
from mien.media.weights import load_header, load_state, load_tensors, part_of, save_weights, stored_weights

HEADER = {"version": 2, "names": ["a", "b"]}


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    save_weights(path, {"net.weight": torch.eye(3).T[:, :2], "bias": torch.ones(3)}, "mien.test", HEADER)
    return path


def read(path: Path, kind: str = "mien.test", version: int = 2):
    with stored_weights(path, kind, version, what="a test of mien", remedy="make one") as content:
        return content


def test_what_is_written_comes_back(stored: Path) -> None:
    header, tensors = read(stored)
    assert header == HEADER == load_header(stored, "mien.test")
    assert torch.equal(part_of(tensors, "net.")["weight"], torch.eye(3)[:, :2])
    assert load_tensors(stored).keys() == tensors.keys() == {"net.weight", "bias"}


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such modes")
def test_weights_can_be_read_by_whom_any_new_file_can(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    assert stored.stat().st_mode == (tmp_path / "any").stat().st_mode


def test_the_same_content_gives_the_same_bytes(stored: Path, tmp_path: Path) -> None:
    _, tensors = read(stored)
    save_weights(tmp_path / "b.safetensors", tensors, "mien.test", HEADER)
    assert (tmp_path / "b.safetensors").read_bytes() == stored.read_bytes()


def test_missing_files_say_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.safetensors: no such file; make one"):
        read(tmp_path / "none.safetensors")


def test_other_and_newer_files_are_refused(stored: Path) -> None:
    with pytest.raises(FormatError, match="not a test of mien"):
        read(stored, kind="mien.other")
    with pytest.raises(FormatError, match="version 2, this mien reads up to 1"):
        read(stored, version=1)
    assert load_header(stored, "mien.other") == {}


@pytest.mark.parametrize("kept", [0, 5, 100, -4])
def test_damaged_files_are_refused(stored: Path, kept: int) -> None:
    stored.write_bytes(stored.read_bytes()[:kept])
    with pytest.raises(FormatError, match="not a test of mien, or damaged"):
        read(stored)
    with pytest.raises(FormatError, match="damaged"):
        load_header(stored, "mien.test")


def test_what_the_model_cannot_be_built_from_is_refused(stored: Path) -> None:
    with (
        pytest.raises(FormatError, match="not a test of mien, or damaged"),
        stored_weights(stored, "mien.test", 2, what="a test of mien", remedy="make one") as (_, tensors),
    ):
        torch.nn.Linear(4, 4).load_state_dict(tensors)


def test_foreign_checkpoints_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "trap.pth"
    path.write_bytes(pickle.dumps({"weight": Trap()}))
    with pytest.raises(FormatError, match="not a checkpoint of plain tensors"):
        load_tensors(path)
    assert not (tmp_path / "sprung").exists()


def test_a_network_is_filled_strictly(stored: Path) -> None:
    with pytest.raises(FormatError, match=r"is no test checkpoint, it lacks weight; it has the unknown net.weight"):
        load_state(torch.nn.Linear(3, 3), load_tensors(stored), stored, what="test")


def test_a_place_that_cannot_be_written(stored: Path) -> None:
    with pytest.raises(OutputError, match="is a file, not a folder"):
        save_weights(stored / "in" / "b.safetensors", {}, "mien.test", HEADER)
