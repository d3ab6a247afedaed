"""Video files: frames in at a constant rate, frames and sound out.

Reading gives upright RGB frames one by one; writing takes them one by one, so a long video never stands in memory.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from mien.errors import FormatError, OutputError
from mien.media.gif import write_gif
from mien.media.image import require_file
from mien.media.output import FRAME_NAME, atomic_output, output_error, reason
from mien.media.planes import ACCURATE, Coding, Encodable, Filmed, Redrawn, evened, frame_of, handed_over
from mien.media.provenance import append_xmp, png_info, to_text
from mien.media.soundtrack import MP4_SOUND, WEBM_SOUND, Soundtrack
from mien.media.unfinished import GROWING, Unfinished, segment_name
from mien.progress import Progress, track
from mien.types import Frame, check_frame

log = logging.getLogger(__name__)

_TO_RGB = 2 | ACCURATE | 0x2000  # bilinear, colour interpolated in full
_CHROMA_LOCATIONS = {"mpeg1video": "center", "mjpeg": "center"}  # elsewhere where H.264 has them

_QUEUE_FRAMES = 8

SEGMENT = 250
"""Frames that are encoded on their own, and so can be kept while the next are made; x264 puts no key frame later."""


class VideoReader:
    """The frames of a video file, upright, RGB, at a constant rate; can be iterated any number of times.

    Frame ``i`` shows time ``i / fps``, counted from the first picture: variable rates are evened out by repeating and
    dropping frames. Rotation metadata (a phone held upright) is applied, and pixels that are not square are made so.

    Args:
        path: any video FFmpeg reads, GIF included.

    Attributes:
        fps: frames per second.
        size: height and width in pixels as the frames come.
        duration: seconds, as the file says; ``None`` if it does not.
        n_frames: as the file says, so it may be a few off; ``None`` if it does not.
        codec: short name of the video codec.
        has_sound: whether there is a sound track.
        sound_start: seconds from the first picture to the first sample of the sound; 0 without sound.
        can_jump: whether an exact index makes a far start of :meth:`between` cheap.

    Raises:
        FormatError: if the file is no video, or is damaged.
        InputError: if it is missing, unreadable or empty.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = require_file(path, "video")
        with self._open() as container:
            stream = _moving_stream(container)
            self.codec = str(stream.codec_context.name)
            self.has_sound = bool(container.streams.audio)
            sound_start = _start_of_sound(container)
            self.can_jump = container.format.name.startswith(("mov", "matroska"))
            self.fps = _constant_rate(self.path, stream)
            self._aspect = Fraction(stream.sample_aspect_ratio or 1)  # width of a pixel over its height
            self._promised = _promised_duration(stream, self.fps)
            self.duration = self._promised or (container.duration and container.duration / av.time_base)
            self.n_frames = None if self.duration is None else max(1, round(self.duration * self.fps))
            self._check_whole(stream)
            first = next(self._decoded(container), None)
        if first is None:
            raise FormatError(f"{self.path}: no picture in the video can be decoded", "export it again")
        self._start: float | None = first.time
        self.sound_start = sound_start - (self._start or 0) if self.has_sound else 0.0
        self.size: tuple[int, int] = _upright(first, VideoReformatter(), self._aspect).shape[:2]

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame as ``(H, W, 3)`` uint8.

        Raises:
            FormatError: if the file is damaged further on; frames before that have been yielded.
        """
        return self.between(0)

    def between(self, start: int, stop: int | None = None, *, shrink: int = 1) -> Iterator[Frame]:
        """Yield frames ``start`` to ``stop - 1``, the very ones that iteration yields; a far start is jumped to.

        Args:
            start: first frame wanted, counted from 0.
            stop: first frame not wanted any more; ``None`` is the end of the video.
            shrink: both sides are divided by it, which is cheaper while decoding than afterwards.

        Raises:
            FormatError: if the file is damaged further on; frames before that have been yielded.
        """
        return (filmed.frame for filmed in self.filmed(start, stop, shrink=shrink))

    def filmed(self, start: int = 0, stop: int | None = None, *, shrink: int = 1) -> Iterator[Filmed]:
        """The frames of :meth:`between` with the pictures they come from, for :class:`mien.media.planes.Redrawn`."""
        end = sys.maxsize if stop is None else stop
        n_frames = 0
        with self._open() as container:
            converter = VideoReformatter()
            for picture, shown in self._shown(self._decoded_before(container, start)):
                wanted = range(max(shown.start, start), min(shown.stop, end))
                if wanted:
                    frame = _upright(picture, converter, self._aspect, shrink)
                    filmed = Filmed(frame, picture, self._aspect, _CHROMA_LOCATIONS.get(self.codec))
                    yield from (filmed for _ in wanted)
                n_frames = shown.stop
                if n_frames >= end:
                    return
        if stop is None and self._promised is not None and n_frames / self.fps < 0.9 * self._promised:
            raise self._cut_off()

    def _shown(self, pictures: Iterator[Any]) -> Iterator[tuple[Any, range]]:
        """Every decoded picture, and the frames that show it; none for pictures that follow each other too fast."""
        shown, since = None, 0
        for n_decoded, picture in enumerate(pictures):
            time = picture.time if picture.time is not None else n_decoded / self.fps
            index = round((time - (self._start or 0)) * self.fps)
            if shown is not None:
                yield shown, range(since, max(since, index))
            shown, since = picture, index if shown is None else max(since, index)
        if shown is not None:
            yield shown, range(since, since + 1)

    def _open(self) -> Any:
        try:
            container = av.open(self.path)
        except (av.FFmpegError, OSError) as error:
            raise FormatError(
                f"{self.path}: not a video, or a damaged one ({reason(error)})",
                "give an MP4, MOV, MKV, WebM or AVI file",
            ) from error
        if container.format.name.endswith(("image2", "_pipe")):
            container.close()
            raise FormatError(f"{self.path}: is a picture, not a video", "give a video")
        if container.format.name == "tty":
            container.close()
            raise FormatError(f"{self.path}: is text, not a video", "give an MP4, MOV, MKV, WebM or AVI file")
        stream = _moving_stream(container)
        if stream is None:
            container.close()
            raise FormatError(f"{self.path}: has no video, only other streams", "give a video file")
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"chroma_sample_location": "left"}  # as players do where a video does not say
        return container

    def _decoded(self, container: Any) -> Iterator[Any]:
        stream = _moving_stream(container)
        try:
            yield from container.decode(stream)
        except av.FFmpegError as error:
            raise FormatError(f"{self.path}: the video is damaged ({reason(error)})", "export it again") from error

    def _decoded_before(self, container: Any, start: int) -> Iterator[Any]:
        """Pictures from before frame ``start`` on: from a key frame, or from the first if no index is exact."""
        stream = _moving_stream(container)
        if self._start is not None and start > 1 and self.can_jump:
            wanted = self._start + (start - 1) / self.fps
            container.seek(int(wanted / stream.time_base), stream=stream)
            pictures = self._decoded(container)
            first = next(pictures, None)
            if first is not None and first.time is not None and first.time <= wanted:
                return chain((first,), pictures)
            container.seek(0, stream=stream)
        return self._decoded(container)

    def _check_whole(self, stream: Any) -> None:
        """Refuse a file that was cut off: its index names bytes beyond its end."""
        entries = stream.index_entries
        if len(entries) and entries[-1].pos + entries[-1].size > self.path.stat().st_size:
            raise self._cut_off()

    def _cut_off(self) -> FormatError:
        return FormatError(f"{self.path}: the video is cut off before its end", "copy or download it again")


def write_video(
    path: str | Path,
    frames: Iterable[Frame | Redrawn],
    fps: float,
    *,
    sound: str | Path | None = None,
    sound_at: float = 0.0,
    provenance: Mapping[str, Any] | None = None,
    crf: int = 18,
    progress: Progress | None = None,
    n_frames: int | None = None,
    work: Unfinished | None = None,
) -> Path:
    """Write frames, and the sound of another file, as a video; the ending decides the format.

    ``.mp4`` is H.264 and AAC, ``.webm`` VP9 and Opus, ``.gif`` a palette of 256 colours; without an ending (or with one
    slash at the end) a folder of PNG frames is written. The first frame and the first sample stand at t = 0. Sound
    already in the container's codec is copied untouched, other sound is encoded at its own rate and channels. MP4 and
    WebM need even sides: the last row or column of an odd picture is repeated (said in the log).

    Args:
        path: where to; written whole or not at all.
        frames: pictures of one size, ``(H, W, 3)`` uint8 RGB, not changed afterwards; taken one by one while earlier
            ones are encoded. Those of a video that was drawn on come as :class:`mien.media.planes.Redrawn`: its
            sampling, depth, colours, shape of pixels and turn are kept in MP4, and what was not drawn on is as filmed.
        fps: frames per second.
        sound: a sound file or a video with sound.
        sound_at: seconds from the first picture to the first sample; of a film, :attr:`VideoReader.sound_start`.
        provenance: what :func:`mien.media.provenance.provenance` returned; goes into the metadata.
        crf: quality of H.264, 0 (lossless) to 51; 18 looks like the original.
        progress: sees a stage ``"video"``.
        n_frames: length of the whole video in frames, for the progress display.
        work: what an earlier run has finished of this very video, and where this one keeps what it finishes; ``frames``
            begin with number :func:`n_finished`.

    Returns:
        The path of the finished video.

    Raises:
        OutputError: if the ending is unknown or the place cannot be written.
        InputError: if the sound cannot be used.
        TypeError: if the sound is not the name of a file.
        ValueError: if there is no frame, frames differ in size or are no pictures, or ``fps`` is not positive.
    """
    if sound is not None and not isinstance(sound, str | Path):
        raise TypeError(f"sound: expected the name of a file, got {type(sound).__name__}; soundfile.write makes one")
    if not fps > 0:
        raise ValueError(f"fps: expected more than 0 frames per second, got {fps:g}")
    kind = output_kind(path)
    n_done = 0 if work is None else n_finished(path, work)
    watched = _checked(track(frames, progress, "video", n_frames, n_done))
    if kind in ("gif", "frames") and sound is not None:
        log.warning("%s: %s have no sound; it is left out", path, "GIF files" if kind == "gif" else "frames")
    with atomic_output(path, folder=kind == "frames") as temporary:
        try:
            if kind == "frames":
                _write_frames(temporary, map(frame_of, watched), provenance, work, n_done)
            elif kind == "gif":
                write_gif(
                    temporary, map(frame_of, watched), fps, comment=None if provenance is None else to_text(provenance)
                )
            else:
                _write_container(temporary, watched, fps, kind, crf, sound, sound_at, provenance, work)
                if kind == "mp4" and provenance is not None:
                    append_xmp(temporary, provenance)
        except (OSError, av.FFmpegError) as error:
            raise output_error(path, error) from error
    return Path(path)


def n_finished(path: str | Path, work: Unfinished) -> int:
    """How many frames of a video an earlier run has finished; none of a GIF, for its palette is made from all."""
    kind = output_kind(path)
    if kind == "frames":
        return max(0, len(list(work.frames.glob("*.png"))) - 1)  # the last one may be cut off
    return 0 if kind == "gif" else SEGMENT * len(work.segments)


def output_kind(path: str | Path) -> str:
    """``"mp4"``, ``"webm"``, ``"gif"`` or ``"frames"``, by the ending.

    Raises:
        OutputError: if the ending is another one.
    """
    suffix = Path(path).suffix.lower()
    if str(path).endswith("/") or not suffix:
        return "frames"
    if suffix not in (".mp4", ".webm", ".gif"):
        raise OutputError(f"{path}: video is not written as {suffix}", "end -o in .mp4, .webm, .gif or / (frames)")
    return suffix[1:]


def _moving_stream(container: Any) -> Any:
    """The first video stream that is not the cover picture of a sound file, or ``None``."""
    cover = av.stream.Disposition.attached_pic
    return next((stream for stream in container.streams.video if not stream.disposition & cover), None)


def _start_of_sound(container: Any) -> float:
    sound = next(iter(container.streams.audio), None)
    return 0.0 if sound is None or sound.start_time is None else float(sound.start_time * sound.time_base)


def _constant_rate(path: Path, stream: Any) -> float:
    average, guessed = stream.average_rate, stream.guessed_rate
    rates = [average, guessed, stream.base_rate]
    if stream.codec_context.name == "gif":  # FFmpeg's average is wrong there
        rates.reverse()
    elif average and guessed and abs(average / guessed - 1) < 0.02:
        rates.insert(0, guessed)  # of a short clip the average is a little off, for the last frame's length counts
    elif average and stream.base_rate and average < stream.base_rate <= min(2 * average, 60):
        rates.insert(0, stream.base_rate)  # pictures left out of a steady rate: at the average they would all move
    for rate in rates:
        if rate is not None and 1 <= rate <= 240:
            return float(rate)
    log.warning("%s: says no usable frame rate; read at 25 frames per second", path)
    return 25.0


def _promised_duration(stream: Any, fps: float) -> float | None:
    """Seconds that the file's header promises for this very stream."""
    if stream.frames:
        average = stream.average_rate
        return float(stream.frames / (average if average and average < 0.98 * fps else fps))  # less: some are left out
    if stream.duration:
        return float(stream.duration * stream.time_base)
    matroska = stream.metadata.get("DURATION", "")
    if matroska.count(":") != 2:
        return None
    hours, minutes, seconds = map(float, matroska.split(":"))
    return hours * 3600 + minutes * 60 + seconds


