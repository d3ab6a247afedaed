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
from mien.rendering.raster import blend_places, draw_sampled, fill_triangles, pixel_box, relight, turn_points
from mien.rendering.warp.brows import Brows
from mien.rendering.warp.closing import Closure, close_lips
from mien.rendering.warp.eyes import EyeLayer
from mien.rendering.warp.glasses import stiffness
from mien.rendering.warp.head import HeadLayer, head_frame
from mien.rendering.warp.lean import Lean, eased
from mien.rendering.warp.lip_line import LipLine
from mien.rendering.warp.mouth import MouthLayer
from mien.rendering.warp.shading import Shading
from mien.rendering.warp.surface import HOLES, build_surface
from mien.rendering.warp.wrinkles import Wrinkles
from mien.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from mien.types import Array, FaceMotion, Frame, Portrait, check_kind

_TURN_FREE, _TURN_MOST = math.radians(14), math.radians(20)
"""A photo turns out of its plane freely up to the first angle; beyond, ever less, never past the second."""

_ROLL_FREE, _ROLL_MOST = math.radians(25), math.radians(35)
"""The same within its plane, where nothing unseen comes to light: the background beside the head gives the limit."""

_VIEWER = 0.6
"""Metres from which the head is seen when it comes nearer or goes back."""

_NECK = 0.01, 0.04
"""Metres up to which a head leaves its place by bending its neck, and from which on the whole person goes along."""

