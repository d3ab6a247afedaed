"""Sound files of every kind, good and bad."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from mien.errors import FormatError, InputError
from mien.media.audio import read_audio, resample
from mien.types import Audio


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_with_ffmpeg(path: Path, codec: str, samples: np.ndarray, rate: int, *, picture: bool = False) -> None:
    with av.open(str(path), "w") as container:
        sound = container.add_stream(codec, rate=rate, layout="mono")
        if picture:
            video = container.add_stream("libx264", rate=25, width=32, height=32, pix_fmt="yuv420p")
            for _ in range(10):
                container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
            container.mux(video.encode())
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
        frame.sample_rate = rate
        fifo = av.AudioResampler(format=sound.format, layout="mono", rate=rate, frame_size=sound.frame_size or 1024)
        for piece in [*fifo.resample(frame), *fifo.resample(None)]:
            container.mux(sound.encode(piece))
        container.mux(sound.encode())


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_common_formats_keep_rate_and_length(tmp_path: Path, ending: str, rate: int) -> None:
    soundfile.write(tmp_path / f"a.{ending}", tone(1.0, rate), rate)
    audio = read_audio(tmp_path / f"a.{ending}")
    assert audio.sample_rate == rate
    assert audio.duration == pytest.approx(1.0, abs=0.06)  # MP3 pads
    assert 0.4 < np.abs(audio.samples).max() <= 0.6


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.webm", "libopus"), ("a.mp4", "aac")])
def test_containers_are_read(tmp_path: Path, name: str, codec: str) -> None:
    write_with_ffmpeg(tmp_path / name, codec, tone(1.0, 48_000), 48_000, picture=name == "a.mp4")
    audio = read_audio(tmp_path / name, 16_000)
    assert audio.sample_rate == 16_000
    assert audio.duration == pytest.approx(1.0, abs=0.06)
    middle = audio.samples[4000:12000]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_stereo_becomes_the_mean(tmp_path: Path) -> None:
    left = tone(0.5, 16_000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, np.zeros_like(left)], 1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav").samples, left / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 192_000])
def test_decoding_to_another_rate_is_exact_in_length_and_time(tmp_path: Path, rate: int) -> None:
    n = rate + 137
    samples = np.zeros(n, np.float32)
    samples[n // 2 - 20 : n // 2 + 20] = 0.9
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    audio = read_audio(tmp_path / "a.wav", 16_000)
    assert len(audio) == round(n * 16_000 / rate)
    assert np.average(np.arange(len(audio)), weights=audio.samples**2) == pytest.approx(len(audio) / 2, abs=2)
    np.testing.assert_allclose(resample(read_audio(tmp_path / "a.wav"), 16_000).samples, audio.samples, atol=1e-4)


def test_resample_refuses_a_rate_of_zero() -> None:
    with pytest.raises(ValueError, match="sample_rate"):
        resample(Audio(tone(0.2, 8000), 8000), 0)


def test_paths_with_blanks_and_unicode(tmp_path: Path) -> None:
    path = tmp_path / "ein Gruß 你好.wav"
    soundfile.write(path, tone(0.2, 8000), 8000)
    assert len(read_audio(path)) == 1600


def test_missing_folder_and_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    for path, found in [("none.wav", "no such file"), (".", "is a folder"), ("empty.wav", "is empty")]:
        with pytest.raises(InputError, match=found):
            read_audio(tmp_path / path)


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is a letter, not a sound\n" * 200)
    (tmp_path / "noise.mp3").write_bytes(np.random.default_rng(1).bytes(5000))
    (tmp_path / "zeros.flac").write_bytes(bytes(5000))
    for name in ("text.wav", "noise.mp3", "zeros.flac"):
        with pytest.raises(InputError) as caught:
            read_audio(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_a_picture_and_a_silent_film_have_no_sound(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (20, 20)).save(tmp_path / "picture.png")
    (tmp_path / "picture.png").rename(tmp_path / "picture.wav")
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=25, width=32, height=32, pix_fmt="yuv420p")
        container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        container.mux(video.encode())
    for name in ("picture.wav", "film.mp4"):
        with pytest.raises(FormatError, match="sound"):
            read_audio(tmp_path / name)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_truncated_sound_is_refused(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 48_000).astype(np.float32)
    soundfile.write(tmp_path / f"a.{ending}", noise, 16_000)
    whole = (tmp_path / f"a.{ending}").read_bytes()
    (tmp_path / f"a.{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="ends early"):
        read_audio(tmp_path / f"a.{ending}")


def test_truncated_container_is_refused(tmp_path: Path) -> None:
    write_with_ffmpeg(tmp_path / "a.m4a", "aac", tone(2.0, 48_000), 48_000)
    whole = (tmp_path / "a.m4a").read_bytes()
    (tmp_path / "a.m4a").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="damaged"):
        read_audio(tmp_path / "a.m4a")


def test_wav_written_to_a_pipe_is_accepted(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.5, 16_000), 16_000, subtype="PCM_16")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"  # a program that pipes does not know the length
    (tmp_path / "a.wav").write_bytes(data)
    assert len(read_audio(tmp_path / "a.wav")) == 8000


def test_nan_is_read_as_silence_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = tone(0.5, 16_000)
    samples[100:200] = np.nan
    samples[300] = np.inf
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    with caplog.at_level(logging.WARNING):
        audio = read_audio(tmp_path / "a.wav")
    assert "101 of 8000" in caplog.text
    assert not audio.samples[100:200].any()
    samples[:6000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match="NaN"):
        read_audio(tmp_path / "a.wav")


def test_too_loud_is_scaled_and_silence_allowed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    soundfile.write(tmp_path / "loud.wav", 8 * tone(0.5, 16_000), 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "hair.wav", 1.005 * tone(0.5, 16_000) / 0.5, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16_000)
    with caplog.at_level(logging.WARNING):
        assert np.abs(read_audio(tmp_path / "hair.wav").samples).max() <= 1
        assert not caplog.text
        assert np.abs(read_audio(tmp_path / "loud.wav").samples).max() == pytest.approx(1)
        assert not read_audio(tmp_path / "silent.wav").samples.any()
    assert "full scale" in caplog.text


@pytest.mark.parametrize("n", [0, 1, 1599])
def test_too_short_to_speak(tmp_path: Path, n: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(n, 0.1), 16_000)
    with pytest.raises(InputError, match=r"0\.1 s"):
        read_audio(tmp_path / "a.wav")


def test_long_sound_is_decoded_in_blocks(tmp_path: Path) -> None:
    """Two minutes of 96 kHz stereo would take 92 MB whole; only the 16 kHz result may stay."""
    import tracemalloc

    block = np.tile(tone(1.0, 96_000)[:, None], (1, 2))
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 96_000, 2) as file:
        for _ in range(120):
            file.write(block)
    read_audio(tmp_path / "a.flac", 16_000)  # imports are not what is measured
    tracemalloc.start()
    audio = read_audio(tmp_path / "a.flac", 16_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert audio.duration == pytest.approx(120)
    assert peak < 5 * audio.samples.nbytes
