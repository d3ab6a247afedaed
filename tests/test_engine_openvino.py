"""OpenVINO computes what PyTorch does; without it the other engines do the work."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

import mien.engine  # noqa: E402
from mien.engine import best_engine, engine_of, fast  # noqa: E402
from mien.errors import MissingExtraError  # noqa: E402

needs_openvino = pytest.mark.skipif(not mien.engine.has_openvino(), reason="openvino is not installed")


class _Answer(NamedTuple):
    table: "torch.Tensor"
    column: "torch.Tensor"
    picture: "torch.Tensor"


class _Small(torch.nn.Module):
    """Every layer and function that OpenVINO is told of."""

    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.first = nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.body = nn.Sequential(
            nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.MaxPool2d(2)
        )
        self.head = nn.Sequential(nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5))

    def forward(self, picture):
        x = self.first(picture)
        small = self.body(x) + F.max_pool2d(x, 2)
        large = F.interpolate(small, scale_factor=2.0, mode="nearest")
        x = torch.cat([x, large], 1).add_(torch.cat([large, x], 1))
        weight = x.float().sum(1, keepdim=True).to(x.dtype)
        values = self.head((x * weight).mean((2, 3)))
        return _Answer(values[:, :-1], values[:, -1], small)


def _network():
    torch.manual_seed(0)
    network = _Small()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval(), torch.rand(3, 3, 24, 32)


@needs_openvino
def test_answers_as_pytorch_in_the_same_nest_and_leaves_the_network_alone(monkeypatch):
    monkeypatch.setattr(mien.engine, "has_fast_bfloat16", lambda: False)
    network, pictures = _network()
    quick = fast(network, "openvino")
    with torch.inference_mode():
        exact, near = network(pictures), quick(pictures)
    assert engine_of(quick) == "openvino" and type(near) is _Answer
    for one, other in zip(exact, near, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        network.first.weight.zero_()
        torch.testing.assert_close(quick(pictures), near)


@needs_openvino
def test_int8_rounds_and_gives_back_what_that_took_from_the_mean(monkeypatch):
    from mien.engine import openvino

    monkeypatch.setattr(mien.engine, "has_fast_bfloat16", lambda: False)
    monkeypatch.setattr(openvino, "_FEWEST_PRODUCTS", 0)
    torch.manual_seed(1)
    layers = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(64, 64, 3)).eval()
    pictures = torch.rand(2, 64, 20, 20) * torch.tensor([1, 50])[:, None, None, None]
    with torch.inference_mode():
        exact, near = layers(pictures), fast(layers, "openvino")(pictures)
        louder_alone = fast(layers, "openvino")(pictures[1:])
    for one, other in zip(exact, near, strict=True):
        assert 1e-4 < (other - one).norm() / one.norm() < 0.01, "as rough for the loud picture as for the soft one"
        assert ((other - one).mean((1, 2)).abs() / one.std((1, 2))).max() < 0.02, "a channel is off as a whole"
    assert torch.equal(louder_alone[0], near[1])


@needs_openvino
def test_threads_get_what_one_gets():
    network, pictures = _network()
    quick = fast(network, "openvino")
    with torch.inference_mode():
        alone = [quick(picture[None]).table for picture in pictures]
        with ThreadPoolExecutor(3) as pool:
            for _ in range(5):
                together = list(pool.map(lambda picture: quick(picture[None]).table, pictures))
                assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@needs_openvino
@pytest.mark.parametrize(
    "layer", [torch.nn.Softmax(1), torch.nn.Conv2d(4, 4, 3, groups=2), torch.nn.MaxPool2d(3, 2, padding=1)]
)
def test_what_it_is_not_told_of_is_refused(layer):
    with pytest.raises(TypeError, match="not told yet"):
        fast(torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1), layer).eval(), "openvino")(torch.rand(1, 4, 8, 8))


@pytest.mark.parametrize(
    ("can", "installed", "engine"),
    [
        ({"avx512_vnni": True}, True, "openvino"),
        ({"avx512_vnni": True}, False, "int8"),
        ({"avx512_vnni": True, "amx_bf16": True}, True, "bfloat16"),
        ({"avx2": True}, True, "float32"),
    ],
)
def test_auto_takes_it_where_it_is_installed_and_gains(monkeypatch, can, installed, engine):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    monkeypatch.setattr(mien.engine, "has_openvino", lambda: installed)
    assert best_engine(openvino=True) == engine
    assert best_engine() != "openvino", "networks that it is not told of"


def test_without_it_one_line_says_what_to_install(monkeypatch):
    from mien.pipelines.bench_engines import EngineBench, advice

    monkeypatch.setattr(mien.engine, "has_openvino", lambda: False)
    with pytest.raises(MissingExtraError, match="pip install openvino"):
        fast(_network()[0], "openvino")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True})
    assert str(EngineBench(2, [], advice())).endswith("pip install openvino")
    monkeypatch.setattr(mien.engine, "has_openvino", lambda: True)
    assert advice() == ""


@needs_openvino
def test_emonet_s_valence_and_arousal_are_within_a_hundredth():
    from mien.perception.emonet import EmoNet, EmoNetReader

    torch.manual_seed(4)
    network = EmoNet().eval()
    crops = np.kron(np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)), np.ones((1, 16, 16, 1))).astype(np.uint8)
    exact, quick = (EmoNetReader(network, engine).raw(crops) for engine in ("float32", "openvino"))
    assert 0 < np.abs(quick - exact)[:, -2:].max() < 0.01 * np.abs(exact).max() < 0.01
