"""OpenFace CSV: what is written is read back; a real file and mien's reading of its video agree."""

import csv

import numpy as np
import pytest
from reference import DATA

from mien.errors import FormatError, InputError
from mien.face.actions import units_from_motion
from mien.media.openface import UNITS, read_openface, write_openface
from mien.metrics import pearson
from mien.types import ActionUnits

CLIP = DATA / "video" / "icface" / "00296.mp4"


def some_units(n: int = 30) -> ActionUnits:
    rng = np.random.default_rng(0)
    return ActionUnits(rng.uniform(0, 1, (n, 3)), ("AU12", "AU28", "AU1"), 25.0)


def test_round_trip(tmp_path):
    units, rng = some_units(), np.random.default_rng(1)
    head_pose = rng.uniform(-0.5, 0.5, (30, 3)).astype(np.float32)
    found = np.arange(30) != 4
    write_openface(tmp_path / "a.csv", units, head_pose, found)
    read = read_openface(tmp_path / "a.csv")
    assert read.units.names == UNITS and read.units.fps == 25
    np.testing.assert_allclose(read.units.values[:, UNITS.index("AU12")], units.values[:, 0], atol=2e-3)
    np.testing.assert_allclose(read.units.values[:, UNITS.index("AU1")], units.values[:, 2], atol=2e-3)
    assert read.units.values[:, UNITS.index("AU4")].max() == 0
    np.testing.assert_allclose(read.head_pose, head_pose, atol=2e-3)
    np.testing.assert_array_equal(read.success, found)


def test_columns_are_named_as_openface_names_them(tmp_path):
    write_openface(tmp_path / "a.csv", some_units(2), np.zeros((2, 3), np.float32), np.ones(2, bool))
    first, row, _ = (tmp_path / "a.csv").read_text().splitlines()
    names = first.split(", ")
    assert names[:6] == ["frame", "face_id", "timestamp", "confidence", "success", "pose_Rx"]
    assert [n for n in names if n.endswith("_r")][:2] == ["AU01_r", "AU02_r"]
    presence = [n for n in names if n.endswith("_c")]
    assert len(presence) == 18 and presence[-2:] == ["AU28_c", "AU45_c"]
    values = dict(zip(names, row.split(", "), strict=True))
    assert values["frame"] == "1" and values["AU12_r"] == "3.18" and values["AU12_c"] == "1.00"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Timecode,BlendshapeCount\n", "lacks timestamp"),
        ("frame, timestamp, pose_Rx, pose_Ry, pose_Rz\n1, 0, 0, 0, 0\n", "lacks any AU"),
        ("timestamp, pose_Rx, pose_Ry, pose_Rz, AU01_r\n", "no rows"),
        ("timestamp, pose_Rx, pose_Ry, pose_Rz, AU01_r\n0, 0, 0, 0, nan\n", "line 2 is damaged"),
        ("timestamp, pose_Rx, pose_Ry, pose_Rz, AU01_r\n0, 0, 0, 0\n", "line 2 is damaged"),
        ("timestamp, pose_Rx, pose_Ry, pose_Rz, AU01_r\n0, 0, 0, 0, x\n", "line 2 is damaged"),
        ("", "lacks timestamp"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(FormatError, match=message):
        read_openface(tmp_path / "a.csv")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_openface(tmp_path / "a.csv")


def test_mien_reads_the_units_openface_reads():
    """On the one clip at hand with OpenFace's own figures; its AU12 never moves, so there mien's must stay low."""
    if not CLIP.exists():
        pytest.skip("the clip with OpenFace's figures is not beside the repository")
    from mien.perception.tracking import track_video

    real = read_openface(CLIP.with_suffix(".csv"))
    with CLIP.with_suffix(".csv").open() as file:
        assert len(real.units) == sum(1 for _ in csv.reader(file)) - 1
    assert real.units.names == UNITS and real.success.all()
    seen = track_video(CLIP)
    own = units_from_motion(seen.motion)
    n = min(len(own), len(real.units))

    def agreement(name: str) -> float:
        return pearson(own.values[:n, own.names.index(name)], real.units.values[:n, UNITS.index(name)])

    for name in ("AU1", "AU25", "AU45"):
        assert agreement(name) > 0.6, name
    assert real.units.values[:, UNITS.index("AU12")].max() == 0
    assert own.values[:, own.names.index("AU12")].max() < 0.2
    for axis, least in ((0, 0.6), (1, 0.85), (2, 0.95)):
        assert pearson(seen.motion.head_pose[:n, axis], real.head_pose[:n, axis]) > least
