"""A square around a face: cut out for a network that wants such crops, and laid back without a seam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from mien.types import Array, Frame

GANMUT_MARGIN, ICFACE_MARGIN = 1.15, 1.45
"""Side of each network's square over the landmarks' box: GANmut's detector ends at the brows; ICface's was enlarged by
1.6. Networks are trained on the crops that they are given later."""

_EYES = (33, 263)  # outer corners


@dataclass(frozen=True, eq=False)
class FaceSquare:
    """Where a crop lies in a picture.

    Attributes:
        square_from_picture: ``(2, 3)`` pixels of the picture to pixels of the crop.
        side: of the crop in pixels; as fine as the picture itself.
    """

    square_from_picture: npt.NDArray[np.float64]
    side: int

    @classmethod
    def around(cls, landmarks: Array, margin: float, *, upright: bool) -> Self:
        """The square around landmarks ``(478, 3)`` px.

        Args:
            landmarks: of the face.
            margin: side of the square over the larger side of the landmarks' box.
            upright: turn it with the face, so that the eyes stand level in the crop.
        """
        points = landmarks[:468, :2].astype(np.float64)
        across = points[_EYES[1]] - points[_EYES[0]]
        angle = float(np.arctan2(across[1], across[0])) if upright else 0.0
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        turned = points @ turn.T
        low, high = turned.min(0), turned.max(0)
        side = max(8, round(margin * float((high - low).max())))
        corner = (low + high) / 2 - side / 2
        return cls(np.concatenate([turn, -corner[:, None]], 1), side)

    def cut(self, picture: Frame) -> Frame:
        """The crop ``(side, side, 3)``; beyond the picture's border the border pixel is repeated."""
        import cv2

        size = (self.side, self.side)
        crop = cv2.warpAffine(
            picture, self.square_from_picture, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(crop, np.uint8)

    def points(self, landmarks: Array) -> Array:
        """``(N, 2)`` landmarks in pixels of the crop."""
        matrix = self.square_from_picture
        return np.asarray(landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2], np.float32)

    def paste(self, picture: Frame, change: Array, opacity: Array) -> Frame:
        """The picture changed where the crop lies; every other pixel stays as it is.

        Args:
            picture: what the crop was cut from.
            change: ``(side, side, 3)`` what is to be added to each pixel of the crop.
            opacity: ``(side, side)`` in [0, 1] how much of it; 0 at the border.
        """
        import cv2

        height, width = picture.shape[:2]
        back = cv2.warpAffine(
            (change * opacity[..., None]).astype(np.float32), self.square_from_picture, (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT,
        )  # fmt: skip
        touched = np.abs(back).max(2) >= 0.5
        changed = np.array(picture)
        changed[touched] = np.clip(np.rint(picture[touched] + back[touched]), 0, 255).astype(np.uint8)
        return changed


def soft_box(side: int, edge: float = 0.12) -> Array:
    """``(side, side)`` 1 inside a square, falling to 0 at its border over the share ``edge`` of its side."""
    at = (np.arange(side) + 0.5) / side
    rise = np.clip(np.minimum(at, 1 - at) / edge, 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    return np.asarray(rise[:, None] * rise, np.float32)


def soft_face(points: Array, side: int, edge: float = 0.06) -> Array:
    """``(side, side)`` 1 on the face, falling to 0 outside its outline.

    Args:
        points: ``(468 or more, 2)`` landmarks in pixels of the crop.
        side: of the crop.
        edge: how softly, as a share of the side.
    """
    import cv2

    mask = np.zeros((side, side), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(points[:468].astype(np.int32)), 255)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    soft = np.clip((depth - 1) / (edge * side), 0, 1)
    soft = soft * soft * (3 - 2 * soft)
    return np.asarray(soft * soft_box(side, edge), np.float32)


_SAME, _MOVED = 12.0, 40.0
"""Grey levels: where an edit changes less than the first the picture's fine detail stays, beyond the second it goes."""


def sharpened(crop: Frame, edited: Frame, size: int) -> Array:
    """What a coarse edit changes, to be added to the fine picture: its detail stays where nothing moved.

    The edit's own cast of colour, what it does to the whole crop alike, is taken out.

    Args:
        crop: ``(S, S, 3)`` the fine picture.
        edited: the same, as a network made it of ``size`` by ``size`` pixels.
        size: side of what the network saw.

    Returns:
        ``(S, S, 3)`` grey levels.
    """
    import cv2

    side = len(crop)
    fine = crop.astype(np.float32)
    shrink = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    coarse = cv2.resize(
        cv2.resize(fine, (size, size), interpolation=shrink), (side, side), interpolation=cv2.INTER_CUBIC
    )
    change = edited.astype(np.float32) - coarse
    change -= np.median(change.reshape(-1, 3), axis=0)
    strong = cv2.GaussianBlur(np.abs(change).max(2), (0, 0), max(1.0, side / size))
    moved = np.clip((strong - _SAME) / (_MOVED - _SAME), 0, 1)[..., None]
    return np.asarray(change - moved * (fine - coarse), np.float32)
