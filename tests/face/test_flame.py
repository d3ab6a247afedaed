"""FLAME's files and formula: equal to the official programs, whose numbers stand in the shared references."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flame_files import flame_content, write_flame_pickle
from reference import REFERENCE, stored

from mien.errors import FormatError, InputError
from mien.face.flame import (
    JOINT_NAMES,
    PARTS,
    FlameModel,
    contour_rows,
    read_flame,
    read_landmarks,
    read_masks,
    write_flame,
)
from mien.face.rig import Rig, load_rig, rig_of_flame
from mien.face.skinning import Skeleton
from mien.pickles import read_pickle
from mien.types import FaceIdentity, FaceMotion

LIKE = REFERENCE / "flame_like"
needs_reference = pytest.mark.skipif(not LIKE.exists(), reason="the shared references are not here")


@pytest.fixture(scope="module")
def official() -> FlameModel:
    return read_flame(LIKE / "generic_model.pkl", landmarks=LIKE / "landmark_embedding.npy")


@pytest.fixture(scope="module")
def numbers() -> dict[str, np.ndarray]:
    return stored("flame_model")[0]


@pytest.fixture
def model(tmp_path: Path) -> FlameModel:
    return read_flame(write_flame_pickle(tmp_path / "model.pkl"))


def poses(numbers: dict[str, np.ndarray], *, eyes: bool = False, neck: bool = False) -> np.ndarray:
    rotations = np.zeros((6, 5, 3), np.float32)
    rotations[:, 0], rotations[:, 2] = numbers["in/pose"][:, :3], numbers["in/pose"][:, 3:]
    if eyes:
        rotations[:, 3:] = numbers["in/eyes"].reshape(6, 2, 3)
    if neck:
        rotations[:, 1] = numbers["in/neck"]
    return rotations


def shaped(model: FlameModel, numbers: dict[str, np.ndarray]) -> np.ndarray:
    """DECA's use: the first 100 of 300 identity directions, the first 50 of 100 expressions."""
    identity = np.tensordot(numbers["in/shape"], model.identity_basis[:100], 1)
    return identity + np.tensordot(numbers["in/expression"], model.expression_basis[:50], 1) + model.template


def close(name: str, got: np.ndarray, numbers: dict[str, np.ndarray]) -> None:
    tolerance = stored("flame_model")[1]["outputs"][name]["tolerance"]
    np.testing.assert_allclose(got, numbers[f"out/{name}"], rtol=0, atol=tolerance)


@needs_reference
@pytest.mark.parametrize(
    ("name", "part"), [("generic_model", "expected_content"), ("variant_select", "expected_content_variant_select")]
)
def test_every_array_of_the_official_layout(name: str, part: str) -> None:
    content = read_pickle(LIKE / f"{name}.pkl")
    for key, expected in stored("flame_model")[1][part].items():
        array = np.ascontiguousarray(content[key])
        assert (list(array.shape), array.dtype.name) == (expected["shape"], expected["dtype"])
        assert hashlib.sha256(array.tobytes()).hexdigest() == expected["sha256_c_order"], key


@needs_reference
def test_the_hostile_file_is_refused() -> None:
    with pytest.raises(FormatError, match=r"must_refuse\.pkl: refused, it asks for (os|posix)\.getcwd"):
        read_flame(LIKE / "must_refuse.pkl")


@needs_reference
def test_blend_skinning_equals_smplx_and_deca() -> None:
    numbers, _ = stored("flame_lbs")
    skeleton = Skeleton(
        JOINT_NAMES, numbers["in/parents"], numbers["in/J_regressor"], numbers["in/lbs_weights"],
        numbers["in/posedirs"].reshape(36, 120, 3),
    )  # fmt: skip
    vertices = numbers["in/v_template"] + np.einsum("tb,vxb->tvx", numbers["in/betas"], numbers["in/shapedirs"])
    posed = skeleton.pose(vertices.astype(np.float32), numbers["in/pose"].reshape(4, 5, 3))
    np.testing.assert_allclose(posed, numbers["out/vertices"], rtol=0, atol=1.6e-6)
    np.testing.assert_allclose(posed, numbers["out/deca_vertices"], rtol=0, atol=1.6e-6)
    np.testing.assert_allclose(skeleton.joints(vertices), numbers["out/rest_joints"], rtol=0, atol=2.3e-7)


