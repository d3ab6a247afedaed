"""Parts of the warp renderer by themselves, on things made by code."""

import cv2
import numpy as np
import pytest

from mien.face.rig import load_rig
from mien.rendering.warp.brows import Brows
from mien.rendering.warp.closing import Closure, close_lips
from mien.rendering.warp.eyes import EyeLayer, fill_missing
from mien.rendering.warp.glasses import stiffness
from mien.rendering.warp.lip_line import LipLine
from mien.rendering.warp.surface import HOLES, build_surface
from mien.rendering.warp.wrinkles import Wrinkles

SCALE = 1500.0


def landmarks() -> np.ndarray:
    """The rig's mean face in a picture of 400 x 400."""
    return (load_rig().template[:478] * [SCALE, -SCALE, SCALE] + [200, 200, 0]).astype(np.float32)


def test_the_surface_starts_at_the_landmarks_and_follows_them() -> None:
    points = landmarks()
    surface = build_surface(load_rig(), points)
    assert np.allclose(surface.rest[:468], points[:468, :2])
    shift = np.tile(np.array([3.0, -2.0, 1.0], np.float32), (478, 1))
    assert np.allclose(surface.follow @ shift, shift[0], atol=1e-4)
    assert surface.opacity[load_rig().contours["face_oval"]].max() == 0
    assert surface.opacity[[1, 4, 13, 468 // 2]].max() == 1
    assert surface.opacity[[63, 105, 107, 293, 334, 336]].min() == 1  # a brow's upper edge moves as its lower one
    assert surface.opacity[[34, 137, 177, 264, 366, 401]].max() < 0.5  # a cheek that turns away leaves no edge
    for name in HOLES:
        assert len(surface.contours[name]) == 2 * len(load_rig().contours[name])


def test_lids_meet_when_the_rigs_do_however_wide_the_photos_eyes_are() -> None:
    points, pairs = landmarks(), load_rig().closures["eye_left"]
    wide = points.copy()
    wide[pairs[:, 0], 1] -= 5  # the photo's lids stand 5 px further apart than the rig's
    gap = points[pairs[:, 1], 1] - points[pairs[:, 0], 1]
    closure = Closure(wide, points, pairs, np.array([0, -1, 0], np.float32), 260, 1.0)
    for share in (0.5, 1.0):
        expression = np.zeros((478, 3), np.float32)
        expression[pairs[:, 0], 1] = share * gap
        gaps = closure.apply(expression)
        left = (wide + expression)[pairs[:, 1], 1] - (wide + expression)[pairs[:, 0], 1]
        assert np.allclose(left, (1 - share) * (gap + 5), atol=0.35 * (share < 1) + 0.01)
        assert np.allclose(gaps, left, atol=0.01)
    assert closure.closed(gaps) > 0.99
    assert closure.closed(closure.apply(np.zeros_like(expression))) == 0


BROW, BELOW = [46, 53, 52, 65, 55, 276, 283, 282, 295, 285], [223, 222, 443, 442]


def raised(photo: np.ndarray, points: np.ndarray, weight: float = 1.0) -> np.ndarray:
    """``(478,)`` pixels by which raised brows lift each landmark."""
    rig = load_rig()
    basis = (rig.expression_basis[:, :478] * [SCALE, -SCALE, SCALE]).astype(np.float32)
    change = np.zeros(len(basis), np.float32)
    change[[rig.expression_index[name] for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")]] = weight
    expression = np.tensordot(change, basis, 1)
    Brows(photo, rig, points, basis, np.array([0, 1, 0], np.float32) * [1, -1, 1]).hold(expression, change)
    return -expression[:, 1]


def test_brows_rise_freely_over_much_skin_and_less_over_little() -> None:
    points, skin = landmarks(), np.full((400, 400, 3), 180, np.uint8)
    low = points.copy()
    low[BROW, 1] += 10
    for face, share in ((points, (0.85, 1.01)), (low, (0.0, 0.8))):
        little, much = (raised(skin, face, weight)[BROW].mean() for weight in (0.2, 1.0))
        assert share[0] < much / (5 * little) < share[1]
    assert raised(skin, points, 0.0).max() == 0


def test_hair_below_the_brows_landmarks_rises_with_them() -> None:
    points, bare = landmarks(), np.full((400, 400, 3), 180, np.uint8)
    bushy = bare.copy()
    for upper, lower in zip([105, 66, 334, 296], BELOW, strict=True):
        cv2.line(bushy, *(tuple(int(v) for v in points[i, :2]) for i in (upper, lower)), (40, 40, 40), 9)
    for photo, share in ((bare, (0.3, 0.85)), (bushy, (0.9, 1.1))):
        rise = raised(photo, points)
        assert share[0] < rise[BELOW].mean() / rise[[52, 65, 282, 295]].mean() < share[1]


def opening(height: float, tilt: float = 0.0) -> np.ndarray:
    """An eye's opening 40 px wide in the middle of a picture of 100 x 100, clockwise on the screen."""
    angle = np.linspace(-np.pi, np.pi, 32, endpoint=False)
    points = np.stack([20 * np.cos(angle), height / 2 * np.sin(angle)], 1)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    return np.ascontiguousarray(points @ turn.T + 50, np.float32)


def test_a_lid_that_is_nearly_down_unfolds_little_skin() -> None:
    rng = np.random.default_rng(0)
    photo = np.clip(np.array([190, 170, 150]) + rng.normal(0, 4, (100, 100, 1)), 0, 255).astype(np.uint8)
    iris = np.array([[50, 50], [56, 50], [50, 44], [44, 50], [50, 56]], np.float32)
    lid, still = np.zeros((100, 100), np.float32), np.zeros(2, np.float32)
    lid[30:40] = 1

    def unfolded(height: float) -> float:
        drawn = np.full_like(photo, 60)
        eye = EyeLayer(photo, opening(height), iris)
        eye.draw_lid(drawn, opening(height / 2), lid, 1, (0, 0), np.eye(2, dtype=np.float32), still + 50, still, 0.5)
        return float((drawn[30:40, 40:60].astype(int) - 60).mean())

    assert unfolded(14) > 60
    assert 0 < unfolded(4) < 0.5 * unfolded(14)


def test_an_eye_of_a_few_pixels_is_left_to_the_warp() -> None:
    rng, still = np.random.default_rng(1), np.zeros(2, np.float32)
    photo = rng.integers(60, 200, (100, 100, 3), np.uint8)
    iris = np.array([[50, 50], [56, 50], [50, 44], [44, 50], [50, 56]], np.float32)
    for height, drawn_anew in ((3.5, False), (10, True)):
        eye, drawn = EyeLayer(photo, opening(height), iris), np.full_like(photo, 60)
        eye.draw(drawn, opening(height), np.eye(2, dtype=np.float32), still + 50, still, still, 1.0, 0.0)
        assert eye.usable
        assert (drawn[50, 45:56] != 60).any() == drawn_anew


def test_a_line_between_shut_lids_is_no_eye_however_it_is_tilted() -> None:
    photo, iris = np.full((100, 100, 3), 150, np.uint8), np.full((5, 2), 50, np.float32)
    assert not EyeLayer(photo, opening(1, tilt=0.3), iris).usable
    assert EyeLayer(photo, opening(4, tilt=0.3), iris).usable


def test_lips_never_cross() -> None:
    points, pairs = landmarks(), load_rig().closures["lips"]
    closure = Closure(points, points, pairs, np.array([0, -1, 0], np.float32), 260, 0.5, soft=True)
    expression = np.zeros((478, 3), np.float32)
    expression[pairs[:, 1], 1] = -8  # the lower lip far into the upper one
    closure.apply(expression)
    moved = points + expression
    assert np.allclose(moved[pairs[:, 0], 1], moved[pairs[:, 1], 1], atol=0.01)


def test_a_sneer_takes_open_lips_along_and_leaves_the_line_of_closed_ones_where_it_is() -> None:
    rig, points = load_rig(), landmarks()
    basis = (rig.expressions_for(None)[:, :478] * [SCALE, -SCALE, SCALE]).astype(np.float32)
    line = LipLine(rig, points, basis, np.array([0, -1, 0], np.float32), 260)

    def moved(**weights: float) -> np.ndarray:
        change = np.zeros(len(basis), np.float32)
        for name, weight in weights.items():
            change[rig.expression_index[name]] = weight
        expression = np.tensordot(change, basis, 1).astype(np.float32)
        before = expression.copy()
        line.relax(expression, change)
        return np.stack([before, expression])[..., 1]

    sneer = {f"{name}{side}": 0.8 for name in ("noseSneer", "mouthUpperUp") for side in ("Left", "Right")}
    before, after = moved(**sneer, mouthClose=0.45)
    assert before[[13, 14]].max() < -12 and abs(after[[13, 14]].mean()) < 6  # px of 260
    assert before[13] < moved(**sneer, mouthClose=0.35)[1][13] < after[13]
    nostrils, brows = [64, 294], [105, 334]
    assert (after[nostrils] < 0.7 * before[nostrils]).all() and np.allclose(after[brows], before[brows], atol=0.1)
    for weights in ({**sneer, "jawOpen": 0.5}, {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "jawOpen": 0.1}):
        before, after = moved(**weights)
        assert np.array_equal(before, after)


def test_an_open_mouth_closes_when_its_expression_goes_even_if_the_shape_has_the_rest_of_the_gap() -> None:
    points, pairs = landmarks(), load_rig().closures["lips"]
    wide = points.copy()
    wide[pairs[:, 1], 1] += 20
    opened = np.zeros((478, 3), np.float32)
    opened[pairs[:, 1], 1] = 12  # the expression explains only this much of the 20
    gap = (wide[pairs[:, 1], 1] - wide[pairs[:, 0], 1]) - (points[pairs[:, 1], 1] - points[pairs[:, 0], 1])
    assert np.allclose(gap, 20)
    closure = Closure(wide, wide, pairs, np.array([0, -1, 0], np.float32), 260, 0.2, opened=opened)
    assert np.allclose(closure.apply(-opened), 0, atol=0.01)
    assert (closure.apply(-opened / 2) > 5).all()
    # A filmed face says itself how far its lips are apart.
    assert (closure.apply(-opened, measured=True) > 5).all()


@pytest.mark.parametrize(("thick", "colour"), [(8, (25, 20, 20)), (2, (90, 70, 50))])
def test_spectacles_stay_where_they_are(thick: int, colour: tuple[int, int, int]) -> None:
    points = landmarks()
    bare = np.full((400, 400, 3), (210, 160, 130), np.uint8)
    for line in ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300), (168, 6, 197)):  # brows, a shadow along the nose
        cv2.polylines(bare, [points[list(line), :2].round().astype(np.int32)], False, (80, 60, 50), 6)
    worn, eyes = bare.copy(), [points[list(pair), :2].mean(0) for pair in ((33, 133), (362, 263))]
    radius = round(0.42 * float(np.linalg.norm(eyes[1] - eyes[0])))
    for eye in eyes:
        cv2.circle(worn, tuple(eye.round().astype(int)), radius, colour, thick)
    inner = [eye + np.array([side * radius, -3]) for side, eye in zip((1, -1), eyes, strict=True)]
    cv2.line(worn, *(tuple(each.round().astype(int)) for each in inner), colour, thick)
    below = [eye + np.array([0, radius]) for eye in eyes]
    places = np.array([*below, *eyes, points[14, :2], points[10, :2]], np.float32)
    assert stiffness(bare, points, places) is None
    stiff = stiffness(worn, points, places)
    assert stiff is not None
    assert (stiff[:2] > 0.95).all()  # the frame
    assert np.abs(stiff[2:]).max() == 0  # lids, mouth and forehead are free


def test_closed_lips_part_on_the_dark_line() -> None:
    points, pairs = landmarks(), load_rig().closures["lips"]
    photo = np.full((400, 400, 3), 180, np.uint8)
    line = round(float(points[13, 1])) + 3
    photo[line - 1 : line + 2] = 60
    seam = close_lips(photo, points, pairs, 260)
    assert np.abs(seam[pairs[2:-2], 1] - line).max() < 1.5
    assert np.array_equal(np.delete(seam, pairs.ravel(), 0), np.delete(points, pairs.ravel(), 0))


def test_filling_keeps_what_is_known_and_stays_within_it() -> None:
    rng = np.random.default_rng(2)
    picture = rng.uniform(50, 200, (40, 60, 3)).astype(np.float32)
    known = np.zeros((40, 60), bool)
    known[5:12, 8:30] = True
    filled = fill_missing(picture, known)
    assert np.allclose(filled[known], picture[known])
    assert filled.min() >= picture[known].min() - 1e-3 and filled.max() <= picture[known].max() + 1e-3


def test_folds_come_with_their_expression_on_bare_skin_only() -> None:
    names = ("browInnerUp", "mouthSmileLeft", "jawOpen")
    points = landmarks()[:, :2]
    photo = np.full((400, 400, 3), (210, 160, 130), np.uint8)
    folds = Wrinkles(photo, points, names)
    rest = np.zeros(3, np.float32)
    assert folds.change(rest, rest) is None
    assert folds.change(rest, np.array([0, 0, 1], np.float32)) is None
    smile = folds.change(rest, np.array([0, 1, 0], np.float32))
    middle = round((points[1, 0] - folds.left) * folds.scale)
    assert smile[:, middle + 5 :].min() < -0.08  # the subject's left is the viewer's right
    assert np.abs(smile[:, : middle - 5]).max() < 0.01
    hair = photo.copy()
    hair[: int(points[9, 1])] = (30, 25, 20)  # a fringe down to the brows
    brows = np.array([1, 0, 0], np.float32)
    open_forehead, hidden = (
        -np.minimum(Wrinkles(each, points, names).change(rest, brows), 0).sum() for each in (photo, hair)
    )
    assert hidden < 0.1 * open_forehead
