"""DeepSpeech 0.1: the recogniser whose logits the released VOCA hears, from its frozen graph, without TensorFlow.

Paper: Hannun et al., "Deep Speech: Scaling up end-to-end speech recognition", 2014, as Mozilla's program of tag v0.1.0
builds it: three dense layers with a ReLU clipped at 20 look at 19 frames of cepstra, one bidirectional LSTM at the
whole utterance, two more dense layers make logits of 28 letters and a blank. Sizes are those of the file.

What differs: nothing in the numbers; dropout is off, and the LSTM's forget bias of 1 is added to the weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mien.errors import FormatError
from mien.perception.deepspeech import N_LOGITS, ROW, Recogniser
from mien.tensorflow_files import read_graph_constants
from mien.types import Array

_CLIP = 20.0
_FORGET_BIAS = 1.0
_DENSE = ("1", "2", "3", "5", "6")  # the names of the graph: h1, b1, ...; 4 is the LSTM


class DeepSpeechNetwork(nn.Module):
    """Rows ``(T, 494)`` of one utterance to logits ``(T, 29)``.

    Args:
        dense: ``(inputs, outputs)`` of the layers 1, 2, 3, 5 and 6.
        cells: of the LSTM in each direction.
    """

    def __init__(self, dense: Mapping[str, tuple[int, int]], cells: int) -> None:
        super().__init__()
        self.dense = nn.ModuleDict({name: nn.Linear(*dense[name]) for name in _DENSE})
        self.lstm = nn.LSTM(dense["3"][1], cells, bidirectional=True)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits before softmax."""
        x = rows
        for name in ("1", "2", "3"):
            x = self.dense[name](x).clamp(0, _CLIP)
        x, _ = self.lstm(x)  # (T, 2 cells), forward first
        return self.dense["6"](self.dense["5"](x).clamp(0, _CLIP))  # type: ignore[no-any-return]


def load_deepspeech(path: str | Path) -> Recogniser:
    """The recogniser of a frozen graph, ``output_graph.pb`` of ``deepspeech-0.1.0-models``.

    Raises:
        AssetError: if there is no such file.
        FormatError: if it is damaged, or the graph of another network or version.
    """
    network = network_from_graph(read_graph_constants(path), str(path))

    def recognise(rows: Array) -> Array:
        with torch.inference_mode():
            return network(torch.from_numpy(rows)).numpy()  # type: ignore[no-any-return]

    return recognise


def network_from_graph(constants: Mapping[str, Array], source: str) -> DeepSpeechNetwork:
    """The network with the weights of a frozen graph.

    TensorFlow's LSTM has one matrix over inputs and state, and its gates stand in the order input, cell, forget,
    output; PyTorch has two matrices and the order input, forget, cell, output.

    Raises:
        FormatError: if weights are missing or do not fit together.
    """
    try:
        dense = {name: torch.from_numpy(constants[f"h{name}"]) for name in _DENSE}
        cells = {side: _lstm(constants, side) for side in ("fw", "bw")}
        n_cells = cells["fw"][1].shape[0] // 4
        network = DeepSpeechNetwork({name: (w.shape[0], w.shape[1]) for name, w in dense.items()}, n_cells)
        state = {f"dense.{name}.weight": weight.T for name, weight in dense.items()}
        state |= {f"dense.{name}.bias": torch.from_numpy(constants[f"b{name}"]) for name in _DENSE}
        for side, end in (("fw", ""), ("bw", "_reverse")):
            kernel, bias = cells[side]
            n_inputs = kernel.shape[1] - n_cells
            state[f"lstm.weight_ih_l0{end}"] = kernel[:, :n_inputs]
            state[f"lstm.weight_hh_l0{end}"] = kernel[:, n_inputs:]
            state[f"lstm.bias_ih_l0{end}"] = bias
            state[f"lstm.bias_hh_l0{end}"] = torch.zeros_like(bias)
        network.load_state_dict(state)
        sizes = len(constants["h1"]), len(constants["b6"])
    except (KeyError, RuntimeError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(
            f"{source}: not the graph of DeepSpeech 0.1 ({reason})", "get output_graph.pb of deepspeech-0.1.0-models"
        ) from error
    if sizes != (ROW, N_LOGITS):
        raise FormatError(
            f"{source}: a recogniser of {sizes[0]} inputs and {sizes[1]} labels, not {ROW} and {N_LOGITS}",
            "get output_graph.pb of deepspeech-0.1.0-models; later versions do not fit",
        )
    return network.eval()


def _lstm(constants: Mapping[str, Array], side: str) -> tuple[Tensor, Tensor]:
    """Kernel ``(4 cells, inputs + cells)`` and bias ``(4 cells)`` of one direction in PyTorch's order of gates."""

    def find(kind: str) -> Tensor:
        name = next((n for n in constants if re.search(rf"/{side}/basic_lstm_cell/{kind}$", n)), None)
        if name is None:
            raise KeyError(f"no {side}/basic_lstm_cell/{kind}")
        return torch.from_numpy(constants[name])

    i, j, f, o = find("(kernel|weights)").T.chunk(4)
    bi, bj, bf, bo = find("bias(es)?").chunk(4)
    return torch.cat([i, f, j, o]), torch.cat([bi, bf + _FORGET_BIAS, bj, bo])