def _upright(picture: Any, converter: VideoReformatter, aspect: Fraction, shrink: int = 1) -> Frame:
    width = picture.width if abs(aspect - 1) < 0.01 else 2 * round(picture.width * aspect / 2)
    size = round(width / shrink), round(picture.height / shrink)
    # swscale spreads the colours of an odd side over too few pixels.
    whole = evened(picture) if size == (picture.width, picture.height) else picture
    shown = size if whole is picture else (whole.width, whole.height)
    rgb = converter.reformat(whole, *shown, "rgb24", interpolation=_TO_RGB)
    array = np.asarray(rgb.to_ndarray(), np.uint8)[: size[1], : size[0]]
    return np.ascontiguousarray(np.rot90(array, round(picture.rotation / 90) % 4))


def _checked(frames: Iterable[Frame | Redrawn]) -> Iterator[Frame | Redrawn]:
    """The frames, after a look at whether there are any and all have the first one's shape."""
    shape: tuple[int, ...] | None = None
    try:
        for item in frames:
            frame = frame_of(item)
            check_frame(frame)
            if shape is None:
                shape = frame.shape
            if frame.shape != shape:
                raise ValueError(f"frame: expected {shape} as the first, got {frame.shape}")
            yield item
    except OSError as error:  # must not pass for trouble with the output
        raise RuntimeError(f"a frame could not be made: {error}") from error
    if shape is None:
        raise ValueError("frames: expected at least one")


