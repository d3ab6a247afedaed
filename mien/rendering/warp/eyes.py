"""The eyeball under the lids: a layer of its own, so that it never squashes when the lids close over it.

It is made once from the photo: the white without the iris, and the iris completed where the lids hid it (by its own
mean colour at the same distance from the pupil). Each frame it is drawn inside the opening between the lids; the iris
moves rigidly with the gaze, the white stays in its socket, the upper lid casts a soft shadow.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from mien.rendering.raster import compiled, pixel_box, polygon_coverage, sample, values_at_columns
from mien.types import Array, Frame

Mask = npt.NDArray[np.bool_]

_IRIS_EDGE = (1.0, 1.14)  # the iris fades into the white between these radii
_NO_SKIN = (0.72, 1.25)  # brightness beside an eye outside these shares of the usual is brow, frame or gloss
_SQUINT, _DIM = 0.3, 0.6  # lids more closed than this darken the eye behind them, by so much when all but closed
_SHUT, _AWAKE = 0.04, 0.2  # area over squared width of an opening that shows no eye, and whose lid unfolds in full
_SMALL = 3.0, 4.5  # pixels: eyes up to this height on average are only warped with the photo, larger ones drawn anew
_SHADOW = 0.35  # how much the upper lid darkens the eye right below its edge


class EyeLayer:
    """One eye.

    Attributes:
        usable: False if the eye is closed in the photo or too small to draw.
        white_colour: ``(3,)`` of its white, 0 to 255.
    """

    def __init__(self, photo: Frame, contour: Array, iris: Array) -> None:
        """Cut the eye out of the photo.

        Args:
            photo: the whole picture.
            contour: ``(N, 2)`` the opening in the photo, clockwise on the screen.
            iris: ``(5, 2)`` its centre and four points on its rim.
        """
        self._width = float(np.ptp(contour[:, 0]))
        margin = 0.5 * self._width
        low = np.floor(contour.min(0) - margin).astype(int)
        high = np.ceil(contour.max(0) + margin).astype(int) + 1
        left, top = (int(v) for v in np.maximum(low, 0))
        right, bottom = min(high[0], photo.shape[1]), min(high[1], photo.shape[0])
        opening = cv2.contourArea(contour) / max(self._width, 1e-6) ** 2
        self.usable = right - left >= 6 and bottom - top >= 4 and opening > _SHUT
        if not self.usable:
            return
        picture = photo[top:bottom, left:right].astype(np.float32)
        self._corner = np.array([left, top], np.float32)
        contour = np.ascontiguousarray(contour - self._corner, np.float32)  # from here on within the eye's own picture
        self._centre = (iris[0] - self._corner).astype(np.float32)
        self._radius = max(float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean()), 0.5)
        coverage = np.empty(picture.shape[:2], np.float32)
        polygon_coverage(contour, coverage)
        inset = max(0.6, 0.02 * self._width)
        visible = gaussian_filter(coverage, inset) > 0.8
        y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
        radius = np.hypot(x - self._centre[0], y - self._centre[1]) / self._radius
        self._iris = _complete_iris(picture, visible, radius)
        self._white = _complete_white(picture, visible, radius)
        inside = coverage > 0.9 if (coverage > 0.9).any() else coverage >= 0
        self.white_colour = np.percentile(self._white[inside], 75, axis=0)
        self._lid = _lid_skin(picture, contour)
        half = len(contour) // 2
        self._upper_first = contour[: half + 1, 1].mean() < contour[half:, 1].mean()
        self._upper_rest, _ = _edges(contour, self._upper_first, 0, picture.shape[1])
        self._lashes = _lashes(picture, self._lid, self._upper_rest, contour)
        self._clear = float(np.interp(opening * self._width, _SMALL, (0, 1)))
        # A lid that is nearly down has hardly any skin left to unfold.
        self._folded = min(opening / _AWAKE, 1.0)
        # Shaded skin is warmer: it takes more of the colours that it has less of.
        lid = self._lid[inside].mean(0)
        self._tint = np.asarray(np.clip((lid.mean() / np.maximum(lid, 1)) ** 0.6, 0.6, 1.5), np.float32)

    def draw_lid(
        self,
        out: Frame,
        contour: Array,
        lid: Array,
        sign: int,
        corner: tuple[int, int],
        back: Array,
        origin: Array,
        shift: Array,
        closed: float,
    ) -> None:
        """Smooth the upper lid that comes down: skin unfolds there which the photo does not show, lashes hang from it.

        Args:
            out: the output picture, changed in place.
            contour: ``(N, 2)`` the opening now, clockwise on the screen.
            lid: ``(h, w)`` of the drawn face: 2 at the lid's edge, 1 at the lashes, 0 above the crease, times ``sign``.
            sign: which of the two eyes this is.
            corner: picture column and row of that array.
            back: ``(2, 2)`` from the picture as the head has turned it to the photo, around the eye.
            origin: ``(2,)`` the eye's middle in the photo.
            shift: ``(2,)`` how far that has moved.
            closed: 0 as open as in the photo, 1 closed.
        """
        place = self._place(origin, shift)
        _smooth_lid(
            out,
            contour,
            self._upper_first,
            lid,
            sign,
            corner,
            back,
            place,
            self._lid,
            self._lashes,
            self._tint,
            self._width,
            closed,
            self._folded,
        )

    def draw(
        self,
        out: Frame,
        contour: Array,
        back: Array,
        origin: Array,
        shift: Array,
        gaze: Array,
        opacity: float,
        closed: float,
    ) -> None:
        """Draw the eye into the opening; the less of it, the fewer pixels the photo has told what it looks like.

        Args:
            out: the output picture, changed in place.
            contour: ``(N, 2)`` the opening now, clockwise on the screen.
            back: ``(2, 2)`` from the picture as the head has turned it to the photo, around the eye.
            origin: ``(2,)`` the eye's middle in the photo.
            shift: ``(2,)`` how far that has moved.
            gaze: ``(2,)`` how far the iris has moved in its socket, pixels of the photo.
            opacity: strength of the layer over the warped photo.
            closed: 0 as open as in the photo, 1 closed; lids that are nearly closed let little light in.
        """
        x, y = gaze.tolist()
        within = min(0.45 * self._width / max(math.hypot(x, y), 1e-6), 1.0)
        iris = np.array([*self._centre, self._radius, within * x, within * y], np.float32)
        place, shadow = self._place(origin, shift), 0.10 * self._width
        _paint(
            out,
            contour,
            self._upper_first,
            back,
            place,
            iris,
            self._white,
            self._iris,
            self._upper_rest,
            shadow,
            opacity * self._clear,
            1.0 - _DIM * min(max((closed - _SQUINT) / (1 - _SQUINT), 0.0), 1.0),
        )

    def _place(self, origin: Array, shift: Array) -> Array:
        """``(4,)`` the eye's middle now in the picture, and at rest in the eye's own pictures."""
        return np.concatenate([origin + shift, origin - self._corner])


@compiled
def _edges(contour: Array, upper_first: bool, left: int, width: int) -> tuple[Array, Array]:
    """The y of the opening's upper and lower edge at each column."""
    half = len(contour) // 2
    first, second = np.empty(width, np.float32), np.empty(width, np.float32)
    values_at_columns(contour[: half + 1, 0], contour[: half + 1, 1], left, first)
    back = np.concatenate((contour[half:], contour[:1]))
    values_at_columns(back[:, 0], back[:, 1], left, second)
    return (first, second) if upper_first else (second, first)


