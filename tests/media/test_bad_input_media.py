"""What users hand in by mistake: every case ends in one line that says what, where and what to do."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from media_samples import clicks, hear_ctrl_c, ordinary_user, scene
from PIL import Image

from mien.errors import FormatError, InputError, MienError, OutputError
from mien.media.image import read_image, write_image
from mien.media.output import check_output
from mien.media.video import VideoReader, write_video

Reader = Callable[[Path], object]


def sound_into_video(path: Path) -> object:
    return write_video(path.parent / "out" / "with_sound.mp4", [scene()] * 3, 25, sound=path)


READERS = pytest.mark.parametrize("read", [read_image, VideoReader, sound_into_video])


def complaint(read: Reader, path: Path, kind: type[MienError] = InputError) -> str:
    """The one line a reader refuses a file with."""
    with pytest.raises(kind) as caught:
        read(path)
    line = str(caught.value)
    assert path.name in line and "\n" not in line and len(line) < 300 + len(str(path))
    assert caught.value.remedy
    assert not list((path.parent / "out").glob("*")), "something was left behind"
    return line


@READERS
def test_missing(tmp_path: Path, read: Reader) -> None:
    assert "no such file" in complaint(read, tmp_path / "nothing here.png")


@READERS
def test_zero_bytes(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "empty.png").touch()
    assert "empty" in complaint(read, tmp_path / "empty.png")


@READERS
def test_folder(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "album").mkdir()
    assert "is a folder" in complaint(read, tmp_path / "album")


@READERS
def test_unreadable(open_folder: Path, read: Reader) -> None:
    path = open_folder / "secret.png"
    write_image(path, scene())
    path.chmod(0)
    (open_folder / "out").mkdir()
    (open_folder / "out").chmod(0o777)
    with ordinary_user():
        assert "no permission to read" in complaint(read, path)


@READERS
@pytest.mark.parametrize("ending", ["png", "jpg", "mp4", "wav", "txt", "gif"])
@pytest.mark.parametrize(
    "content", [b"Dear diary,\n" * 100, bytes(5000), os.urandom(3000)], ids=["text", "zeros", "noise"]
)
def test_wrong_content(tmp_path: Path, read: Reader, ending: str, content: bytes) -> None:
    path = tmp_path / f"wrong.{ending}"
    path.write_bytes(content)
    complaint(read, path, FormatError)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "tiff"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_truncated_picture(tmp_path: Path, ending: str, part: float) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    complaint(read_image, path, FormatError)


@pytest.mark.parametrize("ending", ["mp4", "webm", "mkv"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_truncated_video(tmp_path: Path, ending: str, part: float) -> None:
    path = write_video(tmp_path / f"a.{'webm' if ending == 'mkv' else ending}", (scene(i) for i in range(100)), 25)
    path = path.rename(path.with_suffix(f".{ending}"))
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    complaint(lambda p: list(VideoReader(p)), path, FormatError)


@pytest.mark.parametrize("size", [(16, 16), (63, 900), (900, 40), (1, 1)])
def test_tiny_picture(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "tiny.png")
    line = complaint(read_image, tmp_path / "tiny.png")
    assert f"{size[0]} × {size[1]}" in line and "at least 64 px" in line


def test_video_as_picture(clip: Path) -> None:
    assert "video" in complaint(read_image, clip, FormatError)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp"])
def test_picture_as_video(tmp_path: Path, ending: str) -> None:
    Image.fromarray(scene()).save(tmp_path / f"a.{ending}")
    assert "is a picture" in complaint(VideoReader, tmp_path / f"a.{ending}", FormatError)


def test_sound_as_video(wav: Path) -> None:
    assert "no video" in complaint(VideoReader, wav, FormatError)


def test_silent_video_as_sound(tmp_path: Path) -> None:
    path = write_video(tmp_path / "silent.mp4", [scene()] * 3, 25)
    assert "no sound" in complaint(sound_into_video, path, FormatError)


@pytest.mark.parametrize("channels", [1, 2])
def test_nan_in_the_sound_is_silence(tmp_path: Path, channels: int) -> None:
    samples = clicks(16000, 0.5, channels)
    samples[4000:4010] = [[np.nan], [np.inf]] * 5
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    path = write_video(tmp_path / "a.mp4", [scene()] * 12, 25, sound=tmp_path / "a.wav")
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert np.isfinite(sound).all() and 0.05 < np.abs(sound).max() < 1.5


@pytest.mark.parametrize("n_samples", [1, 10, 1023])
@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_shortest_sound_is_fine(tmp_path: Path, n_samples: int, ending: str) -> None:
    soundfile.write(tmp_path / "a.wav", clicks(16000, 0.5)[:n_samples], 16000)
    path = write_video(tmp_path / f"a.{ending}", [scene()] * 3, 25, sound=tmp_path / "a.wav")
    assert len(list(VideoReader(path))) == 3


OUTPUTS = pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "frames"])


@OUTPUTS
def test_full_disk(tmp_path: Path, name: str) -> None:
    """A limit on file size stands in for a disk that fills up: the write fails midway."""
    (tmp_path / name).mkdir() if name == "frames" else (tmp_path / name).write_bytes(b"precious")
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            write_video(tmp_path / name, (np.roll(noise, i, 1) for i in range(50)), 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert name == "frames" or (tmp_path / name).read_bytes() == b"precious"


@OUTPUTS
def test_read_only_folder_is_found_before_the_work(open_folder: Path, name: str) -> None:
    asked = False

    def frames() -> object:
        nonlocal asked
        asked = True
        yield scene()

    with ordinary_user(), pytest.raises(OutputError, match="no permission to write there"):
        write_video(open_folder / name, frames(), 25)  # type: ignore[arg-type]
    assert not asked and not list(open_folder.iterdir())


def test_write_protected_output_is_kept(open_folder: Path) -> None:
    open_folder.chmod(0o777)
    path = open_folder / "a.mp4"
    path.write_bytes(b"precious")
    path.chmod(0o444)
    with ordinary_user(), pytest.raises(OutputError, match="no permission"):
        check_output(path)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("folder", "is a folder"),
        ("file/a.mp4", "part of the path is a file"),
        ("pipe", "not an ordinary file"),
        ("x" * 300 + ".mp4", "name is too long"),
    ],
)
def test_places_where_no_file_can_stand(tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match=why):
        check_output(tmp_path / path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("path", "why"), [("-", "not to a pipe"), (".", "of its own"), (".mp4", "of its own")])
def test_names_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, why: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=why):
        check_output(path, folder=True)
    assert not list(tmp_path.iterdir())


def test_folder_with_other_things_is_not_replaced_by_frames(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="other things"):
        write_video(tmp_path, [scene()], 25)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.mp4").write_bytes(b"old")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real" / "a.mp4")
    write_video(tmp_path / "link.mp4", [scene()] * 3, 25)
    assert (tmp_path / "link.mp4").is_symlink()
    assert len(list(VideoReader(tmp_path / "real" / "a.mp4"))) == 3


SLOW_WRITER = """
import sys, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from mien.cli import VERBS, main
from mien.media.video import write_video

