import numpy as np
import pytest

from mien.face.actions import (
    SHAPES_OF_UNIT,
    UNITS,
    expression_from_units,
    motion_from_units,
    shapes_of_unit,
    units_from_motion,
)
from mien.types import ARKIT_NAMES, ActionUnits, FaceMotion


def test_every_unit_is_shown_by_shapes_that_exist():
    for unit in UNITS:
        assert set(shapes_of_unit(unit)) <= set(ARKIT_NAMES)
        assert all(0 < weight <= 1 for weight in shapes_of_unit(unit).values())


def test_sides():
    assert shapes_of_unit("AU12") == {"mouthSmileLeft": 1, "mouthSmileRight": 1}
    assert shapes_of_unit("AU12L") == {"mouthSmileLeft": 1}
    for unit in UNITS:  # the sides together are the whole
        whole = expression_from_units({unit: 0.5}, 1)
        np.testing.assert_allclose(expression_from_units({f"{unit}L": 0.5, f"{unit}R": 0.5}, 1), whole, atol=1e-6)


def test_unknown_unit_is_answered_with_the_list():
    with pytest.raises(KeyError, match=r"AU3.*AU12"):
        shapes_of_unit("AU3")


def test_sums_stay_weights():
    assert expression_from_units(dict.fromkeys(UNITS, 1.0), 3).max() == 1


@pytest.mark.parametrize("unit", [name for name in UNITS if name not in ("AU23", "AU25", "AU26", "AU28")])
def test_units_are_read_back(unit):
    asked = ActionUnits(np.array([[0.0], [0.4], [0.8]]), (unit,), 25.0)
    read = units_from_motion(motion_from_units(asked))
    np.testing.assert_allclose(read.values[:, read.names.index(unit)], [0, 0.4, 0.8], atol=1e-6)
    strongest = {name for name, value in zip(read.names, read.values[2], strict=True) if value > 0.7} - {"AU25"}
    assert len(strongest) <= 2, "an action must not read as many others"
    assert set(SHAPES_OF_UNIT) == set(read.names)


def test_lips_part_whatever_opens_them():
    motion = FaceMotion.zeros(4, 25.0).with_columns(
        {"jawOpen": [0, 0.2, 0.2, 0], "mouthClose": [0, 0, 0.2, 0], "mouthUpperUpLeft": [0, 0, 0, 0.5]}
    )
    read = units_from_motion(motion)
    np.testing.assert_allclose(read.values[:, read.names.index("AU25")], [0, 0.993, 0, 0.793], atol=2e-3)
