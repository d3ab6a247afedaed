from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from media_samples import clicks, place_of_square, scene
from PIL import Image

from mien.errors import OutputError
from mien.media.audio import read_audio
from mien.media.provenance import provenance, read_provenance
from mien.media.video import VideoReader, write_video
from mien.types import Audio, Frame


def scenes(n: int, **size: int) -> Iterator[Frame]:
    return (scene(i, **size) for i in range(n))


def psnr(a: Frame, b: Frame) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def decoded_sound(path: Path) -> tuple[np.ndarray, int]:
    """The sound of a file as a player hears it, from t = 0 on."""
    with av.open(str(path)) as container:
        parts = list(container.decode(audio=0))
    rate = parts[0].sample_rate
    samples = np.concatenate([part.to_ndarray() for part in parts], axis=1).astype(float)
    return np.concatenate([np.zeros(round(float(parts[0].time) * rate)), samples.mean(axis=0)]), rate


def lag(sound: np.ndarray, reference: np.ndarray) -> int:
    """By how many samples ``sound`` is late."""
    n = min(len(sound), len(reference))
    spectrum = np.fft.rfft(sound[:n], 2 * n) * np.conj(np.fft.rfft(reference[:n], 2 * n))
    shift = int(np.fft.irfft(spectrum).argmax())
    return shift if shift < n else shift - 2 * n


@pytest.mark.parametrize(("ending", "least"), [("mp4", 38), ("webm", 34), ("gif", 30)])
def test_frames_come_back_in_order_and_in_their_colours(tmp_path: Path, ending: str, least: float) -> None:
    path = write_video(tmp_path / f"a.{ending}", scenes(30), 25)
    video = VideoReader(path)
    frames = list(video)
    assert (video.fps, video.size, len(frames)) == (25, (96, 128), 30)
    assert video.n_frames in (30, None) and not video.has_sound
    assert [place_of_square(frame) for frame in frames] == [i % 14 for i in range(30)]
    assert min(psnr(frame, scene(i)) for i, frame in enumerate(frames)) > least
    assert np.abs(np.mean([f.astype(float) - scene(i) for i, f in enumerate(frames)], axis=(0, 1, 2))).max() < 1


@pytest.mark.parametrize("fps", [12, 23.976, 25, 29.97, 30, 50, 60])
def test_frame_rates_are_kept(tmp_path: Path, fps: float) -> None:
    video = VideoReader(write_video(tmp_path / "a.mp4", scenes(30), fps))
    assert video.fps == pytest.approx(fps, rel=1e-4)
    assert len(list(video)) == 30


def test_gif_drops_frames_above_25_per_second(tmp_path: Path) -> None:
    video = VideoReader(write_video(tmp_path / "a.gif", scenes(60), 50))
    assert video.fps == 25
    assert [place_of_square(frame) for frame in video] == [2 * i % 14 for i in range(30)]


def test_folder_of_frames_is_lossless(tmp_path: Path) -> None:
    from mien.media.image import read_image

    write_video(f"{tmp_path}/frames/", scenes(3), 25, provenance=provenance("speak", inputs={}))
    assert sorted(p.name for p in (tmp_path / "frames").iterdir()) == [f"frame_{i:06d}.png" for i in range(3)]
    np.testing.assert_array_equal(read_image(tmp_path / "frames" / "frame_000002.png"), scene(2))
    assert read_provenance(tmp_path / "frames") is not None


def test_odd_sides_gain_a_repeated_row_and_column(tmp_path: Path) -> None:
    frames = list(VideoReader(write_video(tmp_path / "a.mp4", scenes(5, height=97, width=129), 25)))
    assert frames[0].shape == (98, 130, 3)
    assert psnr(frames[4][:97, :129], scene(4, height=97, width=129)) > 38
    assert psnr(frames[4][97], frames[4][96]) > 30


