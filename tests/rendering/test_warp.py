"""The warp renderer on a sculpture made by code (exact landmarks) and on a photo that scikit-image carries."""

from dataclasses import replace

import numpy as np
import pytest

from mien.face.rig import load_rig
from mien.rendering.mesh import MeshRenderer
from mien.rendering.warp import WarpRenderer
from mien.types import FaceIdentity, FaceMotion, Frame, Portrait

SIZE = 320


def sculpture(shift: tuple[int, int] = (0, 0), margin: int = 0) -> Portrait:
    """A portrait of the rig itself on a patterned ground, optionally moved so that the border cuts it."""
    rig = load_rig()
    face = next(MeshRenderer(size=SIZE).render(FaceMotion.zeros(1, 25.0)))
    size = SIZE + 2 * margin
    y, x = np.mgrid[:size, :size]
    image = np.stack([120 + 40 * np.sin(x / 5), 130 + 40 * np.cos(y / 6), 110 + 30 * np.sin((x + y) / 7)], -1)
    inner = image[margin : margin + SIZE, margin : margin + SIZE]
    inner[:] = np.where((face == face[0, 0]).all(-1, keepdims=True), inner, face)
    image = np.ascontiguousarray(np.roll(image, shift, (1, 0)).astype(np.uint8))
    middle = (rig.template[10] + rig.template[152]) / 2
    scale = 0.62 * SIZE / (rig.template[10, 1] - rig.template[152, 1])
    centre = size / 2 - 0.25
    camera = np.array([scale, centre + shift[0] - scale * middle[0], centre + shift[1] + scale * middle[1]])
    landmarks = rig.template[:478] * [scale, -scale, -scale] + [camera[1], camera[2], 0]
    identity = FaceIdentity("builtin", np.zeros(len(rig.identity_basis)), np.zeros_like(rig.template))
    return Portrait(image, landmarks, identity, FaceMotion.zeros(1, 25.0), camera)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return sculpture()


@pytest.fixture(scope="module")
def renderer(portrait: Portrait) -> WarpRenderer:
    return WarpRenderer(portrait)


@pytest.fixture(scope="module")
def photo() -> tuple[Portrait, WarpRenderer]:
    from skimage import data

    from mien.perception.tracking import track_image

    tracked = track_image(np.ascontiguousarray(data.astronaut()))
    return tracked, WarpRenderer(tracked)


def moved(head: tuple[float, float, float] = (0, 0, 0), gaze: float = 0.0, **weights: float) -> FaceMotion:
    motion = FaceMotion.zeros(1, 25.0).with_columns(weights)
    eyes = np.tile(np.array([0, gaze, 0], np.float32), (1, 2, 1))
    return replace(motion, head_pose=np.radians([head]).astype(np.float32), eye_pose=eyes)


def draw(renderer: WarpRenderer, motion: FaceMotion) -> Frame:
    return next(renderer.render(motion))


def patch(frame: Frame, portrait: Portrait, landmarks: list[int]) -> np.ndarray:
    """The box around some landmarks."""
    points = portrait.landmarks[landmarks, :2]
    (left, top), (right, bottom) = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int) + 1
    return frame[top:bottom, left:right].astype(np.float32)


def test_no_motion_is_the_photo_itself(renderer: WarpRenderer, portrait: Portrait, photo) -> None:
    assert np.array_equal(draw(renderer, moved()), portrait.image)
    assert np.array_equal(draw(photo[1], moved()), photo[0].image)


def test_hardly_any_motion_is_hardly_any_change(renderer: WarpRenderer, portrait: Portrait) -> None:
    frame = draw(renderer, moved(head=(0.02, 0.02, 0), jawOpen=0.002, eyeBlinkLeft=0.002))
    error = np.mean((frame.astype(float) - portrait.image) ** 2)
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 45


