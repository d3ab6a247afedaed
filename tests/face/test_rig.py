"""The built-in rig keeps its promises: topology, symmetry, locality, exact closures, regions, inner parts."""

from dataclasses import replace

import numpy as np
import pytest

from mien.errors import AssetError
from mien.face.regions import REGION_NAMES, regions_of_expression
from mien.face.rig import Rig, load_rig
from mien.types import ARKIT_NAMES, FaceIdentity, FaceMotion

FPS = 25.0
ONE_SIDED = [name for name in ARKIT_NAMES if len(regions_of_expression(name)) == 1]


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


@pytest.fixture(scope="module")
def people(rig: Rig) -> list[FaceIdentity]:
    random = np.random.default_rng(3)
    none = np.zeros_like(rig.template)
    return [
        FaceIdentity("builtin", random.normal(0, 1, len(rig.identity_basis)), none),
        FaceIdentity("builtin", random.normal(0, 1, len(rig.identity_basis)), none),
    ]


def moving(n_frames: int = 1, **weights: float) -> FaceMotion:
    return FaceMotion.zeros(n_frames, FPS).with_columns(weights)


def gaps(rig: Rig, vertices: np.ndarray, closure: str) -> np.ndarray:
    pairs = rig.closures[closure]
    return np.linalg.norm(vertices[..., pairs[:, 0], :] - vertices[..., pairs[:, 1], :], axis=-1)


def mirror_of(rig: Rig) -> np.ndarray:
    """For each landmark the one on the other side, found by place."""
    face = rig.template[:478].astype(np.float64)
    distance = np.linalg.norm(face[:, None] * [-1, 1, 1] - face, axis=-1)
    # The inner lips touch, so a lower one finds its upper twin; keep to the same order along the contours.
    nearest = distance.argmin(1)
    assert distance.min(1).max() < 1e-5
    return nearest


def test_shapes_and_order(rig: Rig) -> None:
    assert rig.expression_names == ARKIT_NAMES
    assert rig.template.shape == (rig.n_vertices, 3)
    assert rig.expression_basis.shape == (52, rig.n_vertices, 3)
    assert rig.identity_basis.shape[1:] == (rig.n_vertices, 3)
    assert rig.uv.shape == (rig.n_vertices, 2)
    assert rig.uv.min() >= 0
    assert rig.uv.max() <= 1
    assert rig.parts["landmarks"] == slice(0, 478)
    assert rig.triangles.min() == 0
    assert rig.triangles.max() < rig.n_vertices
    assert sum(part.stop - part.start for part in rig.triangle_parts.values()) == len(rig.triangles)


