from pathlib import Path

import numpy as np
import pytest
from reference import DATA

from mien.errors import FormatError, InputError
from mien.media.livelink import HEADER, read_livelink, write_livelink
from mien.types import ARKIT_NAMES, FaceMotion

CAPTURES = sorted((DATA / "mocap" / "livelink").glob("*.csv"))


def motion(n: int = 40, fps: float = 25.0) -> FaceMotion:
    rng = np.random.default_rng(0)
    return FaceMotion(
        fps=fps,
        rig="builtin",
        expression_names=ARKIT_NAMES,
        expression=rng.random((n, 52)),
        jaw_pose=np.zeros((n, 3)),
        head_pose=rng.normal(0, 0.3, (n, 3)),
        eye_pose=rng.normal(0, 0.2, (n, 2, 3)),
        translation=np.zeros((n, 3)),
    )


@pytest.mark.parametrize("fps", [24000 / 1001, 24, 25, 30, 50, 60000 / 1001, 60])
@pytest.mark.parametrize("n", [2, 40])
def test_what_is_written_is_read_again(tmp_path, fps, n):
    written = motion(n, fps)
    write_livelink(tmp_path / "a.csv", written)
    read = read_livelink(tmp_path / "a.csv")
    assert read.fps == pytest.approx(fps, rel=1e-9 if n > 2 else 1e-3)
    for name in ("expression", "head_pose", "eye_pose"):
        assert getattr(read, name) == pytest.approx(getattr(written, name), abs=1e-6)


def test_columns_and_time_codes_are_those_of_the_app(tmp_path):
    write_livelink(tmp_path / "a.csv", motion(30, 24), start=3600.5)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0].split(",") == list(HEADER) and len(HEADER) == 63
    assert lines[1].startswith("01:00:00:30.000,61,") and lines[2].startswith("01:00:00:32.500,61,")
    assert lines[13].startswith("01:00:01:00.000,")


def test_angles_have_the_files_signs(tmp_path):
    turned = FaceMotion.zeros(1, 25)
    turned = FaceMotion(25, "builtin", ARKIT_NAMES, turned.expression, turned.jaw_pose, [[0.1, 0, 0]],
                        [[[0, 0.2, 0], [0, 0, 0.3]]], turned.translation)  # fmt: skip
    write_livelink(tmp_path / "a.csv", turned)
    header, row = (line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines())
    values = dict(zip(header[2:], map(float, row[2:]), strict=True))
    assert values["HeadPitch"] == pytest.approx(0.1)  # down is positive in both
    assert values["LeftEyeYaw"] == pytest.approx(-0.2)  # the subject's left is negative in the file
    assert values["RightEyeRoll"] == pytest.approx(-0.3)


def test_dropped_rows_are_filled_in(tmp_path, caplog):
    whole = motion(40).with_columns({"jawOpen": np.linspace(0, 1, 40)})
    write_livelink(tmp_path / "a.csv", whole)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "b.csv").write_text("\n".join(lines[:11] + lines[14:]))
    read = read_livelink(tmp_path / "b.csv")
    assert len(read) == 40 and read.fps == 25
    assert read.column("jawOpen") == pytest.approx(np.linspace(0, 1, 40), abs=1e-6)
    assert "3 rows are missing" in caplog.text


def test_midnight_is_no_step_back_in_time(tmp_path):
    write_livelink(tmp_path / "a.csv", motion(50), start=24 * 3600 - 1)
    assert len(read_livelink(tmp_path / "a.csv")) == 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("JawOpen", "Jaw"), "lacks JawOpen"),
        (lambda text: text.replace("0.", "x.", 1), "line 2 is damaged"),
        (lambda text: text.splitlines()[0], "no rows"),
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: text.replace("0.0000000000", "nan", 1), "NaN"),
        (lambda text: "", "is no Live Link Face file"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, message):
    path = tmp_path / "a.csv"
    write_livelink(path, FaceMotion.zeros(10, 25))
    path.write_text(change(path.read_text()))
    with pytest.raises(FormatError, match=message):
        read_livelink(path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(bytes(range(256)))
    with pytest.raises(FormatError):
        read_livelink(tmp_path / "a.csv")


def test_expressions_of_other_rigs_are_refused(tmp_path):
    with pytest.raises(InputError, match="no column for other"):
        write_livelink(tmp_path / "a.csv", FaceMotion.zeros(2, 25, "flame", ("other",)))


@pytest.mark.skipif(not CAPTURES, reason="the shared captures are not here")
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_real_captures_survive_the_round_trip(path, tmp_path):
    first = read_livelink(path)
    write_livelink(tmp_path / "a.csv", first)
    original, again = (_table(file) for file in (path, tmp_path / "a.csv"))
    assert first.fps == pytest.approx(59.94, abs=0.1)
    assert np.abs(original - again).max() < 1e-6


@pytest.mark.skipif(not CAPTURES, reason="the shared captures are not here")
def test_real_eyes_look_where_their_weights_say():
    read = read_livelink(CAPTURES[0])
    to_the_left = read.column("eyeLookOutLeft") - read.column("eyeLookInLeft")
    downwards = read.column("eyeLookDownLeft") - read.column("eyeLookUpLeft")
    assert np.corrcoef(read.eye_pose[:, 0, 1], to_the_left)[0, 1] > 0.9
    assert np.corrcoef(read.eye_pose[:, 0, 0], downwards)[0, 1] > 0.9


def _table(path: Path) -> np.ndarray:
    return np.array([[float(value) for value in line.split(",")[2:]] for line in path.read_text().splitlines()[1:]])
