"""Which triangles of a mesh are skin and which are eyes, for meshes whose makers gave the eyes no colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.types import Array

Triangles = npt.NDArray[Any]

PUPIL_ANGLE, IRIS_ANGLE = 0.17, 0.45
"""How far pupil and iris reach from the line of sight, radians: 2 and 5.5 mm on a ball of 12.5 mm radius."""


def sort_triangles(
    template: Array, triangles: Triangles, eyeballs: Mapping[str, slice]
) -> tuple[Triangles, dict[str, slice]]:
    """Triangles in the order skin, then pupil, iris and sclera of each eye.

    Args:
        template: ``(V, 3)`` m.
        triangles: ``(F, 3)``.
        eyeballs: vertices of each ball by name, ``"eyeball_left"`` and so on; may be empty.

    Returns:
        The triangles sorted, and where each part is: ``"skin"``, ``"pupil_left"``, ...
    """
    owner = np.zeros(len(triangles), np.int64)
    for number, ball in enumerate(eyeballs.values(), 1):
        owner[(triangles[:, 0] >= ball.start) & (triangles[:, 0] < ball.stop)] = number
    pieces: list[Triangles] = [triangles[owner == 0]]
    parts = {"skin": slice(0, len(pieces[0]))}
    for number, name in enumerate(eyeballs, 1):
        piece, ranges = split_eye(template, triangles[owner == number])
        start = sum(map(len, pieces))
        for kind, at in ranges.items():
            parts[f"{kind}_{name.removeprefix('eyeball_')}"] = slice(start + at.start, start + at.stop)
        pieces.append(piece)
    return np.concatenate(pieces), parts


def split_eye(template: Array, ball: Triangles) -> tuple[Triangles, dict[str, slice]]:
    """The triangles of one eyeball that looks along z, sorted into pupil, iris and sclera, and where the three are."""
    corners = template[np.unique(ball)]
    if not len(corners):
        return ball, {}
    towards = template[ball].mean(1) - (corners.min(0) + corners.max(0)) / 2
    angle = np.arctan2(np.hypot(towards[:, 0], towards[:, 1]), towards[:, 2])
    kinds = np.digitize(angle, [PUPIL_ANGLE, IRIS_ANGLE])
    ends = np.cumsum(np.bincount(kinds, minlength=3)).tolist()
    places = zip(("pupil", "iris", "sclera"), [0, *ends], ends, strict=False)
    return ball[np.argsort(kinds, kind="stable")], {name: slice(start, stop) for name, start, stop in places}