@pytest.mark.parametrize("ending", ["mp4", "webm"])
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 1), (44100, 2), (48000, 1), (192000, 2)])
def test_sound_is_in_sync_and_as_long_as_before(tmp_path: Path, ending: str, rate: int, channels: int) -> None:
    import soxr

    samples = clicks(rate, 2.0, channels)
    soundfile.write(tmp_path / "a.wav", samples, rate)
    path = write_video(tmp_path / f"a.{ending}", scenes(50), 25, sound=tmp_path / "a.wav")
    sound, out_rate = decoded_sound(path)
    if ending == "mp4" and rate <= 96000:
        assert out_rate == rate
    reference = soxr.resample(samples.mean(axis=1), rate, out_rate)
    assert abs(lag(sound, reference)) / out_rate <= 0.001
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        # MP4 says where in the last packet the sound ends; in WebM the decoder knows.
        seconds = float(stream.duration * stream.time_base) if ending == "mp4" else len(sound) / out_rate
        assert seconds == pytest.approx(2.0, abs=0.01)
        assert next(container.decode(video=0)).time == 0
        assert stream.codec_context.layout.nb_channels == channels


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_sound_that_fits_is_copied_bit_by_bit(tmp_path: Path, wav: Path, ending: str) -> None:
    first = write_video(tmp_path / f"first.{ending}", scenes(25), 25, sound=wav)
    second = write_video(tmp_path / f"second.{ending}", scenes(25), 25, sound=first)
    assert packets(first) == packets(second)
    np.testing.assert_array_equal(decoded_sound(first)[0], decoded_sound(second)[0])


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize("ending", ["mp4", "webm"])
@pytest.mark.parametrize("late", [0.5, -0.4])
def test_sound_of_a_film_stays_where_it_was(tmp_path: Path, ending: str, late: float) -> None:
    """One that begins after the picture, or before; packets of AAC are copied, to WebM they are encoded anew."""
    samples = clicks(48000, 2.0)[:, 0]
    film = film_with_sound(tmp_path / "film.mkv", samples, picture_at=max(0.0, -late), sound_at=max(0.0, late))
    start = VideoReader(film).sound_start
    assert start == pytest.approx(late, abs=0.001)
    path = write_video(tmp_path / f"a.{ending}", scenes(50), 25, sound=film, sound_at=start)
    wanted = np.zeros(4 * 48000)
    heard = np.pad(samples, (max(0, round(late * 48000)), 0))[max(0, round(-late * 48000)) :]
    wanted[: len(heard)] = heard
    for sound in (decoded_sound(path)[0], read_audio(film, at=start).samples.astype(float)):
        assert abs(lag(np.pad(sound, (0, 4 * 48000))[: 4 * 48000], wanted)) <= 48
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time == 0


def film_with_sound(path: Path, samples: np.ndarray, *, picture_at: float, sound_at: float) -> Path:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, width=128, height=96)
        audio = container.add_stream("aac", rate=48000, layout="mono")
        for index in range(50):
            picture = av.VideoFrame.from_ndarray(scene(index), format="rgb24")
            picture.pts, picture.time_base = index + round(picture_at * 25), Fraction(1, 25)
            container.mux(video.encode(picture))
        for first in range(0, len(samples), 1024):
            sound = av.AudioFrame.from_ndarray(samples[None, first : first + 1024].astype(np.float32), "fltp", "mono")
            sound.sample_rate, sound.time_base = 48000, Fraction(1, 48000)
            sound.pts = first + round(sound_at * 48000)
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_no_sound_is_lost_when_it_is_longer_than_the_picture(tmp_path: Path, wav: Path, ending: str) -> None:
    sound, rate = decoded_sound(write_video(tmp_path / f"a.{ending}", scenes(5), 25, sound=wav))
    assert len(sound) / rate == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif"])
def test_metadata_says_the_picture_is_synthetic(tmp_path: Path, wav: Path, ending: str) -> None:
    record = provenance("speak", inputs={"speech": wav}, settings={"direction": "happy:0.8 – fröhlich"}, seed=3)
    path = write_video(tmp_path / f"a.{ending}", scenes(3), 25, provenance=record)
    assert read_provenance(path) == record
    assert record["synthetic"] is True and record["digital_source_type"].startswith("http://cv.iptc.org/")
    assert len(list(VideoReader(path))) == 3
    assert ending != "mp4" or b'DigitalSourceType="http://cv.iptc.org/' in path.read_bytes()


