"""Geometry for other programs shows what the rig shows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flame_files import write_flame_pickle
from glb_reader import Glb

from mien.cli import main
from mien.errors import FormatError, InputError, OutputError
from mien.face.edit import edited
from mien.face.rig import Rig, load_rig
from mien.media.mesh_file import read_vertices
from mien.pipelines.geometry import write_geometry
from mien.progress import Silent
from mien.types import ARKIT_NAMES, FaceIdentity, FaceMotion

N = 12
PHASE = np.linspace(0, 1, N)


@pytest.fixture
def motion() -> FaceMotion:
    """Jaw, blink, smile, gaze and head at once."""
    moving = FaceMotion.zeros(N, 25.0).with_columns(
        {"jawOpen": PHASE, "eyeBlinkLeft": 1 - PHASE, "mouthSmileRight": PHASE**2}
    )
    none = 0 * PHASE
    return replace(
        moving,
        head_pose=np.stack([0.1 * PHASE, 3.0 * PHASE, none], 1),
        translation=np.stack([none, 0.01 * PHASE, none], 1),
        eye_pose=np.stack([np.stack([0.2 * PHASE, 0.3 * PHASE, none], 1)] * 2, 1),
    )


@pytest.fixture
def identity() -> FaceIdentity:
    rig = load_rig()
    random = np.random.default_rng(0)
    return FaceIdentity("builtin", random.normal(size=len(rig.identity_basis)), np.zeros((rig.n_vertices, 3)))


@pytest.fixture
def flame(tmp_path: Path) -> Rig:
    return load_rig(write_flame_pickle(tmp_path / "model.pkl"))


def shown(rig: Rig, motion: FaceMotion, identity: FaceIdentity | None = None) -> np.ndarray:
    return rig.pose(rig.vertices(motion, identity), motion)


def triangles_of(rig: Rig) -> np.ndarray:
    """In the order of the file: the head, then the eyes."""
    parts = [part for part in rig.triangle_parts if part not in ("eye_left", "eye_right", "mouth")]
    eyes = ("sclera", "iris", "pupil")
    head = [part for part in parts if part.split("_")[0] not in eyes or rig.skeleton]
    left = [part for part in parts if part.endswith("_left") and part not in head]
    right = [part for part in parts if part.endswith("_right") and part not in head]
    return np.concatenate([rig.triangles[rig.triangle_parts[part]] for part in head + left + right])


def validator_says(path: Path) -> dict[str, int] | None:
    """The Khronos validator's counts; ``None`` without node and its package ``gltf-validator`` (set NODE_PATH)."""
    program = (
        "require('gltf-validator').validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report.issues)))"
    )
    if shutil.which("node") is None:
        return None
    run = subprocess.run(["node", "-e", program, str(path)], capture_output=True, text=True, env=dict(os.environ))
    return json.loads(run.stdout) if run.returncode == 0 else None


def test_a_viewer_of_the_glb_sees_the_rig(tmp_path: Path, motion: FaceMotion, identity: FaceIdentity) -> None:
    rig = load_rig()
    write_geometry(tmp_path / "a.glb", rig, motion, identity=identity, progress=Silent())
    glb = Glb(tmp_path / "a.glb")
    expected = shown(rig, motion, identity)[:, triangles_of(rig)]
    for frame in (0, 5, N - 1):
        np.testing.assert_allclose(glb.triangles(frame), expected[frame], atol=2e-6)
    np.testing.assert_allclose(glb.times(), np.arange(N) / 25, atol=1e-6)
    head, *eyes = glb.document["nodes"]
    assert head["name"] == "head" and [eye["name"] for eye in eyes] == ["eye_left", "eye_right"]
    assert glb.document["meshes"][0]["extras"]["targetNames"] == list(ARKIT_NAMES)


def test_the_validator_passes_it(tmp_path: Path, motion: FaceMotion, flame: Rig) -> None:
    write_geometry(tmp_path / "a.glb", load_rig(), motion, progress=Silent())
    write_geometry(tmp_path / "f.glb", flame, on_flame(flame), progress=Silent())
    for name in ("a.glb", "f.glb"):
        issues = validator_says(tmp_path / name)
        if issues is None:
            pytest.skip("the node package gltf-validator is not here (npm install gltf-validator; NODE_PATH)")
        assert issues["numErrors"] == issues["numWarnings"] == 0, issues


def on_flame(rig: Rig) -> FaceMotion:
    none = 0 * PHASE
    return replace(
        FaceMotion.zeros(N, 60.0, "flame", rig.expression_names).with_columns({"expression_2": np.sin(6 * PHASE)}),
        jaw_pose=np.stack([0.4 * PHASE, none, none], 1),
        head_pose=np.stack([none, 0.5 * PHASE, none], 1),
        eye_pose=np.stack([np.stack([0.2 * PHASE, none, none], 1)] * 2, 1),
    )


def test_a_jaw_on_joints_becomes_targets(tmp_path: Path, flame: Rig) -> None:
    moving = on_flame(flame)
    write_geometry(tmp_path / "f.glb", flame, moving, progress=Silent())
    glb = Glb(tmp_path / "f.glb")
    expected = shown(flame, moving)[:, triangles_of(flame)]
    for frame in range(N):
        np.testing.assert_allclose(glb.triangles(frame), expected[frame], atol=2e-4)
    names = glb.document["meshes"][0]["extras"]["targetNames"]
    assert names[0] == "expression_2" and names[1] == "motion_00" and len(names) < 8