@needs_reference
def test_vertices_equal_the_official_classes(official: FlameModel, numbers: dict[str, np.ndarray]) -> None:
    vertices, skeleton = shaped(official, numbers).astype(np.float32), official.skeleton
    close("deca_vertices", skeleton.pose(vertices, poses(numbers)), numbers)
    close("deca_vertices_eyes", skeleton.pose(vertices, poses(numbers, eyes=True)), numbers)
    everything = skeleton.pose(vertices, poses(numbers, eyes=True, neck=True))
    close("smplx_vertices", everything + numbers["in/transl"][:, None], numbers)


@needs_reference
def test_landmarks_equal_the_official_classes(official: FlameModel, numbers: dict[str, np.ndarray]) -> None:
    rotations, triangles, landmarks = poses(numbers), official.triangles, official.landmarks
    assert landmarks is not None
    posed = official.skeleton.pose(shaped(official, numbers).astype(np.float32), rotations)
    close("deca_landmarks3d", landmarks.full.points(posed, triangles), numbers)
    close("deca_landmarks2d", landmarks.seen(posed, triangles, rotations), numbers)
    rotations = poses(numbers, eyes=True, neck=True)
    posed = official.skeleton.pose(shaped(official, numbers).astype(np.float32), rotations)
    points = landmarks.seen(posed, triangles, rotations, "smplx") + numbers["in/transl"][:, None]
    joints_then_inner_then_outline = numbers["out/smplx_joints"]
    np.testing.assert_allclose(points[:, 17:], joints_then_inner_then_outline[:, 5:56], rtol=0, atol=2e-6)
    np.testing.assert_allclose(points[:, :17], joints_then_inner_then_outline[:, 56:], rtol=0, atol=2e-6)


@needs_reference
def test_contour_rows_equal_the_official_ones(numbers: dict[str, np.ndarray]) -> None:
    assert contour_rows(poses(numbers)).tolist() == numbers["out/deca_contour_row"].tolist()
    turned = poses(numbers, neck=True)
    assert contour_rows(turned, "smplx").tolist() == numbers["out/smplx_contour_row"].tolist()


@pytest.mark.parametrize(("degrees", "row"), [(-50, 78), (-39, 78), (-38, 77), (-1, 40), (0, 0), (39, 39), (50, 39)])
def test_contour_row_of_a_yaw(degrees: float, row: int) -> None:
    rotations = np.zeros((1, 5, 3))
    rotations[0, 0, 1] = np.deg2rad(degrees)
    assert contour_rows(rotations).tolist() == [row]
    assert contour_rows(-rotations, "smplx").tolist() == [row]


def test_no_motion_is_the_template(model: FlameModel) -> None:
    rig = rig_of_flame(model)
    still = FaceMotion.zeros(2, 60.0, rig.name, rig.expression_names)
    posed = rig.pose(rig.vertices(still), still)
    np.testing.assert_allclose(posed, np.stack([model.template] * 2), atol=1e-8)


def test_a_rig_moves_as_the_formula_says(model: FlameModel) -> None:
    rig = rig_of_flame(model)
    random = np.random.default_rng(1)
    identity = FaceIdentity("flame", random.normal(size=300), random.normal(0, 1e-3, (40, 3)))
    motion = replace(
        FaceMotion.zeros(3, 60.0, "flame", rig.expression_names),
        expression=random.normal(size=(3, 6)), jaw_pose=random.normal(0, 0.2, (3, 3)),
        head_pose=random.normal(0, 0.3, (3, 3)), eye_pose=random.normal(0, 0.2, (3, 2, 3)),
        translation=random.normal(size=(3, 3)), offsets=random.normal(0, 1e-3, (3, 40, 3)),
    )  # fmt: skip
    rotations = np.zeros((3, 5, 3), np.float32)
    rotations[:, 0], rotations[:, 2], rotations[:, 3:] = motion.head_pose, motion.jaw_pose, motion.eye_pose
    shape = model.template + np.tensordot(identity.betas, model.identity_basis, 1) + identity.residual
    unposed = shape + np.tensordot(motion.expression, model.expression_basis, 1) + motion.offsets
    expected = model.skeleton.pose(unposed.astype(np.float32), rotations) + motion.translation[:, None]
    np.testing.assert_allclose(rig.pose(rig.vertices(motion, identity), motion), expected, atol=1e-6)


