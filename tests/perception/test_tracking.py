"""Tracking of pictures, and of clips whose motion is known because a stand-in for mediapipe plays it."""

import numpy as np
import pytest
from reference import DATA

from mien.errors import InputError, NoFaceError
from mien.face.rig import load_rig
from mien.media.image import read_image
from mien.media.video import VideoReader
from mien.perception.geometry import project
from mien.perception.landmarks import MediapipeBackend, face_box, opposites
from mien.perception.reader import load_reader
from mien.perception.tracking import track_image, track_video
from mien.types import ARKIT_NAMES, FaceIdentity, FaceMotion

FPS = 25.0
CAMERA = np.array([2000, 250, 240], np.float32)
CLIPS = DATA / "video"
BLINKS = (ARKIT_NAMES.index("eyeBlinkLeft"), ARKIT_NAMES.index("eyeBlinkRight"))


@pytest.fixture(scope="module")
def backend():
    return MediapipeBackend()


@pytest.fixture(scope="module")
def photo(sample_portrait):
    return read_image(sample_portrait)


@pytest.fixture(scope="module")
def portrait(photo, backend):
    return track_image(photo, backend=backend)


class Played:
    """A backend that sees the rig play a motion, or nothing where the landmarks are NaN."""

    def __init__(self, landmarks: np.ndarray) -> None:
        self._landmarks = landmarks

    def detect(self, frame, *, patient=True):
        landmarks = self._landmarks[int(frame[0, 0, 0])]
        return [] if np.isnan(landmarks).any() else [landmarks]

    def follow(self, frame, previous):
        return next(iter(self.detect(frame)), None)


def numbered(n: int) -> list[np.ndarray]:
    return [np.full((480, 500, 3), i, np.uint8) for i in range(n)]


def play(motion: FaceMotion) -> np.ndarray:
    rig = load_rig()
    average = FaceIdentity(rig.name, np.zeros(len(rig.identity_basis)), np.zeros((rig.n_vertices, 3)))
    return project(rig, average, motion, np.tile(CAMERA, (len(motion), 1)))


def test_the_portrait_lies_on_its_landmarks(portrait):
    placed = project(load_rig(), portrait.identity, portrait.rest, portrait.camera[None])[0]
    assert np.abs(placed - portrait.landmarks)[:, :2].max() < 0.1
    assert np.abs(portrait.identity.betas).max() < 4
    assert portrait.rest.expression.min() >= 0 and portrait.rest.expression.max() <= 1


def test_the_person_is_masked_and_the_background_is_not(portrait):
    box = face_box(portrait.landmarks).astype(int)
    assert portrait.person_mask[box[1] : box[3], box[0] : box[2]].mean() > 0.9
    assert portrait.person_mask[:40, :40].mean() < 0.3


def test_a_tilted_picture_is_a_tilted_head(photo, portrait, backend):
    import cv2

    centre = tuple(float(c) for c in portrait.landmarks[:, :2].mean(axis=0))
    turn = cv2.getRotationMatrix2D(centre, 12, 1)  # counter-clockwise as the viewer sees it
    tilted = track_image(cv2.warpAffine(photo, turn, photo.shape[1::-1], borderMode=1), backend=backend)
    change = np.rad2deg(tilted.rest.head_pose - portrait.rest.head_pose)[0]
    assert change[2] == pytest.approx(12, abs=1.5)
    assert np.abs(change[:2]).max() < 4


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_picture_on_its_side_shows_the_same_face(photo, portrait, backend, turns):
    turned = np.ascontiguousarray(np.rot90(photo, turns))
    found = backend.detect(turned)[0]
    for face in (found, backend.follow(turned, found)):
        assert np.abs(load_reader()(face[None]) - portrait.rest.expression).mean() < 0.02
    corner = {1: (0, turned.shape[0]), 2: (turned.shape[1], turned.shape[0]), 3: (turned.shape[1], 0)}[turns]
    across, down = {1: ((0, -1), (1, 0)), 2: ((-1, 0), (0, -1)), 3: ((0, 1), (-1, 0))}[turns]
    expected = portrait.landmarks[:, :2] @ np.array([across, down]) + corner
    size = np.ptp(portrait.landmarks[:, 0])
    assert np.abs(found[:, :2] - expected).mean() < 0.02 * size


def test_a_mirrored_picture_mirrors_pose_and_sides(photo, portrait, backend):
    mirror = track_image(np.ascontiguousarray(photo[:, ::-1]), backend=backend)
    change = np.rad2deg(mirror.rest.head_pose * (1, -1, -1) - portrait.rest.head_pose)
    assert np.abs(change).max() < 4
    left, right = (mirror.rest.column(f"mouthSmile{side}")[0] for side in ("Left", "Right"))
    assert left == pytest.approx(portrait.rest.column("mouthSmileRight")[0], abs=0.2)
    assert right == pytest.approx(portrait.rest.column("mouthSmileLeft")[0], abs=0.2)


