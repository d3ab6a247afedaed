"""What is behind the lips: a dark cavity, teeth and tongue of the rig, or what the photo itself shows there.

The upper teeth belong to the skull and only turn with the head, the lower ones and the tongue go with the jaw. They are
lit like the portrait: as bright as its skin and the whites of its eyes allow, darker with depth, towards the corners
and below the upper lip. A mouth that is open in the photo keeps its own picture, fixed to the skull; the rig's parts
then fill in only what the photo could not show.
"""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np

from mien.face.rig import Rig
from mien.rendering.raster import (
    Integers,
    compiled,
    fill_triangles,
    pixel_box,
    polygon_coverage,
    sample,
    values_at_columns,
)
from mien.types import Array, Frame

PARTS = ("teeth_upper", "teeth_lower", "tongue")

_TOOTH_CONTRAST = 0.45  # the rig's texture is drawn for close views; at a portrait's size gaps between teeth are faint
_TEETH_SHOW = 0.010  # the upper teeth stand this much lower than the rig's, in face heights: parted lips show them
_FINE_WIDTH = 120  # the parts are drawn at least this many samples wide and averaged, for smooth outlines
_TONGUE = np.array([0.60, 0.34, 0.32], np.float32)
_CAVITY = np.array([0.075, 0.035, 0.03], np.float32)
_REACH = (0.16, 0.16, 0.075)  # depth, in face heights, at which upper teeth, lower teeth and tongue are 1 / e as bright