_NECK_GROWTH = 0.02, 0.08
"""The same of its size, as a share."""

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


Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the picture."""


@dataclass(frozen=True)
class _Course:
    """What can be said of a whole motion at once, a row per frame; turns and lengths in picture space."""

    weights: Array  # (T, E) of the rig's expressions, the photo's own included
    turn: Array  # (T, 3, 3) of the head, with its size in it
    shift: Array  # (T, 2)
    lean: Array  # (T, 3) how much of its growth and shift the body shares
    back: Array  # (T, 2, 2) undoes the turn in the picture plane
    carried: Array  # (T, 3, 2) how far the head takes what is behind each of the holes
    gaze: Array  # (T, 2, 2) left, right


@dataclass(frozen=True)
class _Moved:
    """One frame of the face; displacements are by the expression only, before the head turns."""

    course: _Course
    index: int
    change: Array  # (V, 3) of the rig's vertices, as the rig says
    expression: Array  # (478, 3) of the landmarks, lids and lips meeting
    gaps: list[Array]  # between lips, left lids, right lids
    stir: Array  # (478,) the largest component of each landmark's displacement
    surface: Array  # (N, 3) the skin, head turned


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

        Raises:
            TypeError: if the portrait is a mere picture.
        """
        check_kind(portrait, Portrait, "portrait", "track_image makes one of a picture")
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
        self._rest_weights = self._weights(portrait.rest)[0]
        self._rest_shape = self._neutral + np.tensordot(self._rest_weights, basis, 1).astype(np.float32)
        if portrait.rest.offsets is not None:
            self._rest_shape = self._rest_shape + portrait.rest.offsets[0]
        iris, eyeball = (
            np.stack([self._rest_shape[rig.parts[f"{part}_{side}"]].mean(0) for side in ("left", "right")])
            for part in ("iris", "eyeball")
        )
        self._eye_arms = iris - eyeball

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
            Closure(
                landmarks,
                posed[:478],
                rig.closures["lips"],
                up,
                self._height,
                0.2 if self._mouth_shows else 0.5,
                soft=not self._mouth_open,
                opened=(self._rest_weights @ self._basis).reshape(-1, 3)[:478],
            ),
            Closure(landmarks, posed[:478], rig.closures["eye_left"], up, self._height, 1.0),
            Closure(landmarks, posed[:478], rig.closures["eye_right"], up, self._height, 1.0),
        ]
        by_landmark = self._basis.reshape(len(self._basis), -1, 3)[:, :478]
        self._lip_line = LipLine(rig, landmarks, by_landmark, up, self._height) if filmed else None
        self._brows = Brows(self._photo, rig, landmarks, by_landmark, up)
        self._surface = surface = build_surface(rig, landmarks)
        stiff = stiffness(self._photo, landmarks, surface.rest)
        self._stiff = np.flatnonzero(stiff) if stiff is not None else np.zeros(0, np.intp)
        # What spectacles take of the expression: as the surface follows the landmarks, but only there and so much.
        self._held = None if stiff is None else surface.follow[self._stiff].multiply(stiff[self._stiff, None]).tocsr()
        self._surface_points = np.concatenate([surface.rest, (surface.follow @ landmarks)[:, 2:]], 1)
        # Per vertex: backward displacement x and y, opacity, brightness change, lid; see blend_places.
        self._surface_values = np.zeros((len(surface.rest), 5), np.float32)
        self._surface_values[:, 2], self._surface_values[:, 4] = surface.opacity, surface.lid
        self._middles = np.stack([landmarks[rig.contours[name]].mean(0) for name in _BEHIND])
        self._frame = head_frame(landmarks)
        oval = rig.contours["face_oval"]
        self._surroundings = (self._frame, landmarks, oval, self._photo.shape[:2], portrait.person_mask)
        self._head = HeadLayer(*self._surroundings)
        self._lean: Lean | None = None  # made when a head first leans further than its neck lets it
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
            TypeError: if the motion is none.
            ValueError: if it is on another rig than the portrait.
        """
        check_kind(motion, FaceMotion, "motion", "perform and read_motion make one")
        if motion.rig != self._rig.name:
            raise ValueError(f"motion: on rig {motion.rig!r}, but the portrait is on {self._rig.name!r}; retarget it")
        course, scratch = self._course(motion), _Scratch()
        for index in range(len(motion)):
            yield self._draw(course, index, None if motion.offsets is None else motion.offsets[index], scratch)

    def translation_for(self, head_pose: Array, shift: Array, nearer: Array) -> Array:
        """What makes the middle of the face go somewhere although the head turns about the base of the skull.

        Args:
            head_pose: ``(T, 3)`` rad, as it will be rendered.
            shift: ``(T, 2)`` metres in the picture plane, x right and y up.
            nearer: ``(T,)`` how many times as large as in the photo the head looks.

        Returns:
            ``(T, 3)`` metres for :attr:`FaceMotion.translation`.
        """
        turn = self._turns(head_pose, nearer)
        arm = self._points[:468].mean(0) - self._frame.pivot
        moved = (turn @ arm - arm) * _FLIP / self._scale
        depth = _VIEWER * (1 - 1 / nearer)
        return np.concatenate([shift - moved[:, :2], depth[:, None]], 1).astype(np.float32)

    def _weights(self, motion: FaceMotion) -> Array:
        """``(T, E)`` in the rig's own order."""
        weights = np.zeros((len(motion), len(self._rig.expression_names)), np.float32)
        weights[:, [self._rig.expression_index[name] for name in motion.expression_names]] = motion.expression
        return weights

    def _picture_space(self, shape: Array) -> Array:
        """Unposed vertices in metres to the rest pose in pixels, y down, z towards the viewer."""
        posed = shape @ self._rest_rotation.T + self._portrait.rest.translation[0]
        scale, x, y = self._portrait.camera
        return np.asarray(posed * [scale, -scale, scale] + [x, y, 0], np.float32)

    def _course(self, motion: FaceMotion) -> _Course:
        weights = np.clip(self._rest_weights + self._weights(motion), 0, 1)
        translation = np.asarray(motion.translation, np.float32)
        nearer = _VIEWER / (_VIEWER - np.minimum(translation[:, 2], 0.5 * _VIEWER))
        shift, growth, lean = self._leaning(translation[:, :2], np.asarray(nearer - 1, np.float32))
        turn = self._turns(motion.head_pose, 1 + growth)
        middles = self._middles - self._frame.pivot
        carried = (turn @ middles.T).swapaxes(1, 2)[..., :2] + shift[:, None] - middles[:, :2]
        rest_eyes = self._portrait.rest.eye_pose
        eyes = matrix_from_axis_angle(np.concatenate([rest_eyes, rest_eyes + motion.eye_pose]))
        arms = (eyes @ self._eye_arms[..., None])[..., 0] @ self._to_picture[:, :2]
        return _Course(weights, turn, shift, lean, np.linalg.inv(turn[:, :2, :2]), carried, arms[1:] - arms[0])

    def _leaning(self, translation: Array, growth: Array) -> tuple[Array, Array, Array]:
        """What a picture bears of translations ``(T, 2)`` m and growths ``(T,)``, and the body's part in it.

        Returns:
            Shifts ``(T, 2)`` px, growths ``(T,)``, and ``(T, 3)`` growth and shift that the body shares.
        """
        wish = np.concatenate([growth[:, None], translation * [self._scale, -self._scale]], 1).astype(np.float32)
        length = np.linalg.norm(translation, axis=1)
        neck, neck_growth = 1 - np.interp(length, _NECK, (0, 1)), 1 - np.interp(np.abs(growth), _NECK_GROWTH, (0, 1))
        by_neck = (wish * np.stack([neck_growth, neck, neck], 1)).astype(np.float32)
        lean = wish - by_neck
        if not np.any(lean):
            return wish[:, 1:], wish[:, 0], lean
        if self._lean is None:
            self._lean = Lean(*self._surroundings)
        lean *= self._lean.limited(lean[:, 1:], lean[:, 0])[:, None]
        borne = by_neck + lean
        return borne[:, 1:], borne[:, 0], lean

    def _turns(self, head_pose: Array, nearer: Array) -> Array:
        """``(T, 3, 3)`` turns about the head's own axes, seen in picture space (y down), its size in them."""
        rotation = self._rest_rotation @ matrix_from_axis_angle(head_pose) @ self._rest_rotation.T
        return np.asarray(nearer[:, None, None] * _limited(rotation) * _FLIP * _FLIP[:, None], np.float32)

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

    def _orientation(self, name: str) -> bool:
        loop = self._surface.rest[self._surface.contours[name]]
        after = np.roll(loop, -1, 0)
        return float((loop[:, 0] * after[:, 1] - loop[:, 1] * after[:, 0]).sum()) >= 0

    def _contour(self, name: str, points: Array) -> Array:
        """A closed loop of surface points, clockwise on the screen."""
        loop = points[self._surface.contours[name], :2]
        return np.ascontiguousarray(loop if self._clockwise[name] else loop[::-1])

    def _draw(self, course: _Course, index: int, offsets: Array | None, scratch: _Scratch) -> Frame:
        out = self._photo.copy()
        change = ((course.weights[index] - self._rest_weights) @ self._basis).reshape(-1, 3)
        if offsets is not None:
            change += offsets @ self._to_picture
        # Lids and lips close as the rig says, whatever small gap the photo's landmarks have, and never cross.
        expression = change[:478].copy()
        weights = course.weights[index] - self._rest_weights
        self._brows.hold(expression, weights)
        if self._lip_line is not None:
            self._lip_line.relax(expression, weights)
        gaps = [closure.apply(expression, measured=offsets is not None) for closure in self._closures]
        turn, shift = course.turn[index], course.shift[index]
        landmarks = np.empty_like(self._points)
        turn_points(self._points, expression, self._frame.pivot, turn, shift, landmarks)
        changes = np.zeros((478, 4), np.float32)
        np.subtract(landmarks, self._points, out=changes[:, :3])
        if max(float(np.abs(changes).max()), float(np.abs(course.gaze[index]).max())) < _NOTICEABLE:
            return out
        changes[:468, 3] = self._shading.change(landmarks[:468])
        surface, values = self._surface_points.copy(), self._surface_values.copy()
        self._surface.move(changes, surface, values)
        if self._held is not None:
            held = (self._held @ expression) @ turn.T
            surface[self._stiff] -= held
            values[self._stiff, :2] += held[:, :2]
        moved = _Moved(course, index, change, expression, gaps, np.abs(expression).max(1), surface)

        head, head_box = self._move_head(course, index, expression[:, :2])
        box = pixel_box(surface, head.left, head.top, head.left + head.width, head.top + head.height)
        left, top, right, bottom = box
        size = (max(bottom - top, 1), max(right - left, 1))
        face, depth = scratch.array("face", (*size, 5)), scratch.array("depth", size)
        face.fill(0)
        depth.fill(-np.inf)
        points = surface - np.array([left, top, 0], np.float32)
        fill_triangles(points, values, self._surface.triangles, depth, face)
        self._draw_skin(out, face, box, head, head_box, scratch)
        folds = self._wrinkles.change(self._rest_weights, course.weights[index])
        place = np.array([self._wrinkles.left, self._wrinkles.top, self._wrinkles.scale], np.float32)
        folds = np.zeros((1, 1), np.float32) if folds is None else folds
        relight(out, face, left, top, folds, place, self._shadow_tint)
        self._draw_eyes(out, moved, face[..., 4], (left, top))
        self._draw_mouth(out, moved)
        return out

    def _move_head(self, course: _Course, index: int, expression: Array) -> tuple[HeadLayer, Box]:
        """What is around the face, moved, and what of it moves at all."""
        growth, *shift = course.lean[index]
        change = np.concatenate([course.turn[index, :2], (course.shift[index] - shift)[:, None]], 1)
        change[:, :2] -= (1 + growth) * np.eye(2, dtype=np.float32)
        if self._lean is None or not np.any(course.lean[index]):
            return self._head, self._head.move(change, expression)
        return self._lean.layer, self._lean.move(change, growth, np.array(shift), expression)

    def _draw_skin(
        self, out: Frame, face: Array, face_box: Box, head: HeadLayer, head_box: Box, scratch: _Scratch
    ) -> None:
        """The moving part of the photo, strip by strip."""
        face_left, face_top, face_right, face_bottom = face_box
        left, top, right, bottom = head_box
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

    def _draw_eyes(self, out: Frame, moved: _Moved, lids: Array, corner: tuple[int, int]) -> None:
        for eye, side in enumerate(("left", "right")):
            layer = self._eyes[eye]
            if not layer.usable:
                continue
            gaze, behind = moved.course.gaze[moved.index, eye], self._behind(moved, eye)
            closed = self._closures[1 + eye].closed(moved.gaps[1 + eye])
            name = f"eye_{side}"
            contour = self._contour(name, moved.surface)
            if closed > 0.02:
                layer.draw_lid(out, contour, lids, 1 if side == "left" else -1, corner, *behind, closed)
            stir = max(float(moved.stir[self._rig.contours[name]].max()), float(np.abs(gaze).max()))
            opacity = min(stir / (_STIR * self._height), 1.0)
            if opacity > 0:
                layer.draw(out, contour, *behind, gaze, opacity, closed)

    def _draw_mouth(self, out: Frame, moved: _Moved) -> None:
        loop = self._rig.contours["lips_inner"]
        stir = float(moved.stir[loop].max())
        if stir < _NOTICEABLE:
            return
        contour = self._contour("lips_inner", moved.surface)
        opacity = min(stir / (_STIR * self._height), 1.0)
        if self._mouth_follows:
            return self._mouth.stretch(out, contour, opacity)
        if self._mouth_shows:
            growth = np.full(len(contour), opacity, np.float32)
        else:
            growth = self._closures[0].growth(moved.gaps[0], loop) / np.float32(_STIR * self._height)
            growth = np.clip(np.stack([growth, (growth + np.roll(growth, -1)) / 2], 1).reshape(-1), 0, 1)
        if not self._clockwise["lips_inner"]:
            growth = np.ascontiguousarray(growth[::-1])
        parts = np.empty_like(self._rest_parts)
        turn, shift = moved.course.turn[moved.index], moved.course.shift[moved.index]
        turn_points(self._rest_parts, moved.change, self._frame.pivot, turn, shift, parts)
        self._mouth.draw(out, contour, parts, growth, *self._behind(moved, 2))

    def _behind(self, moved: _Moved, hole: int) -> tuple[Array, Array, Array]:
        """How the head takes what is behind a hole: back to the photo, middle in the photo, how far that has moved."""
        course, index = moved.course, moved.index
        return course.back[index], self._middles[hole, :2], course.carried[index, hole]


