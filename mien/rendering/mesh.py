"""The ``mesh`` renderer: a rig itself as a shaded sculpture, to judge motion without any portrait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from mien.face.rig import Rig, load_rig
from mien.rendering.raster import Integers, fill_triangles, vertex_normals
from mien.rotations import compose
from mien.types import ARKIT_NAMES, Array, FaceIdentity, FaceMotion, Frame, Portrait

_COLOURS = {
    "skin": (184, 172, 165),
    "sclera": (222, 220, 216),
    "iris": (92, 108, 118),
    "pupil": (26, 24, 24),
    "teeth": (226, 220, 206),
    "tongue": (160, 98, 94),
    "cavity": (66, 38, 36),
}
"""RGB by the first word of a triangle part; parts without one (the patches that close eyes and lips) are left out."""

_LIPS = (168, 124, 118)
_IN_MOUTH = ("teeth", "tongue", "cavity")
_BEHIND_LIPS = 0.006  # metres: teeth and tongue are drawn further back, so that soft cheeks never let them through
_BACKGROUND = (232, 234, 237)
_KEY = np.array([-0.45, 0.55, 0.70], np.float32)  # towards the lamp: from above, the viewer's left
_FILL = np.array([0.88, 0.11, 0.45], np.float32)
_FACE_SHARE = 0.62  # of the picture's height, top of the skin to chin
_LIP_DEPTH = 0.025  # metres: what lies further behind the lips' outline is no lip
_SAMPLES = 2  # per pixel and direction


class MeshRenderer:
    """Draws the rig's face in motion on a plain background."""

    def __init__(
        self,
        portrait: Portrait | None = None,
        *,
        size: int = 512,
        rig: Rig | None = None,
        identity: FaceIdentity | None = None,
    ) -> None:
        """Choose whose face to show and how large.

        Args:
            portrait: gives the face's shape and its expression and pose at rest.
            size: width and height of the picture in pixels.
            rig: what moves, where there is no portrait; the built-in one by default.
            identity: whose face, where there is no portrait; the rig's template by default.
        """
        identity = portrait.identity if portrait else identity
        self._rig = rig or load_rig(identity.rig if identity else "builtin")
        self._identity = identity
        self._rest = (
            portrait.rest if portrait else FaceMotion.zeros(1, 25.0, self._rig.name, self._rig.expression_names)
        )
        self._size = size
        triangles, colours, back = [], [], []
        owner: list[Integers] = []
        for part, where in self._rig.triangle_parts.items():
            kind = part.split("_")[0]
            if kind not in _COLOURS:
                continue
            # Parts that share vertices get their own copies: colour and normal change sharply between them.
            used, local = np.unique(self._rig.triangles[where], return_inverse=True)
            triangles.append(local.reshape(-1, 3) + sum(map(len, owner)))
            colours.append(np.tile(np.array(_COLOURS[kind], np.float32), (len(used), 1)))
            back.append(np.full(len(used), _BEHIND_LIPS if kind in _IN_MOUTH else 0.0))
            owner.append(used)
        self._triangles: Integers = np.concatenate(triangles).astype(np.int32)
        self._colours = np.concatenate(colours)
        self._owner = np.concatenate(owner)
        self._colours[: len(owner[0])] = self._skin_colours(owner[0])
        self._back = np.concatenate(back)
        top, chin = self._extent(self._rig.neutral(identity))
        self._scale = _FACE_SHARE * size / float(top[1] - chin[1])
        self._middle = (top + chin) / 2

    def render(self, motion: FaceMotion) -> Iterator[Frame]:
        """The face in that motion, frame by frame.

        Args:
            motion: on the same rig, relative to the portrait's rest as for the warp renderer.

        Yields:
            ``(size, size, 3)`` frames, equal bytes for equal motion.

        Raises:
            ValueError: if the motion is on another rig.
        """
        for index in range(len(motion)):
            frame = self._absolute(motion[index : index + 1])
            yield self._draw(self._rig.pose(self._rig.vertices(frame, self._identity), frame)[0])

    def _absolute(self, motion: FaceMotion) -> FaceMotion:
        rest = self._rest
        weights = {name: motion.column(name) + rest.column(name) for name in motion.expression_names}
        weights |= {name: np.clip(weights[name], 0, 1) for name in ARKIT_NAMES if name in weights}
        return replace(
            motion.with_columns(weights),
            head_pose=compose(rest.head_pose, motion.head_pose),  # about the head's own axes
            eye_pose=motion.eye_pose + rest.eye_pose,
        )

    def _extent(self, neutral: Array) -> tuple[Array, Array]:
        """The top of the skin, and the chin, or its lowest point if nobody knows the chin; both on the midline."""
        skin = neutral[np.unique(self._rig.triangles[self._rig.triangle_parts["skin"]])]
        at = self._rig.landmark_indices_68
        chin = neutral[at[8]] if len(at) else np.array([skin[:, 0].mean(), skin[:, 1].min(), 0], np.float32)
        return np.array([chin[0], skin[:, 1].max(), chin[2]], np.float32), chin

    def _skin_colours(self, vertices: Integers) -> Array:
        """``(N, 3)`` skin, and lips inside their outline."""
        skin, template = np.array(_COLOURS["skin"], np.float32), self._rig.template
        outline = self._rig.contours.get("lips_outer", self._rig.landmark_indices_68[48:60])
        if not len(outline):
            return np.tile(skin, (len(vertices), 1))
        corners = np.ascontiguousarray(template[outline, :2] * 1000)
        places = template[vertices] * 1000
        inside = np.array([cv2.pointPolygonTest(corners, (float(x), float(y)), True) for x, y, _ in places])
        lips = np.clip(inside / 1.5 + 0.5, 0, 1)  # millimetres
        lips *= template[vertices, 2] > template[outline, 2].mean() - _LIP_DEPTH
        return np.asarray(skin * (1 - lips[:, None]) + np.array(_LIPS) * lips[:, None], np.float32)

    def _draw(self, vertices: Array) -> Frame:
        n = self._size * _SAMPLES
        points = (vertices[self._owner] - self._middle) * np.array([1, -1, 1]) * (self._scale * _SAMPLES)
        points += np.stack([np.full(len(points), n / 2)] * 2 + [-self._back * self._scale * _SAMPLES], 1)
        normals = np.empty((len(points), 3), np.float32)
        vertex_normals(np.ascontiguousarray(vertices[self._owner]), self._triangles, normals)
        values = np.concatenate([normals, self._colours], 1)
        drawn = np.zeros((n, n, 6), np.float32)
        depth = np.full((n, n), -np.inf, np.float32)
        fill_triangles(points.astype(np.float32), values.astype(np.float32), self._triangles, depth, drawn)
        covered = np.isfinite(depth)
        surface = drawn[covered]
        normals = surface[:, :3] / np.maximum(np.linalg.norm(surface[:, :3], axis=1, keepdims=True), 1e-6)
        light = 0.42 + 0.55 * np.maximum(normals @ _KEY, 0) + 0.14 * np.maximum(normals @ _FILL, 0)
        picture = np.full((n, n, 3), _BACKGROUND, np.uint8)
        picture[covered] = np.clip(surface[:, 3:] * light[:, None] + 0.5, 0, 255)
        small = cv2.resize(picture, (self._size, self._size), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)