def _write_frames(
    folder: Path, frames: Iterable[Frame], record: Mapping[str, Any] | None, work: Unfinished | None, n_done: int
) -> None:
    from PIL import Image

    info = png_info(record)
    place = folder if work is None else work.frames
    place.mkdir(exist_ok=True)
    for index, frame in enumerate(frames, n_done):
        Image.fromarray(frame).save(place / FRAME_NAME.format(index), compress_level=1, pnginfo=info)
    if work is not None:
        folder.rmdir()
        place.rename(folder)


def _write_container(
    path: Path,
    frames: Iterator[Frame | Redrawn],
    fps: float,
    kind: str,
    crf: int,
    sound: str | Path | None,
    sound_at: float,
    record: Mapping[str, Any] | None,
    work: Unfinished | None,
) -> None:
    first = next(frames)
    coding = Coding.of(first, kind)
    if coding.size != coding.even_size:
        log.info(
            "%d × %d pixels: written as %d × %d, video needs even sides", *coding.size[::-1], *coding.even_size[::-1]
        )
    rate = Fraction(fps).limit_denominator(1001)

    def new_segment() -> _Segment:
        return _Segment(kind, coding, rate, crf, work)

    with av.open(path, "w", format=kind, options={"movflags": "faststart"} if kind == "mp4" else {}) as container:
        if record is not None:
            container.metadata["comment"] = to_text(record)
        segment = new_segment()
        stream = container.add_stream_from_template(segment.stream, opaque=True)
        stream.codec_context.framerate = rate
        if coding.quarter_turns:
            stream.set_display_rotation(90 * coding.quarter_turns)
        codec = MP4_SOUND if kind == "mp4" else WEBM_SOUND
        soundtrack = None if sound is None else Soundtrack(sound, container, codec, sound_at)

        def put(packets: Iterable[Any], number: int) -> None:
            """Write the packets of a segment in its place, and the sound that belongs to them."""
            for packet in packets:
                late = int(number * SEGMENT / rate / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + late, packet.dts + late, stream
                if soundtrack is not None:
                    soundtrack.write_until(float(packet.dts * packet.time_base))
                container.mux(packet)

        def encode(pictures: Iterator[Any]) -> None:
            nonlocal segment
            number = 0
            for file in [] if work is None else work.segments:
                put(_packets(file), number)
                number += 1
            while True:
                put(segment.encode(islice(pictures, SEGMENT)), number)
                following = next(pictures, None)
                if following is None:
                    break
                segment.keep(number)
                pictures = chain((following,), pictures)
                segment = new_segment()
                number += 1
            if soundtrack is not None:
                soundtrack.write_until(float("inf"))

        try:
            _in_background(encode, map(handed_over, chain((first,), frames)))
        finally:
            segment.close()
            if soundtrack is not None:
                soundtrack.close()


class _Segment:
    """An encoder for a stretch of a video that can be decoded without the rest.

    Args:
        kind: of the video, ``"mp4"`` or ``"webm"``.
        coding: of the pictures.
        rate: frames per second.
        crf: quality.
        work: where the stretch may be kept.
    """

    def __init__(self, kind: str, coding: Coding, rate: Fraction, crf: int, work: Unfinished | None) -> None:
        self._work, self._rate, self._encodable = work, rate, Encodable(coding)
        self._file = None if work is None else work.folder / GROWING
        self._container = av.open(self._file or os.devnull, "w", format="null" if self._file is None else "mp4")
        self.stream = _add_stream(self._container, kind, coding, rate, crf)
        self._container.start_encoding()

    def encode(self, items: Iterable[Any]) -> Iterator[Any]:
        """Packets that begin at 0."""
        for index, item in enumerate(items):
            picture = self._encodable(item)
            picture.pts, picture.time_base = index, 1 / self._rate
            yield from self._kept(self.stream.encode(picture))
        yield from self._kept(self.stream.encode(None))

    def _kept(self, packets: Iterable[Any]) -> Iterator[Any]:
        for packet in packets:
            packet.duration = int(1 / self._rate / packet.time_base)
            if self._file is not None:
                self._container.mux(packet)
            yield packet

    def keep(self, number: int) -> None:
        """It is finished; the next run need not make it again."""
        self.close()
        if self._work is not None and self._file is not None:
            self._work.keep(self._file, segment_name(number))

    def close(self) -> None:
        """Let go of the encoder."""
        self._container.close()


def _packets(file: Path) -> Iterator[Any]:
    with av.open(file) as container:
        yield from (packet for packet in container.demux(video=0) if packet.dts is not None)


def _add_stream(container: Any, kind: str, coding: Coding, rate: Fraction, crf: int) -> Any:
    options: dict[str, Any] = {"rate": rate, "time_base": 1 / rate}
    if kind == "mp4":
        x264 = {"preset": "veryfast", "crf": str(crf), "x264-params": coding.x264}
        if coding.chroma_location is not None:
            x264["chroma_sample_location"] = coding.chroma_location
        stream = container.add_stream("libx264", **options, options=x264)
    else:
        # Constant quality at the speed meant for live calls; the slower ones take minutes for seconds of video.
        speed = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1"}
        quality = max(crf - 3, 0) if coding.filmed else crf + 6  # as good as H.264's
        stream = container.add_stream("libvpx-vp9", **options, options={"crf": str(quality), "b": "0", **speed})
    coding.describe(stream)
    context = stream.codec_context
    context.thread_type = "AUTO"
    context.flags |= av.codec.context.Flags.global_header
    return stream


class _Cancelled(Exception):
    """The producer of frames failed; the encoder stops."""


def _in_background(consume: Callable[[Iterator[Any]], None], items: Iterable[Any]) -> None:
    """Run ``consume`` in a thread on items produced here, a few ahead, so that both processors work.

    The producer stays in the calling thread, where Ctrl-C arrives. Whichever side fails first stops the other; its
    exception is raised here.
    """
    box: queue.Queue[Any] = queue.Queue(_QUEUE_FRAMES)
    end = object()
    cancelled = threading.Event()
    failures: list[BaseException] = []

    def arriving() -> Iterator[Any]:
        while (item := box.get()) is not end and not cancelled.is_set():
            yield item
        if cancelled.is_set():
            raise _Cancelled

    def work() -> None:
        try:
            consume(arriving())
        except BaseException as error:  # handed to the calling thread
            failures.append(error)

    worker = threading.Thread(target=work, name="encoder", daemon=True)

    def put(item: Any) -> None:
        while worker.is_alive():
            try:
                return box.put(item, timeout=0.2)
            except queue.Full:
                continue

    worker.start()
    try:
        for item in items:
            put(item)
            if failures:
                break
        put(end)
        worker.join()
    except BaseException:
        cancelled.set()
        put(end)
        worker.join()  # the container must not be closed under its hands
        raise
    if failures:
        raise failures[0]
