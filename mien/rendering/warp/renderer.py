"""The ``warp`` renderer: the photo itself moves.

Every frame is one backward map over the photo (coarse grid around the head, fine mesh on the face), a change of
brightness that follows the face's relief, and two inlays that a warp cannot make: the eyeballs and the inside of the
mouth. Where nothing moves the photo is copied, so zero motion is the photo. See docs/rendering.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mien.face.rig import load_rig
from mien.rendering.raster import Integers, blend_places, draw_sampled, fill_triangles, relight
from mien.rendering.warp.closing import Closure, close_lips
from mien.rendering.warp.eyes import EyeLayer
from mien.rendering.warp.head import HeadLayer, head_frame
from mien.rendering.warp.mouth import MouthLayer
from mien.rendering.warp.shading import Shading
from mien.rendering.warp.surface import HOLES, build_surface
from mien.rendering.warp.wrinkles import Wrinkles
from mien.rotations import matrix_from_axis_angle
from mien.types import Array, FaceMotion, Frame, Portrait

_TURN_FREE, _TURN_MOST = math.radians(14), math.radians(20)
"""A photo turns freely up to the first angle; beyond, ever less, never past the second."""

_VIEWER = 0.6
"""Metres from which the head is seen when it comes nearer or goes back."""

_FLIP = np.array([1, -1, 1], np.float32)
"""From y up to y down."""

_MOUTH_OPEN = 0.02
"""Lips further apart than this part of the face height show the inside of the mouth."""

_SKIN_SAMPLES = (50, 280, 205, 425, 187, 411, 199, 200, 194, 418, 175)
"""Landmarks on cheeks and chin."""

_MOUTH_SHOWS = 0.06
"""Lips further apart than this show enough of the mouth to keep the photo's own picture of it."""

_MOUTH_FILMED = 0.01
"""In a filmed frame, lips further apart than this show what is behind them."""

_STIR = 0.006
"""Movements of this part of the face height bring the inlays in fully; smaller ones fade them in."""

_NOTICEABLE = 0.02
"""Pixels; less movement than this is none."""

_STRIP = 32_000
"""Pixels that are drawn at a time, so that what one step writes is still in the cache when the next one reads it."""

_BEHIND = ("eye_left", "eye_right", "lips_inner")
"""Contours behind which something turns with the head, not with the skin."""


@dataclass(frozen=True)
class _Moved:
    """One frame of the face in picture space; displacements are by the expression only, before the head turns."""

    weights: Array  # (E,) of the rig's expressions
    expression: Array  # (478, 3)
    parts: Array  # (V, 3) the rig's vertices, head turned
    gaze: Array  # (2, 2) left, right
    turn: Array  # (3, 3) with the head's size in it
    shift: Array  # (2,)
    back: Array  # (2, 2) undoes the turn in the picture plane
    carried: Array  # (3, 2) how far the head takes what is behind each of the holes


class _Scratch:
    """Memory that one frame after the other uses: getting fresh pages costs as much as drawing."""

    def __init__(self) -> None:
        self._buffers: dict[str, npt.NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: type = np.float32) -> npt.NDArray[Any]:
        """An array with whatever the last frame left in it."""
        size = math.prod(shape)
        if name not in self._buffers or self._buffers[name].size < size:
            self._buffers[name] = np.empty(size, dtype)
        return self._buffers[name][:size].reshape(shape)


