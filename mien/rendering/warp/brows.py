"""Brows keep their shape, and rise as far as the skin below them can unfold.

A raised brow draws smooth skin out of the fold above the eye. A photo has only the skin that it shows: where the brow
lies close to the eye, every millimetre stretches the same few pixels. Often the hair also reaches further down than the
landmarks do, and would be smeared over the lid; then what is between follows the brow, as far as it is as dark.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mien.face.rig import Rig
from mien.rendering.warp.lean import eased
from mien.types import Array, Frame

_EDGE = [46, 53, 52, 65, 55, 276, 283, 282, 295, 285]  # landmarks along the lower edge of the brows
_BODY = [70, 63, 105, 66, 107, 300, 293, 334, 296, 336]  # along the upper edge
_BELOW = [225, 224, 223, 222, 221, 445, 444, 443, 442, 441]  # between brow and crease
_ABOVE = [68, 104, 69, 298, 333, 299]  # bare skin of the forehead
_FREE, _MOST = 0.5, 0.9  # growth of the room between brow and lid: up to the first as asked, never past the second


class Brows:
    """Corrects what brows do on one portrait."""

    def __init__(self, photo: Frame, rig: Rig, points: Array, basis: Array, up: Array) -> None:
        """Look how low the hair reaches and how much room there is.

        Args:
            photo: the whole picture.
            rig: the face's.
            points: ``(478, 3)`` landmarks in the photo, picture space.
            basis: ``(E, 478, 3)`` displacements by each of the rig's expressions.
            up: ``(3,)`` the head's up in picture space.
        """
        self._moving = [i for name, i in rig.expression_index.items() if name.startswith("brow")]
        self._as_rigged = basis[self._moving]
        along = self._as_rigged.copy()
        share = _hair(photo, points)[:, None]
        along[:, _BELOW] += share * (along[:, _EDGE] - along[:, _BELOW])
        self._basis = along
        self._axis = np.asarray(up[:2] / (np.linalg.norm(up[:2]) + 1e-6), np.float32)
        self._lids = np.concatenate([rig.closures[f"eye_{side}"][:, 0] for side in ("left", "right")])
        self._room = self._over_lids(points)
        self._rise = np.array([self._over_lids(each) for each in along], np.float32)

    def hold(self, expression: Array, change: Array) -> None:
        """Correct the landmarks' displacements in place.

        Args:
            expression: ``(478, 3)``.
            change: ``(E,)`` of the weights, from those of the photo's own expression.
        """
        change = change[self._moving]
        if not change.any():
            return
        growth = float(change @ self._rise) / max(self._room, 1.0)
        share = eased(np.array(growth, np.float32), _FREE, _MOST)
        expression += np.tensordot(change, share * self._basis - self._as_rigged, 1)

    def _over_lids(self, points: Array) -> float:
        """Pixels from the lids to the brows."""
        return float((points[_EDGE, :2].mean(0) - points[self._lids, :2].mean(0)) @ self._axis)


def _hair(photo: Frame, points: Array) -> Array:
    """``(len(_BELOW),)`` in [0, 1]: how much what lies below each place of a brow looks like the brow."""
    height = float(np.linalg.norm(points[10] - points[152]))
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    grey = cv2.GaussianBlur(grey, (0, 0), max(0.006 * height, 0.5)).astype(np.float32)

    def seen(places: npt.NDArray[np.floating]) -> Array:
        at = np.asarray(places, np.float32).reshape(-1, 1, 2)
        found = cv2.remap(grey, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(found, np.float32).reshape(places.shape[:-1])

    edge, below = (points[each, :2] for each in (_EDGE, _BELOW))
    hair, skin = seen((edge + points[_BODY, :2]) / 2), float(np.median(seen(points[_ABOVE, :2])))
    between = edge + np.linspace(0.3, 1.3, 6)[:, None, None] * (below - edge)
    dark = (skin - seen(between)) / np.maximum(skin - hair, 12.0)
    return np.asarray(np.clip(1.5 * dark - 0.25, 0, 1).mean(0), np.float32)
