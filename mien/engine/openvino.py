"""Networks computed by OpenVINO: one compiled program instead of an operator after the other.

Everything between the convolutions is done in one pass over a picture, on all cores. The network computes in bfloat16
where the processor has it, its large convolutions in 8-bit integers: as in :mod:`mien.engine.int8`, each picture is
divided by its own largest value, so nothing has to be calibrated, and what the rounding of weights took from the mean
of each input channel is given back. Sums that a picture ends in (fully connected layers) stay in float32.

Nothing here converts files, so nothing of OpenVINO that reports statistics is called.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
import torch
import torch.nn.functional as F
from openvino import Node, opset1
from openvino import opset13 as opset
from torch import Tensor, fx, nn

Array = npt.NDArray[np.float32]

_FEWEST_PRODUCTS = 100_000_000
"""Convolutions with fewer products for a picture stay out of int8: rounding would cost what it saves."""


class InOpenVino(nn.Module):
    """A copy of a network that OpenVINO computes; it takes and gives float32 and has no gradients.

    Args:
        network: in eval mode, on the processor; made of the layers and functions below.
        dtype: bfloat16 or float32, what is computed in that is not worth 8 bits.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self._network = fx.symbolic_trace(copy.deepcopy(network))
        self._precision = "bf16" if dtype == torch.bfloat16 else "f32"
        self._programs: dict[tuple[torch.Size, ...], tuple[openvino.InferRequest, Any]] = {}
        self._alone = Lock()  # one call takes all cores, and a program has one memory

    def forward(self, *inputs: Tensor) -> Any:
        """What the network returns for inputs that begin with a batch; a picture gets the same in any batch."""
        pictures = [[value[i : i + 1].contiguous() for value in inputs] for i in range(len(inputs[0]))]
        with self._alone:
            request, nest = self._program(pictures[0])
            rows = [[v.copy() for v in request.infer([p.numpy() for p in picture]).values()] for picture in pictures]
        return _each(nest, lambda number: torch.from_numpy(np.concatenate([row[number] for row in rows])))

    def _program(self, inputs: Sequence[Tensor]) -> tuple[openvino.InferRequest, Any]:
        """What computes inputs of these sizes, and the nest of its outputs' numbers that the network returns."""
        sizes = tuple(value.shape for value in inputs)
        if sizes not in self._programs:
            given = [opset.parameter(list(size), np.float32) for size in sizes]
            with torch.no_grad():
                result = _Translation(self._network).run(*given)
            found: list[Node] = []
            _each(result, found.append)
            numbers = iter(range(len(found)))
            nest = _each(result, lambda _: next(numbers))
            options = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": self._precision,
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "ENABLE_CPU_PINNING": False,  # this process has other work on these cores
            }
            program = openvino.Core().compile_model(openvino.Model(found, given), "CPU", options)
            self._programs[sizes] = program.create_infer_request(), nest
        return self._programs[sizes]


def _each(nest: Any, change: Callable[[Any], Any]) -> Any:
    """The same nest of tuples, named tuples, lists and dicts with everything in it changed."""
    return fx.node.map_aggregate(nest, change)


class _Translation(fx.Interpreter):
    """Runs a network on nodes of OpenVINO instead of tensors, which gives the same network as a node."""

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        layer = self.fetch_attr(target)
        if type(layer) not in _LAYERS:
            raise TypeError(f"{target}: OpenVINO is not told yet how to compute {type(layer).__name__}")
        return _LAYERS[type(layer)](layer, *args)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if hasattr(target, "_fields"):  # a named tuple
            return target(*args, **kwargs)
        if target not in _FUNCTIONS:
            raise TypeError(f"OpenVINO is not told yet how to compute {target}")
        return _FUNCTIONS[target](*args, **kwargs)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target not in _METHODS:
            raise TypeError(f"OpenVINO is not told yet how to compute Tensor.{target}")
        return _METHODS[target](*args, **kwargs)


# --------------------------------------------------------------------------------------------------------------- layers


def _convolution(layer: nn.Conv2d, x: Node) -> Node:
    if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise TypeError(f"OpenVINO is not told yet how to compute {layer}")
    weight = _array(layer.weight)
    geometry = (list(layer.stride), list(layer.padding), list(layer.padding), list(layer.dilation))
    y = opset.convolution(x, weight, *geometry)
    products = weight.size * np.prod(y.get_output_shape(0)[2:])
    # Those of single points stay out as well: on EmoNet's wide sums they would make most of the error.
    if x.get_type_name() == "Relu" and max(layer.kernel_size) > 1 and products >= _FEWEST_PRODUCTS:
        y = _in_int8(x, weight, geometry)
    return y if layer.bias is None else opset.add(y, _per_channel(layer.bias, y))


