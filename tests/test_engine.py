from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch")

from mien.engine import best_engine, engine_of, fast  # noqa: E402


class _Answer(NamedTuple):
    picture: "torch.Tensor"
    rest: dict


class _Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.head = torch.nn.Linear(8, 2)

    def forward(self, picture, index):
        features = self.body(picture)
        return _Answer(features, {"scores": [self.head(features.mean((2, 3)).float())[:, index]]})


def _inputs():
    torch.manual_seed(0)
    return _Small().eval(), (torch.rand(2, 3, 16, 16), torch.tensor([1, 0]))


def test_bfloat16_answers_as_float32_in_the_same_nest_and_leaves_the_network_alone():
    network, inputs = _inputs()
    quick = fast(network, "bfloat16", keep=("head",))
    exact, near = network(*inputs), quick(*inputs)
    assert engine_of(quick) == "bfloat16"
    assert type(near) is _Answer and near.picture.dtype == torch.float32
    torch.testing.assert_close(near.picture, exact.picture, atol=0.02, rtol=0)
    assert not torch.equal(near.picture, exact.picture), "it did not compute in bfloat16"
    torch.testing.assert_close(near.rest["scores"][0], exact.rest["scores"][0], atol=0.02, rtol=0)
    assert network.body.weight.dtype == torch.float32


def test_float32_is_the_network_itself():
    network, _ = _inputs()
    assert fast(network, "float32") is network
    assert engine_of(network) == "float32"


@pytest.mark.parametrize(
    ("can", "engine"),
    [
        ({"amx_bf16": True, "avx512_bf16": True, "avx512_vnni": True}, "bfloat16"),
        ({"avx512_bf16": True, "avx512_vnni": True}, "int8"),
        ({"avx512_vnni": True}, "int8"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"avx2": True}, "float32"),
    ],
)
def test_auto_takes_what_the_processor_is_made_for(monkeypatch, can, engine):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    assert best_engine() == engine
    assert engine_of(fast(_inputs()[0])) == engine


def _row(norm, own=False):
    """Every kind of row that the engine joins, wide enough for it, with statistics of no particular size."""
    torch.manual_seed(1)
    nn = torch.nn
    layers = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), norm(32), nn.ReLU(), nn.Conv2d(32, 48, 4, stride=2, padding=1, bias=False),
        norm(48), nn.ReLU(), nn.ReflectionPad2d(1), nn.Conv2d(48, 64, 3), norm(64), nn.Dropout(0.5),
        nn.Conv2d(64, 40, 1), nn.LeakyReLU(0.2), nn.ConvTranspose2d(40, 32, 3, 2, 1, 1), norm(32), nn.ReLU(),
        nn.Conv2d(32, 3, 3),
    )  # fmt: skip
    for module in layers.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return layers.eval(), torch.randn(2, 3, 24, 32)


def _noise(exact, near):
    return float((near - exact).norm() / exact.norm())


@pytest.mark.parametrize("norm", [torch.nn.BatchNorm2d, torch.nn.InstanceNorm2d])
def test_int8_answers_as_float32_to_its_step(norm):
    layers, pictures = _row(norm)
    state = {name: value.clone() for name, value in layers.state_dict().items()}
    quick = fast(layers, "int8")
    with torch.inference_mode():
        exact, near = layers(pictures), quick(pictures)
    assert engine_of(quick) == "int8" and near.dtype == torch.float32 and near.shape == exact.shape
    assert 1e-4 < _noise(exact, near) < 0.03, "two of three convolutions' roundings, half a percent each"
    assert all(torch.equal(value, state[name]) for name, value in layers.state_dict().items())


def test_in_int8_a_batch_gives_what_single_pictures_give():
    layers, pictures = _row(torch.nn.BatchNorm2d)
    quick = fast(layers, "int8")
    with torch.inference_mode():
        together, alone = quick(pictures), [quick(picture[None]) for picture in pictures * 1.0]
        louder = quick(torch.cat([pictures[:1], 50 * pictures[1:]]))
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(louder[0], together[0], rtol=1e-3, atol=1e-3)


def test_in_int8_what_is_kept_is_exact():
    layers, pictures = _row(torch.nn.BatchNorm2d)
    quick = fast(layers, "int8", keep=tuple(str(i) for i in range(len(layers))))
    with torch.inference_mode():
        torch.testing.assert_close(quick(pictures), layers(pictures), rtol=1e-4, atol=1e-5)


def test_int8_keeps_what_the_mean_of_an_input_gives():
    torch.manual_seed(2)
    layer = torch.nn.Conv2d(32, 64, 3).eval()
    even = (10 * torch.rand(1, 32, 1, 1)).round().expand(1, 32, 12, 12).contiguous()
    even[:, 0, 0, 0] = 255  # so that a step is 1 and nothing but the weights is rounded
    with torch.inference_mode():
        exact, near = layer(even), fast(layer, "int8")(even)
    assert _noise(exact[..., 3:, 3:], near[..., 3:, 3:]) < 1e-3, (
        "as all around it, but for the bright point in the mean"
    )
    assert _noise(exact[..., :3, :3], near[..., :3, :3]) > 1e-3, "it did not round weights"


def test_what_a_network_calls_fine_is_not_in_int8(monkeypatch):
    from mien import engine

    monkeypatch.setattr(engine, "has_fast_bfloat16", lambda: False)  # what is not in int8 is exact then
    layers, pictures = _row(torch.nn.BatchNorm2d)
    monkeypatch.setattr(torch.nn.Sequential, "fine", ("3", "7", "10"), raising=False)
    with torch.inference_mode():
        torch.testing.assert_close(fast(layers, "int8")(pictures), layers(pictures), rtol=1e-4, atol=1e-5)


def test_int8_is_refused_on_a_gpu(monkeypatch):
    network, _ = _inputs()
    monkeypatch.setattr(network, "parameters", lambda: iter([torch.empty(1, device="meta")]))
    with pytest.raises(ValueError, match="int8"):
        fast(network, "int8")