class MouthLayer:
    """The inside of the mouth."""

    def __init__(
        self, photo: Frame, rig: Rig, parts: Array, contour: Array, white: Array, height: float, is_open: bool
    ) -> None:
        """Prepare textures and light.

        Args:
            photo: the whole picture.
            rig: whose parts stand behind the lips.
            parts: ``(V, 3)`` the rig's vertices at rest in picture space.
            contour: ``(N, 2)`` the opening in the photo, clockwise on the screen.
            white: ``(3,)`` colour of something white in the portrait's light, 0 to 255.
            height: of the face in pixels.
            is_open: the photo shows the inside of the mouth.
        """
        self._photo = photo
        self._white = white.astype(np.float32)
        self._height = height
        self._is_open = is_open
        self._upper_rest, self._lower_rest = _edges(contour, 0, photo.shape[1])
        self._span_rest = (float(contour[:, 0].min()), float(contour[:, 0].max()))
        triangles, brightness = [], np.ones(len(parts), np.float32)
        kind = np.zeros(len(parts), np.float32)
        for index, name in enumerate(PARTS):
            triangles.append(rig.triangles[rig.triangle_parts[name]])
            vertices = rig.parts[name]
            kind[vertices] = index
            depth = parts[vertices, 2].max() - parts[vertices, 2]
            brightness[vertices] = np.exp(-depth / (_REACH[index] * height))
            triangles.append(_between_teeth(rig, name))
        self._lowered = np.zeros((len(parts), 3), np.float32)
        self._lowered[rig.parts["teeth_upper"], 1] = _TEETH_SHOW * height
        self._triangles: Integers = np.concatenate(triangles).astype(np.int32)
        self._values = np.stack([rig.uv[:, 0], rig.uv[:, 1], brightness, kind], 1).astype(np.float32)
        self._upper_teeth, self._lower_teeth = (_soften(rig.textures[name]) for name in PARTS[:2])

    def draw(
        self, out: Frame, contour: Array, parts: Array, growth: Array, back: Array, origin: Array, shift: Array
    ) -> None:
        """Draw the inside of the mouth into the opening.

        Args:
            out: the output picture, changed in place.
            contour: ``(N, 2)`` the opening now, clockwise on the screen.
            parts: ``(V, 3)`` the rig's vertices now, picture space.
            growth: ``(N,)`` in [0, 1] how much of the opening at each contour point the photo cannot show.
            back: ``(2, 2)`` from the picture as the head has turned it to the photo, around the mouth.
            origin: ``(2,)`` the mouth's middle in the photo, as fixed to the skull.
            shift: ``(2,)`` how far that has moved.
        """
        left, top, right, bottom = pixel_box(contour, 0, 0, out.shape[1], out.shape[0])
        if right <= left or bottom <= top:
            return
        local = contour - np.array([left, top], np.float32)
        coverage = np.empty((bottom - top, right - left), np.float32)
        polygon_coverage(local, coverage)
        if not coverage.any():
            return
        fine = min(max(math.ceil(_FINE_WIDTH / (right - left)), 1), 4)
        points = (parts + self._lowered) * np.float32(fine)
        points -= np.array([(left - 0.5) * fine + 0.5, (top - 0.5) * fine + 0.5, 0], np.float32)
        size = (fine * (bottom - top), fine * (right - left))
        depth = np.full(size, -np.inf, np.float32)
        drawn = np.full((*size, 4), -1, np.float32)
        fill_triangles(points, self._values, self._triangles, depth, drawn)
        _paint(
            out[top:bottom, left:right],
            coverage,
            local,
            growth,
            drawn,
            fine,
            self._upper_teeth,
            self._lower_teeth,
            self._white,
            _CAVITY,
            _TONGUE,
            self._height,
            back,
            np.array([*(origin + shift - (left, top)), *origin], np.float32),
            self._photo,
            self._upper_rest,
            self._lower_rest,
            self._span_rest,
            self._is_open,
        )

    def stretch(self, out: Frame, contour: Array, opacity: float) -> None:
        """Draw what the photo shows between the lips into the opening, stretched to it.

        Args:
            out: the output picture, changed in place.
            contour: ``(N, 2)`` the opening now, clockwise on the screen.
            opacity: over what is drawn there already.
        """
        low = np.maximum(np.floor(contour.min(0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(contour.max(0)).astype(int) + 2, [out.shape[1], out.shape[0]])
        if (high <= low).any():
            return
        window = out[low[1] : high[1], low[0] : high[0]]
        coverage = np.empty(window.shape[:2], np.float32)
        polygon_coverage(np.ascontiguousarray(contour - low, np.float32), coverage)
        upper, lower = _edges(contour, int(low[0]), window.shape[1])
        left, right = float(contour[:, 0].min()), float(contour[:, 0].max())
        across = np.clip((np.arange(low[0], high[0]) - left) / max(right - left, 1), 0, 1)
        columns = self._span_rest[0] + across * (self._span_rest[1] - self._span_rest[0])
        at = np.arange(len(self._upper_rest))
        top, bottom = (np.interp(columns, at, edge) for edge in (self._upper_rest, self._lower_rest))
        down = np.clip((np.arange(low[1], high[1])[:, None] - upper) / np.maximum(lower - upper, 0.5), 0, 1)
        rows = (top + down * (bottom - top)).astype(np.float32)
        places = np.broadcast_to(columns.astype(np.float32), rows.shape)
        inside = cv2.remap(self._photo, places, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mixed = window + (inside.astype(np.float32) - window) * (coverage * opacity)[..., None]
        window[:] = np.rint(mixed).astype(np.uint8)


def _between_teeth(rig: Rig, part: str) -> Integers:
    """Triangles that fill the cracks between neighbouring teeth: corners with the same place in the texture touch."""
    vertices = np.arange(rig.n_vertices)[rig.parts[part]]
    same: dict[tuple[int, int], list[int]] = {}
    for vertex in vertices:
        u, v = np.rint(rig.uv[vertex] * 1e4).astype(int)
        same.setdefault((int(u), int(v)), []).append(int(vertex))
    seams: dict[int, list[tuple[int, int, int]]] = {}
    for (u, v), pair in same.items():
        if len(pair) == 2:
            seams.setdefault(u, []).append((v, pair[0], pair[1]))
    triangles = []
    for seam in seams.values():
        rows = sorted(seam)
        for (_, a, b), (_, c, d) in pairwise(rows):
            triangles += [(a, b, c), (b, d, c)]
    return np.asarray(triangles, np.int32).reshape(-1, 3)


def _soften(texture: Frame) -> Array:
    """A tooth texture as factors of white, gaps between teeth made faint, first row at v = 0; ``(h, w, 3)``."""
    values = texture.astype(np.float32) / 255
    colour, alpha = values[..., :3], values[..., 3:]
    rows = (colour * alpha).sum(1, keepdims=True) / np.maximum(alpha.sum(1, keepdims=True), 1e-6)
    colour = rows + (colour - rows) * _TOOTH_CONTRAST * alpha
    return np.ascontiguousarray(colour[::-1] / np.percentile(colour, 90))


@compiled
def _edges(contour: Array, left: int, width: int) -> tuple[Array, Array]:
    """The y of the opening's upper and lower edge at each column."""
    half = len(contour) // 2
    upper, lower = np.empty(width, np.float32), np.empty(width, np.float32)
    values_at_columns(contour[: half + 1, 0], contour[: half + 1, 1], left, upper)
    back = np.concatenate((contour[half:], contour[:1]))
    values_at_columns(back[:, 0], back[:, 1], left, lower)
    return upper, lower


@compiled
def _paint(
    out: Frame,
    coverage: Array,
    contour: Array,
    growth: Array,
    drawn: Array,
    fine: int,
    upper_teeth: Array,
    lower_teeth: Array,
    white: Array,
    cavity: Array,
    tongue: Array,
    face_height: float,
    back: Array,
    place: Array,
    photo: Frame,
    upper_rest: Array,
    lower_rest: Array,
    span_rest: tuple[float, float],
    is_open: bool,
) -> None:
    """Cavity, teeth, tongue, the photo's own mouth and the lips' shadow; see :meth:`MouthLayer.draw`."""
    height, width = coverage.shape
    upper, lower = _edges(contour, 0, width)
    strength = np.empty(width, np.float32)
    half = len(contour) // 2
    values_at_columns(contour[: half + 1, 0], growth[: half + 1], 0, strength)
    colour = np.empty(3, np.float32)
    start, end = contour[:, 0].min(), contour[:, 0].max()
    across = (np.arange(width) - start) / max(end - start, 1.0)
    corners = 1.0 - 0.8 * np.exp(-np.maximum(np.minimum(across, 1.0 - across), 0.0) / 0.07)
    for y in range(height):
        for x in range(width):
            amount = coverage[y, x] * strength[x]
            if amount <= 0:
                continue
            light = corners[x] * (1.0 - 0.4 * np.exp(-max(y - upper[x], 0.0) / (0.012 * face_height)))
            colour[:] = 0.0
            for i in range(fine):
                for j in range(fine):
                    value = drawn[y * fine + i, x * fine + j]
                    alpha = 0.0
                    tx, ty = 0.0, 0.0
                    texture = upper_teeth
                    if value[3] >= 0 and value[3] <= 1.5:
                        texture = upper_teeth if value[3] < 0.5 else lower_teeth
                        tx, ty = value[0] * texture.shape[1] - 0.5, value[1] * texture.shape[0] - 0.5
                        alpha = light * value[2] * (1.0 if value[3] < 0.5 else 0.75)
                    elif value[3] < 0:  # nothing but the cavity
                        for k in range(3):
                            colour[k] += cavity[k] * white[k] / (fine * fine)
                        continue
                    for k in range(3):
                        shade = cavity[k]
                        if value[3] > 1.5:
                            shade = cavity[k] + (tongue[k] - cavity[k]) * value[2] * light
                        elif value[3] >= 0:
                            shade += (sample(texture, tx, ty, k) - shade) * alpha
                        colour[k] += shade * white[k] / (fine * fine)
            if is_open:
                dx, dy = x - place[0], y - place[1]
                px = back[0, 0] * dx + back[0, 1] * dy + place[2]
                py = back[1, 0] * dx + back[1, 1] * dy + place[3]
                inset = 0.04 * (span_rest[1] - span_rest[0])
                px = min(max(px, span_rest[0] + inset), span_rest[1] - inset)
                column = min(max(int(px + 0.5), 0), photo.shape[1] - 1)
                py = max(py, upper_rest[column] + 0.008 * face_height)
                # A mouth that is wide open in the photo: below the upper teeth its picture stretches with the jaw.
                fixed = upper_rest[column] + 0.07 * face_height
                wide = min(max((lower_rest[column] - fixed) / (0.03 * face_height), 0.0), 1.0)
                floor = back[1, 0] * dx + back[1, 1] * (lower[x] - place[1]) + place[3]
                if wide > 0 and py > fixed and floor > lower_rest[column]:
                    stretched = fixed + (py - fixed) * (lower_rest[column] - fixed) / (floor - fixed)
                    py += (stretched - py) * wide
                edge = (lower_rest[column] - py) / ((0.012 - 0.009 * wide) * face_height)
                shown = min(max(edge, 0.0), 1.0)
                if shown > 0:
                    for k in range(3):
                        colour[k] += (sample(photo, px, py, k) - colour[k]) * shown
            for k in range(3):
                mixed = out[y, x, k] + (colour[k] - out[y, x, k]) * amount
                out[y, x, k] = np.uint8(min(max(mixed + 0.5, 0.0), 255.0))
