"""Paste-back: nothing away from the face changes, no seam, an opened jaw fits in, detail of the film is kept."""

import numpy as np
import pytest

from mien.face.rig import load_rig
from mien.rendering.composite import Paster, blend
from mien.rendering.conditioning import screen_points
from mien.types import FaceMotion

SIZE = 128


def landmarks(**weights: float) -> np.ndarray:
    motion = FaceMotion.zeros(1, 25.0).with_columns(weights)
    camera = np.array([[500.0, 64.0, 70.0]], np.float32)
    return screen_points(load_rig(), None, motion, camera)[0, :478]


@pytest.fixture(scope="module")
def paster() -> Paster:
    return Paster(load_rig(), SIZE)


def test_blending_a_picture_with_itself_gives_it_back() -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (61, 83, 3)).astype(np.float32)
    mask = np.random.default_rng(1).uniform(0, 1, (61, 83)).astype(np.float32)
    assert np.abs(blend(picture, picture, mask) - picture).max() < 1e-2


def test_the_seam_between_two_brightnesses_is_soft() -> None:
    below, above = np.full((96, 96, 3), 90, np.float32), np.full((96, 96, 3), 130, np.float32)
    mask = np.zeros((96, 96), np.float32)
    mask[:, 48:] = 1
    joined = blend(below, above, mask)[48, :, 0]
    assert joined[0] < 95 and joined[-1] > 125
    assert np.abs(np.diff(joined)).max() < 8  # 40 in one step without the pyramid


def test_the_mask_covers_what_moves_and_leaves_the_rest(paster: Paster) -> None:
    rest, opened = landmarks(), landmarks(jawOpen=0.8)
    assert paster.mask(rest, rest).max() == 0
    mask = paster.mask(rest, opened)
    for chin in (rest[152], opened[152] - [0, 2, 0]):  # where it was and where it goes
        assert mask[int(chin[1]), int(chin[0])] > 0.5
    assert np.array_equal(mask > 0.5, paster.mask(opened, rest) > 0.5)
    forehead = rest[10]
    assert mask[int(forehead[1]) + 3, int(forehead[0])] == 0


def test_pixels_away_from_the_face_stay_byte_for_byte(paster: Paster) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (200, 220, 3), np.uint8)
    drawn = np.full((SIZE, SIZE, 3), 200, np.uint8)
    box = np.array([40.5, 30.25, 128], np.float32)
    out = paster.paste(picture, drawn, box, landmarks(), landmarks(jawOpen=0.8))
    changed = np.abs(out.astype(int) - picture).max(-1) > 0
    assert changed.any()
    rows, columns = np.nonzero(changed)
    assert rows.min() > 40 and rows.max() < 165 and columns.min() > 45 and columns.max() < 165
    lips = landmarks(jawOpen=0.8)[14]
    assert np.abs(out[int(lips[1] + 30), int(lips[0] + 40)].astype(int) - 200).max() < 30


def test_a_large_face_keeps_the_films_detail(paster: Paster) -> None:
    """A window of 128 px in a face of 384: stripes finer than the window's pixels survive on skin that moves."""
    scale = 3
    stripes = 128 + 60 * (np.arange(scale * SIZE) % 3 == 0)
    picture = np.repeat(np.tile(stripes.astype(np.uint8)[:, None], (1, scale * SIZE))[..., None], 3, -1)
    drawn = np.full((SIZE, SIZE, 3), 148, np.uint8)
    wanted = landmarks(cheekPuff=1.0, jawOpen=0.5)
    out = paster.paste(picture, drawn, np.array([0, 0, scale * SIZE], np.float32), landmarks(), wanted)
    x, y = (scale * wanted[199, :2]).astype(int)  # the chin
    assert out[y - 12 : y + 12, x - 12 : x + 12].std() > 10
    lips = (landmarks()[13], wanted[13], wanted[14])
    inside = (scale * (lips[1] + lips[2]) / 2).astype(int)
    assert out[inside[1] - 3 : inside[1] + 3, inside[0] - 4 : inside[0] + 4].std() < 10  # nothing of it in the mouth


def test_a_box_beyond_the_picture_is_no_harm(paster: Paster) -> None:
    picture = np.zeros((60, 60, 3), np.uint8)
    drawn = np.full((SIZE, SIZE, 3), 200, np.uint8)
    for box in ([-90, -80, 128], [500, 0, 128]):
        out = paster.paste(picture, drawn, np.array(box, np.float32), landmarks(), landmarks(jawOpen=0.8))
        assert out.shape == picture.shape


def test_black_where_nothing_is_drawn_does_not_darken_what_is(paster: Paster) -> None:
    """A window that shows the film itself, but only around the face: pasted, the film is as it was."""
    own, wanted = landmarks(), landmarks(jawOpen=0.8)
    covered = (paster.mask(own, wanted) > 0).astype(np.float32)
    picture = np.full((SIZE, SIZE, 3), 120, np.uint8)
    drawn = picture * covered.astype(np.uint8)[..., None]
    box = np.array([0, 0, SIZE], np.float32)
    assert np.array_equal(paster.paste(picture, drawn, box, own, wanted, covered), picture)
    assert paster.paste(picture, drawn, box, own, wanted).min() < 110
