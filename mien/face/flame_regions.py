"""The twelve soft regions of a rig on a FLAME head, from the vertex masks of the FLAME site.

The masks overlap and cover the whole head; regions are shares that sum to 1 at every vertex. The lips become the mouth,
the nose the nose, the forehead and what lies above the eyeballs the brows, the rest of the eye regions the eyes. What
is left of the face is jaw below the middle of the lips and cheek above. Every other vertex goes with its nearest.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from mien.errors import FormatError
from mien.face.regions import REGION_NAMES
from mien.types import Array

_AREAS = ("brow", "eye", "nose", "cheek", "mouth", "jaw")
MASKS = ("face", "lips", "nose", "eye_region", "forehead", "left_eyeball", "right_eyeball")
"""The masks that regions are made of."""

_BLUR, _NEIGHBOURS = 0.006, 32  # metres over which a region fades, from this many vertices
_MIDLINE = 0.01  # metres over which left becomes right


def regions_of_masks(template: Array, masks: Mapping[str, npt.NDArray[np.integer]]) -> Mapping[str, Array]:
    """Per region ``(V,)`` in [0, 1] for a ``(V, 3)`` template.

    Raises:
        FormatError: if masks are missing or belong to another mesh.
    """
    from scipy.spatial import cKDTree

    missing = [name for name in MASKS if name not in masks]
    if missing or max(int(masks[name].max(initial=0)) for name in MASKS) >= len(template):
        reason = f"it is without {', '.join(missing)}" if missing else "it belongs to another mesh"
        raise FormatError(f"the vertex masks do not fit: {reason}", "use FLAME_masks.pkl from the FLAME site")
    height = template[:, 1]
    balls = np.concatenate([masks["left_eyeball"], masks["right_eyeball"]])
    area = np.full(len(template), -1)
    face, eyes = masks["face"], masks["eye_region"]
    area[face] = np.where(height[face] < height[masks["lips"]].mean(), _AREAS.index("jaw"), _AREAS.index("cheek"))
    area[masks["forehead"]] = _AREAS.index("brow")
    area[eyes] = np.where(height[eyes] > height[balls].max(), _AREAS.index("brow"), _AREAS.index("eye"))
    area[balls] = _AREAS.index("eye")
    area[masks["nose"]] = _AREAS.index("nose")
    area[masks["lips"]] = _AREAS.index("mouth")
    known = np.flatnonzero(area >= 0)
    area = area[known[cKDTree(template[known]).query(template)[1]]]
    distance, near = cKDTree(template).query(template, min(_NEIGHBOURS, len(template)))
    weight = np.exp(-(distance**2) / (2 * _BLUR**2))
    weight /= weight.sum(1, keepdims=True)
    left = np.clip(template[:, 0] / _MIDLINE + 0.5, 0, 1)
    regions = {}
    for name in REGION_NAMES:
        stem, _, side = name.partition("_")
        share = (weight * (area[near] == _AREAS.index(stem))).sum(1)
        regions[name] = np.asarray(share * (left if side == "left" else 1 - left), np.float32)
        regions[name].setflags(write=False)
    return MappingProxyType(regions)
