from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch")

from mien.engine import engine_of, fast, has_fast_bfloat16  # noqa: E402


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


def test_auto_takes_bfloat16_where_the_processor_is_made_for_it():
    network, _ = _inputs()
    assert engine_of(fast(network)) == ("bfloat16" if has_fast_bfloat16() else "float32")
