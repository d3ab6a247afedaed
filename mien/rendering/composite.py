"""A drawn face back into the film it belongs to: no seam, no jaw cut off, as fine as the film.

The drawn face is laid only where it moves: a forehead that rests stays as it was filmed, every hair of it. It covers
the face as it was *and* as it is wanted, so that an opened jaw fits in and the old chin does not show under a raised
one. Window and picture are joined by Laplacian pyramids (Burt and Adelson, "A multiresolution spline", ACM ToG 1983;
NED, section 3.4, four levels): coarse brightness fades over a wide band, fine detail over a narrow one.

A window of 256 px is coarser than a close-up. Detail finer than the window is taken from the frame itself, warped by
the mesh as the face moves; not inside the mouth and the eyes, which are drawn anew.

Convention: picture pixels as landmarks have them (0 is the outer corner of the first), window pixels as in
:mod:`mien.rendering.conditioning`.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mien.face.rig import Rig
from mien.rendering.conditioning import Conditioner
from mien.types import Array, Frame

LEVELS = 4
"""Of the pyramids at 256 px; one more for each doubling."""

_STIR = 1.5 / 256
"""Skin that moves by this share of the window's side is drawn anew fully; smaller movements fade it in."""

_OUTLINE = 3
"""So much more the outline has to move: where it hardly does, hair and collar beside it stay as they were filmed."""

_GROW = 0.02  # of the window's side: how far the drawn part reaches beyond the skin that moves
_LEAST = 1 / 256  # opacity; what is less changes no grey level
_BORDER = 0.03  # of the window's side that is never touched
_HOLES = ("lips_inner", "eye_left", "eye_right")


def blend(below: Array, above: Array, mask: Array, levels: int = LEVELS) -> Array:
    """``above`` where ``mask`` is 1, ``below`` where it is 0, joined level by level.

    Args:
        below: ``(H, W, 3)``.
        above: the same shape.
        mask: ``(H, W)`` in [0, 1].
        levels: of the pyramids; fewer where the pictures are too small for them.
    """
    levels = min(levels, max(1, int(np.log2(max(min(mask.shape), 2))) - 2))
    pyramids = [_laplacian(np.asarray(picture, np.float32), levels) for picture in (below, above)]
    masks = [np.asarray(mask, np.float32)]
    for _ in range(levels):
        masks.append(np.asarray(cv2.pyrDown(masks[-1]), np.float32))
    joined = [b + (a - b) * m[..., None] for b, a, m in zip(*pyramids, masks, strict=True)]
    picture = joined[-1]
    for level in reversed(joined[:-1]):
        picture = cv2.pyrUp(picture, dstsize=(level.shape[1], level.shape[0])) + level
    return np.asarray(picture, np.float32)


def _laplacian(picture: Array, levels: int) -> list[Array]:
    pyramid = []
    for _ in range(levels):
        smaller = np.asarray(cv2.pyrDown(picture), np.float32)
        pyramid.append(picture - cv2.pyrUp(smaller, dstsize=(picture.shape[1], picture.shape[0])))
        picture = smaller
    return [*pyramid, picture]


