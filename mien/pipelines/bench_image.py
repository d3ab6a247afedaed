"""``mien bench ganmut`` and ``mien bench icface``: the engines against each other, in one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mien.errors import needs_torch
from mien.pipelines.bench_engines import EngineBench, compare, psnr
from mien.progress import Progress

if TYPE_CHECKING:
    from torch import nn

    from mien.engine import Engine
    from mien.pipelines.bench import BenchOptions


def bench_ganmut(options: BenchOptions, progress: Progress) -> EngineBench:
    """GANmut's generator.

    Raises:
        MissingExtraError: if PyTorch is missing.
    """

    def make() -> tuple[nn.Module, int]:
        from mien.rendering.ganmut import LinearGenerator

        generator = LinearGenerator().train()  # as it always runs; its stored statistics are not read
        return generator, generator.config.code_dim

    return _compared("GANmut", make, options.repeats, progress)


def bench_icface(options: BenchOptions, progress: Progress) -> EngineBench:
    """ICface's animator, what runs for every frame.

    Raises:
        MissingExtraError: if PyTorch is missing.
    """

    def make() -> tuple[nn.Module, int]:
        from mien.rendering.icface import ROTATIONS, UNITS, ResnetGenerator

        return ResnetGenerator().eval(), len(ROTATIONS) + len(UNITS)

    return _compared("ICface", make, options.repeats, progress)


def _compared(name: str, make: Callable[[], tuple[nn.Module, int]], repeats: int, progress: Progress) -> EngineBench:
    """One 128 x 128 picture at a time, random weights, which compute as long as trained ones."""
    with needs_torch(name):
        import torch

        from mien.engine import fast
    torch.manual_seed(0)
    network, n_controls = make()
    controls = torch.rand(1, n_controls)
    images = torch.rand(repeats, 1, 3, 128, 128) * 2 - 1

    def job(engine: Engine) -> Callable[[int], Any]:
        quick = fast(network, engine)

        @torch.inference_mode()
        def draw(run: int) -> Any:
            return quick(images[run], controls).numpy() / 2 + 0.5

        return draw

    return EngineBench(torch.get_num_threads(), compare(name, job, psnr, repeats, progress))
