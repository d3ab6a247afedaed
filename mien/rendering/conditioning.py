"""Geometry images: what a person's renderer is told about a frame, drawn from a rig and a motion.

Papers: head2head++ (Doukas et al., T-BIOM 2021, section 3.2) and NED (Papantoniou et al., CVPR 2022, section 3.3).

    positions   NMFC, "normalised mean face coordinates": every visible point of the face has the colour of its place
                on the *mean* face, each axis scaled to [0, 1]. Moving the face moves colours and changes none.
    eyes        curves of the lids, white, 2 px wide, a parabola each; a red disc for the pupil. NED has the disc alone.
    shape       the face as grey plaster, lit from the camera; NED's third picture.
    mask        1 where the face is, the opening of the mouth included.

Deviations, each for a reason: colours are interpolated over triangles instead of flat, for our mesh is coarser than
LSFM; the mouth's opening stays black where the rig knows it, so that the pictures say how far it is open; the shaded
shape has no wrinkles of DECA's detail map, which is not open.

Convention: window pixels, x right, y down, z towards the viewer; the centre of the first pixel is 0. In pictures, as
landmarks have it, 0 is the outer corner of the first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mien.face.rig import Rig
from mien.rendering.raster import Integers, fill_triangles, vertex_normals
from mien.types import Array, FaceIdentity, FaceMotion

_EYES = {"right": slice(36, 42), "left": slice(42, 48)}
"""Of the 68 landmarks, along the upper lid first: the right eye from its outer corner, the left from its inner one."""

_AMBIENT = 0.25  # of the light on the shaded shape
_CURVE_POINTS = 12
_WHITE, _RED = (255, 255, 255), (255, 0, 0)


def screen_points(rig: Rig, identity: FaceIdentity | None, motion: FaceMotion, cameras: Array) -> Array:
    """``(T, V, 3)`` picture pixels of a posed face.

    Args:
        rig: of the motion.
        identity: whose face; the rig's template if ``None``.
        motion: absolute, as tracking gives it.
        cameras: ``(T, 3)`` scaled orthography: pixels per metre, and the pixel of the model's origin.
    """
    posed = rig.pose(rig.vertices(motion, identity), motion)
    points = posed * (cameras[:, None, :1] * np.array([1, -1, 1], np.float32))
    points[..., :2] += cameras[:, None, 1:]
    return np.asarray(points, np.float32)


def in_window(points: Array, box: Array, size: int) -> Array:
    """Picture points ``(..., 3)`` as they lie in a square cut out at ``box`` (left, top, side), resized to ``size``."""
    left, top, side = np.asarray(box, np.float64).tolist()
    scale = size / side
    moved = points * np.float32(scale)
    moved[..., 0] -= np.float32(left * scale + 0.5)
    moved[..., 1] -= np.float32(top * scale + 0.5)
    return np.asarray(moved, np.float32)


@dataclass(frozen=True, eq=False)
class Condition:
    """The geometry images of one frame.

    Attributes:
        positions: ``(S, S, 3)`` in [0, 1].
        eyes: ``(S, S, 3)`` in [0, 1].
        pupils: ``(S, S)`` in [0, 1], their discs without the lids.
        shape: ``(S, S)`` in [0, 1].
        mask: ``(S, S)`` 0 or 1.
        carried: ``(S, S, A)`` whatever values the vertices were given besides; 0 outside the mask.
    """

    positions: Array
    eyes: Array
    pupils: Array
    shape: Array
    mask: Array
    carried: Array

    def head2head(self) -> Array:
        """``(S, S, 6)`` positions and eyes."""
        return np.concatenate([self.positions, self.eyes], -1)

    def ned(self) -> Array:
        """``(S, S, 10)`` positions, pupils in red, shape three times, mask."""
        nothing = np.zeros_like(self.pupils)
        planes = [self.pupils, nothing, nothing, self.shape, self.shape, self.shape, self.mask]
        return np.concatenate([self.positions, np.stack(planes, -1)], -1)


class Conditioner:
    """Draws the geometry images of a rig."""

    def __init__(self, rig: Rig, size: int = 256) -> None:
        """Sort out which triangles show.

        Args:
            rig: any.
            size: side of the pictures, px.
        """
        self.size = size
        self._rig = rig
        parts = rig.triangle_parts
        eyes = [name for name in parts if name.startswith("eye_")]
        eyes = eyes or [name for name in parts if name.split("_")[0] in ("sclera", "iris", "pupil")]
        face: Integers = np.concatenate([rig.triangles[parts[name]] for name in ("skin", *eyes)]).astype(np.int32)
        hole: Integers = rig.triangles[parts.get("mouth", slice(0))].astype(np.int32)
        # The mouth's filling gets vertices of its own, for it has other values than the lips that it hangs on.
        face_owner, face_local = np.unique(face, return_inverse=True)
        hole_owner, hole_local = np.unique(hole, return_inverse=True)
        self._owner = np.concatenate([face_owner, hole_owner])
        self._triangles = np.concatenate(
            [face_local.reshape(-1, 3), hole_local.reshape(-1, 3) + len(face_owner)]
        ).astype(np.int32)
        self._n_face = len(face_owner)
        self._face_triangles = np.ascontiguousarray(self._triangles[: len(face)])
        mean = rig.template[face_owner]
        low, high = mean.min(0), mean.max(0)
        self._pupils = {side: _pupil(rig, side) for side in _EYES}
        self._colours = np.zeros((len(self._owner), 3), np.float32)
        self._colours[: self._n_face] = (mean - low) / (high - low)

    def draw(self, points: Array, carried: Array | None = None) -> Condition:
        """One frame.

        Args:
            points: ``(V, 3)`` the rig's vertices in window pixels; of the built-in rig the 478 landmarks are enough.
            carried: ``(V, A)`` values to interpolate over the face and the mouth's opening.
        """
        n_carried = 0 if carried is None else carried.shape[1]
        corners = np.ascontiguousarray(points[self._owner], np.float32)
        normals = np.empty((len(corners), 3), np.float32)
        upwards = corners * np.array([1, -1, 1], np.float32)
        vertex_normals(upwards, self._face_triangles, normals)
        # Colours 3, light 1, then what is carried.
        values = np.zeros((len(corners), 4 + n_carried), np.float32)
        values[:, :3] = self._colours
        values[: self._n_face, 3] = _AMBIENT + (1 - _AMBIENT) * np.maximum(normals[: self._n_face, 2], 0)
        if carried is not None:
            values[:, 4:] = carried[self._owner]
        depth = np.full((self.size, self.size), -np.inf, np.float32)
        drawn = np.zeros((self.size, self.size, values.shape[1]), np.float32)
        fill_triangles(corners, values, self._triangles, depth, drawn)
        mask = np.isfinite(depth).astype(np.float32)
        eyes, pupils = self._eyes(points)
        return Condition(drawn[..., :3], eyes, pupils, drawn[..., 3], mask, drawn[..., 4:])

    def _eyes(self, points: Array) -> tuple[Array, Array]:
        picture = np.zeros((self.size, self.size, 3), np.uint8)
        landmarks = self._rig.landmark_indices_68
        eyes = {side: points[landmarks[where], :2] for side, where in _EYES.items() if len(landmarks)}
        for side, eye in eyes.items():
            pupil = self._pupils[side]
            if len(pupil):
                middle = points[pupil, :2].mean(0)
                radius = float(np.linalg.norm(eye[1] - eye[4]) + np.linalg.norm(eye[2] - eye[5])) / 4
                cv2.circle(picture, _sixteenths(middle), round(16 * radius), _RED, -1, cv2.LINE_AA, 4)
        pupils = picture[..., 0].copy()
        for eye in eyes.values():
            for lid in (eye[:4], eye[[3, 4, 5, 0]]):
                cv2.polylines(picture, [_sixteenths(_parabola(lid))], False, _WHITE, 2, cv2.LINE_AA, 4)
        return np.asarray(picture, np.float32) / np.float32(255), np.asarray(pupils, np.float32) / np.float32(255)


def _pupil(rig: Rig, side: str) -> Integers:
    """Vertices in the middle of an eye: those of the iris, or of the pupil's triangles; none if the rig has neither."""
    if f"iris_{side}" in rig.parts:
        return np.arange(rig.n_vertices, dtype=np.int32)[rig.parts[f"iris_{side}"]]
    return np.unique(rig.triangles[rig.triangle_parts.get(f"pupil_{side}", slice(0))])


def _parabola(lid: Array) -> Array:
    """``(N, 2)`` points of the parabola over the line between a lid's corners that fits its four points best."""
    across = lid[-1] - lid[0]
    width = max(float(np.linalg.norm(across)), 1e-3)
    along, up = across / width, np.array([-across[1], across[0]], np.float32) / width
    x, y = (lid - lid[0]) @ along / width, (lid - lid[0]) @ up
    hump = x * (1 - x)  # so that the curve ends in the corners
    height = float((hump * y).sum() / max(float((hump**2).sum()), 1e-6))
    s = np.linspace(0, 1, _CURVE_POINTS, dtype=np.float32)[:, None]
    return np.asarray(lid[0] + s * across + height * s * (1 - s) * up, np.float32)


def _sixteenths(points: Array) -> npt.NDArray[np.int32]:
    """For cv2, which draws on sixteenths of a pixel."""
    return np.rint(np.clip(points, -4096, 4096) * 16).astype(np.int32)
