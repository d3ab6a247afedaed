"""Convolutions in 8-bit integers, four times as fast as in float32 on processors with VNNI.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018,
with steps that are measured on every picture instead of once: nothing has to be calibrated, any weights will do, and a
picture gets the same whatever came before it or lies beside it in a batch.

    input      unsigned 8 bits, one step and one zero for the picture
    weights    signed 8 bits, one step for each output channel
    output     float32, as is all between the convolutions; what the rounding of weights took from the mean of each
               input channel is given back (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
               Correction", ICCV 2019, with the picture's own means)

A norm, a ReLU and mirrored borders before a convolution are done while its input is rounded, in one pass over it; a
batch norm and a ReLU after it by the convolution itself. Convolutions of few channels (pictures in, pictures out),
transposed ones and those that a network names compute in what the processor has for them, bfloat16 or float32.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mien.compiled import compiled

Array = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

_FEWEST_CHANNELS = 32
"""Convolutions that take or give fewer stay out: there is little to gain, and they stand where pictures come and go."""


def in_int8(network: nn.Module, keep: Sequence[str], others: torch.dtype) -> nn.Module:
    """A copy of a network whose convolutions compute in 8-bit integers; it takes and gives float32.

    Layers are joined where one is known to follow the other: in an ``nn.Sequential``, and in a module that names such
    rows of its own layers in ``chains``. A module names its convolutions that 8 bits are too few for in ``fine``.

    Args:
        network: in eval mode, on the processor.
        keep: names of submodules that stay as they are.
        others: what convolutions compute in that are not worth 8 bits.
    """
    network = copy.deepcopy(network)
    fine = {module.get_submodule(name) for module in network.modules() for name in getattr(module, "fine", ())}
    done = {network.get_submodule(name): network.get_submodule(name) for name in keep}
    return _Replacement(others, fine, done).of(network)


# ---------------------------------------------------------------------------------------------------------- the network


class _Replacement:
    """What computes in the place of each module.

    Args:
        others: what convolutions compute in that are not worth 8 bits.
        fine: convolutions that 8 bits are too few for.
        done: modules and what computes in their place; one that has two names in a network still is one.
    """

    def __init__(self, others: torch.dtype, fine: set[nn.Module], done: dict[nn.Module, nn.Module]) -> None:
        self.others, self.fine, self.done = others, fine, done

    def of(self, module: nn.Module) -> nn.Module:
        """What computes in a module's place."""
        if module not in self.done:
            if isinstance(module, nn.Sequential):
                self.done[module] = nn.Sequential(*self._joined(list(module)))
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.InstanceNorm2d):
                self.done[module] = nn.Sequential(*self._joined([module]))
            else:
                self.done[module] = module
                chains = [[(name, module.get_submodule(name)) for name in row] for row in getattr(module, "chains", ())]
                for chain in chains:
                    for name, layer in chain:
                        whole = isinstance(layer, nn.Conv2d)  # all of the row stands in the convolution's place
                        module._modules[name] = nn.Sequential(*dict(chain).values()) if whole else nn.Identity()
                for name, child in module._modules.items():
                    module._modules[name] = None if child is None else self.of(child)
        return self.done[module]

    def _joined(self, layers: list[nn.Module]) -> list[nn.Module]:
        """Layers that follow one another, convolutions with what stands before and after them in one."""
        found: list[nn.Module] = []
        waiting: list[nn.Module] = []  # for a convolution that takes them in
        left = deque(layer for layer in layers if not isinstance(layer, nn.Identity | nn.Dropout) or layer.training)
        while left:
            layer = left.popleft()
            if layer not in self.done and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                worth = layer not in self.fine
                norm = left[0] if left else None
                if isinstance(norm, nn.BatchNorm2d) and not norm.training:
                    layer = fuse_conv_bn_eval(layer.eval(), norm, isinstance(layer, nn.ConvTranspose2d))
                    left.popleft()
                relu = bool(left) and isinstance(left[0], nn.ReLU)
                if relu:
                    left.popleft()
                if worth and _is_worth(layer):
                    found.append(_Int8Convolution(waiting, layer, relu))
                else:
                    found += [*map(_alone, waiting), _Convolution(layer, relu, self.others)]
                waiting = []
            elif layer in self.done or _place(layer) == 0:
                found += [*map(_alone, waiting), self.of(layer)]
                waiting = []
            else:
                if waiting and _place(waiting[-1]) >= _place(layer):
                    found += map(_alone, waiting)
                    waiting = []
                waiting.append(layer)
        return [*found, *map(_alone, waiting)]