class WarpRenderer:
    """Draws a portrait in motion; the whole picture, at its own size."""

    def __init__(self, portrait: Portrait, *, filmed: bool = False) -> None:
        """Prepare everything that does not change from frame to frame (well under a second at 1080p).

        Args:
            portrait: the photo with the face tracked in it.
            filmed: the picture is a frame of a video, whose mouth will stay about as open as it is: whatever it shows
                between the lips is kept and follows them, and nothing is made up.
        """
        self._portrait = portrait
        self._photo = np.ascontiguousarray(portrait.image)
        self._source = with_detail(self._photo)
        self._rig = rig = load_rig(portrait.identity.rig)
        self._scale = float(portrait.camera[0])
        self._rest_rotation = matrix_from_axis_angle(portrait.rest.head_pose[0])
        self._neutral = rig.neutral(portrait.identity)
        basis = rig.expressions_for(portrait.identity)
        self._to_picture = np.asarray(self._rest_rotation.T * np.array([1, -1, 1]) * self._scale, np.float32)
        self._basis = np.asarray(basis @ self._to_picture, np.float32).reshape(len(basis), -1)
        self._rest_weights = self._weights(portrait.rest, 0)
        self._rest_shape = self._neutral + np.tensordot(self._rest_weights, basis, 1).astype(np.float32)
        if portrait.rest.offsets is not None:
            self._rest_shape = self._rest_shape + portrait.rest.offsets[0]
        self._rest_eyes = [_matrix(pose) for pose in portrait.rest.eye_pose[0]]
        self._eye_arms = [
            self._rest_shape[rig.parts[f"iris_{side}"]].mean(0) - self._rest_shape[rig.parts[f"eyeball_{side}"]].mean(0)
            for side in ("left", "right")
        ]

        posed = self._picture_space(self._rest_shape)
        landmarks = np.concatenate([portrait.landmarks[:, :2], posed[:478, 2:]], 1).astype(np.float32)
        self._height = float(np.linalg.norm(landmarks[10] - landmarks[152]))
        lips = rig.closures["lips"]
        gaps = np.linalg.norm(landmarks[lips[:, 0], :2] - landmarks[lips[:, 1], :2], axis=1)
        self._mouth_open = float(gaps.max()) > (_MOUTH_FILMED if filmed else _MOUTH_OPEN) * self._height
        self._mouth_shows = float(gaps.max()) > _MOUTH_SHOWS * self._height
        self._mouth_follows = filmed and self._mouth_open
        if not self._mouth_open:
            landmarks = close_lips(self._photo, landmarks, lips, self._height)
        self._points = landmarks
        offset = landmarks[rig.contours["lips_inner"]].mean(0) - posed[rig.contours["lips_inner"]].mean(0)
        self._rest_parts = posed + np.array([offset[0], offset[1], 0], np.float32)

        up = self._rest_rotation[:, 1] * np.array([1, -1, 1], np.float32)
        self._closures = [
            Closure(landmarks, posed[:478], rig.closures["lips"], up, self._height, 0.5, soft=not self._mouth_open),
            Closure(landmarks, posed[:478], rig.closures["eye_left"], up, self._height, 1.0),
            Closure(landmarks, posed[:478], rig.closures["eye_right"], up, self._height, 1.0),
        ]
        self._surface = surface = build_surface(rig, landmarks)
        self._surface_points = np.concatenate([surface.rest, (surface.follow @ landmarks)[:, 2:]], 1)
        # Per vertex: backward displacement x and y, opacity, brightness change, lid; see blend_places.
        self._surface_values = np.zeros((len(surface.rest), 5), np.float32)
        self._surface_values[:, 2], self._surface_values[:, 4] = surface.opacity, surface.lid
        self._middles = np.stack([landmarks[rig.contours[name]].mean(0) for name in _BEHIND])
        self._frame = head_frame(landmarks)
        oval = rig.contours["face_oval"]
        self._head = HeadLayer(self._frame, landmarks, oval, self._photo.shape[:2], portrait.person_mask)
        triangles = rig.triangles[(rig.triangles < 468).all(1)]
        still = np.ones(468, np.float32)
        for name in HOLES:
            still[rig.contours[name]] = 0.3
        still[oval] = 0.0
        self._shading = Shading(self._photo, landmarks[:468], triangles, still)
        self._skin = self._skin_colour()
        # Light that has passed through skin is warmer: shadows take more of the colours that skin has less of.
        self._shadow_tint = np.clip((self._skin.mean() / np.maximum(self._skin, 1)) ** 0.8, 0.6, 1.5).astype(np.float32)
        self._wrinkles = Wrinkles(self._photo, landmarks[:, :2], rig.expression_names)
        self._clockwise = {name: self._orientation(name) for name in HOLES}
        self._eyes = [
            EyeLayer(
                self._photo, self._contour(f"eye_{side}", self._surface.rest), landmarks[rig.parts[f"iris_{side}"], :2]
            )
            for side in ("left", "right")
        ]
        white = self._white()
        self._mouth = MouthLayer(
            self._photo,
            rig,
            self._rest_parts,
            self._contour("lips_inner", self._surface.rest),
            white,
            self._height,
            self._mouth_shows,
        )

    def render(self, motion: FaceMotion) -> Iterator[Frame]:
        """The portrait in that motion, frame by frame; each frame is the caller's to keep.

        Args:
            motion: relative to the photo: no motion is the photo. Weights are added to those of the photo's own
                expression and limited to [0, 1]; rotations are about the head's own axes. A translation towards the
                viewer makes the head larger.

        Yields:
            ``(H, W, 3)`` frames, equal bytes for equal motion.

        Raises:
            ValueError: if the motion is on another rig than the portrait.
        """
        if motion.rig != self._rig.name:
            raise ValueError(f"motion: on rig {motion.rig!r}, but the portrait is on {self._rig.name!r}; retarget it")
        scratch = _Scratch()
        for index in range(len(motion)):
            yield self._draw(self._move(motion, index), scratch)

    def translation_for(self, head_pose: Array, shift: Array, nearer: Array) -> Array:
        """What makes the middle of the face go somewhere although the head turns about the base of the skull.

        Args:
            head_pose: ``(T, 3)`` rad, as it will be rendered.
            shift: ``(T, 2)`` metres in the picture plane, x right and y up.
            nearer: ``(T,)`` how many times as large as in the photo the head looks.

        Returns:
            ``(T, 3)`` metres for :attr:`FaceMotion.translation`.
        """
        turn = np.stack([self._turn(pose, size) for pose, size in zip(head_pose, nearer.tolist(), strict=True)])
        arm = self._points[:468].mean(0) - self._frame.pivot
        moved = (turn @ arm - arm) * _FLIP / self._scale
        depth = _VIEWER * (1 - 1 / nearer)
        return np.concatenate([shift - moved[:, :2], depth[:, None]], 1).astype(np.float32)

    def _weights(self, motion: FaceMotion, index: int) -> Array:
        weights = np.zeros(len(self._rig.expression_names), np.float32)
        weights[[self._rig.expression_index[name] for name in motion.expression_names]] = motion.expression[index]
        return weights

    def _picture_space(self, shape: Array) -> Array:
        """Unposed vertices in metres to the rest pose in pixels, y down, z towards the viewer."""
        posed = shape @ self._rest_rotation.T + self._portrait.rest.translation[0]
        scale, x, y = self._portrait.camera
        return np.asarray(posed * [scale, -scale, scale] + [x, y, 0], np.float32)

    def _move(self, motion: FaceMotion, index: int) -> _Moved:
        weights = np.minimum(np.maximum(self._rest_weights + self._weights(motion, index), 0), 1)
        change = ((weights - self._rest_weights) @ self._basis).reshape(-1, 3)
        if motion.offsets is not None:
            change += motion.offsets[index] @ self._to_picture
        x, y, z = motion.translation[index].tolist()
        turn = self._turn(motion.head_pose[index], _VIEWER / (_VIEWER - min(z, 0.5 * _VIEWER)))
        shift = np.array([x * self._scale, -y * self._scale], np.float32)
        gaze = np.stack([self._gaze(eye, motion.eye_pose[index, eye]) for eye in range(2)])
        parts = self._turned(self._rest_parts + change, turn, shift)
        expression = self._meet(change[:478])
        (a, b), (c, d) = turn[:2, :2].tolist()
        back = np.array([[d, -b], [-c, a]], np.float32) / np.float32(a * d - b * c)
        carried = (self._turned(self._middles, turn, shift) - self._middles)[:, :2]
        return _Moved(weights, expression, parts, gaze, turn, shift, back, carried)

    def _turn(self, head_pose: Array, nearer: float) -> Array:
        """A turn about the head's own axes, seen in picture space (y down), with the head's size in it."""
        rotation = self._rest_rotation @ _matrix(_limited(head_pose)) @ self._rest_rotation.T
        return np.asarray(nearer * rotation * _FLIP * _FLIP[:, None], np.float32)

    def _gaze(self, eye: int, pose: Array) -> Array:
        """How far the iris moves in its socket, pixels."""
        turned = _matrix(self._portrait.rest.eye_pose[0, eye] + pose) - self._rest_eyes[eye]
        return np.asarray((turned @ self._eye_arms[eye] @ self._to_picture)[:2], np.float32)

    def _meet(self, expression: Array) -> Array:
        """Let lids and lips close as the rig says, whatever small gap the photo's landmarks have, and never cross."""
        for closure in self._closures:
            closure.apply(expression)
        return expression

    def _skin_colour(self) -> Array:
        height, width = self._photo.shape[:2]
        at = self._points[_SKIN_SAMPLES, :2]
        columns, rows = (np.clip(np.rint(at[:, k]).astype(int), 0, n - 1) for k, n in ((0, width), (1, height)))
        return np.asarray(np.percentile(self._photo[rows, columns], 60, axis=0), np.float32)

    def _white(self) -> Array:
        """The colour of something white in this portrait's light: the brighter of its skin and its eyes' whites."""
        skin = self._skin
        whites = [eye.white_colour for eye in self._eyes if eye.usable]
        eyes = np.mean(whites, axis=0) if whites else skin
        brightness = max(1.25 * float(skin.mean()), 1.2 * float(eyes.mean()))
        # Whites of eyes are reddish and may be seen through glass: only half of their tint is the light's.
        tint = np.clip(0.5 + 0.5 * eyes / max(float(eyes.mean()), 1.0), 0.75, 1.12)
        return np.asarray(np.minimum(tint * min(brightness, 232.0), 245.0), np.float32)

    def _turned(self, points: Array, turn: Array, shift: Array) -> Array:
        pivot = self._frame.pivot
        moved = points - pivot
        moved = moved @ turn.T
        moved += np.array([pivot[0] + shift[0], pivot[1] + shift[1], pivot[2]], np.float32)
        return np.asarray(moved, np.float32)

    def _orientation(self, name: str) -> bool:
        loop = self._surface.rest[self._surface.contours[name]]
        after = np.roll(loop, -1, 0)
        return float((loop[:, 0] * after[:, 1] - loop[:, 1] * after[:, 0]).sum()) >= 0

    def _contour(self, name: str, points: Array) -> Array:
        """A closed loop of surface points, clockwise on the screen."""
        loop = points[self._surface.contours[name], :2]
        return np.ascontiguousarray(loop if self._clockwise[name] else loop[::-1])

    def _draw(self, moved: _Moved, scratch: _Scratch) -> Frame:
        out = self._photo.copy()
        head, surface = self._head, self._surface
        landmarks = self._turned(self._points + moved.expression, moved.turn, moved.shift)
        displacement = landmarks - self._points
        if float(np.abs(displacement).max()) < _NOTICEABLE and float(np.abs(moved.gaze).max()) < _NOTICEABLE:
            return out
        changes = np.zeros((478, 4), np.float32)
        changes[:, :3] = displacement
        changes[:468, 3] = self._shading.change(landmarks[:468])
        changes = surface.follow @ changes
        now = self._surface_points + changes[:, :3]
        values = self._surface_values.copy()
        np.negative(changes[:, :2], out=values[:, :2])
        values[:, 3] = changes[:, 3]

        low, high = now.min(0)[:2], now.max(0)[:2]
        low = np.maximum(np.floor(low).astype(int) - 1, [head.left, head.top])
        high = np.minimum(np.ceil(high).astype(int) + 2, [head.left + head.width, head.top + head.height])
        width, height = np.maximum(high - low, 1).tolist()
        face, depth = scratch.array("face", (height, width, 5)), scratch.array("depth", (height, width))
        face.fill(0)
        depth.fill(-np.inf)
        points = now - np.array([low[0], low[1], 0], np.float32)
        fill_triangles(points, values, surface.triangles, depth, face)
        left, top, right, bottom = head.move(moved.turn, moved.shift, moved.expression[:, :2])
        (face_left, face_top), (face_right, face_bottom) = low.tolist(), high.tolist()
        top, bottom = min(top, face_top), max(bottom, face_bottom)
        strip = max(_STRIP // max(right - left, 1), 1)
        for first in range(top, bottom, strip):
            last = min(first + strip, bottom)
            left, right = head.columns(first, last)
            if first < face_bottom and last > face_top:
                left, right = (
                    (min(left, face_left), max(right, face_right)) if right > left else (face_left, face_right)
                )
            if right <= left:
                continue
            places = scratch.array("places", (last - first, right - left, 2))
            head.places(left, first, places)
            blend_places(places, face, face_left, face_top, left, first)
            sampled = scratch.array("sampled", (last - first, right - left, 4), np.uint8)
            cv2.remap(self._source, places, None, cv2.INTER_LINEAR, sampled, cv2.BORDER_REPLICATE)
            draw_sampled(out, sampled, places, left, first)
        folds = self._wrinkles.change(self._rest_weights, moved.weights)
        place = np.array([self._wrinkles.left, self._wrinkles.top, self._wrinkles.scale], np.float32)
        folds = np.zeros((1, 1), np.float32) if folds is None else folds
        relight(out, face, face_left, face_top, folds, place, self._shadow_tint)
        self._draw_eyes(out, moved, now, face[..., 4], low)
        self._draw_mouth(out, moved, now)
        return out

    def _draw_eyes(self, out: Frame, moved: _Moved, now: Array, lids: Array, corner: Integers) -> None:
        for index, side in enumerate(("left", "right")):
            eye = self._eyes[index]
            if not eye.usable:
                continue
            loop = self._rig.contours[f"eye_{side}"]
            carried = (moved.back, self._middles[index, :2], moved.carried[index])
            closed = self._closures[1 + index].closed(moved.expression)
            if closed > 0.02:
                eye.draw_lid(out, lids, 1 if side == "left" else -1, corner, *carried, closed)
            stir = max(float(np.abs(moved.expression[loop]).max()), float(np.abs(moved.gaze[index]).max()))
            opacity = min(stir / (_STIR * self._height), 1.0)
            if opacity > 0:
                eye.draw(out, self._contour(f"eye_{side}", now), *carried, moved.gaze[index], opacity)

    def _draw_mouth(self, out: Frame, moved: _Moved, now: Array) -> None:
        loop = self._rig.contours["lips_inner"]
        stir = float(np.abs(moved.expression[loop]).max())
        if stir < _NOTICEABLE:
            return
        if self._mouth_follows:
            contour = self._contour("lips_inner", now)
            return self._mouth.stretch(out, contour, min(stir / (_STIR * self._height), 1.0))
        if self._mouth_shows:
            growth = np.full(len(self._surface.contours["lips_inner"]), min(stir / (_STIR * self._height), 1.0))
        else:
            growth = self._closures[0].growth(moved.expression, loop) / (_STIR * self._height)
            growth = np.clip(np.stack([growth, (growth + np.roll(growth, -1)) / 2], 1).reshape(-1), 0, 1)
        if not self._clockwise["lips_inner"]:
            growth = growth[::-1]
        contour = self._contour("lips_inner", now)
        carried = (moved.back, self._middles[2, :2], moved.carried[2])
        self._mouth.draw(out, contour, moved.parts, growth.astype(np.float32), *carried)


def with_detail(picture: Frame) -> Frame:
    """``(H, W, 4)``: the picture and, for :func:`draw_sampled`, its fine detail as a fourth channel."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.int16)
    padded = np.pad(grey, 1, mode="edge")
    differences = padded[1:-1, :-2] + padded[1:-1, 2:] + padded[:-2, 1:-1] + padded[2:, 1:-1] - 4 * grey
    detail = np.clip(differences // 4 + 128, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.concatenate([picture, detail[..., None]], -1))


def _matrix(axis_angle: Array) -> Array:
    """One small rotation as a matrix (Rodrigues); :mod:`mien.rotations` is for sequences and slow for a single one."""
    return np.asarray(cv2.Rodrigues(axis_angle.astype(np.float64))[0], np.float32)


def _limited(head_pose: Array) -> Array:
    """The same axis, with an angle that a single photo can bear."""
    angle = float(np.linalg.norm(head_pose))
    if angle <= _TURN_FREE:
        return head_pose
    room = _TURN_MOST - _TURN_FREE
    return np.asarray(head_pose * ((_TURN_FREE + room * math.tanh((angle - _TURN_FREE) / room)) / angle), np.float32)
