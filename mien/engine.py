"""The fast engine: any of mien's image networks in half the numbers, where the machine is made for it.

bfloat16 keeps float32's range with 8 bits of mantissa. Processors with AMX or AVX-512 BF16, and GPUs, multiply it
several times faster. Elsewhere it would be slower, so there the network stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Engine = Literal["auto", "float32", "bfloat16"]
"""``"auto"`` takes bfloat16 where :func:`has_fast_bfloat16` says so."""


def has_fast_bfloat16(device: torch.device | None = None) -> bool:
    """Whether a device, by default the processor, multiplies matrices of bfloat16 in hardware."""
    if device is not None and device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    can = torch.cpu.get_capabilities()
    return bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def fast(network: nn.Module, engine: Engine = "auto", *, keep: tuple[str, ...] = ()) -> nn.Module:
    """The network as it computes fastest on the device that it is on; it takes and gives float32 either way.

    Args:
        network: in eval mode; it is not changed.
        engine: what to compute in.
        keep: names of submodules that stay in float32; the network's ``forward`` hands them float32 values.

    Returns:
        The network itself for float32, else a copy that computes in bfloat16, pictures laid out channels last.
    """
    device = next(network.parameters()).device
    if engine == "float32" or (engine == "auto" and not has_fast_bfloat16(device)):
        return network
    return _InBfloat16(network, keep)


def engine_of(network: nn.Module) -> Engine:
    """What a network that :func:`fast` returned computes in."""
    return "bfloat16" if isinstance(network, _InBfloat16) else "float32"


class _InBfloat16(nn.Module):
    def __init__(self, network: nn.Module, keep: tuple[str, ...]) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(dtype=torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for name in keep:
            self.network.get_submodule(name).float()

    def forward(self, *inputs: Any) -> Any:
        return _each(self.network(*_each(inputs, _reduced)), Tensor.float)


def _reduced(value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    if value.ndim != 4:
        return value.to(torch.bfloat16)
    return value.to(torch.bfloat16, memory_format=torch.channels_last)


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
