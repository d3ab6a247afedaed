"""GIF: one palette for the whole animation, made from its beginning, so that nothing flickers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av

from mien.types import Frame

log = logging.getLogger(__name__)

MAX_FPS = 25
"""Viewers slow down GIFs whose frames are shorter than 0.04 s."""

_PALETTE_FRAMES = 50
_RGB = av.VideoFormat("rgb24")


def write_gif(path: Path, frames: Iterable[Frame], fps: float, *, comment: str | None = None) -> None:
    """Write frames as an endless GIF of at most 25 frames per second.

    Args:
        path: where to; not atomic, that is the caller's part.
        frames: ``(H, W, 3)`` uint8.
        fps: frames per second; above 25, frames are dropped evenly (said in the log).
        comment: stored in the file.
    """
    if fps > MAX_FPS:
        log.info("GIF: %g frames per second reduced to %d", fps, MAX_FPS)
        frames = _thinned(frames, fps)
        fps = MAX_FPS
    frames = iter(frames)
    beginning = list(islice(frames, _PALETTE_FRAMES))
    height, width = beginning[0].shape[:2]
    with av.open(path, "w", format="gif", options={"loop": "0", "final_delay": str(round(100 / fps))}) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        stream = container.add_stream("gif", rate=Fraction(100))
        stream.height, stream.width, stream.pix_fmt = height, width, "pal8"
        for index, picture in enumerate(_in_palette(chain(beginning, frames), _palette(beginning[::5]))):
            picture.pts, picture.time_base = round(index * 100 / fps), Fraction(1, 100)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    if comment is not None:
        _insert_comment(path, comment)


def _thinned(frames: Iterable[Frame], fps: float) -> Iterator[Frame]:
    n_kept = 0
    for index, frame in enumerate(frames):
        if index * MAX_FPS / fps >= n_kept:
            n_kept += 1
            yield frame


def _palette(samples: list[Frame]) -> Any:
    """The 256 colours that suit the samples best, as the 16 × 16 picture FFmpeg keeps palettes in."""
    height, width = samples[0].shape[:2]
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=_RGB, time_base=Fraction(1, 100))
    graph.link_nodes(source, graph.add("palettegen", reserve_transparent="0"), graph.add("buffersink")).configure()
    for index, frame in enumerate(samples):
        source.push(_picture(frame, index))
    source.push(None)
    return graph.vpull()


def _in_palette(frames: Iterable[Frame], palette: Any) -> Iterator[Any]:
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=_RGB, time_base=Fraction(1, 100), name="picture")
    colours = graph.add_buffer(width=16, height=16, format=palette.format, time_base=Fraction(1, 100), name="palette")
    # Ordered dithering keeps still parts of the picture still from frame to frame.
    use = graph.add("paletteuse", dither="bayer", bayer_scale="3", diff_mode="rectangle")
    sink = graph.add("buffersink")
    source.link_to(use, 0, 0)
    colours.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    palette.pts = 0
    colours.push(palette)
    colours.push(None)
    for index, frame in enumerate(chain((first,), frames)):
        source.push(_picture(frame, index))
        yield from _ready(sink)
    source.push(None)
    yield from _ready(sink)


def _ready(sink: Any) -> Iterator[Any]:
    while True:
        try:
            yield sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def _picture(frame: Frame, index: int) -> Any:
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
    picture.pts, picture.time_base = index, Fraction(1, 100)
    return picture


def _insert_comment(path: Path, comment: str) -> None:
    """Put a comment extension behind the header, where readers look for it; FFmpeg writes none."""
    data = path.read_bytes()
    flags = data[10]
    behind_header = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    text = comment.encode()
    blocks = b"".join(bytes([len(part)]) + part for part in (text[i : i + 255] for i in range(0, len(text), 255)))
    path.write_bytes(data[:behind_header] + b"\x21\xfe" + blocks + b"\0" + data[behind_header:])
