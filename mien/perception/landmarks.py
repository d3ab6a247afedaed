"""Where the face is: 478 landmarks per face, behind an interface that other detectors can fill.

Convention: landmarks are ``(478, 3)`` float32 pixels of the whole picture in mediapipe's order: x right, y down, z
relative depth at the scale of x, smaller towards the viewer. Points 468 to 472 are the iris of the subject's right
eye, 473 to 477 of the left eye, centre first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mien.perception.quiet import Mesh, face_detection, selfie_segmentation
from mien.types import Array, Frame

N_LANDMARKS = 478

_LONGEST_SIDE = 1280
"""Pictures are searched at no more than this many pixels: the detectors see 192 or less of them anyway."""
_CROP_SIDE = 384
"""Side of the square handed to the mesh network (its own input is 192): faces of any size look alike to it."""
_SECOND_LOOKS = (0.4, 0.9)
"""Margins of the crops through which a face that was hard to find must be seen again."""
_AGREEMENT = 0.03
"""How far, in face widths, landmarks of the same face differ between crops at most."""
_TILE_LEVELS = (2, 3, 5)
"""Tiles per side, tried in turn, when the whole picture shows no face."""

_SURE_TURNED, _SURER = 0.8, 0.05
"""A face lies or stands on its head if the detector, shown it turned, is this sure, and by so much surer than unturned.
Of 39 upright portraits none looks so: they score 0.85 or more as they are."""
_TURNED_LOOKS = (0.5, 1.3)
"""Margins of the crops that the detector sees: boxes of turned faces often cut them."""
_FOREHEAD, _CHIN = 10, 152

_log = logging.getLogger(__name__)
Box = npt.NDArray[np.float32]


class LandmarkBackend(Protocol):
    """What finds faces."""

    def detect(self, frame: Frame, *, patient: bool = True) -> list[Array]:
        """All faces of a picture, the largest first; empty if there is none. ``patient`` allows a slow search."""

    def follow(self, frame: Frame, previous: Array) -> Array | None:
        """The face that had the landmarks ``previous`` a frame ago, or ``None`` if it is gone."""


def face_box(landmarks: npt.ArrayLike) -> Box:
    """``(left, top, right, bottom)`` in pixels around the landmarks."""
    points = np.asarray(landmarks, np.float32)[:, :2]
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


class MediapipeBackend:
    """mediapipe's face detectors and its attention mesh, all inside the 0.10.21 wheel.

    A picture is searched by the full-range and the short-range detector, then in overlapping tiles (small faces), then
    with stretched contrast (drawings, dark paintings). Every candidate is cropped with a margin, brought to one size,
    set upright in quarter turns (a picture taken sideways) and given to the mesh network, so that small, huge and lying
    faces are treated alike.

    Args:
        max_faces: how many faces :meth:`detect` returns at most.
        confidence: detections and meshes below this score in [0, 1] are ignored.
        careful: :meth:`follow` looks in the mirror as well. That takes half as long again, and where two readers of a
            picture disagree most, at half-closed and far eyes, it halves what the network does differently left and
            right.
    """

    def __init__(self, max_faces: int = 10, confidence: float = 0.4, *, careful: bool = False) -> None:
        self.max_faces = max_faces
        self._confidence = confidence
        self._careful = careful
        self._static: Mesh | None = None
        self._tracker: Mesh | None = None
        self._detectors: list[Any] = []
        self._region: Box | None = None
        self._turns = 0

    def detect(self, frame: Frame, *, patient: bool = True) -> list[Array]:
        """All faces, the largest first; without ``patient`` only what the first look at the whole picture shows."""
        for attempt, boxes in enumerate(self._candidates(frame)):
            faces = self._meshes(frame, boxes)
            if attempt:
                faces = [face for face in faces if self._confirmed(frame, face)]
            if faces or not patient:
                if attempt:
                    _log.info("the face was hard to find: search step %d", attempt + 1)
                return faces
        return []

    def _confirmed(self, frame: Frame, face: Array) -> bool:
        """Whether a face is still there when looked at through other crops; what only resembles a face is not."""
        box, turns = face_box(face), _quarter_turns(face)
        looks = (self._mesh(self._afresh, frame, _square(box, margin), turns) for margin in _SECOND_LOOKS)
        return all(again is not None and _agree(face, again) for again in looks)

    def follow(self, frame: Frame, previous: Array) -> Array | None:
        """The same face one frame later: the mean of two or three looks, whose errors are independent in good part.

        One look is the mesh in its tracking mode on a square that stays put while the face is well inside: a crop that
        moves with every frame would add its own jitter to the landmarks. The others start afresh around what it found.
        """
        box = face_box(previous)
        if self._tracker is None:
            self._tracker = Mesh(static=False, confidence=self._confidence)
        turns = _quarter_turns(previous, self._turns)
        if self._region is None or turns != self._turns or not _well_inside(box, self._region):
            self._region, self._turns = _square(box, margin=0.5), turns
            self._tracker.reset()
        face = self._mesh(self._tracker, frame, self._region, turns)
        if face is None:
            return None
        around = _square(face_box(face), margin=0.5)
        looks = [face]
        for mirrored in (False, True) if self._careful else (False,):
            again = self._mesh(self._afresh, frame, around, turns, mirrored)
            if again is not None and _agree(face, again):
                looks.append(again)
        return np.asarray(np.mean(looks, axis=0), np.float32)

    @property
    def _afresh(self) -> Mesh:
        """The mesh that looks at every picture without a memory."""
        if self._static is None:
            self._static = Mesh(static=True, confidence=self._confidence)
        return self._static

    def _candidates(self, frame: Frame) -> Iterator[list[Box]]:
        """Boxes of possible faces, by ever more patient searches."""
        small, scale = _shrink(frame, _LONGEST_SIDE)
        boxes = self._search(small)
        yield [box / scale for box in boxes]
        yield [box / scale for turns in (1, 3, 2) for box in self._search_turned(small, turns)]
        for tiles in _TILE_LEVELS:
            yield [box / scale for box in self._search_tiles(small, tiles)]
        for picture in _contrasts(small):
            yield [box / scale for box in self._search(picture) + self._search_tiles(picture, 2)]
        # A face that fills the picture shows the detectors no surroundings, so give the mesh the whole of it.
        height, width = frame.shape[:2]
        yield [np.array([0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height], np.float32)]

    def _search(self, picture: Frame) -> list[Box]:
        """Boxes from both detectors in pixels of ``picture``."""
        if not self._detectors:
            self._detectors = [face_detection(model, self._confidence) for model in (1, 0)]
        height, width = picture.shape[:2]
        boxes = []
        for detector in self._detectors:
            # Detectors squeeze what they get into a square; a border keeps faces at the edge and proportions whole.
            border = max(height, width) // 8
            padded = np.pad(picture, ((border, border), (border, border), (0, 0)), mode="edge")
            for found in detector.process(np.ascontiguousarray(padded)).detections or []:
                box = found.location_data.relative_bounding_box
                left = box.xmin * padded.shape[1] - border
                top = box.ymin * padded.shape[0] - border
                right, bottom = left + box.width * padded.shape[1], top + box.height * padded.shape[0]
                boxes.append(np.array([left, top, right, bottom], np.float32))
        return boxes

    def _search_turned(self, picture: Frame, turns: int) -> list[Box]:
        """Boxes found in the picture after ``turns`` quarter turns against the clock."""
        height, width = picture.shape[:2]
        size = np.array([width, height], np.float32)
        shown = size if turns == 2 else size[::-1]
        boxes = self._search(np.rot90(picture, turns))
        return [face_box(_turned_back(box.reshape(2, 2) / shown, turns) * size) for box in boxes]

    def _search_tiles(self, picture: Frame, tiles: int) -> list[Box]:
        """Boxes found in ``tiles`` by ``tiles`` windows that overlap by half, each enlarged to 512 px if smaller."""
        height, width = picture.shape[:2]
        side = max(32, round(2 * max(height, width) / (tiles + 1)))
        boxes: list[Box] = []
        for top in _starts(height, side):
            for left in _starts(width, side):
                tile = picture[top : top + side, left : left + side]
                enlarged, scale = _enlarge(tile, 512)
                offset = np.array([left, top, left, top], np.float32)
                boxes += [box / scale + offset for box in self._search(enlarged)]
        return boxes

    def _meshes(self, frame: Frame, boxes: list[Box]) -> list[Array]:
        """Landmarks in the boxes, the largest face first, each face once."""
        faces: list[Array] = []
        for box in sorted(_distinct(boxes), key=_area, reverse=True)[: 2 * self.max_faces]:
            turns = self._turns_to_upright(frame, box)
            # The second, wider look rescues boxes that cut a chin or a forehead.
            for margin in (0.5, 1.0):
                face = self._mesh(self._afresh, frame, _square(box, margin), turns)
                if face is not None and turns:  # boxes of turned faces sit badly
                    again = self._mesh(self._afresh, frame, _square(face_box(face), margin), turns)
                    face = face if again is None else again
                if face is not None and not any(_overlap(face_box(face), face_box(other)) > 0.4 for other in faces):
                    faces.append(face)
                if face is not None:
                    break
        return sorted(faces, key=lambda face: _area(face_box(face)), reverse=True)[: self.max_faces]

    def _turns_to_upright(self, frame: Frame, box: Box) -> int:
        """Quarter turns against the clock that set the face in a box upright: the mesh takes any face for upright."""
        detector, scores = self._detectors[-1], [0.0] * 4
        for margin in _TURNED_LOOKS:
            crop = _cropped(frame, _square(box, margin))
            if crop is None:
                return 0
            for turns in range(4):
                found = detector.process(np.ascontiguousarray(np.rot90(crop, turns))).detections or []
                scores[turns] = max([scores[turns], *(float(face.score[0]) for face in found)])
        best = int(np.argmax(scores))
        return best if scores[best] > max(_SURE_TURNED, scores[0] + _SURER) else 0

    def _mesh(self, network: Mesh, frame: Frame, region: Box, turns: int = 0, mirrored: bool = False) -> Array | None:
        """Landmarks of the one face in a square region, which is looked at after some quarter turns against the clock.

        They are pixels of ``frame``, of which the network may be shown the mirror image.
        """
        crop = _cropped(frame, region)
        if crop is None:
            return None
        upright = np.rot90(crop, turns)
        answer = network.process(np.ascontiguousarray(upright[:, ::-1] if mirrored else upright))
        if not answer:
            return None
        points = np.array([(p.x, p.y, p.z) for p in answer], np.float32)
        if mirrored:
            points = points[opposites()]
            points[:, 0] = 1 - points[:, 0]
        points[:, :2] = _turned_back(points[:, :2], turns)
        points *= region[2] - region[0]
        points[:, :2] += region[:2]
        return points if _plausible(points) else None


@lru_cache(maxsize=1)
def opposites() -> npt.NDArray[np.intp]:
    """``(478,)`` the landmark that is each one's counterpart on the other side of the face."""
    from scipy.optimize import linear_sum_assignment

    from mien.face.rig import load_rig

    template = load_rig().template[:N_LANDMARKS]
    apart = ((template[:, None] * (-1, 1, 1) - template) ** 2).sum(axis=2)
    return np.asarray(linear_sum_assignment(apart)[1])


