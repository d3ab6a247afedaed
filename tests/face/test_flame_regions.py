"""Regions of a FLAME head from its vertex masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flame_files import talking_flame

from mien.errors import FormatError
from mien.face.flame_regions import regions_of_masks
from mien.face.regions import REGION_NAMES
from mien.face.rig import load_rig, rig_of_flame


@pytest.fixture
def masks() -> dict[str, np.ndarray]:
    """Masks as FLAME_masks.pkl has them, on the built-in face: overlapping, and not of every vertex."""
    rig = load_rig()
    most = {area: rig.region(area) > 0.5 for area in ("brow", "eye", "nose", "cheek", "mouth", "jaw")}
    found = {"lips": most["mouth"], "nose": most["nose"], "eye_region": most["eye"] | most["brow"]}
    found["face"] = most["cheek"] | most["jaw"] | most["mouth"] | most["nose"] | found["eye_region"]
    found["forehead"] = most["brow"] & (rig.template[:, 1] > np.quantile(rig.template[most["brow"], 1], 0.7))
    found = {name: np.flatnonzero(mask) for name, mask in found.items()}
    for side in ("left", "right"):
        found[f"{side}_eyeball"] = np.arange(rig.n_vertices)[rig.parts[f"eyeball_{side}"]]
    return found


def test_regions_share_every_vertex(masks: dict[str, np.ndarray]) -> None:
    model = replace(talking_flame(), masks=masks)
    rig = rig_of_flame(model)
    assert tuple(rig.regions) == REGION_NAMES
    total = np.sum(list(rig.regions.values()), axis=0)
    np.testing.assert_allclose(total, 1, atol=1e-5)
    assert all(share.min() >= 0 and share.max() > 0.8 for share in rig.regions.values())
    builtin = load_rig()
    for area in ("nose", "mouth", "jaw"):
        assert np.corrcoef(rig.region(area), builtin.region(area))[0, 1] > 0.6, area
    left = rig.template[:, 0] > 0.01
    assert rig.region("mouth_right")[left].max() == 0 and rig.region("mouth_left")[left].max() > 0.8


def test_masks_that_do_not_fit_are_refused(masks: dict[str, np.ndarray]) -> None:
    template = load_rig().template
    with pytest.raises(FormatError, match="it is without lips"):
        regions_of_masks(template, {name: mask for name, mask in masks.items() if name != "lips"})
    with pytest.raises(FormatError, match="another mesh"):
        regions_of_masks(template[:100], masks)