class Paster:
    """Puts drawn windows into pictures.

    Args:
        rig: the built-in one.
        size: side of the windows, px.
    """

    def __init__(self, rig: Rig, size: int) -> None:
        self._rig, self._size = rig, size
        self._drawer = Conditioner(rig, size)
        self._conditioners: dict[int, Conditioner] = {}

    def paste(
        self, picture: Frame, drawn: Frame, box: Array, own: Array, wanted: Array, covered: Array | None = None
    ) -> Frame:
        """The picture with the drawn face in it; pixels away from the face stay as they are, byte for byte.

        Args:
            picture: ``(H, W, 3)``, the film's frame.
            drawn: ``(size, size, 3)``, the window as drawn.
            box: ``(3,)`` left, top and side of the window in picture px.
            own: ``(478, 3)`` window px, landmarks as the frame shows them.
            wanted: the same as they are drawn.
            covered: ``(size, size)`` 1 where the window is drawn, 0 where it shows nothing; ``None`` if all is drawn.
        """
        left, top, right, bottom = _whole(box, picture.shape[:2])
        if right <= left or bottom <= top:
            return np.array(picture)
        below = picture[top:bottom, left:right].astype(np.float32)
        scale = float(box[2]) / self._size
        shift = np.array([box[0] - left, box[1] - top], np.float32)
        window_to_part = np.array([[scale, 0, shift[0] + scale / 2 - 0.5], [0, scale, shift[1] + scale / 2 - 0.5]])
        size = (right - left, bottom - top)

        def placed(values: npt.NDArray[np.float32], how: int) -> Array:
            return np.asarray(
                cv2.warpAffine(values, window_to_part, size, flags=how, borderMode=cv2.BORDER_REPLICATE), np.float32
            )

        above = placed(drawn.astype(np.float32), cv2.INTER_CUBIC)
        mask = placed(self.mask(own, wanted), cv2.INTER_LINEAR)
        if scale > 1:
            above += self._detail(below, scale, shift, own, wanted)
        if covered is not None:  # what is not drawn shall not darken the coarse levels beside it
            above = below + (above - below) * placed(covered, cv2.INTER_LINEAR)[..., None]
        levels = LEVELS + max(0, round(np.log2(max(scale, 1e-3))))
        joined = np.clip(np.rint(blend(below, above, mask, levels)), 0, 255)
        # The pyramid's coarse levels reach far; what they change by less than a grey level is none of our business.
        touched = np.abs(joined - below).max(-1) >= 1
        near = cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=2 ** min(levels, 4))
        changed = np.array(picture)
        part = changed[top:bottom, left:right]
        where = touched & (near > 0)
        part[where] = joined[where].astype(np.uint8)
        return changed

    def mask(self, own: Array, wanted: Array) -> Array:
        """``(size, size)`` in [0, 1]: where the face moves, and a little around it.

        Args:
            own: ``(478, 3)`` window px.
            wanted: ``(478, 3)`` window px.
        """
        size = self._size
        stir = np.linalg.norm((wanted - own)[:, :2], axis=1) / (_STIR * size)
        stir[self._rig.contours["face_oval"]] /= _OUTLINE
        for side in ("left", "right"):  # an eye that turns moves no skin
            rim, iris = self._rig.contours[f"eye_{side}"], self._rig.parts[f"iris_{side}"]
            stir[rim] = np.maximum(stir[rim], stir[iris].max())
        values = np.minimum(stir, 1).astype(np.float32)[:, None]
        mask = np.maximum(*(self._drawer.draw(points, values).carried[..., 0] for points in (own, wanted)))
        reach = 2 * round(_GROW * size) + 1
        mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
        edge = max(1, round(_BORDER * size))
        mask[:edge], mask[-edge:], mask[:, :edge], mask[:, -edge:] = 0, 0, 0, 0
        mask = cv2.blur(mask, (edge, edge))
        return np.asarray(np.where(mask > _LEAST, mask, 0), np.float32)

    def _detail(self, below: Array, scale: float, shift: Array, own: Array, wanted: Array) -> Array:
        """``(h, w, 3)`` what of the frame is finer than the window, moved with the skin."""
        height, width = below.shape[:2]
        fine = below - cv2.GaussianBlur(below, (0, 0), 0.6 * scale)
        here, there = (((points[:, :2] + 0.5) * scale + shift - 0.5) for points in (wanted, own))
        side = max(height, width)
        points = np.concatenate([here, wanted[:, 2:] * scale], 1).astype(np.float32)
        condition = self._conditioner(side).draw(points, (there - here).astype(np.float32))
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        places = condition.carried[:height, :width]
        moved = cv2.remap(
            fine, columns + places[..., 0], rows + places[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        keep = condition.mask[:height, :width].copy()
        for name in _HOLES:
            corners = np.rint(here[self._rig.contours[name]] * 16).astype(np.int32)
            cv2.fillPoly(keep, [corners], 0.0, cv2.LINE_8, 4)
        keep = cv2.GaussianBlur(keep, (0, 0), scale)
        return np.asarray(moved * keep[..., None], np.float32)

    def _conditioner(self, size: int) -> Conditioner:
        if size not in self._conditioners:
            self._conditioners = {size: Conditioner(self._rig, size)}  # one at a time: windows change size slowly
        return self._conditioners[size]


def _whole(box: Array, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Whole pixels of the picture that a box touches."""
    left, top, side = np.asarray(box, np.float64).tolist()
    height, width = shape[:2]
    return (
        int(np.clip(np.floor(left), 0, width)), int(np.clip(np.floor(top), 0, height)),
        int(np.clip(np.ceil(left + side), 0, width)), int(np.clip(np.ceil(top + side), 0, height)),
    )  # fmt: skip