def _is_worth(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        isinstance(layer, nn.Conv2d)
        and min(layer.in_channels, layer.out_channels) >= _FEWEST_CHANNELS
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _place(layer: nn.Module) -> int:
    """Where it may stand in the row before a convolution: norm, ReLU, borders; 0 for anything else."""
    if isinstance(layer, nn.BatchNorm2d):
        return int(not layer.training)
    if isinstance(layer, nn.InstanceNorm2d):
        return int(_uses_own_statistics(layer))
    return 2 * isinstance(layer, nn.ReLU) + 3 * isinstance(layer, nn.ReflectionPad2d)


def _uses_own_statistics(norm: nn.InstanceNorm2d) -> bool:
    return norm.training or not norm.track_running_stats


def _alone(layer: nn.Module) -> nn.Module:
    """What does the same as a layer that no convolution takes in, faster with channels last."""
    return _OwnNorm(layer) if isinstance(layer, nn.InstanceNorm2d) else layer


# ----------------------------------------------------------------------------------------------------------- its layers


class _OwnNorm(nn.Module):
    """Instance norm by the picture's own statistics."""

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, x.shape[1], self.weight, self.bias, self.eps)


class _Convolution(nn.Module):
    """A convolution that is not worth 8 bits."""

    def __init__(self, convolution: nn.Module, relu: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.convolution = convolution.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.relu, self.dtype = relu, dtype

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convolution(x.to(self.dtype)).float()
        return y.relu_() if self.relu else y


class _Int8Convolution(nn.Module):
    """A convolution in 8-bit integers.

    Args:
        before: what is done first: a norm, a ReLU, mirrored borders, each or none, in this order.
        convolution: with zeros as borders.
        relu: whether a ReLU follows.
    """

    def __init__(self, before: Sequence[nn.Module], convolution: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self.norm = next((layer for layer in before if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d)), None)
        self.rectified = any(isinstance(layer, nn.ReLU) for layer in before)
        self.borders = next((layer for layer in before if isinstance(layer, nn.ReflectionPad2d)), None)
        self.bias = convolution.bias
        self.after = "relu" if relu else "none"
        self.factor = np.ones(convolution.in_channels, np.float32)
        self.summand = np.zeros(convolution.in_channels, np.float32)
        if isinstance(self.norm, nn.BatchNorm2d):
            norm = self.norm
            assert norm.running_mean is not None and norm.running_var is not None
            factor = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
            self.factor = factor.numpy()
            self.summand = (norm.bias.detach() - norm.running_mean * factor).numpy()
        weight = convolution.weight.detach()
        steps = weight.abs().amax((1, 2, 3)).clamp_min(1e-12) / 127
        self.geometry = [list(each) for each in (convolution.stride, convolution.padding, convolution.dilation)]
        exact = weight / steps[:, None, None, None]
        rounded = exact.round()
        zero = int(not self.rectified)  # any but 0 lays the weights out for inputs that have a zero
        packed = torch.ops.onednn.qconv_prepack(rounded.to(torch.int8), steps, 1.0, zero, *self.geometry, 1, None)
        self.lost = ((exact - rounded).sum((2, 3)) * steps[:, None]).numpy()  # (O, I), of an input of ones
        self.register_buffer("weight", packed, persistent=False)
        self.register_buffer("steps", steps, persistent=False)
        self.register_buffer("zeros", torch.zeros(len(steps), dtype=torch.int32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        pictures = x.permute(0, 2, 3, 1).contiguous().numpy()
        drawn = [self._one(picture) for picture in pictures]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)

    def _one(self, picture: Array) -> Tensor:
        """One picture ``(H, W, C)``."""
        factor, summand, low, high = self._prepared(picture)
        step = max((high - low) / 255, 1e-30)
        zero = round(-low / step)
        values, mean = np.empty(picture.shape, np.uint8), np.empty(picture.shape[-1], np.float32)
        _round(picture, factor / np.float32(step), summand / np.float32(step) + np.float32(zero + 0.5), values, mean)
        bias = torch.from_numpy(self.lost @ ((mean - np.float32(zero)) * np.float32(step)))
        if self.bias is not None:
            bias += self.bias
        rounded = torch.from_numpy(values).permute(2, 0, 1)[None]
        if self.borders is not None:
            rounded = self.borders(rounded)
        result: Tensor = torch.ops.onednn.qconv2d_pointwise(
            rounded, step, zero, self.weight, self.steps, self.zeros, bias, *self.geometry, 1,
            1.0, 0, torch.float32, self.after, [], "",
        )  # fmt: skip
        return result

    def _prepared(self, picture: Array) -> tuple[Array, Array, float, float]:
        """The norm as a factor and a summand of each channel, and the range of what is rounded, zero in it."""
        factor, summand, norm = self.factor, self.summand, self.norm
        extent = np.empty((2, picture.shape[-1]), np.float32)
        if isinstance(norm, nn.InstanceNorm2d):
            mean, variance = np.empty_like(extent)
            _measure(picture, extent, mean, variance)
            factor = 1 / np.sqrt(variance + np.float32(norm.eps))
            if norm.affine:
                factor = factor * norm.weight.detach().numpy()
                summand = norm.bias.detach().numpy()
            summand = summand - mean * factor
        else:
            _find_extent(picture, extent)
        ends = extent * factor + summand
        return factor, summand, 0.0 if self.rectified else min(float(ends.min()), 0.0), max(float(ends.max()), 0.0)


@compiled
def _find_extent(picture: Array, extent: Array) -> None:
    """``(2, C)`` least and largest value of each channel of ``(H, W, C)``."""
    height, width, channels = picture.shape
    extent[:] = picture[0, 0]
    for row in range(height):
        for column in range(width):
            for c in range(channels):
                value = picture[row, column, c]
                extent[0, c] = min(extent[0, c], value)
                extent[1, c] = max(extent[1, c], value)


@compiled
def _measure(picture: Array, extent: Array, mean: Array, variance: Array) -> None:
    """:func:`_find_extent`, and mean and variance of each channel."""
    height, width, channels = picture.shape
    extent[:] = picture[0, 0]
    origin = picture[0, 0]  # sums of what is left keep their digits
    total, squares = np.zeros(channels, np.float64), np.zeros(channels, np.float64)
    for row in range(height):
        some, some_squares = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
        for column in range(width):
            for c in range(channels):
                value = picture[row, column, c]
                extent[0, c] = min(extent[0, c], value)
                extent[1, c] = max(extent[1, c], value)
                value -= origin[c]
                some[c] += value
                some_squares[c] += value * value
        total += some
        squares += some_squares
    count = height * width
    mean[:] = origin + total / count
    variance[:] = squares / count - (total / count) ** 2


@compiled
def _round(picture: Array, factor: Array, summand: Array, out: Bytes, mean: Array) -> None:
    """``picture * factor + summand`` of ``(H, W, C)`` as bytes, fractions left out, and the mean of each channel."""
    height, width, channels = picture.shape
    least, most = np.float32(0), np.float32(255)
    total = np.zeros(channels, np.int64)
    for row in range(height):
        some = np.zeros(channels, np.int32)
        for column in range(width):
            for c in range(channels):
                value = np.uint8(min(max(picture[row, column, c] * factor[c] + summand[c], least), most))
                out[row, column, c] = value
                some[c] += value
        total += some
    mean[:] = total / (height * width)
