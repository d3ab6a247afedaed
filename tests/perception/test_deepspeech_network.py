"""DeepSpeech 0.1 from a frozen graph, against the equations of its LSTM written out step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tensorflow_samples import CELLS, deepspeech_graph, write_graph

torch = pytest.importorskip("torch")

from mien.errors import FormatError, InputError  # noqa: E402
from mien.perception.deepspeech import KIND  # noqa: E402
from mien.perception.deepspeech_network import load_deepspeech  # noqa: E402
from mien.perception.speech_adapters import Listener  # noqa: E402
from mien.types import Audio  # noqa: E402


def by_hand(weights: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """TensorFlow's BasicLSTMCell: gates in the order input, cell, forget, output; 1 is added to the forget gate."""

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"h{name}"] + weights[f"b{name}"]

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    x = rows
    for name in "123":
        x = np.clip(dense(x, name), 0, 20)
    sides = []
    for side, order in (("fw", slice(None)), ("bw", slice(None, None, -1))):
        cell, state = np.zeros(CELLS), np.zeros(CELLS)
        answers = []
        for row in x[order]:
            gates = np.concatenate([row, state]) @ weights[f"bidirectional_rnn/{side}/basic_lstm_cell/kernel"]
            i, j, f, o = np.split(gates + weights[f"bidirectional_rnn/{side}/basic_lstm_cell/bias"], 4)
            cell = cell * sigmoid(f + 1) + sigmoid(i) * np.tanh(j)
            state = np.tanh(cell) * sigmoid(o)
            answers.append(state)
        sides.append(np.array(answers)[order])
    return dense(np.clip(dense(np.concatenate(sides, 1), "5"), 0, 20), "6")


def test_it_is_the_network_of_the_graph(tmp_path: Path) -> None:
    write_graph(tmp_path / "output_graph.pb", deepspeech_graph())
    rows = np.random.default_rng(2).normal(size=(23, 494)).astype(np.float32)
    np.testing.assert_allclose(
        load_deepspeech(tmp_path / "output_graph.pb")(rows), by_hand(deepspeech_graph(), rows), atol=2e-6
    )


def test_features_at_the_video_rate(tmp_path: Path) -> None:
    write_graph(tmp_path / "output_graph.pb", deepspeech_graph())
    listen = Listener(KIND, tmp_path / "output_graph.pb")
    sound = Audio(np.random.default_rng(3).normal(0, 0.1, 16000).astype(np.float32), 16000)
    features = listen(sound, 60)
    assert (features.values.shape, features.kind) == ((60, 29), "deepspeech29")
    again = listen(sound, 60, features)
    np.testing.assert_array_equal(again.values, features.values)
    assert again.phones == features.phones


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "output_graph.pb"
    write_graph(path, deepspeech_graph(labels=31))
    with pytest.raises(FormatError, match="494 inputs and 31 labels, not 494 and 29"):
        load_deepspeech(path)
    write_graph(path, {name: array for name, array in deepspeech_graph().items() if "bw" not in name})
    with pytest.raises(FormatError, match=r"not the graph of DeepSpeech 0.1 .*no bw/basic_lstm_cell"):
        load_deepspeech(path)
    with pytest.raises(InputError, match=r"need a recogniser; give --recogniser: the frozen graph"):
        Listener(KIND)
    with pytest.raises(InputError, match="there are phones42, deepspeech29, wav2vec29"):
        Listener("mfcc")
    with pytest.raises(InputError, match="need no recogniser"):
        Listener("phones42", path)