def test_frames_have_the_photos_size_and_belong_to_the_caller(renderer: WarpRenderer, portrait: Portrait) -> None:
    motion = FaceMotion.zeros(3, 25.0).with_columns({"jawOpen": [0, 0.5, 1.0]})
    frames = list(renderer.render(motion))
    assert [frame.shape for frame in frames] == [portrait.image.shape] * 3
    assert all(frame.dtype == np.uint8 for frame in frames)
    frames[0][:] = 0
    assert portrait.image.any() and frames[1].any()


def test_same_motion_gives_the_same_bytes_alone_or_in_a_row(portrait: Portrait, renderer: WarpRenderer) -> None:
    motion = FaceMotion.zeros(4, 25.0).with_columns({"jawOpen": [0.1, 0.7, 0, 1], "mouthSmileLeft": [1, 0, 0.3, 0.5]})
    motion = replace(motion, head_pose=np.random.default_rng(1).normal(0, 0.06, (4, 3)))
    together = list(renderer.render(motion))
    again = list(WarpRenderer(portrait).render(motion))
    alone = [draw(renderer, motion[i : i + 1]) for i in (3, 1, 0, 2)]
    for i, at in zip((3, 1, 0, 2), range(4), strict=True):
        assert np.array_equal(together[i], again[i])
        assert np.array_equal(together[i], alone[at])


def test_an_opening_jaw_shows_the_dark_inside(photo, renderer: WarpRenderer, portrait: Portrait) -> None:
    rest, half, full = (draw(renderer, moved(jawOpen=w)) for w in (0, 0.5, 1))
    x, y = portrait.landmarks[14, :2].round().astype(int)
    below = slice(y + 6, y + 14)
    brightness = [frame[below, x - 3 : x + 4].mean() for frame in (rest, half, full)]
    assert brightness[2] < 0.5 * brightness[0]
    # The chin goes down: what lies just below it is skin now.
    x, y = portrait.landmarks[152, :2].round().astype(int)
    assert np.abs(full[y + 4, x].astype(int) - portrait.image[y - 6, x]).mean() < 25
    assert np.abs(portrait.image[y + 4, x].astype(int) - portrait.image[y - 6, x]).mean() > 25


def test_closed_lips_never_show_teeth(renderer: WarpRenderer, portrait: Portrait) -> None:
    mouth = [61, 291, 0, 17]
    rest = patch(portrait.image, portrait, mouth)
    for motion in (moved(mouthPressLeft=1, mouthPressRight=1), moved(jawOpen=0.6, mouthClose=0.6)):
        frame = patch(draw(renderer, motion), portrait, mouth)
        assert frame.min() > 0.8 * rest.min(), "something dark"
        assert frame.max() < 1.1 * rest.max(), "something bright"


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_a_blink_covers_the_eye_with_skin(side: str, photo, renderer: WarpRenderer, portrait: Portrait) -> None:
    loop = load_rig().contours[f"eye_{side.lower()}"]
    other = load_rig().contours[f"eye_{'right' if side == 'Left' else 'left'}"]
    for someone, drawer in ((portrait, renderer), photo):
        frame = draw(drawer, moved(**{f"eyeBlink{side}": 1.0}))
        opened, closed = (patch(image, someone, loop.tolist()) for image in (someone.image, frame))
        assert closed.mean(-1).std() < 0.6 * opened.mean(-1).std()  # no iris, no white
        still = [patch(image, someone, other.tolist()) for image in (someone.image, frame)]
        assert np.abs(still[0] - still[1]).mean() < 1


def test_a_closed_lid_has_a_dark_line_and_no_pale_rim(photo) -> None:
    someone, drawer = photo
    frame = draw(drawer, moved(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)).mean(-1)
    for side, skin in (("left", (449, 450, 451)), ("right", (229, 230, 231))):
        pairs = load_rig().closures[f"eye_{side}"]
        lower = someone.landmarks[pairs[1:-1, 1], :2]
        around = frame[tuple(someone.landmarks[list(skin), 1::-1].round().astype(int).T)].mean()
        columns = [frame[round(y) - 4 : round(y) + 5, round(x)] for x, y in lower]
        assert max(column.min() for column in columns) < 0.65 * around
        assert max(column.max() for column in columns) < 1.12 * around


