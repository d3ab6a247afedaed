"""TensorFlow's files are read without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tensorflow_samples import write_checkpoint, write_graph

from mien.errors import AssetError, FormatError
from mien.tensorflow_files import read_checkpoint, read_graph_constants


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    names = ("VOCA/SpeechEncoder/conv1/biases", "VOCA/SpeechEncoder/conv1/weights", "VOCA/SpeechEncoder/conv2/weights")
    shapes = ((32,), (3, 1, 37, 32), (3, 1, 32, 32))
    found = {name: rng.normal(size=shape).astype(np.float32) for name, shape in zip(names, shapes, strict=True)}
    return found | {"beta1_power": np.array(0.5, np.float32), "wide": np.ones((2, 3), np.float64)}


@pytest.mark.parametrize("ending", ["", ".index"])
def test_a_checkpoint(tmp_path: Path, ending: str) -> None:
    write_checkpoint(tmp_path / "gstep_7.model", arrays() | {"global_step": np.array(7, np.int64)})
    found = read_checkpoint(tmp_path / f"gstep_7.model{ending}")
    assert set(found) == set(arrays())  # the counter is passed over
    for name, array in arrays().items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.float32


def test_a_frozen_graph(tmp_path: Path) -> None:
    write_graph(tmp_path / "graph.pb", arrays())
    found = read_graph_constants(tmp_path / "graph.pb")
    assert set(found) == set(arrays())
    for name, array in arrays().items():
        np.testing.assert_array_equal(found[name], array)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"\.index: no such file"):
        read_checkpoint(tmp_path / "none")
    with pytest.raises(AssetError, match="no such file"):
        read_graph_constants(tmp_path / "none.pb")
    write_checkpoint(tmp_path / "cut", arrays())
    data = tmp_path / "cut.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-40])
    with pytest.raises(FormatError, match="damaged"):
        read_checkpoint(tmp_path / "cut")
    index = tmp_path / "cut.index"
    index.write_bytes(index.read_bytes()[:-9])
    with pytest.raises(FormatError, match="not a TensorFlow checkpoint"):
        read_checkpoint(tmp_path / "cut")
    graph = tmp_path / "graph.pb"
    write_graph(graph, arrays())
    graph.write_bytes(graph.read_bytes()[:-40])
    with pytest.raises(FormatError, match="damaged"):
        read_graph_constants(graph)
    graph.write_bytes(b"")
    with pytest.raises(FormatError, match="without weights"):
        read_graph_constants(graph)
    graph.write_bytes(b"\xff" * 50)
    with pytest.raises(FormatError, match="not a frozen TensorFlow graph"):
        read_graph_constants(graph)
