"""Closed lips of a filmed mouth: what bares the teeth, and the closing that hides them again, both give way.

A sneer raises the upper lip by 7 mm. When the lips then close, the rig lets the lower one go up after it, and the whole
mouth hangs under the nose, its lips turned outwards. In a face they relax to meet: the line between them stays about
where it was filmed, and as thin.
"""

from __future__ import annotations

import numpy as np

from mien.face.rig import Rig
from mien.types import Array

BARING = (
    "noseSneerLeft", "noseSneerRight", "mouthUpperUpLeft", "mouthUpperUpRight", "mouthShrugUpper",
    "mouthLowerDownLeft", "mouthLowerDownRight",
)  # fmt: skip
"""Expressions that part the lips over a still jaw."""

_TOUCH = 0.03  # face heights: lips further apart than this go where the expression takes them
_RELAXES = 0.75  # of what bares the teeth, in closed lips; the lower one can follow the upper one by a little
_REACH = 0.1  # face heights: how far around the lips the skin relaxes, about as far as the nose


class LipLine:
    """Relaxes lips that touch."""

    def __init__(self, rig: Rig, points: Array, basis: Array, up: Array, height: float) -> None:
        """Remember what parts the lips.

        Args:
            rig: the face's.
            points: ``(478, 3)`` landmarks in the photo, picture space.
            basis: ``(E, 478, 3)`` displacements by each of the rig's expressions.
            up: ``(3,)`` the head's up in picture space.
            height: of the face in pixels.
        """
        self._bares, self._closes = [rig.expression_index[name] for name in BARING], rig.expression_index["mouthClose"]
        self._baring, self._closing = basis[self._bares], basis[self._closes]
        pairs = rig.closures["lips"]
        self._middle = pairs[len(pairs) // 4 : len(pairs) - len(pairs) // 4]
        self._axis = up[:2] / (np.linalg.norm(up[:2]) + 1e-6)
        self._open, self._touch = self._gap(points), _TOUCH * height
        lips = np.concatenate([rig.contours[name] for name in ("lips_outer", "lips_inner")])
        away = np.linalg.norm(points[:, None, :2] - points[lips, :2], axis=-1).min(1)
        self._share = np.exp(-((away / (_REACH * height)) ** 2))[:, None].astype(np.float32)

    def relax(self, expression: Array, change: Array) -> None:
        """Correct the landmarks' displacements in place.

        Args:
            expression: ``(478, 3)``.
            change: ``(E,)`` of the weights, from those of the photo's own expression.
        """
        bared = np.tensordot(np.maximum(change[self._bares], 0), self._baring, 1)
        hiding = -self._gap(bared) / self._gap(self._closing)
        hidden = min(float(change[self._closes]) / hiding, 1) if hiding > 0 else 0
        touch = 1 - max(self._open + self._gap(expression), 0) / self._touch
        if touch > 0 and hidden > 0:
            expression -= _RELAXES * touch * hidden * self._share * (bared + hiding * self._closing)

    def _gap(self, points: Array) -> float:
        """Pixels between the middle of the lips."""
        upper, lower = points[self._middle[:, 0], :2], points[self._middle[:, 1], :2]
        return float(((upper - lower) @ self._axis).mean())