def _cropped(frame: Frame, region: Box) -> Frame | None:
    """A square region at the size that the mesh network gets; nothing if it is too small to hold a face."""
    import cv2

    side = float(region[2] - region[0])
    if side < 4:
        return None
    scale = _CROP_SIDE / side
    frame_to_crop = np.array([[scale, 0, -region[0] * scale], [0, scale, -region[1] * scale]], np.float32)
    source, sharp = frame, cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    if scale < 0.5:  # linear sampling of a huge face would skip pixels
        source, shrink = _shrink(frame, round(max(frame.shape[:2]) * scale * 2))
        frame_to_crop[:, :2] /= shrink
    return np.asarray(cv2.warpAffine(source, frame_to_crop, (_CROP_SIDE, _CROP_SIDE), flags=sharp, borderMode=1))


def _turned_back(points: Array, turns: int) -> Array:
    """Points ``(N, 2)`` in [0, 1] of a picture that was turned against the clock, as the picture was before."""
    for _ in range(turns % 4):
        points = np.stack([1 - points[:, 1], points[:, 0]], 1)
    return points


def _quarter_turns(face: Array, now: int = 0) -> int:
    """Quarter turns against the clock that set a face upright; those of ``now`` until it leans by 60 degrees."""
    across, down = face[_CHIN, :2] - face[_FOREHEAD, :2]
    turns = float(np.arctan2(-across, down)) / (np.pi / 2)
    return now if abs((turns - now + 2) % 4 - 2) < 2 / 3 else round(turns) % 4