def test_every_array_is_read_only(rig: Rig) -> None:
    with pytest.raises(ValueError, match="read-only"):
        rig.template[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        rig.regions["mouth_left"][0] = 0


def test_the_same_rig_is_loaded_once() -> None:
    assert load_rig() is load_rig()


def test_the_face_is_a_face_of_human_size(rig: Rig) -> None:
    at = {name: rig.template[index] for name, index in
          {"chin": 152, "nose": 4, "brow": 9, "right": 33, "left": 263}.items()}  # fmt: skip
    assert at["left"][0] > 0 > at["right"][0]
    assert at["brow"][1] > at["nose"][1] > at["chin"][1]
    assert at["nose"][2] == rig.template[:468, 2].max()
    assert 0.080 < at["left"][0] - at["right"][0] < 0.100  # the outer corners of the eyes


def test_skin_triangles_look_outwards_and_the_patches_close_it(rig: Rig) -> None:
    closed = np.concatenate([rig.triangles[rig.triangle_parts[p]] for p in ("skin", "eye_left", "eye_right", "mouth")])
    a, b, c = (rig.template[closed[:, k]] for k in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).mean() > 0.95
    edges = np.sort(np.concatenate([closed[:, [0, 1]], closed[:, [1, 2]], closed[:, [2, 0]]]), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    assert count.max() == 2
    border = set(unique[count == 1].ravel().tolist())
    assert border == set(rig.contours["face_oval"].tolist())


@pytest.mark.parametrize("name", ["face_oval", "lips_outer", "lips_inner", "eye_left", "eye_right"])
def test_contours_are_loops_along_edges(rig: Rig, name: str) -> None:
    loop = rig.contours[name].tolist()
    assert len(set(loop)) == len(loop)
    skin = rig.triangles[rig.triangle_parts["skin"]]
    edges = {tuple(sorted(edge)) for t in skin.tolist() for edge in (t[:2], t[1:], [t[0], t[2]])}
    assert all(tuple(sorted(edge)) in edges for edge in zip(loop, loop[1:] + loop[:1], strict=True))


def test_at_rest_lips_touch_and_eyes_are_open(rig: Rig) -> None:
    assert gaps(rig, rig.template, "lips").max() < 1e-6
    for eye in ("eye_left", "eye_right"):
        assert 0.006 < gaps(rig, rig.template, eye).max() < 0.014


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_a_blink_closes_exactly_its_eye_on_any_face(rig: Rig, people: list[FaceIdentity], side: str) -> None:
    this, other = f"eye_{side.lower()}", "eye_right" if side == "Left" else "eye_left"
    for identity in (None, *people):
        open_gap = gaps(rig, rig.neutral(identity), this).max()
        closed = rig.vertices(moving(**{f"eyeBlink{side}": 1.0}), identity)[0]
        assert gaps(rig, closed, this).max() < 0.03 * open_gap
        np.testing.assert_allclose(gaps(rig, closed, other), gaps(rig, rig.neutral(identity), other), atol=1e-4)


def test_a_blink_closes_a_face_with_a_residual(rig: Rig) -> None:
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[rig.closures["eye_left"][:, 0], 1] = 0.002
    identity = FaceIdentity("builtin", np.zeros(len(rig.identity_basis)), rig.extend(landmarks))
    open_gap = gaps(rig, rig.neutral(identity), "eye_left").max()
    assert open_gap > gaps(rig, rig.template, "eye_left").max() + 0.001
    closed = rig.vertices(moving(eyeBlinkLeft=1.0), identity)[0]
    assert gaps(rig, closed, "eye_left").max() < 0.03 * open_gap


@pytest.mark.parametrize("weight", [0.2, 0.6, 1.0])
def test_mouth_close_seals_an_open_jaw(rig: Rig, weight: float) -> None:
    opened = rig.vertices(moving(jawOpen=weight))[0]
    sealed = rig.vertices(moving(jawOpen=weight, mouthClose=weight))[0]
    assert gaps(rig, opened, "lips").max() > 0.02 * weight
    assert gaps(rig, sealed, "lips").max() < 1e-5
    assert sealed[152, 1] < rig.template[152, 1] - 0.015 * weight  # the chin stays down


def test_left_and_right_mirror_each_other(rig: Rig) -> None:
    mirror = mirror_of(rig)
    same = np.setdiff1d(np.arange(478), np.concatenate([rig.closures["lips"].ravel(), [78, 308]]))
    for name in ONE_SIDED:
        if name.endswith("Left"):
            left = rig.expression_basis[ARKIT_NAMES.index(name)]
            right = rig.expression_basis[ARKIT_NAMES.index(name.removesuffix("Left") + "Right")]
            np.testing.assert_allclose(left[mirror[same]] * [-1, 1, 1], right[same], atol=1e-6, err_msg=name)


def test_expressions_stay_where_they_belong(rig: Rig) -> None:
    upper, lower = rig.region("brow")[:478] > 0.5, (rig.region("mouth") + rig.region("jaw"))[:478] > 0.5
    for index, name in enumerate(ARKIT_NAMES):
        size = np.linalg.norm(rig.expression_basis[index, :478], axis=1)
        area = regions_of_expression(name)[0].split("_")[0]
        if area in ("mouth", "jaw"):
            assert size[upper].max(initial=0) < 0.0015, name
        if area in ("brow", "eye"):
            assert size[lower].max(initial=0) < 0.0015, name


@pytest.mark.parametrize("name", ONE_SIDED)
def test_one_sided_expressions_move_mostly_their_side(rig: Rig, name: str) -> None:
    energy = (rig.expression_basis[ARKIT_NAMES.index(name), :468] ** 2).sum(1)
    left = rig.template[:468, 0] > 0
    share = energy[left].sum() / energy.sum()
    assert share > 0.8 if name.endswith("Left") else share < 0.2


@pytest.mark.parametrize(
    ("name", "vertex", "axis", "sign"),
    [
        ("jawOpen", 152, 1, -1), ("jawForward", 152, 2, 1), ("jawLeft", 152, 0, 1), ("jawRight", 152, 0, -1),
        ("mouthLeft", 14, 0, 1), ("mouthRight", 14, 0, -1), ("mouthSmileLeft", 291, 1, 1),
        ("mouthSmileRight", 61, 1, 1),
        ("mouthFrownLeft", 291, 1, -1), ("mouthPucker", 61, 0, 1), ("mouthStretchLeft", 291, 0, 1),
        ("mouthUpperUpRight", 82, 1, 1), ("mouthLowerDownRight", 87, 1, -1), ("mouthShrugLower", 14, 1, 1),
        ("mouthFunnel", 0, 2, 1), ("browInnerUp", 107, 1, 1), ("browDownLeft", 336, 1, -1),
        ("browOuterUpRight", 70, 1, 1), ("cheekPuff", 425, 2, 1), ("cheekSquintRight", 50, 1, 1),
        ("noseSneerRight", 48, 1, 1), ("eyeWideLeft", 386, 1, 1), ("eyeSquintLeft", 374, 1, 1),
        ("eyeLookDownLeft", 386, 1, -1), ("eyeLookUpLeft", 386, 1, 1), ("mouthRollUpper", 13, 2, -1),
        ("mouthDimpleLeft", 291, 2, -1), ("eyeBlinkRight", 159, 1, -1),
    ],
)  # fmt: skip
def test_names_mean_what_apple_says(rig: Rig, name: str, vertex: int, axis: int, sign: int) -> None:
    assert sign * rig.expression_basis[ARKIT_NAMES.index(name), vertex, axis] > 0.0005


def test_the_tongue_comes_out_alone(rig: Rig) -> None:
    size = np.linalg.norm(rig.expression_basis[ARKIT_NAMES.index("tongueOut")], axis=1)
    tongue = rig.parts["tongue"]
    assert size[tongue].max() > 0.015
    assert np.delete(size, np.arange(rig.n_vertices)[tongue]).max() == 0


def test_regions_are_a_partition_of_unity(rig: Rig) -> None:
    assert tuple(rig.regions) == REGION_NAMES
    stacked = np.stack(list(rig.regions.values()))
    assert stacked.min() >= 0
    np.testing.assert_allclose(stacked.sum(0), 1, atol=1e-5)
    landmarks = {
        "brow_left": 334,
        "eye_right": 159,
        "nose_left": 327,
        "cheek_right": 50,
        "mouth_left": 291,
        "jaw_right": 136,
    }
    for name, vertex in landmarks.items():
        assert rig.regions[name][vertex] > 0.5, name


def test_regions_are_smooth_over_the_skin(rig: Rig) -> None:
    skin = rig.triangles[rig.triangle_parts["skin"]]
    for name, mask in rig.regions.items():
        assert np.ptp(mask[skin], axis=1).max() < 0.95, name


def test_a_region_of_both_sides_by_its_area_name(rig: Rig) -> None:
    np.testing.assert_array_equal(rig.region("mouth"), rig.regions["mouth_left"] + rig.regions["mouth_right"])
    with pytest.raises(KeyError, match="no such region"):
        rig.region("ear")


def test_every_expression_belongs_to_a_region() -> None:
    assert regions_of_expression("mouthSmileLeft") == ("mouth_left",)
    assert regions_of_expression("mouthLeft") == ("mouth_left", "mouth_right")
    assert regions_of_expression("tongueOut") == ("mouth_left", "mouth_right")
    assert all(set(regions_of_expression(name)) <= set(REGION_NAMES) for name in ARKIT_NAMES)
    with pytest.raises(KeyError, match="not an ARKit"):
        regions_of_expression("smile")


def test_teeth_sit_behind_the_lips_and_the_lower_ones_follow_the_jaw(rig: Rig) -> None:
    upper, lower = rig.template[rig.parts["teeth_upper"]], rig.template[rig.parts["teeth_lower"]]
    lips = rig.template[13]
    assert 0.003 < lips[2] - upper[:, 2].max() < 0.008
    front = np.abs(upper[:, 0]) < 0.008
    assert 0.0005 < lips[1] - upper[front, 1].min() < 0.004
    jaw = rig.expression_basis[ARKIT_NAMES.index("jawOpen")]
    assert np.abs(jaw[rig.parts["teeth_upper"]]).max() == 0
    teeth_drop, chin_drop = jaw[rig.parts["teeth_lower"], 1].min(), jaw[152, 1]
    assert 0.6 * chin_drop > teeth_drop > 1.4 * chin_drop
    assert lower[:, 2].max() < upper[:, 2].max()


def test_textures_have_an_alpha_and_gums_above_teeth(rig: Rig) -> None:
    for arch, gum_row in (("teeth_upper", 0), ("teeth_lower", -1)):
        texture = rig.textures[arch]
        assert texture.dtype == np.uint8
        assert texture.shape[2] == 4
        gum, tooth = texture[gum_row].mean(0), texture[texture.shape[0] // 2].mean(0)
        assert gum[0] - gum[1] > 50 > tooth[0] - tooth[1]


def test_gaze_turns_eyeball_and_iris_about_the_centre(rig: Rig) -> None:
    gaze = np.zeros((1, 2, 3))
    gaze[0, 0] = (0, 0.3, 0)  # the left eye looks to the subject's left
    turned = replace(moving(), eye_pose=gaze)
    posed = rig.pose(rig.vertices(turned), turned)[0]
    ball, iris = rig.parts["eyeball_left"], rig.parts["iris_left"]
    np.testing.assert_allclose(posed[ball].mean(0), rig.template[ball].mean(0), atol=1e-6)
    assert posed[iris][0, 0] - rig.template[iris][0, 0] == pytest.approx(0.0121 * np.sin(0.3), abs=2e-4)
    np.testing.assert_array_equal(posed[rig.parts["eyeball_right"]], rig.template[rig.parts["eyeball_right"]])


def test_pose_turns_then_moves(rig: Rig) -> None:
    motion = replace(moving(), head_pose=[[0, np.pi / 2, 0]], translation=[[0, 0, 1.0]])
    posed = rig.pose(rig.vertices(motion), motion)[0]
    nose = rig.template[1]
    np.testing.assert_allclose(posed[1], [nose[2], nose[1], 1 - nose[0]], atol=1e-6)


def test_identities_move_eyes_and_teeth_along(rig: Rig, people: list[FaceIdentity]) -> None:
    for identity in people:
        change = rig.neutral(identity) - rig.template
        assert np.linalg.norm(change[:468], axis=1).mean() > 0.002
        for side in ("left", "right"):
            ball = change[rig.parts[f"eyeball_{side}"]]
            np.testing.assert_allclose(ball, np.broadcast_to(ball[0], ball.shape), atol=1e-6)
            lids = change[rig.contours[f"eye_{side}"]].mean(0)
            assert np.linalg.norm(ball[0] - lids) < 0.001


def test_extend_keeps_landmarks_and_carries_parts(rig: Rig) -> None:
    extended = rig.extend(np.broadcast_to([0.01, 0.02, 0.03], (478, 3)))
    np.testing.assert_allclose(extended, np.broadcast_to([0.01, 0.02, 0.03], (rig.n_vertices, 3)), atol=1e-5)


def test_motion_and_identity_of_another_rig_are_refused(rig: Rig) -> None:
    other = FaceMotion.zeros(2, FPS, rig="flame", expression_names=("a",))
    with pytest.raises(ValueError, match="retarget"):
        rig.vertices(other)
    with pytest.raises(ValueError, match="belongs to rig 'flame'"):
        rig.neutral(FaceIdentity("flame", np.zeros(3), np.zeros((5, 3))))
    with pytest.raises(ValueError, match="expected 40 coefficients, got 3"):
        rig.neutral(FaceIdentity("builtin", np.zeros(3), np.zeros((rig.n_vertices, 3))))


def test_a_missing_rig_is_an_asset_error() -> None:
    with pytest.raises(AssetError, match="no such rig"):
        load_rig("flame-of-nobody")
