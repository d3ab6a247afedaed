"""A video that is drawn on keeps the planes it was decoded in: samplings, depths, ranges, colours, turns, odd sides."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mien.media.planes import Filmed, Redrawn
from mien.media.video import VideoReader, write_video
from mien.types import Frame

N = 8
LIMITED, FULL = 1, 2


def film(path: Path, codec: str, pix_fmt: str, *, height: int = 96, width: int = 128, space: int = 2,
         color_range: int = 0, turn: int = 0, aspect: Fraction | None = None, times: list[int] | None = None,
         **options: str) -> Path:  # fmt: skip
    """A film of strong colours, most of which RGB has no place for."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_range = space, color_range
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(turn)
        if times is not None:
            context.time_base = Fraction(1, 1000)
        for index in range(N):
            picture = colours(index, height, width, pix_fmt)
            picture.colorspace, picture.color_range = space, color_range
            picture.pts = index if times is None else times[index]
            picture.time_base = Fraction(1, 25 if times is None else 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def colours(index: int, height: int, width: int, pix_fmt: str) -> Any:
    picture, deep = av.VideoFrame(width, height, pix_fmt), "10le" in pix_fmt
    for number, plane in enumerate(picture.planes):
        y, x = np.mgrid[0 : plane.height, 0 : plane.width] / [[[plane.height]], [[plane.width]]]
        wave = np.sin(2 * np.pi * ((number + 1) * x + y + 0.03 * index) + number) * np.cos(3 * y + number)
        values = 128 + 90 * wave
        rows = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)
        rows[:, : plane.width] = values * 4 if deep else values
    return picture


def drawn_on(film: Iterator[Filmed]) -> Iterator[Redrawn]:
    """Every second frame gets a dark patch."""
    for index, filmed in enumerate(film):
        frame = filmed.frame
        if index % 2:
            frame = frame.copy()
            patch = frame[len(frame) // 3 : len(frame) // 2, 40:80]
            patch[:] = patch // 2
        yield Redrawn(frame, filmed)


def psnr(a: Frame, b: Frame) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9)))


H264 = {"crf": "6"}
FILMS: dict[str, dict[str, Any]] = {
    "BT.601.mp4": {"codec": "libx264", "pix_fmt": "yuv420p", "space": 6, "color_range": LIMITED, **H264},
    "BT.709.mp4": {"codec": "libx264", "pix_fmt": "yuv420p", "space": 1, "color_range": LIMITED, **H264},
    "unsaid.mp4": {"codec": "libx264", "pix_fmt": "yuv420p", **H264},
    "full.mp4": {"codec": "libx264", "pix_fmt": "yuv420p", "space": 1, "color_range": FULL, **H264},
    "422.mp4": {"codec": "libx264", "pix_fmt": "yuv422p", "space": 1, "color_range": LIMITED, **H264},
    "444.mp4": {"codec": "libx264", "pix_fmt": "yuv444p", "space": 1, "color_range": LIMITED, **H264},
    "10 bit.mp4": {"codec": "libx264", "pix_fmt": "yuv420p10le", "space": 9, "color_range": LIMITED, **H264},
    "10 bit 422.mp4": {"codec": "libx264", "pix_fmt": "yuv422p10le", "space": 1, "color_range": LIMITED, **H264},
    "odd.mkv": {"codec": "ffv1", "pix_fmt": "yuv420p", "height": 97, "width": 131},
    "odd.webm": {"codec": "libvpx-vp9", "pix_fmt": "yuv420p", "height": 97, "width": 131, "crf": "10", "b": "0"},
    "narrow.mp4": {"codec": "libx264", "pix_fmt": "yuv420p", "aspect": Fraction(15, 16), **H264},
    "left.mp4": {"codec": "libx264", "pix_fmt": "yuv420p", "turn": 90, **H264},
    "right 422.mp4": {"codec": "libx264", "pix_fmt": "yuv422p", "turn": -90, **H264},
    "upside down.mp4": {"codec": "libx264", "pix_fmt": "yuv420p", "turn": 180, **H264},
    "uneven.mp4": {"codec": "libx264", "pix_fmt": "yuv420p", "times": [0, 40, 80, 200, 230, 260, 400, 440], **H264},
    "old.mpg": {"codec": "mpeg1video", "pix_fmt": "yuv420p", "b": "4000000"},
    "camera.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "color_range": FULL},
}  # fmt: skip


def looks(path: Path) -> tuple[Any, ...]:
    """What a player goes by."""
    with av.open(path) as container:
        stream, picture = container.streams.video[0], next(container.decode(video=0))
        sampling = picture.format.name.replace("yuvj", "yuv")
        aspect = stream.sample_aspect_ratio or 1
        full = picture.format.name.startswith("yuvj") or int(picture.color_range) == FULL
        return sampling, int(picture.colorspace), full, picture.rotation, aspect


@pytest.mark.parametrize("name", FILMS)
def test_what_is_not_drawn_on_stays_as_it_was_filmed(tmp_path: Path, name: str) -> None:
    source = VideoReader(film(tmp_path / name, **FILMS[name]))
    output = write_video(tmp_path / "out.mp4", drawn_on(source.filmed()), source.fps, crf=8)
    assert looks(output) == looks(source.path)
    made, wanted = list(VideoReader(output)), [each.frame for each in drawn_on(source.filmed())]
    height, width = source.size
    assert len(made) == len(wanted) == len(list(source))
    untouched, drawn = (
        min(psnr(a[:height, :width], b) for a, b in list(zip(made, wanted, strict=True))[first::2]) for first in (0, 1)
    )
    assert untouched >= 45
    assert drawn >= 38


def test_only_what_is_drawn_on_changes(tmp_path: Path) -> None:
    source = VideoReader(film(tmp_path / "a.mp4", "libx264", "yuv420p", **H264))
    output = write_video(tmp_path / "b.mp4", drawn_on(source.filmed()), source.fps, crf=0)  # crf 0 loses nothing
    for index, (before, after) in enumerate(zip(source, VideoReader(output), strict=True)):
        rows, columns = np.nonzero((before != after).any(2))
        if index % 2 == 0:
            assert not len(rows)
        else:
            assert rows.min() >= 32 - 6 and rows.max() < 48 + 6
            assert columns.min() >= 40 - 6 and columns.max() < 80 + 6


def test_other_kinds_of_file_take_the_frames(tmp_path: Path) -> None:
    source = VideoReader(film(tmp_path / "a.mp4", "libx264", "yuv420p10le", turn=90, aspect=Fraction(15, 16), **H264))
    for name in ("b.webm", "c.gif", "d"):
        made = write_video(tmp_path / name, drawn_on(source.filmed()), source.fps)
        if made.suffix:
            assert VideoReader(made).size == source.size
        else:
            assert len(list(made.iterdir())) == N
