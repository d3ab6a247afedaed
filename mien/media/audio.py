"""Sound files to :class:`~mien.types.Audio`, block by block.

A block is decoded, mixed to mono and, when a rate is asked for, resampled before the next one is read, so an hour of
48 kHz stereo never lies in memory when 16 kHz mono is wanted. Time 0 is the first sample of the sound, wherever the
picture of a video begins.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import FormatError, InputError
from mien.media.image import require_file
from mien.types import Array, Audio

if TYPE_CHECKING:
    import soundfile

logger = logging.getLogger(__name__)

MIN_DURATION = 0.1
"""Seconds; shorter sound holds no syllable."""

BLOCK = 1 << 16
"""Sample frames decoded at a time."""


def read_audio(path: str | Path, sample_rate: int | None = None, *, at: float = 0.0) -> Audio:
    """Read a sound file, or the first sound track of a video, as mono.

    Channels are averaged. Samples that are not finite become 0 and sound louder than full scale is scaled down, both
    with a warning. WAV, FLAC, OGG, AIFF and the like are read by libsndfile, everything else by FFmpeg's libraries.

    Args:
        path: the file.
        sample_rate: resample to this many Hz while decoding, which keeps memory flat; ``None`` keeps the file's rate.
        at: seconds from t = 0 to the file's first sample: silence before it, or as much of it left out if negative.

    Returns:
        ``round(n * sample_rate / own rate)`` samples for a file of ``n`` sample frames, and those of ``at``.

    Raises:
        InputError: if the file is missing, empty, unreadable, shorter than :data:`MIN_DURATION`, or mostly not finite.
        FormatError: if it is no sound, has no sound track, or ends early.
    """
    path = Path(path)
    require_file(path, "sound file")
    rate, blocks = _open(path)
    n, n_bad, peak = 0, 0, 0.0
    stream = None if sample_rate in (None, rate) else _StreamResampler(rate, int(sample_rate or rate))
    parts: list[Array] = []
    for block in blocks:
        finite = np.isfinite(block)
        if not finite.all():
            n_bad += int((~finite).sum())
            block = np.where(finite, block, np.float32(0))
        n += len(block)
        peak = max(peak, float(np.abs(block).max(initial=0)))
        parts.append(stream(block) if stream else block)
    if stream:
        parts.append(stream.finish())
    samples = np.concatenate([*parts, np.zeros(0, np.float32)])
    del parts

    if n < MIN_DURATION * rate:
        raise InputError(
            f"{path}: {n} samples at {rate} Hz are too short to speak", f"give at least {MIN_DURATION} s of sound"
        )
    if n_bad > n / 2:
        raise InputError(f"{path}: {n_bad} of {n} samples are NaN or infinite", "export the sound again")
    if n_bad:
        logger.warning("%s: %d of %d samples are NaN or infinite; read as 0", path, n_bad, n)
    if peak > 1:
        # A sample or two a hair above 1 is how lossy formats decode ordinary music.
        level = logging.WARNING if peak > 1.01 else logging.INFO
        logger.log(level, "%s: samples reach %.3g times full scale; scaled down", path, peak)
        samples /= peak
    late = round(at * (sample_rate or rate))
    samples = np.pad(samples, (late, 0)) if late > 0 else samples[-late:]
    # The resampler's filter may overshoot full scale by a little.
    return Audio(np.clip(samples, -1, 1), sample_rate or rate)


def resample(audio: Audio, sample_rate: int) -> Audio:
    """``audio`` at another rate: exactly ``round(n * sample_rate / audio.sample_rate)`` samples, not shifted in time.

    Raises:
        ValueError: if ``sample_rate`` is not positive.
    """
    if sample_rate <= 0:
        raise ValueError(f"sample_rate: expected a positive number of Hz, got {sample_rate}")
    if sample_rate == audio.sample_rate:
        return audio
    stream = _StreamResampler(audio.sample_rate, sample_rate)
    samples = np.concatenate([stream(audio.samples), stream.finish()])
    return Audio(np.clip(samples, -1, 1), sample_rate)


class _StreamResampler:
    """soxr in pieces, with the total length made exact."""

    def __init__(self, old: int, new: int) -> None:
        import soxr

        self._stream = soxr.ResampleStream(old, new, 1, dtype="float32")
        self._ratio = new / old
        self._n_in = self._n_out = 0

    def __call__(self, block: Array) -> Array:
        self._n_in += len(block)
        out: Array = self._stream.resample_chunk(block)
        self._n_out += len(out)
        return out

    def finish(self) -> Array:
        """The rest; soxr may end a sample early or late."""
        rest: Array = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        want = max(0, round(self._n_in * self._ratio) - self._n_out)
        return np.pad(rest[:want], (0, max(0, want - len(rest))))


def _open(path: Path) -> tuple[int, Iterator[Array]]:
    """The sampling rate and the mono blocks of a file."""
    import soundfile

    with path.open("rb") as raw:
        head = raw.read(3).ljust(3)
    if head == b"ID3" or (head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
        return _open_with_ffmpeg(path)  # MP3: libsndfile's decoder writes to stderr about damaged files
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        return _open_with_ffmpeg(path)
    return file.samplerate, _soundfile_blocks(path, file)


def _soundfile_blocks(path: Path, file: soundfile.SoundFile) -> Iterator[Array]:
    import soundfile

    with file:
        # libsndfile mends the length of a cut WAV but says so here; a size of 0 or 2^32-1 means "written to a pipe".
        cut = re.search(r"data\s*:\s*(\d+) \(should be (\d+)\)", file.extra_info)
        if cut and int(cut[2]) < int(cut[1]) < 0xFFFFF000:
            raise _ends_early(path, int(cut[2]) / int(cut[1]))
        if file.format == "OGG" and not _ogg_has_end(path):
            raise _ends_early(path)
        n = 0
        try:
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                n += len(block)
                yield _mono(block.T)
        except soundfile.LibsndfileError as error:
            raise _ends_early(path, n / max(file.frames, 1)) from error
        if n < file.frames:
            raise _ends_early(path, n / file.frames)


def _open_with_ffmpeg(path: Path) -> tuple[int, Iterator[Array]]:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise FormatError(f"{path}: has no sound track", "give a file with sound")
            rate = container.streams.audio[0].rate
    except (av.error.FFmpegError, ValueError) as error:
        raise _no_sound(path) from error
    if not rate:
        raise _no_sound(path)
    return int(rate), _ffmpeg_blocks(path)


def _ffmpeg_blocks(path: Path) -> Iterator[Array]:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        to_float = av.AudioResampler(format="fltp", rate=stream.rate)
        expected = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        n = 0
        try:
            for frame in container.decode(stream):
                for converted in to_float.resample(frame):
                    n += converted.samples
                    yield _mono(np.asarray(converted.to_ndarray(), np.float32))
        except av.error.FFmpegError as error:
            raise _ends_early(path, n / stream.rate / expected if expected else None) from error
    # Encoders pad; only a clear gap means that the end is missing.
    if n / stream.rate < 0.98 * expected - 0.25:
        raise _ends_early(path, n / stream.rate / expected)


def _mono(channels: Array) -> Array:
    """``(C, N)`` to the mean over channels, in double precision so that opposite infinities do not hide."""
    with np.errstate(invalid="ignore"):
        return np.asarray(channels.mean(axis=0, dtype=np.float64), np.float32)


def _ogg_has_end(path: Path) -> bool:
    """Whether the last Ogg page carries the end-of-stream flag (RFC 3533, section 6)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 17)))  # a page is at most 65,307 bytes long
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)


def _no_sound(path: Path) -> FormatError:
    return FormatError(
        f"{path}: not a sound or video file, or damaged", "give WAV, FLAC, OGG, MP3, M4A, or a video with sound"
    )


def _ends_early(path: Path, share: float | None = None) -> FormatError:
    found = "" if share is None else f" (about {100 * min(max(share, 0), 1):.0f} % of it is there)"
    return FormatError(f"{path}: the sound is damaged or ends early{found}", "copy or download the file again")
