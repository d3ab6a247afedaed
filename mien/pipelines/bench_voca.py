"""``mien bench voca``: VOCA at its official size (5023 vertices, 8 speakers), in use and in training, and its ears.

The network is timed on 10 s of speech at 60 frames per second; a training step, batch 64 of two neighbouring frames,
beside the same step stated once more layer by layer as the published graph has it; speech features as the share of the
sound's own length.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import needs_torch
from mien.pipelines.bench_row import BenchRow, middle_and_spread, timed
from mien.progress import Progress, track

if TYPE_CHECKING:
    import torch

    from mien.motion.voca import VocaNetwork
    from mien.pipelines.bench import BenchOptions

_SECONDS, _FPS = 10, 60
_BATCH, _NEIGHBOURS = 64, 2


@dataclass(frozen=True)
class VocaBench:
    """What was measured.

    Attributes:
        threads: processor cores used.
        network: seconds for 10 s of speech at 60 frames per second.
        network_spread: (slowest - fastest) / middle run.
        step: seconds of a training step.
        step_spread: (slowest - fastest) / middle run.
        restated: seconds of the same step stated layer by layer.
        features: seconds of listening per second of sound.
    """

    threads: int
    network: float
    network_spread: float
    step: float
    step_spread: float
    restated: float
    features: float

    @property
    def rows(self) -> list[BenchRow]:
        """Its lines of the table of everything."""
        cores = f"{self.threads} cores"
        return [
            BenchRow("VOCA network", f"frames at 60 fps, {cores}", _SECONDS * _FPS / self.network, self.network_spread),
            BenchRow(
                "VOCA training step", f"batch {_BATCH}, {cores}", 1 / self.step, self.step_spread,
                {"layer by layer": self.step / self.restated},
            ),
            BenchRow("VOCA features", "seconds of sound", 1 / self.features, None, {"the sound": self.features}),
        ]  # fmt: skip

    def __str__(self) -> str:
        return (
            "| what | measured |\n|---|---|\n"
            f"| network, {_SECONDS} s of speech at {_FPS} frames/s | {self.network:.3f} s |\n"
            f"| training step, batch {_BATCH} | {1000 * self.step:.1f} ms |\n"
            f"| the same step layer by layer | {1000 * self.restated:.1f} ms |\n"
            f"| features, share of the sound's length | {self.features:.3f} |\n"
            f"| cores | {self.threads} |"
        )


def bench_voca(options: BenchOptions, progress: Progress) -> VocaBench:
    """Time network, training step and features on random weights, which compute as long as trained ones.

    Raises:
        MissingExtraError: if PyTorch is missing.
    """
    with needs_torch("VOCA"):
        import torch

        from mien.motion.voca import Voca, VocaConfig, VocaNetwork
    torch.manual_seed(0)
    config = VocaConfig()
    model = Voca(config, VocaNetwork(config).eval())
    values = np.random.default_rng(0).normal(size=(_SECONDS * _FPS, config.n_features)).astype(np.float32)
    steps = [_step(VocaNetwork(config), restated=restated) for restated in (False, True)]

    def network() -> None:
        for _ in model.blocks(values, config.default_style):
            pass

    jobs: list[Callable[[], None]] = [network, *steps]
    for job in jobs:
        job()  # warms up; not counted
    seconds: list[list[float]] = [[] for _ in jobs]
    for _ in track(range(5 * options.repeats), progress, "voca", 5 * options.repeats):
        for job, times in zip(jobs, seconds, strict=True):
            times.append(timed(job))
    whole, step, (restated, _) = map(middle_and_spread, seconds)
    return VocaBench(torch.get_num_threads(), *whole, *step, restated, _listening(options, progress))


def _listening(options: BenchOptions, progress: Progress) -> float:
    """Seconds of making features per second of sound."""
    from mien.media.audio import read_audio
    from mien.perception.speech import analyse
    from mien.pipelines.samples import sample_speech
    from mien.pipelines.speak import SPEECH_RATE

    sound = read_audio(options.speech or sample_speech(), SPEECH_RATE)
    runs = track(range(options.repeats), progress, "listen", options.repeats)
    return statistics.median([timed(lambda: analyse(sound, _FPS)) for _ in runs]) / sound.duration


def _step(network: VocaNetwork, *, restated: bool) -> Callable[[], None]:
    """One training step, with everything but the reading of data."""
    import torch

    from mien.motion.voca import VocaLossConfig, losses

    rng = torch.Generator().manual_seed(0)
    n = _BATCH * _NEIGHBOURS
    features = torch.randn(n, 16, 29, generator=rng)
    speaker = torch.randint(0, 8, (n,), generator=rng)
    target = torch.randn(n, 5023, 3, generator=rng) * 1e-3
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    network.train()

    def step() -> None:
        if restated:
            total = _restated_loss(network, features, speaker, target)
        else:
            total = losses(network(features, speaker), target, VocaLossConfig())["total"]
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def _restated_loss(
    network: VocaNetwork, features: torch.Tensor, speaker: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """The loss as the published graph computes it: pictures one pixel wide, vertices ``(B, V, 3, 1)``."""
    import torch
    from torch.nn import functional

    encoder = network.encoder
    norm = encoder.batch_norm
    x = functional.batch_norm(
        features[:, None], norm.running_mean, norm.running_var, norm.weight, norm.bias, training=True, momentum=0.1,
        eps=norm.eps,
    )  # fmt: skip
    x = x.permute(0, 3, 2, 1)  # (B, 29, 16, 1)
    one_hot = functional.one_hot(speaker, 8).float()
    x = torch.cat([x, one_hot[:, :, None, None].expand(-1, -1, 16, 1)], dim=1)
    for layer in (encoder.conv1, encoder.conv2, encoder.conv3, encoder.conv4):
        x = functional.conv2d(functional.pad(x, (0, 0, 0, 1)), layer.weight[..., None], layer.bias, stride=(2, 1))
        x = functional.relu(x)
    x = torch.cat([x.flatten(1), one_hot], dim=1)
    x = encoder.fc2(torch.tanh(encoder.fc1(x)))
    made = network.decoder(x).view(len(features), -1, 3, 1)
    real = target[..., None]
    reconstruction = torch.mean(torch.sum((made - real) ** 2, dim=2))
    pairs = [v.view(-1, _NEIGHBOURS, v.shape[1], 3, 1) for v in (made, real)]
    velocity = (pairs[0][:, 1] - pairs[0][:, 0]) - (pairs[1][:, 1] - pairs[1][:, 0])
    return reconstruction + 10 * torch.mean(torch.sum(velocity**2, dim=2))