def test_a_half_closed_lid_keeps_its_lashes_and_shades_the_eye(photo, monkeypatch) -> None:
    tracked, renderer = photo

    def eye(closed: float) -> np.ndarray:
        return patch(draw(renderer, moved(eyeBlinkLeft=closed)), tracked, [386, 385, 387, 384, 388, 374, 373, 380])

    usual, layer = eye(0.35), renderer._eyes[0]
    monkeypatch.setattr(layer, "_lashes", layer._lashes * np.array([1, 1, 1, 0], np.float32))
    assert (eye(0.35) - usual).max() > 20
    shaded = eye(0.6)
    monkeypatch.setattr("mien.rendering.warp.eyes._DIM", 0.0)
    assert (eye(0.6) - shaded).max() > 10
    assert (eye(0.6) - shaded).min() >= 0


def test_a_wide_open_jaw_shows_teeth_and_tongue(photo) -> None:
    someone, drawer = photo
    frame = draw(drawer, moved(jawOpen=0.8))
    lips = load_rig().contours["lips_inner"]
    top, bottom = someone.landmarks[13, 1], someone.landmarks[152, 1]
    x = round(float(someone.landmarks[lips, 0].mean()))
    column = frame[round(top) : round(bottom), x - 1 : x + 2].astype(np.float32).mean(1)
    redness, brightness = column[:, 0] / np.maximum(column[:, 2], 1), column.mean(-1)
    darkest = int(brightness.argmin())
    assert brightness[darkest] > 20, "a black hole"
    assert brightness[:darkest].max() > 200, "no upper teeth"
    assert ((redness > 1.6) & (brightness > 60) & (brightness < 110)).sum() >= 4, "no tongue"
    assert ((redness < 1.3) & (brightness > 120))[darkest:].any(), "no lower teeth"


