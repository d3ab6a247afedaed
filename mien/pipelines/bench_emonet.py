"""``mien bench emonet``: EmoNet's engines against each other, pictures per second and agreement in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import needs_torch
from mien.pipelines.bench_engines import EngineBench, advice, compare
from mien.progress import Progress

if TYPE_CHECKING:
    from mien.engine import Engine
    from mien.pipelines.bench import BenchOptions


def bench_emonet(options: BenchOptions, progress: Progress) -> EngineBench:
    """One 256 x 256 picture at a time, random weights, which compute as long as trained ones.

    Raises:
        MissingExtraError: if PyTorch is missing.
    """
    with needs_torch("EmoNet"):
        import torch

        from mien.perception.emonet import EmoNet, EmoNetReader
    torch.manual_seed(0)
    network = EmoNet().eval()
    rng = np.random.default_rng(0)
    crops = np.kron(rng.integers(0, 256, (options.repeats, 16, 16, 3)), np.ones((1, 16, 16, 1))).astype(np.uint8)

    def make(engine: Engine) -> Callable[[int], Any]:
        reader = EmoNetReader(network, engine)
        return lambda run: reader.raw(crops[run : run + 1])

    rows = compare("EmoNet", make, _loss, options.repeats, progress, openvino=True)
    return EngineBench(torch.get_num_threads(), rows, advice())


def _loss(exact: Sequence[Any], near: Sequence[Any]) -> str:
    off = np.abs(np.concatenate(near) - np.concatenate(exact))[:, -2:].max()
    return f"valence, arousal {off:.4f} ({off / np.abs(np.concatenate(exact)).max():.2%} of the largest output)"