def test_the_jaw_turns_its_vertices_and_no_others(model: FlameModel) -> None:
    skeleton = replace(model.skeleton, pose_basis=np.zeros_like(model.skeleton.pose_basis))
    rotations = np.zeros((1, 5, 3), np.float32)
    rotations[0, 2, 0] = 0.3
    moved = skeleton.pose(model.template[None], rotations)[0] - model.template
    jaw = model.skeleton.skinning_weights[:, 2] == 1
    assert np.abs(moved[~jaw]).max() < 1e-8
    joint = skeleton.joints(model.template[None])[0, 2]
    radius = np.hypot(*(model.template[jaw] - joint)[:, 1:].T)
    np.testing.assert_allclose(np.linalg.norm(moved[jaw], axis=1), 2 * radius * np.sin(0.15), atol=1e-6)


def test_load_rig_reads_flame_files(tmp_path: Path, model: FlameModel) -> None:
    write_flame(tmp_path / "model.npz", model)
    for name in ("model.pkl", "model.npz"):
        rig = load_rig(tmp_path / name)
        assert isinstance(rig, Rig) and rig.name == "flame" and rig.n_vertices == 40
        assert rig.expression_names[0] == "expression_0" and len(rig.expression_names) == 6
        np.testing.assert_array_equal(rig.template, model.template)


def test_eyeballs_are_known_on_the_official_topology(tmp_path: Path) -> None:
    n = PARTS["eyeball_right"].stop
    content = flame_content(n_vertices=n, n_expressions=0)
    content["f"] = np.array([[3931, 3932, 3933], [0, 1, 2], [5022, 5021, 5020], [5, 6, 7]], np.uint32)
    content["shapedirs"] = content["shapedirs"][..., :2]
    content["v_template"][3931:3934] = [[0, 0, 0.01], [0.001, 0, 0.01], [0, 0.001, -0.03]]  # looks down and away
    content["v_template"][5020:5023] = [[0.01, 0, 0], [0.01, 0.001, 0], [-0.03, 0, 0.001]]
    rig = load_rig(write_flame_pickle(tmp_path / "full.pkl", **content))
    assert rig.triangles[rig.triangle_parts["skin"]].tolist() == [[0, 1, 2], [5, 6, 7]]
    for side, corners in (("left", [3931, 3932, 3933]), ("right", [5022, 5021, 5020])):
        eye = [rig.triangle_parts[f"{kind}_{side}"] for kind in ("pupil", "iris", "sclera")]
        assert [rig.triangles[part].tolist() for part in eye if part.stop > part.start] == [[corners]]
    assert rig.triangle_parts["sclera_right"].stop == 4


@needs_reference
def test_written_models_come_back_whole(tmp_path: Path, official: FlameModel) -> None:
    write_flame(tmp_path / "a.npz", replace(official, masks={"lips": np.arange(4, dtype=np.int32)}), "CC-BY 4.0")
    back = read_flame(tmp_path / "a.npz")
    assert back.source == official.source and back.masks is not None and back.landmarks is not None
    assert back.masks["lips"].tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(back.identity_basis, official.identity_basis)
    np.testing.assert_array_equal(back.skeleton.pose_basis, official.skeleton.pose_basis)
    np.testing.assert_array_equal(back.landmarks.contour.weights, official.landmarks.contour.weights)
    assert rig_of_flame(back).landmark_indices_68.shape == (68,)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"weights": None}, "it is without weights"),
        ({"shapedirs": np.zeros((39, 3, 300))}, "shapedirs: expected shape"),
        ({"posedirs": np.zeros((40, 3, 27))}, "posedirs: expected shape"),
        ({"f": np.full((2, 3), 40)}, "do not fit 40 vertices"),
        ({"v_template": np.full((40, 3), np.nan)}, "v_template: contains NaN"),
        ({"kintree_table": np.zeros((2, 5))}, "no tree of five joints"),
        ({"v_template": "forty vertices"}, "no FLAME model"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, changes: dict[str, object], word: str) -> None:
    path = write_flame_pickle(tmp_path / "model.pkl", **changes)
    with pytest.raises(FormatError, match=word) as caught:
        read_flame(path)
    assert "\n" not in str(caught.value) and "flame.is.tue.mpg.de" in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_flame(tmp_path / "no.pkl")
    model = write_flame_pickle(tmp_path / "model.pkl")
    with pytest.raises(FormatError, match="no landmark embedding"):
        read_landmarks(model)
    with pytest.raises(FormatError, match="no vertex masks"):
        read_masks(model)
