"""Geometry images of the built-in rig, and of a rig that has neither eyes nor a mouth of its own."""

from dataclasses import replace

import numpy as np
import pytest

from mien.face.rig import load_rig
from mien.rendering.conditioning import Condition, Conditioner, in_window, screen_points
from mien.types import FaceMotion

SIZE = 128
CAMERA = np.array([[600.0, 64.0, 70.0]], np.float32)


def points(camera: np.ndarray = CAMERA, gaze: float = 0.0, **weights: float) -> np.ndarray:
    motion = FaceMotion.zeros(1, 25.0).with_columns(weights)
    motion = replace(motion, eye_pose=np.tile(np.array([0, gaze, 0], np.float32), (1, 2, 1)))
    return screen_points(load_rig(), None, motion, camera)[0]


@pytest.fixture(scope="module")
def conditioner() -> Conditioner:
    return Conditioner(load_rig(), SIZE)


@pytest.fixture(scope="module")
def still(conditioner: Conditioner) -> Condition:
    return conditioner.draw(points())


def test_a_moved_face_moves_its_colours_and_changes_none(conditioner: Conditioner, still: Condition) -> None:
    moved = conditioner.draw(points(CAMERA + np.array([0, 7, -5], np.float32)))
    assert np.abs(moved.positions[:-5, 7:] - still.positions[5:, :-7]).max() < 1e-4
    assert np.array_equal(moved.mask[:-5, 7:], still.mask[5:, :-7])


def test_colours_are_places_on_the_mean_face(conditioner: Conditioner, still: Condition) -> None:
    rig = load_rig()
    skin = rig.template[:468]
    low, high = skin.min(0), skin.max(0)
    for vertex in (4, 205, 425, 151):  # nose, cheeks, forehead: seen from the front
        x, y = np.rint(points()[vertex, :2]).astype(int)
        expected = (rig.template[vertex] - low) / (high - low)
        assert np.abs(still.positions[y, x] - expected).max() < 0.03
    assert still.positions[still.mask == 0].max() == 0


def test_an_open_mouth_is_black_but_belongs_to_the_mask(conditioner: Conditioner, still: Condition) -> None:
    opened = conditioner.draw(points(jawOpen=0.8))
    hole = (opened.mask == 1) & (opened.positions.sum(-1) == 0)
    assert hole.sum() > 60
    assert ((still.mask == 1) & (still.positions.sum(-1) == 0)).sum() < 10
    assert opened.mask.sum() > still.mask.sum()  # the chin has gone down


def test_pupils_follow_the_gaze_and_lids_the_blink() -> None:
    near = np.array([[3000.0, 128.0, 230.0]], np.float32)  # the eyes fill the window
    conditioner = Conditioner(load_rig(), 256)
    ahead, aside = (conditioner.draw(points(near, gaze)).eyes for gaze in (0, 0.3))
    blink = conditioner.draw(points(near, eyeBlinkLeft=1, eyeBlinkRight=1)).eyes

    def red_middle(eyes: np.ndarray) -> float:
        return float(np.nonzero((eyes[..., 0] > 0.5) & (eyes[..., 1] < 0.3))[1].mean())

    def opening(eyes: np.ndarray) -> float:
        return float(np.ptp(np.nonzero(eyes[..., 1] > 0.5)[0]))

    assert red_middle(aside) > red_middle(ahead) + 5  # to the subject's left
    assert opening(blink) < 0.6 * opening(ahead)


def test_the_shape_is_lit_from_the_front(still: Condition) -> None:
    x, y = np.rint(points()[4, :2]).astype(int)
    edge = still.shape[(still.mask == 1)].min()
    assert still.shape[y, x] > 0.8 > edge


def test_planes_of_the_published_renderers(still: Condition) -> None:
    assert still.head2head().shape == (SIZE, SIZE, 6)
    planes = still.ned()
    assert planes.shape == (SIZE, SIZE, 10)
    assert np.array_equal(planes[..., 9], still.mask)
    assert planes[..., 3].max() == 1 and planes[..., 4:6].max() == 0  # red discs, no lids
    assert planes.min() >= 0 and planes.max() <= 1


def test_carried_values_are_interpolated_between_vertices(conditioner: Conditioner) -> None:
    at = points()
    carried = conditioner.draw(at, at[:, :2]).carried
    y, x = np.nonzero(conditioner.draw(at).mask)
    assert np.abs(carried[y, x] - np.stack([x, y], 1)).max() < 0.6  # silhouettes reach a little over


def test_a_window_shows_the_same_place(conditioner: Conditioner) -> None:
    moved = in_window(np.array([[10.0, 20.0, 4.0]], np.float32), np.array([10, 20, 32]), 64)
    assert np.allclose(moved, [[-0.5, -0.5, 8]])  # the outer corner of the first pixel


def test_a_rig_without_parts_is_drawn_as_well() -> None:
    rig = load_rig()
    n_skin = rig.triangle_parts["skin"]
    bare = replace(rig, triangle_parts={"skin": n_skin}, landmark_indices_68=np.zeros(0, np.int32))
    condition = Conditioner(bare, SIZE).draw(points())
    assert condition.mask.sum() > 2000
    assert condition.eyes.max() == 0
