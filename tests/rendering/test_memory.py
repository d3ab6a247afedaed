"""A memory of moved stripes: the right frames are taken, and they are warped to where the face is wanted."""

import numpy as np
import pytest

from mien.face.rig import load_rig
from mien.rendering.conditioning import screen_points
from mien.rendering.memory import FaceMemory, Recaller, face_keys, spread_out
from mien.types import FaceMotion

SIZE = 96
CAMERA = np.array([[400.0, 48.0, 52.0]], np.float32)


def some_motion(n: int = 12) -> FaceMotion:
    return FaceMotion.zeros(n, 25.0).with_columns(
        {"jawOpen": np.linspace(0, 0.8, n), "eyeBlinkLeft": np.linspace(1, 0, n)}
    )


def landmarks(motion: FaceMotion, shift: float = 0.0) -> np.ndarray:
    cameras = np.repeat(CAMERA + np.array([0, shift, 0], np.float32), len(motion), 0)
    return screen_points(load_rig(), None, motion, cameras)[:, :478]


@pytest.fixture(scope="module")
def memory() -> FaceMemory:
    """Each frame is a picture of one grey level, so that it can be told which were taken."""
    motion = some_motion()
    pictures = np.repeat(np.arange(12, dtype=np.uint8) * 20, SIZE * SIZE * 3).reshape(12, SIZE, SIZE, 3)
    points = landmarks(motion)
    return FaceMemory(pictures, points, points, face_keys(load_rig(), motion))


def test_the_nearest_mouth_and_the_nearest_eyes_are_taken(memory: FaceMemory) -> None:
    choice = memory.choose(memory.keys.mouth[9], memory.keys.eyes[2])
    assert choice.frames[0] == 9 and choice.frames[3] == 2
    assert np.allclose(choice.weights.reshape(2, 3).sum(1), 1)
    allowed = np.ones(12, np.bool_)
    allowed[8:11] = False
    assert not set(memory.choose(memory.keys.mouth[9], memory.keys.eyes[9], allowed).frames) & {8, 9, 10}


def test_weights_change_without_a_jump(memory: FaceMemory) -> None:
    """On the way from one key to another the mix changes a little at a time, also where other frames are taken."""
    a, b = memory.keys.mouth[3], memory.keys.mouth[8]
    mixes = []
    for share in np.linspace(0, 1, 200):
        choice = memory.choose(a + share * (b - a), memory.keys.eyes[0])
        mix = np.zeros(12)
        mix[choice.frames[:3]] = choice.weights[:3]
        mixes.append(mix)
    assert np.abs(np.diff(mixes, axis=0)).max() < 0.12


def test_frames_apart_are_remembered(memory: FaceMemory) -> None:
    assert spread_out(memory.keys, 3).tolist()[0] == 0 and spread_out(memory.keys, 3).tolist()[-1] == 11
    assert len(spread_out(memory.keys, 50)) == 12


def test_a_frame_is_warped_to_where_it_is_wanted() -> None:
    motion = some_motion(1)
    rig = load_rig()
    y, x = np.mgrid[:SIZE, :SIZE]
    picture = np.stack([x * 2, y * 2, 0 * x], -1).astype(np.uint8)
    points = landmarks(motion)
    memory = FaceMemory(picture[None], points, points, face_keys(rig, motion))
    choice = memory.choose(memory.keys.mouth[0], memory.keys.eyes[0])
    recaller = Recaller(rig, SIZE)
    same = recaller.recall(memory, choice, points[0], modelled=False)
    assert np.abs(same.mixed * 255 - picture).max() <= 1.01
    aside = recaller.recall(memory, choice, landmarks(motion, 6.0)[0], modelled=False)
    face = aside.condition.mask > 0
    assert np.abs(aside.mixed[face][:, 0] * 255 - (x[face] - 6) * 2).max() <= 2.1  # the face has moved,
    corner = aside.mixed[0, 0] * 255
    assert np.abs(corner - picture[0, 0]).max() <= 2  # the window's corner has not


def test_halves_of_the_face_come_from_frames_of_their_own(memory: FaceMemory) -> None:
    choice = memory.choose(memory.keys.mouth[11], memory.keys.eyes[0])
    recalled = Recaller(load_rig(), SIZE).recall(memory, choice, memory.points[6], modelled=True)
    mouth, brow = memory.points[6, 14, :2].astype(int), memory.points[6, 105, :2].astype(int)
    assert recalled.nearest[mouth[1] + 2, mouth[0], 0] > 0.7
    assert recalled.nearest[brow[1], brow[0], 0] < 0.2
