"""The sculpture view of the rig."""

from dataclasses import replace

import numpy as np
import pytest

from mien.rendering.mesh import MeshRenderer
from mien.types import FaceMotion


@pytest.fixture(scope="module")
def renderer() -> MeshRenderer:
    return MeshRenderer(size=160)


def test_a_face_on_a_plain_ground(renderer: MeshRenderer) -> None:
    frame = next(renderer.render(FaceMotion.zeros(1, 25.0)))
    assert frame.shape == (160, 160, 3) and frame.dtype == np.uint8
    assert (frame[[0, -1]] == frame[0, 0]).all()
    assert 0.15 < (frame != frame[0, 0]).any(-1).mean() < 0.6


def test_the_same_motion_gives_the_same_bytes(renderer: MeshRenderer) -> None:
    motion = FaceMotion.zeros(2, 25.0).with_columns({"jawOpen": [0.3, 0.9]})
    together = list(renderer.render(motion))
    assert np.array_equal(together[1], next(renderer.render(motion[1:2])))


def test_an_open_jaw_is_dark_inside_and_a_turned_head_is_asymmetric(renderer: MeshRenderer) -> None:
    rest, opened = renderer.render(FaceMotion.zeros(2, 25.0).with_columns({"jawOpen": [0, 1]}))
    assert opened.min() < rest[80:].min()
    turned = next(renderer.render(replace(FaceMotion.zeros(1, 25.0), head_pose=np.array([[0, 0.4, 0]]))))
    covered = [(image != image[0, 0]).any(-1) for image in (rest, turned)]
    left, right = (covered[1][:, half].sum() for half in (slice(0, 80), slice(80, 160)))
    assert right > 1.1 * left  # to the subject's left: the viewer's right