def test_size_goes_into_the_camera_alone(photo, portrait, backend):
    import cv2

    small = track_image(cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), backend=backend)
    assert small.camera * 2 == pytest.approx(portrait.camera, rel=0.03)
    assert np.rad2deg(np.abs(small.rest.head_pose - portrait.rest.head_pose)).max() < 3
    assert np.abs(small.rest.expression - portrait.rest.expression).max() < 0.25


def test_no_face_and_too_few_faces_are_said(photo, backend):
    from skimage.data import chelsea, coffee

    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    for picture in (noise, coffee(), chelsea(), np.zeros((1, 1, 3), np.uint8)):  # chelsea is a cat
        with pytest.raises(NoFaceError, match="no face found"):
            track_image(picture, backend=backend)
    with pytest.raises(NoFaceError, match="face 2 asked for, but only 1"):
        track_image(photo, face=2, backend=backend)
    with pytest.raises(InputError, match="counted from 1"):
        track_image(photo, face=0, backend=backend)


def test_the_largest_face_comes_first_and_the_second_can_be_asked_for(photo, backend):
    import cv2

    height, width = photo.shape[:2]
    small = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    both = np.full((height, width + small.shape[1], 3), 128, np.uint8)
    both[: small.shape[0], : small.shape[1]] = small
    both[:, small.shape[1] :] = photo
    centres = [track_image(both, face=n, backend=backend).landmarks[:, 0].mean() for n in (None, 1, 2)]
    assert centres[0] == centres[1] > small.shape[1] > centres[2]


def test_a_small_face_is_found(photo, portrait, backend):
    import cv2

    factor = 24 / float(np.ptp(portrait.landmarks[:, 0]))
    tiny = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    page = np.full((512, 512, 3), 110, np.uint8)
    page[300 : 300 + tiny.shape[0], 150 : 150 + tiny.shape[1]] = tiny
    found = backend.detect(page)
    assert len(found) == 1
    expected = portrait.landmarks[:, :2] * factor + (150, 300)
    assert np.linalg.norm(found[0][:, :2] - expected, axis=1).mean() < 0.1 * 24


def test_a_followed_face_moves_with_the_picture(photo, backend):
    face = backend.detect(photo)[0]
    here = backend.follow(photo, face)
    there = backend.follow(np.roll(photo, (4, 9), axis=(0, 1)), here)
    assert (there - here)[:, :2].mean(axis=0) == pytest.approx([9, 4], abs=0.7)


def test_a_careful_look_differs_less_from_that_at_the_mirror_image(photo):
    """What the network does differently left and right is the error that a look in the mirror can take away."""

    def apart(careful: bool) -> float:
        seen = []
        for picture in (photo, np.ascontiguousarray(photo[:, ::-1])):
            backend = MediapipeBackend(careful=careful)
            face = backend.detect(picture)[0]
            for _ in range(3):
                face = backend.follow(picture, face)
            seen.append(face)
        back = seen[1][opposites()]
        back[:, 0] = photo.shape[1] - back[:, 0]
        return float(np.linalg.norm((seen[0] - back)[:, :2], axis=1).mean())

    assert apart(careful=True) < 0.6 * apart(careful=False)


def test_opposite_landmarks_are_each_others():
    other = opposites()
    assert np.array_equal(other[other], np.arange(478))
    assert (other[[33, 159, 61, 13, 468]] == [263, 386, 291, 13, 473]).all()


def test_mediapipe_writes_nothing_to_standard_error(photo, capfd):
    backend = MediapipeBackend()
    face = backend.detect(photo)[0]
    backend.follow(photo, face)
    backend.follow(photo[:, :-40], face)
    assert capfd.readouterr().err == ""


def test_known_motion_is_found_again():
    time = np.arange(100) / FPS
    motion = FaceMotion.zeros(100, FPS)
    head = np.stack([0.15 * np.sin(time), 0.35 * np.sin(1.7 * time), 0.1 * np.cos(time)], axis=1)
    place = np.stack([0.02 * np.sin(time), 0.01 * np.cos(time), 0 * time], axis=1)
    eyes = np.zeros((100, 2, 3))
    eyes[:, :, 1] = 0.2 * np.sin(2 * time)[:, None]
    motion = FaceMotion(FPS, "builtin", ARKIT_NAMES, motion.expression, motion.jaw_pose, head, eyes, place)
    track = track_video(numbered(100), fps=FPS, backend=Played(play(motion)))
    difference = np.rad2deg(track.motion.head_pose - motion.head_pose)
    assert np.abs(difference - difference.mean(axis=0)).max() < 2
    assert np.abs(difference.mean(axis=0)).max() < 4
    moved = track.motion.translation - motion.translation
    assert np.abs(moved - moved.mean(axis=0)).max() < 0.004
    assert np.corrcoef(track.motion.eye_pose[:, 0, 1], eyes[:, 0, 1])[0, 1] > 0.98
    assert track.found.all() and track.shots == (0,) and track.size == (480, 500)


