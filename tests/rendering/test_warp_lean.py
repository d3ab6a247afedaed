"""A head that leaves its place: the body goes along, the border stays, and the picture says how far."""

from dataclasses import replace

import numpy as np
import pytest

from mien.rendering.warp import WarpRenderer
from mien.rendering.warp.lean import Lean
from mien.types import Array, FaceIdentity, FaceMotion, Portrait

RIGHT, LEFT, UP, DOWN = (0.15, 0, 0), (-0.15, 0, 0), (0, 0.15, 0), (0, -0.15, 0)
GROW, SHRINK = (0, 0, 0.2), (0, 0, -0.4)


def person(margin: int) -> Portrait:
    """The rig's neutral face, 200 px high, on noise, with shoulders that only the mask knows."""
    from mien.face.rig import load_rig

    rig = load_rig()
    size = 260 + 2 * margin
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    image = np.random.default_rng(0).integers(60, 200, (size, size, 3)).astype(np.uint8)
    scale = 200 / (rig.template[10, 1] - rig.template[152, 1])
    middle = (rig.template[10] + rig.template[152]) / 2
    camera = np.array([scale, size / 2 - scale * middle[0], size / 2 + scale * middle[1]], np.float32)
    landmarks = rig.template[:478] * [scale, -scale, -scale] + [*camera[1:], 0]
    across, down = abs(x - size / 2), y - size / 2
    mask = np.hypot(across / 85, (down + 20) / 125) < 1
    mask |= (down > 0) & (across < 50) | (down > 130) & (across < 160)
    identity = FaceIdentity("builtin", np.zeros(len(rig.identity_basis)), np.zeros_like(rig.template))
    return Portrait(image, landmarks, identity, FaceMotion.zeros(1, 25.0), camera, mask.astype(np.float32))


@pytest.fixture(scope="module")
def wide() -> WarpRenderer:
    return WarpRenderer(person(300))


@pytest.fixture(scope="module")
def close() -> WarpRenderer:
    return WarpRenderer(person(0))


def at(*translations: tuple[float, float, float]) -> FaceMotion:
    return replace(FaceMotion.zeros(len(translations), 25.0), translation=np.array(translations, np.float32))


def shown(renderer: WarpRenderer, translation: tuple[float, float, float]) -> Array:
    """Where the pixels of a frame come from, ``(h, w, 2)``, as the layer around the face was moved for it."""
    next(renderer.render(at(translation)))
    assert renderer._lean is not None
    layer = renderer._lean.layer
    places = np.empty((layer.height, layer.width, 2), np.float32)
    layer.places(layer.left, layer.top, places)
    return places


def test_a_neck_bends_alone_for_a_little_and_the_body_stays() -> None:
    portrait = person(150)
    renderer = WarpRenderer(portrait)
    frame = next(renderer.render(at((0.009, 0, 0))))
    assert renderer._lean is None
    bottom = portrait.image.shape[0] - 40
    np.testing.assert_array_equal(frame[bottom:], portrait.image[bottom:])
    assert np.abs(frame.astype(int) - portrait.image).max() > 50


def test_between_neck_and_body_nothing_jumps(wide: WarpRenderer) -> None:
    below, above = wide.render(at((0.0099, 0, 0), (0.0101, 0, 0)))
    assert np.abs(below.astype(int) - above).mean() < 2


@pytest.mark.parametrize(("way", "sign"), [(RIGHT, 1), (LEFT, -1)])
def test_shoulders_go_along_and_the_border_behind_stays(wide: WarpRenderer, way, sign) -> None:
    size, moved = wide._photo.shape[0], wide._course(at(way)).shift[0, 0]
    places = shown(wide, way)
    row, column = size // 2 + 160, size // 2 + round(float(moved))
    assert sign * moved > 100
    assert sign * (column - places[row, column, 0]) > 0.7 * sign * moved
    behind = 0 if sign > 0 else size - 1
    np.testing.assert_allclose(places[:, behind, 0], behind, atol=2)


@pytest.mark.parametrize("way", [RIGHT, LEFT, UP, DOWN, GROW, SHRINK, (0.1, -0.1, 0.1), (-0.1, 0.1, -0.2)])
@pytest.mark.parametrize("name", ["wide", "close"])
def test_nothing_folds_and_nothing_comes_from_beyond_the_border(name: str, way, request) -> None:
    places = shown(request.getfixturevalue(name), way)
    across, down = np.diff(places[..., 0], axis=1), np.diff(places[..., 1], axis=0)
    assert across.min() > -0.05
    assert down.min() > -0.05
    height, width = places.shape[:2]
    cell = request.getfixturevalue(name)._lean.layer.cell
    assert places.min() > -cell
    assert places[..., 0].max() < width + cell
    assert places[..., 1].max() < height + cell


def test_the_face_goes_where_it_is_asked_to_if_there_is_room(wide: WarpRenderer) -> None:
    course = wide._course(at((0.08, 0, 0), (0, -0.06, 0)))
    np.testing.assert_allclose(course.shift, np.array([[0.08, 0], [0, 0.06]]) * wide._scale, rtol=1e-5)


@pytest.mark.parametrize("way", [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)])
def test_how_far_follows_from_the_room(wide: WarpRenderer, close: WarpRenderer, way) -> None:
    far, near = (float(np.linalg.norm(each._course(at(way)).shift[0])) / each._scale for each in (wide, close))
    assert 0.5 > far > 1.5 * near
    assert near > 0.01


def test_growth_is_limited(close: WarpRenderer) -> None:
    sizes = np.cbrt(np.linalg.det(close._course(at((0, 0, 0.29), (0, 0, -5))).turn))
    assert 1.15 < sizes[0] < 1.8
    assert 0.5 < sizes[1] < 0.9


def test_it_works_without_a_mask() -> None:
    portrait = replace(person(100), person_mask=None)
    renderer = WarpRenderer(portrait)
    frame = next(renderer.render(at((0.06, 0.03, 0.05))))
    assert isinstance(renderer._lean, Lean)
    assert frame.shape == portrait.image.shape
