"""Edits of a sequence of meshes: what is asked for happens, at its time, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from flame_files import talking_flame

from mien.errors import InputError
from mien.face.edit import add_blinks, change_shape, edited, turn_head
from mien.face.rig import load_rig, rig_of_flame
from mien.types import FaceMotion

T = 81


@pytest.fixture(scope="module")
def meshes() -> np.ndarray:
    rig = load_rig()
    opening = np.sin(np.linspace(0, 6, T)) ** 2
    return rig.vertices(FaceMotion.zeros(T, 60.0).with_columns({"jawOpen": opening}))


def test_shape_grows_to_half_time_and_goes_back(meshes: np.ndarray) -> None:
    rig = load_rig()
    edited = change_shape(rig, meshes, index=2, amount=3.0)
    np.testing.assert_array_equal(edited[[0, -1]], meshes[[0, -1]])
    np.testing.assert_allclose(edited[T // 2] - meshes[T // 2], 3 * rig.identity_basis[2], atol=1e-6)
    np.testing.assert_allclose(edited[T // 4] - meshes[T // 4], 1.5 * rig.identity_basis[2], atol=1e-6)


@pytest.mark.parametrize("joints", [False, True])
def test_the_head_turns_both_ways(meshes: np.ndarray, joints: bool) -> None:
    rig = rig_of_flame(talking_flame()) if joints else load_rig()
    edited = turn_head(rig, meshes, axis=1, angle=0.5)
    for frame, angle in ((0, 0), (20, 0.5), (40, 0), (60, -0.5), (80, 0)):
        a, b = (points[[0, 10, 152, 234, 454]] - points[1] for points in (meshes[frame], edited[frame]))
        yaw = np.arctan2(b[3:, 0], b[3:, 2]) - np.arctan2(a[3:, 0], a[3:, 2])
        np.testing.assert_allclose(yaw, angle, atol=2e-2 if joints else 1e-4)
        if not joints:
            np.testing.assert_allclose(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1), atol=1e-6)


def test_blinks_come_at_equal_distances_and_close_the_eyes(meshes: np.ndarray) -> None:
    rig = load_rig()
    closed = sum(rig.expression_basis[rig.expression_index[f"eyeBlink{side}"]] for side in ("Left", "Right"))
    edited = add_blinks(meshes, closed, 3, fps=60.0)
    amount = np.einsum("tvx,vx->t", edited - meshes, closed) / (closed**2).sum()
    starts = [20, 40, 60]
    for start in starts:
        np.testing.assert_allclose(amount[start : start + 16 : 5], [0, 1, 1, 0], atol=1e-4)
    assert (amount > 1e-4).sum() == 3 * 14
    late = add_blinks(meshes[:40], closed, 1, fps=60.0)
    assert not np.array_equal(late, meshes[:40])
    np.testing.assert_array_equal(add_blinks(meshes[:30], closed, 1, fps=60.0), meshes[:30])  # it would not end


def test_a_motion_is_edited_as_its_meshes_are(meshes: np.ndarray) -> None:
    rig = load_rig()
    opening = np.sin(np.linspace(0, 6, T)) ** 2
    motion = FaceMotion.zeros(T, 60.0).with_columns({"jawOpen": opening})
    closed = rig.expression_basis[[rig.expression_index[f"eyeBlink{side}"] for side in ("Left", "Right")]].sum(0)
    wanted = turn_head(rig, add_blinks(change_shape(rig, meshes, 2, 1.5), closed, 2), 1, 0.4)
    made = edited(motion, rig, shape=(2, 1.5), head=(1, 0.4), blinks=2)
    np.testing.assert_allclose(rig.pose(rig.vertices(made), made), wanted, atol=1e-6)
    assert edited(motion, rig).expression is motion.expression


def test_blinks_are_carried_to_a_rig_without_them() -> None:
    rig = rig_of_flame(talking_flame())
    still = FaceMotion.zeros(T, 60.0, "flame", rig.expression_names)
    made = edited(still, rig, blinks=1)
    moving = np.abs(made.expression).max(1)
    start = T // 2
    assert moving[start + 5] > 0 and not moving[:start].any() and not moving[start + 16 :].any()


def test_shapes_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="no shape 999; rig builtin has 0 to"):
        edited(FaceMotion.zeros(5, 25.0), load_rig(), shape=(999, 1.0))