def _complete_white(picture: Array, visible: Mask, radius: Array) -> Array:
    """The eye without its iris, carried on beneath the lids."""
    known = visible & (radius > 1.1)
    if known.sum() < 8:  # an eye that is all iris: a grey a little lighter than its surroundings
        known = visible & (radius > 0.9) if (visible & (radius > 0.9)).sum() >= 4 else np.ones_like(visible)
    # The pixels nearest to the iris carry its blurred rim and those at the lids carry lashes: trust the bright ones.
    brightness = picture.mean(-1)
    known &= brightness >= np.percentile(brightness[known], 15)
    return fill_missing(picture, known)


def _complete_iris(picture: Array, visible: Mask, radius: Array) -> Array:
    """``(h, w, 4)`` iris with opacity; hidden parts from the mean colour at the same radius."""
    bins = np.minimum((radius * 12).astype(int), 17)
    profile = np.full((18, 3), np.nan, np.float32)
    for index in range(18):
        ring = visible & (bins == index)
        if ring.sum() >= 3:
            profile[index] = np.median(picture[ring], axis=0)
    good = ~np.isnan(profile[:, 0])
    if not good.any():
        profile[:], good[:] = picture[radius <= max(1.0, float(radius.min()))].mean(0), True
    at = np.arange(18)
    profile = np.stack([np.interp(at, at[good], profile[good, k]) for k in range(3)], 1)
    position = np.clip(radius * 12 - 0.5, 0, 16.99)
    index = position.astype(int)
    fraction = (position - index)[..., None]
    completed = profile[index] * (1 - fraction) + profile[index + 1] * fraction
    seen = gaussian_filter(visible.astype(np.float32), 0.7)[..., None]
    seen = np.clip(2 * seen - 1, 0, 1)
    colour = picture * seen + completed * (1 - seen)
    opacity = np.clip((_IRIS_EDGE[1] - radius) / (_IRIS_EDGE[1] - _IRIS_EDGE[0]), 0, 1)
    return np.concatenate([colour, opacity[..., None]], -1).astype(np.float32)


