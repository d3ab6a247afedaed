"""The fast engine: any of mien's image networks in fewer bits, where the machine is made for it.

bfloat16 keeps float32's range with 8 bits of mantissa. Processors with AMX or AVX-512 BF16, and GPUs, multiply it
several times faster. 8-bit integers (:mod:`mien.engine.int8`) are twice as fast again on processors with AVX-512 VNNI.
Elsewhere both would be slower, so there the network stays as it is. Of EmoNet OpenVINO makes the same with less between
the convolutions (:mod:`mien.engine.openvino`); it is an optional package, and taken where it is installed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mien.errors import MissingExtraError

Engine = Literal["auto", "float32", "bfloat16", "int8", "openvino"]
"""``"auto"`` takes what :func:`best_engine` says."""


def has_fast_bfloat16(device: torch.device | None = None) -> bool:
    """Whether a device, by default the processor, multiplies matrices of bfloat16 in hardware."""
    if device is not None and device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    can = torch.cpu.get_capabilities()
    return bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


def best_engine(device: torch.device | None = None, *, int8: bool = True, openvino: bool = False) -> Engine:
    """What a device, by default the processor, computes fastest in, with int8 and OpenVINO or without.

    GPUs and processors with AMX take bfloat16, processors with AVX-512 VNNI OpenVINO or int8, others float32.
    """
    if int8 and (device is None or device.type == "cpu"):
        can = torch.cpu.get_capabilities()
        if can.get("avx512_vnni") and not can.get("amx_bf16"):
            return "openvino" if openvino and has_openvino() else "int8"
    return "bfloat16" if has_fast_bfloat16(device) else "float32"


def fast(
    network: nn.Module,
    engine: Engine = "auto",
    *,
    keep: tuple[str, ...] = (),
    int8: bool = True,
    openvino: bool = False,
) -> nn.Module:
    """The network as it computes fastest on the device that it is on; it takes and gives float32 either way.

    Args:
        network: in eval mode; it is not changed.
        engine: what to compute in.
        keep: names of submodules that stay in float32; the network's ``forward`` hands them float32 values.
        int8: whether ``"auto"`` may take int8, which is too rough for some networks and no gain for small ones.
        openvino: whether ``"auto"`` may take OpenVINO where it would take int8; it knows few kinds of layers, and keeps
            fully connected ones in float32 whether they are named or not.

    Returns:
        The network itself for float32, else a copy that computes in fewer bits, pictures laid out channels last.

    Raises:
        ValueError: if int8 or OpenVINO is asked for on a GPU.
        MissingExtraError: if OpenVINO is asked for and missing.
    """
    device = next(network.parameters()).device
    engine = best_engine(device, int8=int8, openvino=openvino) if engine == "auto" else engine
    if engine == "float32":
        return network
    if engine == "bfloat16":
        return _InBfloat16(network, keep)
    if device.type != "cpu":
        raise ValueError(f"engine: {engine} is for the processor, the network is on {device}")
    return _InInt8(network, keep) if engine == "int8" else _InOpenVino(network)


def engine_of(network: nn.Module) -> Engine:
    """What a network that :func:`fast` returned computes in."""
    kinds: dict[type[nn.Module], Engine] = {_InBfloat16: "bfloat16", _InInt8: "int8", _InOpenVino: "openvino"}
    return kinds.get(type(network), "float32")


class _InBfloat16(nn.Module):
    def __init__(self, network: nn.Module, keep: tuple[str, ...]) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(dtype=torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for name in keep:
            self.network.get_submodule(name).float()

    def forward(self, *inputs: Any) -> Any:
        return _each(self.network(*_each(inputs, _reduced)), Tensor.float)


class _InInt8(nn.Module):
    def __init__(self, network: nn.Module, keep: tuple[str, ...]) -> None:
        from mien.engine.int8 import in_int8

        super().__init__()
        self.network = in_int8(network, keep, _beside_int8())

    def forward(self, *inputs: Any) -> Any:
        return self.network(*_each(inputs, _channels_last))


class _InOpenVino(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        if not has_openvino():
            raise MissingExtraError("this engine needs OpenVINO", "pip install openvino")
        from mien.engine.openvino import InOpenVino

        super().__init__()
        self.network = InOpenVino(network, _beside_int8())

    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs)


def _beside_int8() -> torch.dtype:
    """What to compute in that is not worth 8 bits."""
    return torch.bfloat16 if has_fast_bfloat16() else torch.float32


def _reduced(value: Tensor) -> Tensor:
    return _channels_last(value.to(torch.bfloat16)) if value.is_floating_point() else value


def _channels_last(value: Tensor) -> Tensor:
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


def _each(values: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nest of tuples, named tuples, lists and dicts with every tensor changed."""
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, dict):
        return {key: _each(value, change) for key, value in values.items()}
    if isinstance(values, list | tuple):
        changed = [_each(value, change) for value in values]
        return type(values)(*changed) if hasattr(values, "_fields") else type(values)(changed)
    return values
