import dataclasses

import numpy as np
import pytest

from mien.errors import FormatError, InputError
from mien.types import (
    ARKIT_NAMES,
    ActionUnits,
    Audio,
    EmotionTrack,
    FaceIdentity,
    FaceMotion,
    Portrait,
    check_frame,
)


def moving(n: int = 12, fps: float = 25) -> FaceMotion:
    motion = FaceMotion.zeros(n, fps).with_columns({"jawOpen": np.linspace(0, 1, n)})
    head = np.zeros((n, 3), np.float32)
    head[:, 1] = np.linspace(0, 0.5, n)
    return dataclasses.replace(motion, head_pose=head)


def test_arkit_has_52_different_names():
    assert len(set(ARKIT_NAMES)) == 52


def test_wrong_shapes_name_expected_and_actual():
    with pytest.raises(ValueError, match=r"head_pose: expected shape \(3, 3\), got \(2, 3\)"):
        dataclasses.replace(FaceMotion.zeros(3, 25), head_pose=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        Audio(np.array([0.0, np.nan]), 16000)
    with pytest.raises(ValueError, match=r"\[-1, 1\], got 1.5"):
        EmotionTrack(np.array([[1.5, 0.0]]), 25)
    with pytest.raises(ValueError, match="fps"):
        FaceMotion.zeros(3, 0)


def test_motion_is_read_only_and_independent_of_its_input():
    values = np.zeros((4, 52), np.float32)
    motion = dataclasses.replace(FaceMotion.zeros(4, 25), expression=values)
    values[0, 0] = 9
    assert motion.expression[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        motion.expression[0, 0] = 1


def test_slice_and_concat_restore_the_whole():
    motion = moving()
    again = motion[:5].concat(motion[5:])
    np.testing.assert_array_equal(again.expression, motion.expression)
    np.testing.assert_array_equal(again.head_pose, motion.head_pose)
    with pytest.raises(ValueError, match="fps is 25"):
        motion.concat(FaceMotion.zeros(2, 30))
    with pytest.raises(TypeError, match="slices"):
        motion[3]  # type: ignore[index]


@pytest.mark.parametrize("fps", [12.5, 24, 50, 60])
def test_resample_keeps_duration_and_curves(fps):
    motion = moving(50)
    other = motion.resample(fps)
    assert abs(other.duration - motion.duration) <= 0.5 / fps
    times = np.arange(len(other)) / fps
    inside = times <= 49 / 25
    expected = np.interp(times, np.arange(50) / 25, motion.column("jawOpen"))
    np.testing.assert_allclose(other.column("jawOpen")[inside], expected[inside], atol=1e-5)
    np.testing.assert_allclose(other.head_pose[inside, 1], expected[inside] * 0.5, atol=1e-5)


def test_resample_turns_on_the_shortest_arc():
    head = np.array([[0, 3.0, 0], [0, -3.0, 0]], np.float32)  # 0.28 rad apart through half a turn
    motion = dataclasses.replace(FaceMotion.zeros(2, 10), head_pose=head).resample(20)
    assert np.abs(np.abs(motion.head_pose[1, 1]) - np.pi) < 1e-3


def test_save_load_round_trip(tmp_path):
    motion = dataclasses.replace(moving(), offsets=np.ones((12, 5, 3), np.float32))
    motion.save(tmp_path / "ü motion.npz")
    again = FaceMotion.load(tmp_path / "ü motion.npz")
    assert (again.fps, again.rig, again.expression_names) == (motion.fps, motion.rig, motion.expression_names)
    np.testing.assert_array_equal(again.expression, motion.expression)
    np.testing.assert_array_equal(again.offsets, motion.offsets)


def test_load_refuses_other_files(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(InputError, match="no such file"):
        FaceMotion.load(path)
    for content in (b"", b"hello", b"PK\x03\x04 broken"):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="not a mien motion file"):
            FaceMotion.load(path)
    with path.open("wb") as file:
        np.savez(file, header=np.array([{"format": "mien.FaceMotion"}], dtype=object))
    with pytest.raises(FormatError):  # a pickled header is refused, not executed
        FaceMotion.load(path)


def test_a_minute_of_motion_is_shown_in_one_line():
    assert repr(moving(1500)) == "<FaceMotion: 1500 frames at 25 a second, 52 expressions of rig 'builtin'>"
    assert repr(Audio(np.zeros(4000), 16_000)) == "<Audio: 0.25 s at 16000 Hz>"
    units = ActionUnits(np.zeros((1500, 2)), ("AU01", "AU12"), 25)
    assert repr(units) == "<ActionUnits: 1500 rows of 2 units at 25 a second>"
    identity = FaceIdentity("builtin", np.zeros(40), np.zeros((1958, 3)))
    assert repr(identity) == "<FaceIdentity: 40 coefficients of rig 'builtin'>"


def test_unknown_expression_lists_the_names():
    with pytest.raises(KeyError, match=r"smile.*mouthSmileLeft"):
        moving().column("smile")


def test_portrait_checks_its_parts():
    good = Portrait(
        image=np.zeros((8, 8, 3), np.uint8), landmarks=np.zeros((478, 3)), identity=None,  # type: ignore[arg-type]
        rest=FaceMotion.zeros(1, 25), camera=np.ones(3),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"image: expected an array \(H, W, 3\) of uint8"):
        dataclasses.replace(good, image=np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match="one frame"):
        dataclasses.replace(good, rest=FaceMotion.zeros(2, 25))


@pytest.mark.parametrize("thing", ["photo.jpg", np.zeros((96, 96), np.uint8), np.zeros((96, 96, 3)), None])
def test_what_is_no_picture_is_said(thing):
    with pytest.raises(ValueError, match=r"expected an array \(H, W, 3\) of uint8, RGB, got (str|\(96|None)"):
        check_frame(thing)


@pytest.mark.parametrize(
    ("thing", "remedy"),
    [
        ("photo.jpg", "read_image reads a file"),
        (np.zeros((96, 96, 3)), r"\(255 \* frame\)\.astype\(np\.uint8\)"),
        (memoryview(b"0123"), "np.asarray"),
        (np.zeros((0, 96, 3), np.uint8), r"got \(0, 96, 3\) uint8$"),
    ],
)
def test_what_is_no_picture_is_told_what_to_do(thing, remedy):
    with pytest.raises(ValueError, match=remedy):
        check_frame(thing)