def _in_int8(x: Node, weight: Array, geometry: tuple[list[int], ...]) -> Node:
    """A convolution of what is not negative, in 8-bit integers."""
    nothing, one, least = np.float32(0), np.float32(1), np.float32(1e-12)
    most = np.abs(weight).max((1, 2, 3), keepdims=True) + least
    rounded = np.round(weight / most * 127) / 127 * most
    largest = opset.maximum(opset.reduce_max(x, [1, 2, 3], keep_dims=True), least)
    share = opset.multiply(x, opset.divide(one, largest))
    # OpenVINO computes in integers what stands between two of these.
    share = opset.fake_quantize(share, nothing, one, nothing, one, 256)
    y = opset.convolution(share, opset.fake_quantize(rounded, -most, most, -most, most, 255), *geometry)
    lost = (weight - rounded).sum((2, 3), keepdims=True)
    mean = opset.reduce_mean(x, [2, 3], keep_dims=True)
    return opset.add(opset.multiply(y, largest), opset.convolution(mean, lost, [1, 1], [0, 0], [0, 0], [1, 1]))


def _batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, x: Node) -> Node:
    assert layer.running_mean is not None and layer.running_var is not None
    factor = layer.weight / (layer.running_var + layer.eps).sqrt()
    summand = layer.bias - layer.running_mean * factor
    return opset.add(opset.multiply(x, _per_channel(factor, x)), _per_channel(summand, x))


def _linear(layer: nn.Linear, x: Node) -> Node:
    """Written as products and their sums, which stay in float32 at the end of a network."""
    products = opset.multiply(opset.unsqueeze(x, [1]), _array(layer.weight)[None])
    return opset.add(opset.reduce_sum(products, [2]), _array(layer.bias)[None])


def _max_pool(x: Node, size: int, stride: int | None, **others: Any) -> Node:
    if stride not in (None, size) or others != _PLAIN_POOL:
        raise TypeError(f"OpenVINO is not told yet how to pool with {others}, stride {stride}")
    return opset1.max_pool(x, [size, size], [0, 0], [0, 0], [size, size])


_PLAIN_POOL = {"padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}


_LAYERS: dict[type[nn.Module], Callable[..., Node]] = {
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.Linear: _linear,
    nn.ReLU: lambda layer, x: opset.relu(x),
    nn.MaxPool2d: lambda layer, x: _max_pool(
        x, layer.kernel_size, stride=layer.stride, **{name: getattr(layer, name) for name in _PLAIN_POOL}
    ),
}


# ------------------------------------------------------------------------------------------------------------ functions


def _nearest(x: Node, size: None, scale_factor: float, mode: str, **defaults: Any) -> Node:
    if size is not None or mode != "nearest" or any(defaults.values()):
        raise TypeError(f"OpenVINO is not told yet how to resize by {mode} to {size}")
    scales = np.array([scale_factor, scale_factor], np.float32)
    return opset.interpolate(
        x, scales, "nearest", "scales", coordinate_transformation_mode="asymmetric", nearest_mode="floor", axes=[2, 3]
    )


def _columns(x: Node, index: tuple[slice, slice | int]) -> Node:
    """``x[:, columns]`` of a table."""
    rows, columns = index
    width = x.get_output_shape(0)[1]
    assert rows == slice(None)
    return opset.gather(x, np.arange(width)[columns], np.int64(1))


_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.cat: lambda values, axis: opset.concat(values, axis),
    operator.add: opset.add,
    operator.mul: opset.multiply,
    operator.getitem: _columns,
    getattr: lambda value, name: None,  # of types: nodes have one
    F.max_pool2d: _max_pool,
    F.interpolate: _nearest,
}

_METHODS: dict[str, Callable[..., Node]] = {
    "add_": opset.add,
    "float": lambda x: x,
    "to": lambda x, dtype: x,
    "sum": lambda x, axis, keepdim: opset.reduce_sum(x, [axis], keep_dims=keepdim),
    "mean": lambda x, axes: opset.reduce_mean(x, list(axes)),
}


def _array(tensor: Tensor) -> Array:
    return tensor.detach().numpy()


def _per_channel(values: Tensor, x: Node) -> Array:
    """A value for each channel as it is broadcast to ``x``."""
    return _array(values).reshape(1, -1, *[1] * (len(x.get_output_shape(0)) - 2))