def _lid_skin(picture: Array, contour: Array) -> Array:
    """The skin around the eye carried on over it, without lashes, crease, brow or the frame of glasses."""
    width = float(np.ptp(contour[:, 0]))
    middle = (contour.min(0) + contour.max(0)) / 2
    half_height = max(float(np.ptp(contour[:, 1])) / 2, 0.12 * width)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    ring = np.hypot((x - middle[0]) / (0.62 * width), (y - middle[1]) / (half_height + 0.12 * width))
    known = (ring > 1.0) & (ring < 1.7)
    if known.sum() < 8:
        return picture
    # Each half by itself: the skin below the brow is shaded, the cheek is not. Dark outliers are brow and frame.
    brightness = picture.mean(-1)
    for half in (y < middle[1], y >= middle[1]):
        if (known & half).sum() >= 4:
            usual = float(np.percentile(brightness[known & half], 55))
            known &= ~half | ((brightness >= _NO_SKIN[0] * usual) & (brightness <= _NO_SKIN[1] * usual))
    blur = (0.05 * width, 0.05 * width, 0)
    smooth = gaussian_filter(fill_missing(picture, known), blur)
    # The grain of the photo or the canvas, borrowed from below the eye and laid down to and fro.
    grain = np.clip(picture - gaussian_filter(picture, blur), -14, 14)
    last = len(picture) - 1
    below = min(int(middle[1] + half_height + 0.12 * width), last)
    away = np.abs(np.arange(last + 1) - below) % max(2 * (last - below), 1)
    return np.asarray(smooth + grain[below + np.minimum(away, 2 * (last - below) - away)], np.float32)


def _lashes(picture: Array, skin: Array, upper: Array, contour: Array) -> Array:
    """``(4,)`` their colour and how dark they are, from the line above the open eye."""
    width = float(np.ptp(contour[:, 0]))
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    near = (y <= upper) & (y > upper - max(0.07 * width, 1.5)) & (abs(x - contour[:, 0].mean()) < 0.4 * width)
    if not near.any():
        return np.zeros(4, np.float32)
    brightness = picture.mean(-1)
    dark = near & (brightness <= np.percentile(brightness[near], 25))
    colour = picture[dark].mean(0)
    contrast = 1 - float(colour.mean()) / max(float(skin[near].mean()), 1.0)
    return np.array([*colour, np.clip(1.4 * contrast, 0.3, 0.9)], np.float32)


