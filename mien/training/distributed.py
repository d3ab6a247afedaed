"""Training on several processors or machines with ``torchrun``: every process takes its share of each batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import nn

from mien.errors import InputError


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
    """This process's part of a batch.

    Raises:
        InputError: if there are more processes than examples.
    """
    rank, size = world()
    if size > len(indices):
        raise InputError(f"{size} processes for batches of {len(indices)}", "start fewer with torchrun")
    return indices[rank::size]


def agreed(decision: bool) -> bool:
    """What the first process has decided."""
    if world()[1] == 1:
        return decision
    said = [decision]
    dist.broadcast_object_list(said, src=0)
    return said[0]