def with_detail(picture: Frame) -> Frame:
    """``(H, W, 4)``: the picture and, for :func:`draw_sampled`, its fine detail as a fourth channel."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.int16)
    padded = np.pad(grey, 1, mode="edge")
    differences = padded[1:-1, :-2] + padded[1:-1, 2:] + padded[:-2, 1:-1] + padded[2:, 1:-1] - 4 * grey
    detail = np.clip(differences // 4 + 128, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.concatenate([picture, detail[..., None]], -1))


def _limited(rotation: Array) -> Array:
    """What a single photo can bear of turns ``(T, 3, 3)``, given about its own axes: x right, y up, z to the viewer.

    Each is a roll within the picture's plane and, after it, a turn out of the plane (the swing and the twist of a
    rotation), which are limited one by one.
    """
    roll = np.zeros((len(rotation), 3), np.float32)
    roll[:, 2] = np.arctan2(rotation[:, 1, 0] - rotation[:, 0, 1], rotation[:, 0, 0] + rotation[:, 1, 1])
    turn = axis_angle_from_matrix(rotation @ matrix_from_axis_angle(-roll))
    turn *= eased(np.linalg.norm(turn, axis=1, keepdims=True), _TURN_FREE, _TURN_MOST)
    roll *= eased(np.abs(roll[:, 2:]), _ROLL_FREE, _ROLL_MOST)
    return np.asarray(matrix_from_axis_angle(turn) @ matrix_from_axis_angle(roll), np.float32)