def fill_missing(picture: Array, known: Mask) -> Array:
    """Carry the known pixels of ``(h, w, 3)`` on into the unknown ones, ever more blurred with distance.

    Push and pull over a pyramid (Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4).
    """
    weight = known.astype(np.float32)
    return _pull(np.ascontiguousarray(picture * weight[..., None]), weight)


def _pull(weighted: Array, weight: Array) -> Array:
    mean = weighted / np.maximum(weight, 1e-6)[..., None]
    height, width = weight.shape
    if weight.min() >= 1 or max(height, width) <= 2:
        total = weighted.reshape(-1, 3).sum(0) / max(float(weight.sum()), 1e-6)
        return np.asarray(np.where(weight[..., None] > 0, mean, total), np.float32)
    size = ((width + 1) // 2, (height + 1) // 2)
    smaller = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (weighted, weight)]
    beneath = cv2.resize(_pull(smaller[0], smaller[1]), (width, height), interpolation=cv2.INTER_LINEAR)
    trust = np.minimum(weight * 2, 1)[..., None]
    return np.asarray(mean * trust + beneath * (1 - trust), np.float32)


@compiled
def _paint(
    out: Frame,
    contour: Array,
    upper_first: bool,
    back: Array,
    place: Array,
    iris: Array,
    white: Array,
    iris_picture: Array,
    upper_rest: Array,
    shadow_depth: float,
    opacity: float,
    light: float,
) -> None:
    """White, iris and lid shadow into the opening; see :meth:`EyeLayer.draw`."""
    left, top, right, bottom = pixel_box(contour, 0, 0, out.shape[1], out.shape[0])
    if right <= left or bottom <= top:
        return
    width = right - left
    coverage = np.empty((bottom - top, width), np.float32)
    polygon_coverage(contour - np.array([left, top], np.float32), coverage)
    upper, _ = _edges(contour, upper_first, left, width)
    for y in range(top, bottom):
        for x in range(left, right):
            amount = coverage[y - top, x - left] * opacity
            if amount <= 0:
                continue
            dx, dy = x - place[0], y - place[1]
            px = back[0, 0] * dx + back[0, 1] * dy + place[2]
            py = back[1, 0] * dx + back[1, 1] * dy + place[3]
            column = min(max(int(px + 0.5), 0), len(upper_rest) - 1)
            now = 1.0 - _SHADOW * np.exp(-max(y - upper[x - left], 0.0) / shadow_depth)
            before = 1.0 - _SHADOW * np.exp(-max(py - upper_rest[column], 0.0) / shadow_depth)
            across = (x - left + 0.5) / width
            shade = light * min(now / before, 1.0) * (1.0 - 0.35 * np.exp(-max(min(across, 1.0 - across), 0.0) / 0.06))
            qx, qy = px - iris[3], py - iris[4]
            radius = np.sqrt((qx - iris[0]) ** 2 + (qy - iris[1]) ** 2) / iris[2]
            alpha = min(max((_IRIS_EDGE[1] - radius) / (_IRIS_EDGE[1] - _IRIS_EDGE[0]), 0.0), 1.0)
            for k in range(3):
                value = sample(white, px, py, k)
                if alpha > 0:
                    value += (sample(iris_picture, qx, qy, k) - value) * alpha
                mixed = out[y, x, k] + (value * shade - out[y, x, k]) * amount
                out[y, x, k] = np.uint8(min(max(mixed + 0.5, 0.0), 255.0))


