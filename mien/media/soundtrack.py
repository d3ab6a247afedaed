"""The sound of a written video: copied packet by packet where the container takes the codec, encoded otherwise.

Convention: the first audible sample of the source stands at t = 0, the time of the first picture, if nothing else is
asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from mien.errors import FormatError
from mien.media.image import require_file
from mien.media.output import reason

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SoundCodec:
    """What a container takes.

    Attributes:
        copied: codec names whose packets go in as they are.
        encoder: for everything else.
        rates: sample rates the encoder takes, Hz, ascending.
        bits_per_channel: bits per second and channel.
    """

    copied: frozenset[str]
    encoder: str
    rates: tuple[int, ...]
    bits_per_channel: int


MP4_SOUND = SoundCodec(
    frozenset(("aac",)),
    "aac",
    (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
    96_000,
)
WEBM_SOUND = SoundCodec(frozenset(("opus", "vorbis")), "libopus", (8000, 12000, 16000, 24000, 48000), 64_000)

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


class Soundtrack:
    """The sound of one file on its way into a container; close it when done.

    Args:
        path: a sound file, or a video with sound.
        output: the open container; a stream is added to it.
        codec: what the container takes.
        at: seconds from the first picture to the first sample. Of sound that begins before the picture, packets that
            begin before it are left out.

    Raises:
        InputError: if the file is missing, damaged or has no sound.
    """

    def __init__(self, path: str | Path, output: Any, codec: SoundCodec, at: float = 0.0) -> None:
        self._at = at
        self._path = require_file(path, "sound file")
        self._output = output
        try:
            self._input = av.open(self._path)
        except (av.FFmpegError, OSError) as error:
            raise FormatError(
                f"{path}: not a sound file ({reason(error)})", "give WAV, FLAC, MP3, OGG or M4A"
            ) from error
        streams = self._input.streams.audio
        if not streams or not streams[0].codec_context.sample_rate:
            self._input.close()
            raise FormatError(f"{path}: has no sound", "give a sound file, or a video with sound")
        self._source = streams[0]
        if self._source.codec_context.name in codec.copied:
            self._stream = output.add_stream_from_template(self._source)
            self._packets = self._copied()
        else:
            self._stream = self._add_encoder(codec)
            self._packets = self._encoded()
        self._waiting: Any = None

    def write_until(self, seconds: float) -> None:
        """Hand the container all packets that begin before this time."""
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
            packet = self._waiting
            if packet is None or (packet.dts is not None and packet.dts * packet.time_base > seconds):
                return
            self._waiting = None
            self._output.mux(packet)

    def close(self) -> None:
        """Close the source."""
        self._input.close()

    def _copied(self) -> Iterator[Any]:
        start = (self._source.start_time or 0) - round(self._at / (self._source.time_base or 1))
        with self._damage_named():
            for packet in self._input.demux(self._source):
                if packet.dts is None:  # the empty packet that ends the stream
                    continue
                packet.dts -= start
                if packet.pts is not None:
                    packet.pts -= start
                if self._at < 0 and packet.dts < 0:
                    continue
                packet.stream = self._stream
                yield packet

    def _add_encoder(self, codec: SoundCodec) -> Any:
        context = self._source.codec_context
        rate = next((rate for rate in codec.rates if rate >= context.sample_rate), codec.rates[-1])
        if rate != context.sample_rate:
            log.info("%s: sound at %d Hz is written at %d Hz", self._path, context.sample_rate, rate)
        stream = self._output.add_stream(codec.encoder, rate=rate)
        stream.codec_context.layout = _LAYOUTS.get(context.layout.nb_channels, "stereo")
        stream.codec_context.bit_rate = codec.bits_per_channel * stream.codec_context.layout.nb_channels
        return stream

    def _encoded(self) -> Iterator[Any]:
        context = self._stream.codec_context
        context.open()
        resampler = av.AudioResampler(
            format=context.format.name,
            layout=context.layout.name,
            rate=context.sample_rate,
            frame_size=context.frame_size,
        )
        n_samples = round(self._at * context.sample_rate)
        for frame in self._decoded():
            for piece in resampler.resample(frame):
                piece.pts, piece.time_base = n_samples, Fraction(1, context.sample_rate)
                n_samples += piece.samples
                if self._at < 0 and piece.pts < 0:
                    continue
                yield from self._stream.encode(piece)
        yield from self._stream.encode(None)

    def _decoded(self) -> Iterator[Any]:
        """The frames of the source, then the ``None`` that empties the resampler."""
        with self._damage_named():
            for frame in self._input.decode(self._source):
                frame = _finite(frame)
                frame.pts = None  # gaps and odd clocks in the source must not tear the sound apart
                yield frame
        yield None

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            raise FormatError(f"{self._path}: the sound is damaged ({reason(error)})", "export it again") from error


def _finite(frame: Any) -> Any:
    """The frame with NaN and infinity as silence, which is how :func:`mien.media.audio.read_audio` reads them."""
    if not frame.format.name.startswith(("flt", "dbl")):
        return frame
    samples = frame.to_ndarray()
    if np.isfinite(samples).all():
        return frame
    mended = av.AudioFrame.from_ndarray(
        np.nan_to_num(samples, posinf=0, neginf=0), frame.format.name, frame.layout.name
    )
    mended.sample_rate = frame.sample_rate
    return mended
