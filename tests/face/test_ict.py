"""ICT-FaceKit as a rig: made from its own files, standing where the built-in one stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reference import DATA

from mien.assets import fetch
from mien.errors import AssetError
from mien.face.ict import arkit_name, write_ict_rig
from mien.face.rig import Rig, load_rig, retarget
from mien.types import ARKIT_NAMES, FaceIdentity, FaceMotion

QUAD = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"


@pytest.fixture(scope="module")
def ict(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    if not (DATA / "models3d" / "ict_facekit").exists():
        pytest.skip("the shared mirror with ICT-FaceKit is not here")
    path = tmp_path_factory.mktemp("ict") / "ict.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_ASSETS_MIRROR", str(DATA))
        write_ict_rig(path, fetch("ict"))
    return load_rig(path)


@pytest.mark.parametrize(
    ("name", "arkit"),
    [("eyeBlink_L", "eyeBlinkLeft"), ("jawLeft", "jawLeft"), ("browInnerUp_R", "browInnerUp"),
     ("cheekPuff_L", "cheekPuff"), ("noseSneer_R", "noseSneerRight")],
)  # fmt: skip
def test_names(name: str, arkit: str) -> None:
    assert arkit_name(name) == arkit and arkit in ARKIT_NAMES


def test_it_has_arkits_names_but_the_tongue(ict: Rig) -> None:
    assert ict.name == "ict" and ict.n_vertices == 26719 and len(ict.identity_basis) == 100
    assert set(ARKIT_NAMES) - set(ict.expression_names) == {"tongueOut"}
    assert sum(part.stop - part.start for part in ict.triangle_parts.values()) == len(ict.triangles) == 2 * 26384 - 548


def test_it_stands_where_the_built_in_rig_stands(ict: Rig) -> None:
    builtin = load_rig()
    both = [rig.template[rig.landmark_indices_68[17:]] for rig in (ict, builtin)]
    assert np.median(np.linalg.norm(both[0] - both[1], axis=1)) < 2e-3
    for side in ("left", "right"):
        np.testing.assert_allclose(
            ict.eye_centre(ict.template, side), builtin.eye_centre(builtin.template, side), atol=5e-4
        )


def test_its_parts_move_as_their_names_say(ict: Rig) -> None:
    basis = dict(zip(ict.expression_names, ict.expression_basis, strict=True))
    assert basis["jawOpen"][ict.parts["teeth_lower"], 1].max() < -0.005
    np.testing.assert_allclose(basis["jawOpen"][ict.parts["teeth_upper"]], 0, atol=1e-6)
    left = ict.template[:, 0] > 0.005
    blink = np.linalg.norm(basis["eyeBlinkLeft"], axis=1)
    assert blink[left].max() > 0.005 and blink[~left].max() < 0.002
    brows = np.linalg.norm(basis["browInnerUp"], axis=1)
    assert brows[left].max() == pytest.approx(brows[~left].max(), rel=0.2)  # both halves


def test_gaze_turns_the_balls_about_their_centres(ict: Rig) -> None:
    still = FaceMotion.zeros(1, 25.0, "ict", ict.expression_names)
    gaze = np.zeros((1, 2, 3), np.float32)
    gaze[:, :, 1] = 0.4
    turned = ict.pose(ict.vertices(still), replace(still, eye_pose=gaze))[0]
    moved = np.linalg.norm(turned - ict.template, axis=1) > 1e-6
    balls = np.r_[ict.parts["eyeball_left"], ict.parts["eyeball_right"]]
    assert moved[balls].mean() > 0.9 and not np.delete(moved, balls).any()
    np.testing.assert_allclose(ict.eye_centre(turned, "left"), ict.eye_centre(ict.template, "left"), atol=1.5e-3)


def test_motion_goes_there_and_back_by_name(ict: Rig) -> None:
    weights = np.random.default_rng(0).random(5)
    motion = FaceMotion.zeros(5, 25.0).with_columns({"jawOpen": weights, "eyeBlinkLeft": 1 - weights})
    there, residual = retarget(motion, ict)
    assert there.rig == "ict" and residual < 0.004
    np.testing.assert_array_equal(there.column("jawOpen"), motion.column("jawOpen"))
    assert not there.column("cheekRaiserLeft").any()  # nobody asked for it
    with pytest.MonkeyPatch.context() as patch:  # ``ict`` by its name is the one just made
        patch.setattr("mien.face.rig.load_rig", lambda name: ict if name == "ict" else load_rig(name))
        back, _ = retarget(there, load_rig())
    np.testing.assert_allclose(back.column("eyeBlinkLeft"), motion.column("eyeBlinkLeft"), atol=1e-6)


def test_identities_are_people(ict: Rig) -> None:
    person = FaceIdentity("ict", np.eye(100, dtype=np.float32)[0] * 2, np.zeros((26719, 3)))
    change = np.linalg.norm(ict.neutral(person) - ict.template, axis=1)
    assert 0.002 < change.max() < 0.05


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="do not fit together"):
        write_ict_rig(tmp_path / "a.npz", [("generic_neutral_mesh.obj", QUAD), ("vertex_indices.json", b"{}")])
    assert not (tmp_path / "a.npz").exists()