def test_rotated_video_is_upright(tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 128, 96, "yuv420p"
        stream.set_display_rotation(90)
        for index in range(5):
            lying = np.ascontiguousarray(np.rot90(scene(index), -1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(lying, format="rgb24")))
        container.mux(stream.encode(None))
    video = VideoReader(path)
    assert video.size == (96, 128)
    assert [place_of_square(frame) for frame in video] == list(range(5))


def test_pixels_become_square(tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        squeezed = np.ascontiguousarray(np.array(Image.fromarray(scene(3)).resize((96, 96))))
        container.mux(stream.encode(av.VideoFrame.from_ndarray(squeezed, format="rgb24")))
        container.mux(stream.encode(None))
    (frame,) = VideoReader(path)
    assert VideoReader(path).size == frame.shape[:2] == (96, 128)
    assert psnr(frame, scene(3)) > 25


def test_variable_rate_is_evened_out(tmp_path: Path) -> None:
    times = [0, 40, 80, 200, 240, 250, 280]  # ms; a gap of two frames at 120, one frame too many at 250
    path = tmp_path / "variable.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, milliseconds in enumerate(times):
            picture = av.VideoFrame.from_ndarray(scene(index), format="rgb24")
            picture.pts, picture.time_base = milliseconds, Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    video = VideoReader(path)
    assert video.fps == 25
    assert [place_of_square(frame) for frame in video] == [0, 1, 2, 2, 2, 3, 5, 6]


def test_pictures_left_out_of_a_steady_rate_do_not_move_the_others(tmp_path: Path) -> None:
    shown = [i for i in range(60) if i % 7 not in (2, 3)]
    path = tmp_path / "left_out.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 15_000)
        for index in shown:
            picture = av.VideoFrame.from_ndarray(scene(index), format="rgb24")
            picture.pts, picture.time_base = index * 600, Fraction(1, 15_000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    video = VideoReader(path)
    frames = list(video)
    assert (video.fps, len(frames)) == (25, shown[-1] + 1)
    assert video.n_frames == pytest.approx(60, abs=1)
    assert [place_of_square(frames[i]) for i in shown] == [place_of_square(scene(i)) for i in shown]


def test_the_length_of_the_last_frame_does_not_bend_the_rate(tmp_path: Path) -> None:
    path = tmp_path / "steady.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)  # a camera that said 30, gave 25
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        for index in range(30):
            picture = av.VideoFrame.from_ndarray(scene(index), format="rgb24")
            picture.pts, picture.time_base = index * 3600, Fraction(1, 90_000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    video = VideoReader(path)
    assert video.fps == 25
    assert [place_of_square(frame) for frame in video] == [place_of_square(scene(i)) for i in range(30)]


def test_reader_can_be_read_twice(clip: Path) -> None:
    video = VideoReader(clip)
    assert len(list(video)) == len(list(video)) == 25


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mpg", "webm"])
def test_a_stretch_is_what_reading_it_all_gives(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    codecs = {"mp4": "libx264", "mkv": "libx264", "mpg": "mpeg2video", "webm": "libvpx-vp9"}
    options = {"mp4": {"bf": "3"}, "mpg": {"bf": "2"}, "webm": {"deadline": "realtime"}}.get(ending, {})
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codecs[ending], rate=25, width=128, height=96, options={"g": "12", **options})
        for i in range(60):
            if ending == "mpg" or i % 7:  # where the format allows it, some pictures stay for two frames
                picture = av.VideoFrame.from_ndarray(scene(i), format="rgb24")
                picture.pts, picture.time_base = i, Fraction(1, 25)
                container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    video = VideoReader(path)
    frames = list(video)
    for start, stop in [(0, 5), (1, 2), (11, 14), (12, 30), (37, None), (59, None), (55, 200), (300, None)]:
        stretch = list(video.between(start, stop))
        assert len(stretch) == len(frames[start:stop])
        assert all(np.array_equal(a, b) for a, b in zip(stretch, frames[start:stop], strict=True))
    assert next(video.between(20, 21, shrink=2)).shape == (48, 64, 3)


def test_frames_are_encoded_while_later_ones_are_made(tmp_path: Path) -> None:
    encoders = set()

    def frames() -> Iterator[Frame]:
        for index in range(30):
            encoders.update(thread.name for thread in threading.enumerate() if thread.name == "encoder")
            yield scene(index)

    write_video(tmp_path / "a.mp4", frames(), 25)
    assert encoders and not any(thread.name == "encoder" for thread in threading.enumerate())


def test_frames_are_taken_one_by_one(tmp_path: Path) -> None:
    """A long video must not pile up in front of a slow encoder."""
    alive, most = 0, 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def frames() -> Iterator[Frame]:
        nonlocal alive, most
        for index in range(300):
            frame = scene(index, height=256, width=256).view(Counted)
            alive += 1
            most = max(most, alive)
            yield frame

    write_video(tmp_path / "a.mp4", frames(), 25)
    assert most <= 4


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif", ""])
def test_failing_renderer_leaves_the_old_output_alone(tmp_path: Path, ending: str) -> None:
    path = tmp_path / (f"a.{ending}" if ending else "frames")
    write_video(path, scenes(3), 25)
    before = contents(path)

    def frames() -> Iterator[Frame]:
        yield from scenes(20)
        raise ArithmeticError("renderer")

    with pytest.raises(ArithmeticError, match="renderer"):
        write_video(path, frames(), 25)
    assert contents(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_trouble_with_frames_does_not_pass_for_trouble_with_the_output(tmp_path: Path) -> None:
    def frames() -> Iterator[Frame]:
        yield scene()
        raise PermissionError(13, "Permission denied", "texture.png")

    with pytest.raises(RuntimeError, match=r"texture\.png"):
        write_video(tmp_path / "a.mp4", frames(), 25)


def contents(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (path.iterdir() if path.is_dir() else [path])}


@pytest.mark.parametrize("ending", ["mp4", "gif", ""])
def test_an_older_output_is_replaced(tmp_path: Path, ending: str) -> None:
    path = tmp_path / (f"a.{ending}" if ending else "frames")
    write_video(path, scenes(9), 25)
    write_video(path, scenes(4), 25)
    assert len(list(path.iterdir()) if path.is_dir() else list(VideoReader(path))) == 4
    assert list(tmp_path.iterdir()) == [path]


def test_no_frames_and_uneven_frames_are_programming_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        write_video(tmp_path / "a.mp4", [], 25)
    with pytest.raises(ValueError, match=r"\(96, 128, 3\).*\(64, 64, 3\)"):
        write_video(tmp_path / "a.mp4", [scene(), scene(0, 64, 64)], 25)
    assert not list(tmp_path.iterdir())


def test_unknown_ending_is_refused_before_any_frame_is_made(tmp_path: Path) -> None:
    def frames() -> Iterator[Frame]:
        raise AssertionError("a frame was asked for")
        yield scene()

    with pytest.raises(OutputError, match=r"\.mp4, \.webm, \.gif"):
        write_video(tmp_path / "a.wmv", frames(), 25)


def test_sound_is_a_file(tmp_path: Path) -> None:
    sound = Audio(np.zeros(16_000, np.float32), 16_000)
    with pytest.raises(TypeError, match="sound: expected the name of a file, got Audio; soundfile"):
        write_video(tmp_path / "a.mp4", scenes(3), 25, sound=sound)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_parents_of_the_output_are_made(tmp_path: Path) -> None:
    path = write_video(tmp_path / "новая папка" / "b" / "a b.mp4", scenes(3), 25)
    assert len(list(VideoReader(path))) == 3


def test_progress_sees_every_frame(tmp_path: Path) -> None:
    from contextlib import contextmanager

    seen: list[tuple[str, int | None]] = []
    done = 0

    class Counting:
        @contextmanager
        def stage(self, name: str, total: int | None = None) -> Iterator[Counting]:
            seen.append((name, total))
            yield self

        def advance(self, n: int = 1) -> None:
            nonlocal done
            done += n

    write_video(tmp_path / "a.mp4", scenes(7), 25, progress=Counting(), n_frames=7)
    assert seen == [("video", 7)] and done == 7


ENCODE = """
import sys
import numpy as np
from mien.media.video import write_video
from scipy.ndimage import gaussian_filter, shift

rng = np.random.default_rng(0)
cloud = np.asarray(gaussian_filter(rng.normal(size=(176, 176, 3)), (3, 3, 0)) * 900 + 128)
noise = rng.normal(size=(160, 160, 3)) * 3
frames = []
for i in range(120):
    moved = shift(cloud, (3 * np.sin(i / 9), 3 * np.cos(i / 7), 0), order=1, mode="nearest")[8:-8, 8:-8]
    frames.append(np.clip(moved + np.roll(noise, 7 * i, 0), 0, 255).astype(np.uint8))
write_video(sys.argv[1], frames, 25)
"""


def test_what_lies_in_memory_beforehand_does_not_get_into_the_packets(tmp_path: Path) -> None:
    made = []
    for filling in ("1", "85"):
        path = tmp_path / f"{filling}.mp4"
        run = [sys.executable, "-c", ENCODE, str(path)]
        subprocess.run(run, check=True, env={**os.environ, "MALLOC_PERTURB_": filling})
        made.append(path.read_bytes())
    assert made[0] == made[1]