@compiled
def _smooth_lid(
    out: Frame,
    contour: Array,
    upper_first: bool,
    lid: Array,
    sign: int,
    corner: tuple[int, int],
    back: Array,
    place: Array,
    skin: Array,
    lashes: Array,
    tint: Array,
    eye_width: float,
    closed: float,
    folded: float,
) -> None:
    """Mix clean skin into a lid, draw its line of lashes; see :meth:`EyeLayer.draw_lid`."""
    left, top = corner
    reach = 0.75 * eye_width
    first_x, last_x = max(int(place[0] - reach), left, 0), min(int(place[0] + reach) + 1, left + lid.shape[1])
    first_y, last_y = max(int(place[1] - reach), top, 0), min(int(place[1] + reach) + 1, top + lid.shape[0])
    last_x, last_y = min(last_x, out.shape[1]), min(last_y, out.shape[0])
    if last_x <= first_x or last_y <= first_y:
        return
    upper, lower = _edges(contour, upper_first, first_x, last_x - first_x)
    start, end = contour[:, 0].min(), contour[:, 0].max()
    # Skin unfolds from the start; what the photo shows of lashes and lower lid gives way when the lids meet.
    unfolded, met = min(1.6 * closed * folded, 1.0), min(max((closed - 0.35) / 0.5, 0.0), 1.0)
    met *= met * (3 - 2 * met)
    above, below, hanging = max(0.016 * eye_width, 0.5), max(0.026 * eye_width, 0.7), 0.075 * eye_width
    rim = max(0.07 * eye_width, 1.0)
    for y in range(first_y, last_y):
        for x in range(first_x, last_x):
            height_on_lid = sign * lid[y - top, x - left]
            line, under = y - upper[x - first_x], y - lower[x - first_x]
            across = (x - start) / max(end - start, 1.0)
            beside = max(-across, across - 1.0, 0.0)
            if height_on_lid <= 0 and (abs(line) > 2 * rim or beside > 0.2):
                continue
            dx, dy = x - place[0], y - place[1]
            px = back[0, 0] * dx + back[0, 1] * dy + place[2]
            py = back[1, 0] * dx + back[1, 1] * dy + place[3]
            red, green, blue = sample(skin, px, py, 0), sample(skin, px, py, 1), sample(skin, px, py, 2)
            level = max(red + green + blue, 1.0)
            seen = (np.float32(out[y, x, 0]) + out[y, x, 1] + out[y, x, 2]) / level
            amount, shade = 0.0, 0.0
            if height_on_lid > 0:
                amount = min(height_on_lid * 1.9, 1.0)
                shown = unfolded if line < 0 else met
                amount *= amount * (3 - 2 * amount) * (shown + (met - shown) * min(max(height_on_lid - 1.0, 0.0), 1.0))
                shade = 0.13 * min(0.5 * height_on_lid, 1.0)
            # At the line only what is paler than skin, the wet rim of the eye, has to go; beside it only white.
            pale = min(max(1.4 - max(under, -line) / rim, 0.0), 1.0) * min(max(6 * (seen - 0.97), 0.0), 1.0) * met
            if beside > 0:
                whiter = out[y, x, 2] / max(out[y, x, 0], 1.0) - blue / max(red, 1.0)
                pale *= min(max(10 * whiter - 0.6, 0.0), 1.0) * min(max(5 - 25 * beside, 0.0), 1.0)
            if pale > amount:
                amount, shade = pale, 0.13
            ink = 0.0
            if beside == 0:
                spread = line / (above if line < 0 else below)
                ink = np.exp(-spread * spread)
                if line > 0:
                    ink = max(ink, 0.5 * max(1.0 - line / hanging, 0.0))
                ink *= lashes[3] * max(met, unfolded) * min(4.5 * across * (1 - across), 1.0) ** 0.5
            if amount <= 0 and ink < 0.01:
                continue
            for k, clean in enumerate((red, green, blue)):
                mixed = out[y, x, k] + (clean * (1.0 - shade * tint[k]) - out[y, x, k]) * amount
                mixed += (lashes[k] - mixed) * ink
                out[y, x, k] = np.uint8(min(max(mixed + 0.5, 0.0), 255.0))