def test_what_was_seen_is_kept_for_a_run_that_is_taken_up_again(tmp_path):
    wave = 0.4 + 0.4 * np.sin(np.arange(40) / 3)
    seen = Played(play(FaceMotion.zeros(40, FPS).with_columns({"jawOpen": wave})))
    first = track_video(numbered(40), fps=FPS, backend=seen, keep=tmp_path / "track.npz")
    again = track_video([], fps=FPS, keep=tmp_path / "track.npz")  # no picture is looked at
    for name in ("landmarks", "cameras", "found"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    np.testing.assert_array_equal(again.motion.expression, first.motion.expression)
    assert (again.size, again.shots, again.blinks) == (first.size, first.shots, first.blinks)
    assert [path.name for path in tmp_path.iterdir()] == ["track.npz"]


def test_expressions_do_not_turn_the_head():
    names = ("jawOpen", "mouthSmileLeft", "browInnerUp", "mouthPucker")
    motion = FaceMotion.zeros(20 * len(names), FPS)
    wave = np.zeros((len(motion), len(names)))
    for i in range(len(names)):
        wave[20 * i : 20 * i + 20, i] = np.sin(np.linspace(0, np.pi, 20)) * 0.8
    motion = motion.with_columns(dict(zip(names, wave.T, strict=True)))
    track = track_video(numbered(len(motion)), fps=FPS, backend=Played(play(motion)))
    assert np.rad2deg(np.ptp(track.motion.head_pose, axis=0)).max() < 3


def test_commanded_blinks_are_found_and_none_is_invented():
    starts = (20, 55, 90, 140)
    motion = FaceMotion.zeros(180, FPS)
    closure = np.zeros(180)
    for start in starts:
        closure[start : start + 6] = (0.4, 0.9, 1, 0.8, 0.5, 0.2)
    both = motion.with_columns({"eyeBlinkLeft": closure, "eyeBlinkRight": closure})
    blinks = track_video(numbered(180), fps=FPS, backend=Played(play(both))).blinks
    assert len(blinks) == len(starts)
    assert all(start - 2 <= found * FPS <= start + 3 for (found, _), start in zip(blinks, starts, strict=True))
    assert track_video(numbered(180), fps=FPS, backend=Played(play(motion))).blinks == ()


def test_frames_without_a_face_are_bridged_and_counted(caplog):
    motion = FaceMotion.zeros(40, FPS)
    landmarks = play(motion)
    landmarks[:3] = landmarks[20:24] = np.nan
    track = track_video(numbered(40), fps=FPS, backend=Played(landmarks))
    assert np.flatnonzero(~track.found).tolist() == [0, 1, 2, 20, 21, 22, 23]
    assert np.abs(np.diff(track.motion.head_pose, axis=0)).max() < 0.02
    assert "no face in 7 of 40 frames" in caplog.text


def test_a_clip_without_a_face_or_without_frames_is_refused():
    nothing = np.full((5, 478, 3), np.nan, np.float32)
    with pytest.raises(NoFaceError, match="no face found in 5 frames"):
        track_video(numbered(5), fps=FPS, backend=Played(nothing))
    with pytest.raises(NoFaceError, match="face 2 asked for"):
        track_video(numbered(5), fps=FPS, face=2, backend=Played(play(FaceMotion.zeros(5, FPS))))
    with pytest.raises(InputError, match="no frames"):
        track_video([], fps=FPS, backend=Played(nothing))


def test_the_reader_ignores_place_size_and_roll():
    landmarks = play(FaceMotion.zeros(1, FPS).with_columns({"jawOpen": 0.6, "mouthSmileLeft": 0.5}))
    turn = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
    moved = landmarks @ turn.T * 3.7 + (100, -40, 0)
    assert load_reader()(moved) == pytest.approx(load_reader()(landmarks), abs=1e-3)


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the shared clips are not here")
def test_the_tracker_agrees_with_the_face_landmarker(face_landmarker):
    if face_landmarker is None:
        pytest.skip("the Face Landmarker's task file is not here")
    names = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "browDownLeft", "browDownRight",
             "eyeBlinkLeft", "eyeBlinkRight", "mouthPucker")  # fmt: skip
    clips = ("liveportrait/d10", "liveportrait/d13", "liveportrait/d14", "liveportrait/d19", "liveportrait/d3",
             "styletalk_source/Obama_clip2", "styletalk_source/Obama_clip3", "styletalk_source/feifeili_clip1",
             "edtalk/expression_source", "pyfeat/WolfgangLanger_Pexels")  # fmt: skip
    ours, theirs = [], []
    for clip in clips:
        frames = [frame for i, frame in enumerate(VideoReader(CLIPS / f"{clip}.mp4")) if i < 120 and i % 4 == 0]
        motion = track_video(frames, fps=7.5).motion
        ours.append(np.stack([motion.column(name) for name in names], axis=1))
        theirs.append(
            np.array([[coefficients[name] for name in names] for coefficients in map(face_landmarker, frames)])
        )
    ours, theirs = np.concatenate(ours), np.concatenate(theirs)
    agreement = {name: float(np.corrcoef(ours[:, i], theirs[:, i])[0, 1]) for i, name in enumerate(names)}
    assert np.mean(list(agreement.values())) >= 0.8, agreement
    assert min(agreement.values()) >= 0.6, agreement