def test_offsets_become_targets(tmp_path: Path, motion: FaceMotion) -> None:
    rig = load_rig()
    random = np.random.default_rng(3)
    shapes = random.normal(0, 2e-3, (2, rig.n_vertices, 3))
    moving = replace(motion, offsets=np.tensordot(random.random((N, 2)), shapes, 1), eye_pose=0 * motion.eye_pose)
    write_geometry(tmp_path / "a.glb", rig, moving, progress=Silent())
    glb = Glb(tmp_path / "a.glb")
    assert glb.document["meshes"][0]["extras"]["targetNames"][52:] == ["motion_00", "motion_01"]
    skin = rig.triangles[rig.triangle_parts["skin"]]
    np.testing.assert_allclose(glb.triangles(7)[: len(skin)], shown(rig, moving)[7][skin], atol=2e-4)


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_a_folder_of_meshes(tmp_path: Path, motion: FaceMotion, kind: str) -> None:
    rig = load_rig()
    for _ in range(2):  # a folder of frames may be replaced
        write_geometry(tmp_path / "out", rig, motion, mesh=kind, progress=Silent())  # type: ignore[arg-type]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"frame_{i:06d}.{kind}" for i in range(N)]
    expected = shown(rig, motion)
    for frame in (0, N - 1):
        got = read_vertices(tmp_path / "out" / f"frame_{frame:06d}.{kind}")
        np.testing.assert_allclose(got, expected[frame], atol=6e-7)


def test_coefficients_of_flame(tmp_path: Path, flame: Rig, motion: FaceMotion) -> None:
    moving = on_flame(flame)
    write_geometry(tmp_path / "a.flame.npz", flame, moving, progress=Silent())
    with np.load(tmp_path / "a.flame.npz") as file:
        assert set(file.files) == {"shape", "exp", "pose", "trans", "fps"} and file["fps"] == 60
        np.testing.assert_array_equal(file["exp"], moving.expression)
        np.testing.assert_array_equal(file["pose"][:, 6:9], moving.jaw_pose)
        np.testing.assert_array_equal(file["pose"][:, :3], moving.head_pose)
    with pytest.raises(InputError, match=r"of FLAME from a motion of rig 'builtin'; give --rig"):
        write_geometry(tmp_path / "b.flame.npz", load_rig(), motion, progress=Silent())


def test_what_does_not_fit_is_refused(tmp_path: Path, flame: Rig, motion: FaceMotion) -> None:
    with pytest.raises(InputError, match="does not fit the rig"):
        write_geometry(tmp_path / "a.glb", flame, motion, progress=Silent())
    with pytest.raises(OutputError, match="no format for a face in motion"):
        write_geometry(tmp_path / "a.fbx", load_rig(), motion, progress=Silent())
    assert not list(tmp_path.glob("a.*"))


PLY = """ply
format {} 1.0
comment made up
element vertex 2
property uchar red
property double x
property float y
property float z
element face 1
property list uchar int vertex_indices
end_header
"""


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_of_every_encoding(tmp_path: Path, encoding: str) -> None:
    order = ">" if "big" in encoding else "<"
    rows = np.array(
        [(9, 1, 2, 3), (8, 4.5, 5, -6)], [("r", "u1"), ("x", order + "f8"), ("y", order + "f4"), ("z", order + "f4")]
    )
    body = b"9 1 2 3\n8 4.5 5 -6\n3 0 1 0\n" if encoding == "ascii" else rows.tobytes() + b"\x03" + bytes(12)
    (tmp_path / "a.ply").write_bytes(PLY.format(encoding).encode() + body)
    assert read_vertices(tmp_path / "a.ply").tolist() == [[1, 2, 3], [4.5, 5, -6]]


@pytest.mark.parametrize("content", [b"hello", b"ply\nend_header\n", b"v 1 2\nv 1 2 3", b"v a b c", b"v nan 0 0"])
def test_damaged_meshes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.obj").write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.obj: "):
        read_vertices(tmp_path / "a.obj")


def test_export_edits_the_motion(tmp_path: Path, motion: FaceMotion, capsys: pytest.CaptureFixture[str]) -> None:
    motion.resample(60).save(tmp_path / "in.npz")
    source, target = ["export", "-i", str(tmp_path / "in.npz"), "-o"], str(tmp_path / "out.npz")
    assert main([*source, target, "--shape", "2:1.5", "--head", "tilt:0.3", "--blinks", "1"]) == 0
    plain, made = FaceMotion.load(tmp_path / "in.npz"), FaceMotion.load(target)
    wanted = edited(plain, load_rig(), shape=(2, 1.5), head=(2, 0.3), blinks=1)
    np.testing.assert_array_equal(made.offsets, wanted.offsets)
    np.testing.assert_array_equal(made.head_pose, wanted.head_pose)
    np.testing.assert_array_equal(made.expression, wanted.expression)
    capsys.readouterr()
    for flags, message in (
        (["--shape", "nose"], "--shape nose; give a number from 0"),
        (["--shape", "1:much"], "give a number from -10 to 10"),
        (["--shape", "700"], "no shape 700; rig builtin has 0 to"),
        (["--head", "shake"], "give nod, turn, tilt"),
        (["--blinks", "-1"], "--blinks"),
    ):
        assert main([*source, str(tmp_path / "no.npz"), *flags]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "no.npz").exists()