def _plausible(landmarks: Array) -> bool:
    """False for meshes that collapsed: the network answers something for noise, too."""
    left, top, right, bottom = face_box(landmarks)
    return bool(np.isfinite(landmarks).all() and min(right - left, bottom - top) > 3)


def _agree(face: Array, again: Array) -> bool:
    """Whether two looks saw the same face."""
    box = face_box(face)
    return float(np.abs(again - face)[:, :2].mean()) < _AGREEMENT * float(box[2] - box[0])


def _area(box: Box) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def _overlap(a: Box, b: Box) -> float:
    """Shared area divided by the smaller of the two areas."""
    shared = _area(np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]))
    return shared / max(min(_area(a), _area(b)), 1e-6)


def _distinct(boxes: list[Box]) -> list[Box]:
    """Boxes without those that mostly repeat an earlier one."""
    kept: list[Box] = []
    for box in boxes:
        if not any(_overlap(box, other) > 0.5 for other in kept):
            kept.append(box)
    return kept


def _square(box: Box, margin: float) -> Box:
    """The square around a box, wider by ``margin`` times its longer side on every side."""
    centre, half = (box[:2] + box[2:]) / 2, max(box[2] - box[0], box[3] - box[1]) * (0.5 + margin)
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def _well_inside(box: Box, region: Box) -> bool:
    """Whether a face keeps a fifth of its size to the region's border and still fills a third of the region."""
    size = float(max(box[2] - box[0], box[3] - box[1]))
    room = min(float((box[:2] - region[:2]).min()), float((region[2:] - box[2:]).min()))
    return room > 0.2 * size and size > 0.33 * float(region[2] - region[0])


