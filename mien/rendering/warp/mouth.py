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

_TOOTH_CONTRAST = 0.33  # the rig's texture is drawn for close views; at a portrait's size gaps between teeth are faint
_TEETH_LOWER = 0.010  # the upper teeth stand at least this much lower than the rig's, in face heights
_OVERLAP = (0.014, 0.004, 0.022)
"""Face heights that front teeth reach beyond the line of closed lips, upper and lower; the lower beyond open lips."""
_FINE_WIDTH = 120  # the parts are drawn at least this many samples wide and averaged, for smooth outlines
_TONGUE_OVER = 0.02  # face heights by which the tongue's back reaches above the lower teeth
_STEADY = 0.06  # face heights above the lower lip that a wide open mouth keeps as the photo shows them: lower teeth
_TONGUE = np.array([0.74, 0.42, 0.40], np.float32)
_GROOVE = (0.3, 0.018)  # the tongue's middle line is that much darker, and that wide in face heights
_CAVITY = np.array([0.075, 0.033, 0.03], np.float32)
_PALATE = np.array([0.25, 0.105, 0.095], np.float32)
_GUM = np.array([0.58, 0.31, 0.30], np.float32)
_REACH = (0.16, 0.16, 0.14)  # depth, in face heights, at which upper teeth, lower teeth and tongue are 1 / e as bright


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
        self._inside_rest, self._inside_corner = _inside(contour)
        triangles, brightness = [], np.ones(len(parts), np.float32)
        kind = np.zeros(len(parts), np.float32)
        for index, name in enumerate(PARTS):
            triangles.append(rig.triangles[rig.triangle_parts[name]])
            if name.startswith("teeth"):
                triangles.append(rig.triangles[rig.triangle_parts[name.replace("teeth", "gum")]])
            vertices = rig.parts[name]
            kind[vertices] = index
            depth = parts[vertices, 2].max() - parts[vertices, 2]
            brightness[vertices] = np.exp(-depth / (_REACH[index] * height))
            if name == "tongue":
                aside = (parts[vertices, 0] - parts[vertices, 0].mean()) / (_GROOVE[1] * height)
                brightness[vertices] *= 1 - _GROOVE[0] * np.exp(-(aside**2))
            triangles.append(_between_teeth(rig, name))
        self._lowered = np.zeros((len(parts), 3), np.float32)
        for name, shift in _settled(rig, parts, contour, height, is_open).items():
            self._lowered[rig.parts[name], :2] = shift
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
            _PALATE,
            _GUM,
            _TONGUE,
            self._height,
            back,
            np.array([*(origin + shift - (left, top)), *origin], np.float32),
            self._photo,
            self._upper_rest,
            self._lower_rest,
            self._inside_rest,
            self._inside_corner,
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


