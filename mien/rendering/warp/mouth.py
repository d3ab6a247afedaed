"""What is behind the lips: a dark cavity, teeth and tongue of the rig, or what the photo itself shows there.

The upper teeth belong to the skull and only turn with the head, the lower ones and the tongue go with the jaw. They are
lit like the portrait: as bright as its skin and the whites of its eyes allow, darker with depth, towards the corners
and below the upper lip. A mouth that is open in the photo keeps its own picture, fixed to the skull; the rig's parts
then fill in only what the photo could not show.
"""

from __future__ import annotations

import numpy as np

from mien.face.rig import Rig
from mien.rendering.raster import Integers, compiled, fill_triangles, polygon_coverage, sample
from mien.types import Array, Frame

PARTS = ("teeth_upper", "teeth_lower", "tongue")

_TOOTH_CONTRAST = 0.45  # the rig's texture is drawn for close views; at a portrait's size gaps between teeth are faint
_TONGUE = np.array([0.62, 0.33, 0.32], np.float32)
_CAVITY = np.array([0.10, 0.045, 0.04], np.float32)


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
        self._upper_rest = _edges(contour, 0, photo.shape[1])[0]
        self._lower_rest = _edges(contour, 0, photo.shape[1])[1]
        self._span_rest = (float(contour[:, 0].min()), float(contour[:, 0].max()))
        triangles, brightness = [], np.ones(len(parts), np.float32)
        kind = np.zeros(len(parts), np.float32)
        for index, name in enumerate(PARTS):
            triangles.append(rig.triangles[rig.triangle_parts[name]])
            vertices = rig.parts[name]
            kind[vertices] = index
            depth = parts[vertices, 2].max() - parts[vertices, 2]
            brightness[vertices] = np.exp(-depth / (0.16 * height))
        self._triangles: Integers = np.concatenate(triangles).astype(np.int32)
        self._values = np.stack([rig.uv[:, 0], rig.uv[:, 1], brightness, kind], 1).astype(np.float32)
        self._upper_teeth, self._lower_teeth = (_soften(rig.textures[name]) for name in PARTS[:2])

    def draw(
        self, out: Frame, contour: Array, parts: Array, growth: Array, turn: Array, origin: Array, shift: Array
    ) -> None:
        """Draw the inside of the mouth into the opening.

        Args:
            out: the output picture, changed in place.
            contour: ``(N, 2)`` the opening now, clockwise on the screen.
            parts: ``(V, 3)`` the rig's vertices now, picture space.
            growth: ``(N,)`` in [0, 1] how much of the opening at each contour point the photo cannot show.
            turn: ``(2, 2)`` how the head's turn maps the picture around the mouth.
            origin: ``(2,)`` the mouth's middle in the photo, as fixed to the skull.
            shift: ``(2,)`` how far that has moved.
        """
        low = np.maximum(np.floor(contour.min(0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(contour.max(0)).astype(int) + 2, [out.shape[1], out.shape[0]])
        if (high <= low).any():
            return
        window = out[low[1] : high[1], low[0] : high[0]]
        coverage = np.empty(window.shape[:2], np.float32)
        polygon_coverage(np.ascontiguousarray(contour - low, np.float32), coverage)
        if not coverage.any():
            return
        points = parts - np.array([low[0], low[1], 0], np.float32)
        depth = np.full(window.shape[:2], -np.inf, np.float32)
        drawn = np.full((*window.shape[:2], 4), -1, np.float32)
        fill_triangles(np.ascontiguousarray(points), self._values, self._triangles, depth, drawn)
        upper, lower = _edges(contour, int(low[0]), window.shape[1])
        strength = _columns(contour, growth, int(low[0]), window.shape[1])
        place = np.array([*(origin + shift - low), *origin], np.float32)
        span = np.array([contour[:, 0].min() - low[0], contour[:, 0].max() - low[0], *self._span_rest], np.float32)
        _paint(
            window,
            coverage,
            drawn,
            (upper - low[1]).astype(np.float32),
            (lower - low[1]).astype(np.float32),
            strength,
            span,
            self._upper_teeth,
            self._lower_teeth,
            self._white,
            self._height,
            np.linalg.inv(turn).astype(np.float32),
            place,
            self._photo,
            self._upper_rest,
            self._lower_rest,
            self._is_open,
        )


def _soften(texture: Frame) -> Array:
    """A tooth texture as factors of white, gaps between teeth made faint, v up; ``(h, w, 4)``."""
    values = texture.astype(np.float32) / 255
    colour, alpha = values[..., :3], values[..., 3:]
    rows = (colour * alpha).sum(1, keepdims=True) / np.maximum(alpha.sum(1, keepdims=True), 1e-6)
    colour = rows + (colour - rows) * _TOOTH_CONTRAST
    return np.ascontiguousarray(np.concatenate([colour, alpha], -1)[::-1])


def _edges(contour: Array, left: int, width: int) -> tuple[Array, Array]:
    """The y of the opening's upper and lower edge at each column."""
    half = len(contour) // 2
    upper, lower = contour[: half + 1], np.concatenate([contour[half:], contour[:1]])
    at = left + np.arange(width)
    upper, lower = upper[np.argsort(upper[:, 0])], lower[np.argsort(lower[:, 0])]
    return (
        np.interp(at, upper[:, 0], upper[:, 1]).astype(np.float32),
        np.interp(at, lower[:, 0], lower[:, 1]).astype(np.float32),
    )


def _columns(contour: Array, values: Array, left: int, width: int) -> Array:
    half = len(contour) // 2
    order = np.argsort(contour[: half + 1, 0])
    return np.interp(left + np.arange(width), contour[order, 0], values[order]).astype(np.float32)


@compiled
def _paint(
    out: Frame,
    coverage: Array,
    drawn: Array,
    upper: Array,
    lower: Array,
    strength: Array,
    span: Array,
    upper_teeth: Array,
    lower_teeth: Array,
    white: Array,
    face_height: float,
    back: Array,
    place: Array,
    photo: Frame,
    upper_rest: Array,
    lower_rest: Array,
    is_open: bool,
) -> None:
    """Cavity, teeth, tongue, the photo's own mouth and the lips' shadow; see :meth:`MouthLayer.draw`."""
    height, width = coverage.shape
    colour = np.empty(3, np.float32)
    for y in range(height):
        for x in range(width):
            amount = coverage[y, x] * strength[x]
            if amount <= 0:
                continue
            across = (x - span[0]) / max(span[1] - span[0], 1.0)
            corner = min(across, 1.0 - across)
            light = 1.0 - np.exp(-max(corner, 0.0) / 0.10)
            light *= 1.0 - 0.55 * np.exp(-max(y - upper[x], 0.0) / (0.022 * face_height))
            part = drawn[y, x, 3]
            u, v, near = drawn[y, x, 0], drawn[y, x, 1], drawn[y, x, 2]
            for k in range(3):
                colour[k] = _CAVITY[k] * white[k]
            if part >= 0:
                if part > 1.5:
                    for k in range(3):
                        colour[k] = _TONGUE[k] * white[k] * near * light
                else:
                    texture = upper_teeth if part < 0.5 else lower_teeth
                    tx, ty = u * texture.shape[1] - 0.5, v * texture.shape[0] - 0.5
                    alpha = sample(texture, tx, ty, 3)
                    dim = light * near * (1.0 if part < 0.5 else 0.8)
                    for k in range(3):
                        tooth = sample(texture, tx, ty, k) * white[k] * dim
                        colour[k] += (tooth - colour[k]) * alpha
            if is_open:
                dx, dy = x - place[0], y - place[1]
                px = back[0, 0] * dx + back[0, 1] * dy + place[2]
                py = back[1, 0] * dx + back[1, 1] * dy + place[3]
                px = min(max(px, span[2] + 1.0), span[3] - 1.0)
                column = min(max(int(px + 0.5), 0), photo.shape[1] - 1)
                py = max(py, upper_rest[column] + 1.0)
                edge = (lower_rest[column] - py) / (0.012 * face_height)
                shown = min(max(edge, 0.0), 1.0)
                if shown > 0:
                    for k in range(3):
                        colour[k] += (sample(photo, px, py, k) - colour[k]) * shown
            for k in range(3):
                mixed = out[y, x, k] + (colour[k] - out[y, x, k]) * amount
                out[y, x, k] = np.uint8(min(max(mixed + 0.5, 0.0), 255.0))