def test_teeth_end_in_a_gum_that_follows_their_outline(photo) -> None:
    rig, mouth = load_rig(), photo[1]._mouth
    drawn = {tuple(triangle) for triangle in mouth._triangles.tolist()}
    for row in ("upper", "lower"):
        assert {tuple(triangle) for triangle in rig.triangles[rig.triangle_parts[f"gum_{row}"]].tolist()} <= drawn
    teeth = mouth._upper_teeth  # first row behind the biting edge, 32 columns a tooth
    gum = (teeth[..., 0] > 1.4 * teeth[..., 2]).sum(0).reshape(14, 32)
    assert (gum[:, :3].min(1) > gum[:, 15:17].max(1) + 2).all()
    assert gum.max() < 0.3 * len(teeth)
    assert teeth[: len(teeth) // 2].min() > 0.6


def test_the_iris_follows_the_gaze_and_keeps_its_width(renderer: WarpRenderer, portrait: Portrait) -> None:
    def dark_columns(frame: Frame) -> np.ndarray:
        x, y = portrait.landmarks[473, :2].round().astype(int)
        return frame[y - 1 : y + 2, x - 14 : x + 15].mean((0, 2)) < 140

    rest, turned = dark_columns(portrait.image), dark_columns(draw(renderer, moved(gaze=0.3)))
    middle = [np.flatnonzero(columns).mean() for columns in (rest, turned)]
    assert middle[1] - middle[0] > 1.5  # to the subject's left: the viewer's right
    assert abs(int(turned.sum()) - int(rest.sum())) <= 2


def test_a_turning_head_moves_the_nose_and_leaves_the_far_ground() -> None:
    portrait = sculpture(margin=120)
    frame = draw(WarpRenderer(portrait), moved(head=(0, 12, 0)))
    assert np.array_equal(frame[:, :20], portrait.image[:, :20])
    assert np.array_equal(frame[-100:], portrait.image[-100:])
    face = patch(frame, portrait, [10, 152, 234, 454]) - patch(portrait.image, portrait, [10, 152, 234, 454])
    assert np.abs(face).mean() > 4


def test_a_turn_beyond_reason_is_limited(renderer: WarpRenderer) -> None:
    most, more = (draw(renderer, moved(head=(0, angle, 0))).astype(int) for angle in (120, 150))
    assert np.abs(most - more).max() <= 1
    assert np.abs(most - draw(renderer, moved(head=(0, 12, 0)))).max() > 20


def test_a_roll_is_freer_than_a_turn(renderer: WarpRenderer) -> None:
    def chord(*degrees: float) -> float:
        """How far the middle of the face goes, metres."""
        pose = np.radians([degrees]).astype(np.float32)
        return float(np.linalg.norm(renderer.translation_for(pose, np.zeros((1, 2)), np.ones(1))[0, :2]))

    assert chord(0, 0, 24) == pytest.approx(chord(0, 0, 12) * np.sin(np.radians(12)) / np.sin(np.radians(6)), rel=0.01)
    assert chord(0, 0, 170) == pytest.approx(chord(0, 0, 100), rel=0.01)
    assert chord(0, 24, 0) < 0.9 * chord(0, 12, 0) * np.sin(np.radians(24)) / np.sin(np.radians(12))


@pytest.mark.parametrize("shift", [(-110, 0), (90, -80), (0, 100)])
def test_a_face_cut_by_the_border_leaves_no_hole(shift: tuple[int, int]) -> None:
    portrait = sculpture(shift)
    renderer = WarpRenderer(portrait)
    for motion in (moved(head=(0, 14, 0)), moved(head=(-12, -10, 6), eyeBlinkLeft=1), moved(head=(10, 0, -8))):
        frame = draw(renderer, motion)
        assert frame.shape == portrait.image.shape
        assert frame[[0, -1]].min() > 8 and frame[:, [0, -1]].min() > 8


def test_weights_beyond_the_range_are_limited(renderer: WarpRenderer) -> None:
    assert np.array_equal(draw(renderer, moved(jawOpen=1)), draw(renderer, moved(jawOpen=1.7)))
    assert np.array_equal(draw(renderer, moved()), draw(renderer, moved(jawOpen=-0.5)))


def test_motion_is_added_to_the_photos_own_expression(portrait: Portrait) -> None:
    smiling = replace(portrait, rest=portrait.rest.with_columns({"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9}))
    renderer = WarpRenderer(smiling)
    small = draw(renderer, moved(mouthSmileLeft=0.1, mouthSmileRight=0.1))
    assert np.array_equal(small, draw(renderer, moved(mouthSmileLeft=1, mouthSmileRight=1)))
    assert not np.array_equal(small, portrait.image)


@pytest.mark.parametrize("scale", [0.06, 0.2, 4.0])
def test_small_and_large_pictures(portrait: Portrait, scale: float) -> None:
    import cv2

    size = round(SIZE * scale)
    image = cv2.resize(portrait.image, (size, size), interpolation=cv2.INTER_AREA)
    resized = replace(portrait, image=image, landmarks=portrait.landmarks * scale, camera=portrait.camera * scale)
    renderer = WarpRenderer(resized)
    assert np.array_equal(draw(renderer, moved()), image)
    frame = draw(renderer, moved(head=(2, 5, 1), jawOpen=0.6, eyeBlinkLeft=1, mouthFunnel=0.5))
    assert frame.shape == image.shape
    assert np.abs(frame.astype(int) - image).mean() > 0.3


def test_a_grey_picture_stays_grey_but_for_the_mouth(portrait: Portrait) -> None:
    grey = np.repeat(portrait.image.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    frame = draw(
        WarpRenderer(replace(portrait, image=grey)), moved(head=(0, 6, 0), eyeBlinkLeft=1, mouthSmileLeft=1, gaze=0.2)
    )
    assert np.ptp(frame.astype(int), axis=-1).max() <= 1


def test_another_rigs_motion_is_refused(renderer: WarpRenderer) -> None:
    with pytest.raises(ValueError, match="retarget"):
        draw(renderer, replace(moved(), rig="flame"))
