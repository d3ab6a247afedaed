"""Training on several processors or machines with ``torchrun``: every process takes its share of each batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import nn


def world() -> tuple[int, int]:
    """This process's number and how many there are; 0 and 1 without ``torchrun``."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the other processes of a ``torchrun``; nothing without one."""
    if world()[1] == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def training_device() -> torch.device:
    """The GPU that is this process's own, else the processor."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else CPU


CPU = torch.device("cpu")


def shared(network: nn.Module) -> nn.Module:
    """The network with gradients averaged over all processes; the network itself if there is only one."""
    return network if world()[1] == 1 else nn.parallel.DistributedDataParallel(network)


def share(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """This process's part of a batch; a last batch of fewer examples than processes is everybody's."""
    rank, size = world()
    return indices if size > len(indices) else indices[rank::size]


def share_weight(indices: npt.NDArray[np.int64]) -> float:
    """Factor on this process's mean loss with which averaged gradients are those of the whole batch."""
    size = world()[1]
    return 1.0 if size > len(indices) else len(share(indices)) * size / len(indices)


class SharedBatchNorm(nn.BatchNorm1d):
    """Batch norm over the batches of all processes, for a layer that sees data alone (no gradient flows through it)."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise; the moments are those of all processes together."""
        if not self.training or world()[1] == 1:
            return super().forward(input)
        moments = torch.stack([torch.ones_like(input), input, input.square()]).double().sum((1, 3))  # (3, C)
        dist.all_reduce(moments)
        count, mean, variance = moments[0], moments[1] / moments[0], moments[2] / moments[0]
        variance = variance - mean.square()
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.running_mean.lerp_(mean.to(input.dtype), self.momentum or 0.1)
        self.running_var.lerp_((variance * count / (count - 1)).to(input.dtype), self.momentum or 0.1)
        self.num_batches_tracked.add_(1)
        normal = (input - mean[:, None]) / (variance[:, None] + self.eps).sqrt()
        return (normal * self.weight[:, None] + self.bias[:, None]).to(input.dtype)


def averaged(values: Mapping[str, float]) -> dict[str, float]:
    """The mean of numbers over all processes."""
    if not dist.is_initialized():
        return dict(values)
    numbers = torch.tensor(list(values.values()), dtype=torch.float64)
    dist.all_reduce(numbers)
    return dict(zip(values, (numbers / world()[1]).tolist(), strict=True))


def agreed(decision: bool) -> bool:
    """What the first process has decided."""
    if world()[1] == 1:
        return decision
    said = [decision]
    dist.broadcast_object_list(said, src=0)
    return said[0]
