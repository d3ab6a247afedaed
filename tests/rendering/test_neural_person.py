"""A person of head2head or of NED's variant: what the generator is shown, the file, the face alone in a film."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.face.rig import load_rig
from mien.media.weights import load_header, load_tensors, save_weights
from mien.rendering.conditioning import Conditioner, screen_points
from mien.rendering.memory import FaceKeys
from mien.rendering.neural import HEAD2HEAD, NED, VARIANTS, Generator
from mien.rendering.neural_person import (
    NeuralPerson,
    NeuralWindowRenderer,
    load_neural_person,
    neural_condition,
    save_neural_person,
)
from mien.rendering.person import Framing, Wanted
from mien.types import FaceIdentity, FaceMotion

SIZE = 64
KEYS = FaceKeys(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))


def points(**weights: float) -> np.ndarray:
    motion = FaceMotion.zeros(1, 25.0).with_columns(weights)
    return screen_points(load_rig(), None, motion, np.array([[200.0, 32.0, 28.0]], np.float32))[0, :478]


def person(variant: str) -> NeuralPerson:
    torch.manual_seed(0)
    generator = Generator(replace(VARIANTS[variant], width=2)).eval()
    rig = load_rig()
    identity = FaceIdentity(rig.name, np.zeros(0, np.float32), np.zeros_like(rig.template))
    return NeuralPerson(generator, SIZE, identity, Framing(0.3, np.zeros(3), np.array([300, 32, 35], np.float32)))


def test_the_face_alone_is_where_it_was_and_where_it_goes() -> None:
    conditioner = Conditioner(load_rig(), SIZE)
    closed, opened = points(), points(jawOpen=1.0)
    alone, film = (neural_condition(conditioner, NED, closed, own)[..., -1] for own in (None, opened))
    x, y = opened[152, :2].astype(int)
    assert film[y, x] == 1 and alone[y, x] == 0
    assert (film >= alone).all() and (alone >= conditioner.draw(closed).mask).all()
    assert alone.sum() > conditioner.draw(closed).mask.sum()  # a rim around it
    assert neural_condition(conditioner, HEAD2HEAD, closed, opened).shape == (SIZE, SIZE, 6)


def test_what_is_covered_is_drawn_and_the_rest_is_black() -> None:
    wanted = [Wanted(points(jawOpen=jaw), KEYS, modelled=False, own=points()) for jaw in (0.0, 0.5)]
    renderer = NeuralWindowRenderer(person("ned"), "float32")
    for each, frame in zip(wanted, renderer.windows(wanted), strict=True):
        covered = renderer.covered(each)
        assert covered is not None
        assert frame[covered == 0].max() == 0 and frame[covered > 0].max(-1).min() > 0
    assert NeuralWindowRenderer(person("head2head"), "float32").covered(wanted[0]) is None


@pytest.mark.parametrize("variant", ["head2head", "ned"])
def test_a_person_comes_back_from_the_file(variant: str, tmp_path: Path) -> None:
    path, there = tmp_path / "person.safetensors", person(variant)
    save_neural_person(path, there)
    back = load_neural_person(path)
    assert back.generator.config == there.generator.config
    state = back.generator.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in there.generator.state_dict().items())


def test_a_file_from_before_the_variants_is_head2heads(tmp_path: Path) -> None:
    new, old, kind = tmp_path / "new.safetensors", tmp_path / "old.safetensors", "mien.Head2HeadPerson"
    save_neural_person(new, person("head2head"))
    header = {name: value for name, value in load_header(new, kind).items() if name != "variant"}
    save_weights(old, load_tensors(new), kind, header | {"version": 1})
    assert load_neural_person(old).generator.config == replace(HEAD2HEAD, width=2)