def _starts(length: int, window: int) -> list[int]:
    """Evenly spread starts of windows that cover ``length`` and overlap by about half."""
    if window >= length:
        return [0]
    n = 1 + int(np.ceil((length - window) / (window / 2)))
    return [int(start) for start in np.linspace(0, length - window, n)]


def _shrink(frame: Frame, longest: int) -> tuple[Frame, float]:
    """The picture at no more than ``longest`` pixels, and the factor that was applied."""
    import cv2

    factor = longest / max(frame.shape[:2])
    if factor >= 1:
        return frame, 1.0
    size = max(1, round(frame.shape[1] * factor)), max(1, round(frame.shape[0] * factor))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8), factor


def _enlarge(frame: Frame, longest: int) -> tuple[Frame, float]:
    """The picture at no less than ``longest`` pixels, and the factor that was applied."""
    import cv2

    factor = longest / max(frame.shape[:2])
    if factor <= 1:
        return frame, 1.0
    size = max(1, round(frame.shape[1] * factor)), max(1, round(frame.shape[0] * factor))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8), factor


def _contrasts(frame: Frame) -> Iterator[Frame]:
    """The picture with local contrast evened out, and blurred (brush strokes and pencil lines look like texture)."""
    import cv2

    lightness, a, b = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2LAB))
    lightness = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(lightness)
    even = np.asarray(cv2.cvtColor(cv2.merge([lightness, a, b]), cv2.COLOR_LAB2RGB), np.uint8)
    yield even
    yield np.asarray(cv2.GaussianBlur(even, (0, 0), max(frame.shape[:2]) / 250), np.uint8)


def person_mask(frame: Frame) -> Array | None:
    """``(H, W)`` in [0, 1], soft, 1 on people, from mediapipe's selfie segmentation; ``None`` if it sees nobody."""
    import cv2

    solution = selfie_segmentation()
    small, _ = _shrink(frame, 512)
    mask = np.asarray(solution.process(np.ascontiguousarray(small)).segmentation_mask, np.float32)
    solution.close()
    if float((mask > 0.5).mean()) < 0.02:
        _log.info("no person mask: the segmentation found nobody in the picture")
        return None
    size = (frame.shape[1], frame.shape[0])
    return np.clip(np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR), np.float32), 0, 1)
