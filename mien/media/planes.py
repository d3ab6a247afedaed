"""Pictures of a video in the planes that they were decoded in: what nobody draws on stays as it was filmed.

Video holds brightness and colour (YUV) in planes, colour more coarsely. On the way to RGB and back colours that RGB has
no place for are cut off, colour is interpolated and averaged again, and both ways are rounded: some 42 dB on saturated
film, before anything is encoded. So a picture that was drawn on goes to the encoder as the decoder gave it, plus what
drawing changed; both are brought to YUV in the same way, and where nothing was drawn the difference is exactly zero.
Where much was drawn nothing of the old picture is left.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from mien.types import Array, Frame

log = logging.getLogger(__name__)

BT709 = 1
"""FFmpeg's number for the colour space of HD video, which every player assumes or honours."""

Planes = list[npt.NDArray[np.unsignedinteger[Any]]]

# swscale's defaults round down and darken a picture by one level each way; this flag does not.
ACCURATE = 0x40000
_TO_YUV = 4 | ACCURATE  # bicubic
_REACH = 8  # pixels around a drawn one whose colour it may change: bicubic, and colour at half the resolution
_STRONG = 0.06  # share of the range: a pixel that changes more is another one, and what RGB lost of it does not matter
_UNSPECIFIED = 2
# swscale's number of the matrix for FFmpeg's number of the colour space; without one, swscale takes BT.601.
_MATRIX = {1: 1, _UNSPECIFIED: 5, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
_FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")


@dataclass(frozen=True, eq=False)
class Filmed:
    """One picture of a video.

    Attributes:
        frame: ``(H, W, 3)`` RGB as :class:`mien.media.video.VideoReader` gives it: upright, with square pixels.
        picture: the same as it was decoded.
        aspect: width of its pixels over their height.
        chroma_location: FFmpeg's name for where its colours lie, if not where H.264 has them.
    """

    frame: Frame
    picture: Any
    aspect: Fraction
    chroma_location: str | None


@dataclass(frozen=True, eq=False)
class Redrawn:
    """A frame of a video that something was drawn on, or nothing, and the picture below."""

    frame: Frame
    filmed: Filmed


def frame_of(item: Frame | Redrawn) -> Frame:
    """The picture as RGB."""
    return item.frame if isinstance(item, Redrawn) else item


@dataclass(frozen=True)
class Coding:
    """How the pictures of a video lie in its stream. Numbers are FFmpeg's.

    Attributes:
        size: height and width of the planes, before they are made even.
        pix_fmt: sampling of the colours, and depth.
        colorspace, primaries, transfer, color_range: what the numbers mean.
        aspect: width of a pixel over its height.
        quarter_turns: anticlockwise turns until the picture is upright.
        chroma_location: see :class:`Filmed`.
        filmed: whether these are a filmed picture's.
    """

    size: tuple[int, int]
    pix_fmt: str = "yuv420p"
    colorspace: int = BT709
    primaries: int = BT709
    transfer: int = BT709
    color_range: int = 1
    aspect: Fraction = Fraction(1)
    quarter_turns: int = 0
    chroma_location: str | None = None
    filmed: bool = False

    @staticmethod
    def of(item: Frame | Redrawn, kind: str) -> Coding:
        """That of the source where an ``"mp4"`` or ``"webm"`` can be coded so, else that of any picture."""
        if not isinstance(item, Redrawn):
            return Coding(item.shape[:2])
        filmed, picture = item.filmed, item.filmed.picture
        pix_fmt, turns = _format(picture), round(picture.rotation / 90) % 4
        # WebM does not say how pictures are turned or stretched, and its encoder is built for 8 bits.
        lost = kind == "webm" and (turns or filmed.aspect != 1 or pix_fmt.endswith("10le"))
        if pix_fmt not in _FORMATS or int(picture.colorspace) not in _MATRIX or lost:
            return Coding(item.frame.shape[:2])
        if pix_fmt != "yuv420p":
            log.info("written as %s, as it was filmed; not every player shows that", pix_fmt)
        return replace(
            _coding(picture), aspect=filmed.aspect, quarter_turns=turns, chroma_location=filmed.chroma_location
        )

    @property
    def even_size(self) -> tuple[int, int]:
        """Height and width in the stream."""
        return self.size[0] + self.size[0] % 2, self.size[1] + self.size[1] % 2

    @property
    def x264(self) -> str:
        """x264's parameters. Of a film it shall keep what was filmed, not what looks best at this size."""
        return "annexb=0" + (":psy=0:aq-mode=0:mbtree=0:chroma-qp-offset=-3" if self.filmed else _instructions())

    def describe(self, stream: Any) -> None:
        """Set up a stream that has not begun."""
        stream.height, stream.width = self.even_size
        stream.pix_fmt = self.pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_primaries = self.colorspace, self.primaries
        context.color_trc, context.color_range = self.transfer, self.color_range
        if self.aspect != 1:
            context.sample_aspect_ratio = self.aspect


@cache
def _instructions() -> str:
    """Processors with AVX-512 shall do without: x264's macroblock tree then reads memory that nobody has written.

    The same pictures would be other packets from run to run, in sizes that are no multiple of 256 pixels.
    """
    from llvmlite.binding import get_host_cpu_features

    with suppress(RuntimeError):  # where LLVM cannot tell
        if get_host_cpu_features().get("avx512f"):
            return ":asm=avx2,fma3,bmi2"
    return ""


def handed_over(item: Frame | Redrawn) -> Any:
    """What goes to the thread that encodes; frames are read where they lie, copying would cost a tenth of drawing."""
    return item if isinstance(item, Redrawn) else _rgb(_even(item))


class Encodable:
    """Makes the pictures that an encoder takes. One object serves one thread.

    Args:
        coding: of the stream.
    """

    def __init__(self, coding: Coding) -> None:
        # One VideoReformatter serves all pictures: setting it up costs as much as using it.
        self._coding, self._converter = coding, VideoReformatter()

    def __call__(self, item: Any) -> Any:
        """An ``av.VideoFrame`` of what :func:`handed_over` returned, with nothing of the source but its planes."""
        coding = self._coding
        if not isinstance(item, Redrawn):
            return self._coded(item, coding.even_size, coding.pix_fmt)
        if not coding.filmed:
            return self._coded(_rgb(_even(item.frame)), coding.even_size, coding.pix_fmt)
        filmed, picture = item.filmed, item.filmed.picture
        if (_format(picture), picture.height, picture.width) == (coding.pix_fmt, *coding.size):
            planes = _planes(picture)
            if item.frame is not filmed.frame:
                planes = self._drawn_over(planes, filmed.frame, item.frame)
        else:  # the film changes its format on the way
            planes = [np.rint(plane) for plane in self._sampled(self._turned(item.frame), coding.size)]
        return _assembled(planes, coding)

    def _drawn_over(self, planes: Planes, before: Frame, after: Frame) -> Planes:
        """The planes, plus what differs between two upright frames."""
        before, after = self._turned(before), self._turned(after)
        rows = np.flatnonzero((before != after).reshape(len(before), -1).any(1))
        if not len(rows):
            return planes
        size = shape = self._coding.size
        top = left = 0
        box: tuple[slice, ...] = ()
        if before.shape[:2] == size:
            top, bottom = _around(rows, size[0])
            left, right = _around(np.flatnonzero((before[top:bottom] != after[top:bottom]).any((0, 2))), size[1])
            box, shape = (slice(top, bottom), slice(left, right)), (bottom - top, right - left)
        was, now = (self._sampled(side[box], shape) for side in (before, after))
        result = []
        for plane, old, new in zip(planes, was, now, strict=True):
            across, down = round(size[1] / plane.shape[1]), round(size[0] / plane.shape[0])
            most = 255 if plane.dtype == np.uint8 else 1023
            changed = np.array(plane)
            part = changed[top // down : top // down + len(new), left // across : left // across + new.shape[1]]
            kept = np.clip(1 - np.abs(new - old) / (_STRONG * most), 0, 1)
            part[:] = np.clip(np.rint(new + kept * (part - old)), 0, most)
            result.append(changed)
        return result

    def _sampled(self, frame: Frame, size: tuple[int, int]) -> list[Array]:
        """A frame as planes of the stream's sampling; swscale would put the colours where they seldom lie."""
        coding = self._coding
        whole = self._coded(_rgb(frame), size, "yuv444p" + coding.pix_fmt[7:])
        planes = [plane.astype(np.float32) for plane in _planes(whole)]
        if not coding.pix_fmt.startswith("yuv444p"):
            planes[1:] = [_coarser(plane, 1, coding.chroma_location != "center") for plane in planes[1:]]
        if coding.pix_fmt.startswith("yuv420p"):
            planes[1:] = [_coarser(plane, 0, False) for plane in planes[1:]]
        return planes

    def _turned(self, frame: Frame) -> Frame:
        """An upright frame as it lies in the stream."""
        return np.rot90(frame, -self._coding.quarter_turns)

    def _coded(self, rgb: Any, size: tuple[int, int], pix_fmt: str) -> Any:
        """A picture brought to the stream's colours."""
        coding = self._coding
        return self._converter.reformat(
            rgb, size[1], size[0], pix_fmt, dst_colorspace=_MATRIX[coding.colorspace],
            dst_color_range=coding.color_range or 1, interpolation=_TO_YUV,
        )  # fmt: skip


def evened(picture: Any) -> Any:
    """The picture with its last row and column twice where sides are odd; itself where its planes are no YUV."""
    if (picture.width % 2 == 0 and picture.height % 2 == 0) or _format(picture) not in _FORMATS:
        return picture
    coding = _coding(picture)
    height, width = coding.even_size
    whole = VideoReformatter().reformat(picture, width, height)  # the only way to keep where its colours lie
    _fill(whole, _planes(picture))
    return whole


def _coding(picture: Any) -> Coding:
    """That of a decoded picture."""
    return Coding(
        (picture.height, picture.width), _format(picture), int(picture.colorspace), int(picture.color_primaries),
        int(picture.color_trc), _color_range(picture), filmed=True,
    )  # fmt: skip


def _assembled(planes: Planes, coding: Coding) -> Any:
    """A new picture."""
    height, width = coding.even_size
    picture = av.VideoFrame(width, height, coding.pix_fmt)
    _fill(picture, planes)
    picture.colorspace, picture.color_range = coding.colorspace, coding.color_range
    picture.color_primaries, picture.color_trc = coding.primaries, coding.transfer
    return picture


def _fill(picture: Any, planes: Planes) -> None:
    """Copy planes into a picture; those that are too small for even sides get their last row or column twice."""
    for plane, target in zip(planes, _planes(picture), strict=True):
        extra = [(0, there - here) for there, here in zip(target.shape, plane.shape, strict=True)]
        target[:] = np.pad(plane, extra, mode="edge") if any(e for _, e in extra) else plane


def _rgb(frame: Frame) -> Any:
    return av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(frame), format="rgb24")


def _format(picture: Any) -> str:
    """Of its planes; FFmpeg's older names say the range as well."""
    return str(picture.format.name).replace("yuvj", "yuv")


def _color_range(picture: Any) -> int:
    return 2 if picture.format.name.startswith("yuvj") else int(picture.color_range)


def _planes(picture: Any) -> Planes:
    """Views of the planes."""
    depth: type[np.unsignedinteger[Any]] = np.uint16 if picture.format.name.endswith("10le") else np.uint8
    return [np.frombuffer(plane, depth).reshape(plane.height, -1)[:, : plane.width] for plane in picture.planes]


def _coarser(plane: Array, axis: int, first: bool) -> Array:
    """Half as many samples along an axis: where the first of two pixels lies, or between the two."""
    odd = plane.shape[axis] % 2
    padded = np.pad(plane, [(int(i == axis and first), odd * int(i == axis)) for i in (0, 1)], mode="edge")
    at: Array = np.moveaxis(padded, axis, 0)
    coarse = (at[:-2:2] + 2 * at[1:-1:2] + at[2::2]) / 4 if first else (at[::2] + at[1::2]) / 2
    return np.asarray(np.moveaxis(np.asarray(coarse), 0, axis), np.float32)


def _around(indices: npt.NDArray[np.intp], end: int) -> tuple[int, int]:
    """An even begin and an end that leave room for the reach of what was drawn."""
    return max(int(indices[0]) - _REACH, 0) // 2 * 2, min(int(indices[-1]) + 1 + _REACH, end)


def _even(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return frame
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
