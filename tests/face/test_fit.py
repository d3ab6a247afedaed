"""Vertices to coefficients and motion between rigs with and without joints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flame_files import talking_flame, write_flame_pickle

import mien.face.rig
from mien.errors import InputError
from mien.face.fit import fit_identity, fit_motion
from mien.face.rig import Rig, load_rig, retarget, rig_of_flame
from mien.types import FaceIdentity, FaceMotion

T = 9


@pytest.fixture(scope="module")
def flame() -> Rig:
    return rig_of_flame(talking_flame())


@pytest.fixture
def flame_by_name(flame: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(mien.face.rig, "load_rig", lambda name="builtin": flame if name == "flame" else load_rig(name))
    return flame


@pytest.fixture
def person(flame: Rig) -> FaceIdentity:
    random = np.random.default_rng(2)
    return FaceIdentity("flame", random.normal(size=len(flame.identity_basis)), np.zeros((flame.n_vertices, 3)))


def speaking(rig: Rig) -> FaceMotion:
    random = np.random.default_rng(1)
    return replace(
        FaceMotion.zeros(T, 60.0, rig.name, rig.expression_names),
        expression=random.normal(0, 0.3, (T, len(rig.expression_names))),
        jaw_pose=np.stack([random.uniform(0, 0.4, T), *random.normal(0, 0.03, (2, T))], 1),
    )


def test_shape_is_found_and_the_rest_kept(flame: Rig, person: FaceIdentity) -> None:
    mesh = flame.neutral(person)
    found, residual = fit_identity(flame, mesh)
    assert residual < 2e-5
    np.testing.assert_allclose(found.betas, person.betas, atol=0.02)
    noisy = mesh + np.random.default_rng(0).normal(0, 1e-3, mesh.shape).astype(np.float32)
    found, residual = fit_identity(flame, noisy)
    assert residual == pytest.approx(1e-3 * 3**0.5, rel=0.1)
    np.testing.assert_allclose(flame.neutral(found), noisy, atol=1e-6)


def test_expression_and_jaw_are_found_together(flame: Rig, person: FaceIdentity) -> None:
    motion = speaking(flame)
    meshes = flame.pose(flame.vertices(motion, person), motion)
    found, left = fit_motion(flame, meshes, 60.0, person, noise=1e-6)
    assert left.shape == (T,) and left.max() < 2e-6
    np.testing.assert_allclose(found.jaw_pose, motion.jaw_pose, atol=1e-3)
    np.testing.assert_allclose(found.expression, motion.expression, atol=0.02)
    found, left = fit_motion(flame, meshes, 60.0, person)
    assert left.max() < 5e-5  # with the prior for noisy meshes


def test_the_residual_is_the_distance_that_is_left(flame: Rig) -> None:
    motion = speaking(flame)
    noise = np.random.default_rng(4).normal(0, 1e-3, (T, flame.n_vertices, 3)).astype(np.float32)
    meshes = flame.pose(flame.vertices(motion), motion) + noise
    found, left = fit_motion(flame, meshes, 60.0)
    again = flame.pose(flame.vertices(found), found)
    np.testing.assert_allclose(left, np.sqrt(((again - meshes) ** 2).sum(-1).mean(-1)), rtol=1e-3)
    assert left.mean() == pytest.approx(1e-3 * 3**0.5, rel=0.05)
    assert np.abs(found.jaw_pose - motion.jaw_pose).max() < 0.02


def test_named_weights_are_found_on_a_rig_without_joints() -> None:
    rig = load_rig()
    random = np.random.default_rng(3)
    weights = random.random((T, 52)) * (random.random((T, 52)) < 0.2)
    motion = replace(FaceMotion.zeros(T, 25.0), expression=weights)
    found, left = fit_motion(rig, rig.vertices(motion), 25.0)
    np.testing.assert_allclose(found.expression, weights, atol=1e-4)
    assert left.max() < 1e-6


def test_meshes_of_another_size_are_refused(flame: Rig) -> None:
    with pytest.raises(ValueError, match=r"expected \(1958, 3\), got \(5, 3\)"):
        fit_identity(flame, np.zeros((5, 3), np.float32))
    with pytest.raises(ValueError, match=r"expected \(T, 1958, 3\)"):
        fit_motion(flame, np.zeros((2, 5, 3), np.float32), 25.0)
    assert fit_motion(flame, np.zeros((0, 1958, 3), np.float32), 25.0)[1].shape == (0,)


def test_motion_goes_to_a_jaw_on_a_joint_and_back(flame_by_name: Rig) -> None:
    opening = np.linspace(0, 1, T)
    motion = FaceMotion.zeros(T, 25.0).with_columns({"jawOpen": opening, "mouthSmileLeft": 0.5, "mouthSmileRight": 0.5})
    there, residual = retarget(motion, flame_by_name)
    assert there.rig == "flame" and residual < 1e-3
    assert there.jaw_pose[-1, 0] > 0.2 and (np.diff(there.jaw_pose[:, 0]) > 0.01).all()
    back, residual = retarget(there, load_rig())
    assert residual < 1e-3
    np.testing.assert_allclose(back.column("jawOpen"), opening, atol=0.05)
    np.testing.assert_allclose(back.column("mouthSmileLeft"), 0.5, atol=0.1)


def test_heads_turn_about_the_same_point_of_the_face(flame_by_name: Rig) -> None:
    builtin = load_rig()
    turning = np.stack([np.linspace(0, 0.3, T), np.linspace(0, -0.5, T), np.zeros(T)], 1)
    motion = replace(FaceMotion.zeros(T, 25.0), head_pose=turning, translation=turning * 0.05)
    there, _ = retarget(motion, flame_by_name)
    expected = builtin.pose(builtin.vertices(motion), motion)
    np.testing.assert_allclose(flame_by_name.pose(flame_by_name.vertices(there), there), expected, atol=2e-4)
    back, _ = retarget(there, builtin)
    np.testing.assert_allclose(back.translation, motion.translation, atol=1e-5)


def test_a_rig_without_landmarks_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    blind = load_rig(write_flame_pickle(tmp_path / "model.pkl"))
    with pytest.raises(InputError, match=r"landmarks are; fetch or add flame-landmarks"):
        retarget(FaceMotion.zeros(1, 25.0), blind)