@dataclass
class Options:
    output: Path

def slow(options, progress):
    write_video(options.output, frames(), 25, progress=progress)

def frames():
    for index in range(1000):
        yield np.full((128, 128, 3), index % 256, np.uint8)
        if index == 100:
            print("writing", flush=True)
        if index > 100:
            time.sleep(0.05)

VERBS["slow"] = ("__main__", "Options", "slow", "a verb that takes its time")
sys.exit(main(["slow", "--output", sys.argv[1]]))
"""


def interrupted(path: Path, signal: int) -> tuple[int, str]:
    """Exit code and stderr of a run that gets a signal while it writes."""
    command = [sys.executable, "-c", SLOW_WRITER, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        process.send_signal(signal)
        _, complaint = process.communicate(timeout=20)
    return process.returncode, complaint


@pytest.mark.parametrize("name", ["a.mp4", "frames"])
def test_ctrl_c_midway(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, [scene()] * 3, 25)
    before = sorted(p.stat().st_size for p in tmp_path.rglob("*.*"))
    code, complaint = interrupted(path, 2)
    assert code == 130
    assert complaint == "mien: interrupted; no output was written\n"
    assert sorted(p.stat().st_size for p in tmp_path.rglob("*.*")) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.mp4", "frames"])
def test_kill_midway(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, [scene()] * 3, 25)
    code, _ = interrupted(path, 9)
    assert code == -9
    assert len(list(path.iterdir()) if path.is_dir() else list(VideoReader(path))) == 3
    left = [p.name for p in tmp_path.iterdir() if p != path]
    assert len(left) == 1 and left[0].startswith(".")
    write_video(path, [scene()] * 5, 25)
    assert list(tmp_path.iterdir()) == [path]
