"""The restatement that VOCA's training step is timed beside computes the same loss and gradients."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mien.motion.voca import VocaConfig, VocaLossConfig, VocaNetwork, losses  # noqa: E402
from mien.pipelines.bench_voca import VocaBench, _restated_loss  # noqa: E402


def test_the_restated_step_is_the_same_step():
    torch.manual_seed(0)
    network = VocaNetwork(VocaConfig(n_vertices=30)).train()
    features, speaker = torch.randn(8, 16, 29), torch.randint(0, 8, (8,))
    target = torch.randn(8, 30, 3)
    gradients = []
    for loss in (
        losses(network(features, speaker), target, VocaLossConfig())["total"],
        _restated_loss(network, features, speaker, target),
    ):
        network.zero_grad()
        loss.backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()] + [loss.detach()])
    for ours, restated in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, restated, rtol=1e-4, atol=1e-6)


def test_its_table():
    bench = VocaBench(2, 0.03, 0.1, 0.02, 0.1, 0.025, 0.04)
    assert [round(row.fps) for row in bench.rows] == [20000, 50, 25]
    assert bench.rows[1].ratios == {"layer by layer": pytest.approx(0.8)}
    assert "| training step, batch 64 | 20.0 ms |" in str(bench)