def _inside(contour: Array) -> tuple[Array, tuple[int, int]]:
    """``(h, w, 1)`` how many pixels deep inside a contour a place is, 0 outside; column and row of the first."""
    left, top = (int(v) - 2 for v in np.floor(contour.min(0)))
    width, height = (int(v) + 3 for v in np.ceil(contour.max(0)) - (left, top))
    coverage = np.empty((height, width), np.float32)
    polygon_coverage(contour - np.array([left, top], np.float32), coverage)
    depth = cv2.distanceTransform((coverage > 0.5).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.ascontiguousarray(depth[..., None], np.float32), (left, top)


def _settled(rig: Rig, parts: Array, contour: Array, height: float, is_open: bool) -> dict[str, Array]:
    """``(2,)`` pixels by which each part is moved: teeth meet behind these lips, the tongue reaches above them."""
    upper, lower = (parts[rig.parts[name], :2] for name in ("teeth_upper", "teeth_lower"))
    down = lower.mean(0) - upper.mean(0)
    down /= np.linalg.norm(down) + 1e-6
    middle = contour.mean(0)

    def front(points: Array) -> Array:
        """How far down the points in the middle of the mouth are."""
        aside = np.abs((points - middle) @ np.array([-down[1], down[0]]))
        return np.asarray((points[aside < max(0.03 * height, aside.min() + 1)] - middle) @ down)

    lips, edge = front(contour), front(lower).min()
    drop = _TEETH_LOWER * height
    if not is_open:
        drop = max(lips.min() + _OVERLAP[0] * height - front(upper).max(), drop)
    rise = min(lips.max() - _OVERLAP[2 if is_open else 1] * height - edge, 0.0)
    lift = min(edge + rise - _TONGUE_OVER * height - front(parts[rig.parts["tongue"], :2]).min(), 0.0)
    moved = {"teeth_upper": drop, "teeth_lower": rise, "tongue": lift}
    return {name: np.asarray(by * down, np.float32) for name, by in moved.items()}


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
    red = (colour[..., :1] - colour[..., 1:2]) / np.maximum(colour[..., :1], 0.1)
    gum = np.clip((red - 0.08) / 0.25, 0, 1)
    tooth = alpha * (1 - gum)
    rows = (colour * tooth).sum(1, keepdims=True) / np.maximum(tooth.sum(1, keepdims=True), 1e-6)
    colour = rows + (colour - rows) * _TOOTH_CONTRAST * alpha
    colour /= np.percentile(colour[tooth[..., 0] > 0.5], 90)
    return np.ascontiguousarray((colour + (_GUM - colour) * gum)[::-1])


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
    palate: Array,
    gum: Array,
    tongue: Array,
    face_height: float,
    back: Array,
    place: Array,
    photo: Frame,
    upper_rest: Array,
    lower_rest: Array,
    inside_rest: Array,
    inside_corner: tuple[int, int],
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
    widest = 0.0
    if is_open:
        low, high = max(int(span_rest[0]), 0), max(int(span_rest[1]), int(span_rest[0]) + 1)
        gap_rest = (lower_rest[low:high] - upper_rest[low:high]).max()
        widest = min(max((gap_rest / face_height - 0.09) / 0.03, 0.0), 1.0)
    # Above the upper teeth there is gum, however far the lip is raised.
    teeth_top = np.full(width, -1, np.int32)
    for x in range(width):
        for y in range(fine * height):
            kind = drawn[y, x * fine, 3]
            if kind >= 0 and kind < 1.5:
                teeth_top[x] = y if kind < 0.5 else -1
                break
    last = np.zeros(fine * width, np.float32)  # the light on the tongue right above, which goes on below it
    for y in range(height):
        for x in range(width):
            gap = max(lower[x] - upper[x], 0.0)
            amount = coverage[y, x] * strength[x]
            if is_open:  # lips that meet leave no sliver of what was between them
                amount *= min(gap / (0.008 * face_height), 1.0)
            if amount <= 0:
                continue
            # Little light gets in through a narrow opening; the upper lip shades what is right behind it.
            light = corners[x] * (1.0 - 0.4 * np.exp(-max(y - upper[x], 0.0) / (0.012 * face_height)))
            light *= 1.0 - 0.35 * np.exp(-gap / (0.025 * face_height))
            down = max(y - upper[x], 0.0) / max(gap, 1.0)
            roof = min(gap / (0.12 * face_height), 1.0) * corners[x] * max(1.0 - abs(down - 0.3) / 0.3, 0.0)
            colour[:] = 0.0
            for i in range(fine if widest < 1.0 else 0):
                for j in range(fine):
                    value = drawn[y * fine + i, x * fine + j]
                    alpha = 0.0
                    tx, ty = 0.0, 0.0
                    texture = upper_teeth
                    if value[3] >= 0 and value[3] <= 1.5:
                        texture = upper_teeth if value[3] < 0.5 else lower_teeth
                        tx, ty = value[0] * texture.shape[1] - 0.5, value[1] * texture.shape[0] - 0.5
                        alpha = light * value[2] * (1.0 if value[3] < 0.5 else 0.75)
                    elif value[3] < 0 or y * fine + i < teeth_top[x]:  # nothing but the cavity
                        bright, wall = (light, gum) if y * fine + i < teeth_top[x] else (roof, palate)
                        if last[x * fine + j] > 0:
                            last[x * fine + j] *= 0.96
                            bright, wall = last[x * fine + j] * light, tongue
                        for k in range(3):
                            colour[k] += (cavity[k] + (wall[k] - cavity[k]) * bright) * white[k] / (fine * fine)
                        continue
                    for k in range(3):
                        shade = cavity[k]
                        if value[3] > 1.5:
                            last[x * fine + j] = value[2]
                            shade = cavity[k] + (tongue[k] - cavity[k]) * value[2] * light
                        elif value[3] >= 0:
                            shade += (sample(texture, tx, ty, k) - shade) * alpha
                        colour[k] += shade * white[k] / (fine * fine)
            if is_open:
                dx, dy = x - place[0], y - place[1]
                px = back[0, 0] * dx + back[0, 1] * dy + place[2]
                py = back[1, 0] * dx + back[1, 1] * dy + place[3]
                column = min(max(int(px + 0.5), 0), photo.shape[1] - 1)
                above = max(upper_rest[column] + 0.008 * face_height - py, 0.0)
                py += above
                # A mouth that is wide open in the photo: between the rows of teeth its picture stretches with the jaw.
                gap_there = max(lower_rest[column] - upper_rest[column], 1.0)
                fixed = upper_rest[column] + min(0.07 * face_height, 0.5 * gap_there)
                wide = min(max((gap_there / face_height - 0.07) / 0.03, 0.0), 1.0) * widest
                floor = back[1, 0] * dx + back[1, 1] * (lower[x] - place[1]) + place[3]
                if wide > 0 and py > fixed and floor > lower_rest[column]:
                    room = lower_rest[column] - fixed
                    steady = min(_STEADY * face_height, 0.9 * room)
                    stretched = fixed + (py - fixed) * (room - steady) / (floor - steady - fixed)
                    stretched = max(stretched, lower_rest[column] - (floor - py))
                    py += (stretched - py) * wide
                # The photo's lips, that may show beside its opening, stay out; where it stretches there is no edge.
                row = py
                if wide > 0:
                    py += min(lower_rest[column] - 0.005 * face_height - py, 0.0) * wide
                    row += min(max(lower_rest[column] - 0.016 * face_height, fixed) - row, 0.0) * wide
                depth = sample(inside_rest, px - inside_corner[0], row - inside_corner[1], 0)
                shown = min(max((depth / face_height - 0.004) / 0.009, 0.0), 1.0)
                # What a wide open mouth does not show lies in the dark of the cheeks; there are no teeth to be seen.
                shade = np.exp(-above / (0.06 * face_height))
                for k in range(3):
                    colour[k] += (cavity[k] * white[k] - colour[k]) * widest
                    if shown > 0:
                        colour[k] += (sample(photo, px, py, k) * (1.0 - 0.8 * (1.0 - shade)) - colour[k]) * shown
            for k in range(3):
                mixed = out[y, x, k] + (colour[k] - out[y, x, k]) * amount
                out[y, x, k] = np.uint8(min(max(mixed + 0.5, 0.0), 255.0))
