"""Bad input to ``mien speak`` gets one clear line and exit code 2; nothing is lost and nothing half written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from media_samples import hear_ctrl_c
from PIL import Image

from mien.cli import main
from mien.media.motion_file import read_motion
from mien.media.provenance import read_provenance
from mien.media.video import VideoReader
from mien.types import FaceMotion

EXAMPLE_SPEECH = Path(__file__).parents[1] / "examples" / "speech.flac"


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """Half a second of real speech."""
    samples, rate = soundfile.read(EXAMPLE_SPEECH)
    path = tmp_path / "a voice, ä.wav"
    soundfile.write(path, samples[rate // 2 : rate], rate)
    return path


@pytest.fixture
def photo(sample_portrait: Path, tmp_path: Path) -> Path:
    """The sample portrait, small, under a name with a space and an umlaut."""
    path = tmp_path / "ein Porträt.png"
    with Image.open(sample_portrait) as picture:
        picture.resize((256, 300)).save(path)
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """The command printed one line that says all of ``words``."""
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("mien: error: "), captured.err
    assert all(word in lines[0] for word in words), lines[0]


def speak(portrait: Path, voice: Path, output: Path, *more: str) -> int:
    return main(["speak", "-p", str(portrait), "-s", str(voice), "-o", str(output), "--quiet", *more])


def check_video(path: Path, size: tuple[int, int]) -> None:
    video = VideoReader(path)
    frames = list(video)
    assert video.size == size and len(frames) in (12, 13) and video.has_sound
    assert frames[0].std() > 10


def changed(photo: Path, tmp_path: Path, kind: str) -> Path:
    """The photo in another mode of storing it."""
    path = tmp_path / f"{kind}.{'jpg' if kind in ('cmyk', 'exif') else 'png'}"
    with Image.open(photo) as picture:
        match kind:
            case "grey":
                picture.convert("L").save(path)
            case "rgba":
                picture.convert("RGBA").save(path)
            case "cmyk":
                picture.convert("CMYK").save(path)
            case "exif":
                exif = Image.Exif()
                exif[0x0112] = 6  # stored lying on its side, shown upright
                picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
            case "wide":
                ground = Image.new("RGB", (12_000, 3_000), (90, 100, 110))
                ground.paste(picture.resize((2_000, 2_344)), (5_000, 300))
                ground.save(path, compress_level=1)
            case "two":
                ground = Image.new("RGB", (512, 300), (90, 100, 110))
                ground.paste(picture, (256, 0))
                ground.paste(picture.resize((192, 225)), (20, 60))
                ground.save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "size"),
    [("grey", (300, 256)), ("rgba", (300, 256)), ("cmyk", (300, 256)), ("exif", (300, 256)), ("two", (300, 512)),
     ("wide", (540, 2160))],
)  # fmt: skip
def test_unusual_pictures_work(kind, size, photo, voice, tmp_path):
    output = tmp_path / "new folder" / "ü out.mp4"
    assert speak(changed(photo, tmp_path, kind), voice, output) == 0
    check_video(output, size)


def test_face_is_chosen_and_counted(photo, voice, tmp_path, capsys):
    two = changed(photo, tmp_path, "two")
    large, small = tmp_path / "1.npz", tmp_path / "2.npz"
    assert speak(two, voice, large) == speak(two, voice, small, "--face", "2") == 0
    assert speak(two, voice, tmp_path / "3.mp4", "--face", "3") == 2
    refused(capsys, "only 2 found")
    assert not (tmp_path / "3.mp4").exists()


def test_pictures_that_cannot_be_used(voice, tmp_path, capsys):
    output = tmp_path / "out.mp4"
    output.write_bytes(b"precious")
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    Image.fromarray(noise[:16, :16]).save(tmp_path / "tiny.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    for name, word in (
        ("noise.png", "noise.png: no face"), ("tiny.png", "64 px"), ("empty.jpg", "empty"),
        ("text.jpg", "not a picture"), ("missing.png", "no such file"), (".", "folder"),
    ):  # fmt: skip
        assert speak(tmp_path / name, voice, output) == 2
        refused(capsys, word)
    assert output.read_bytes() == b"precious"


def test_sounds_that_cannot_be_used(photo, tmp_path, capsys):
    output = tmp_path / "out.mp4"
    soundfile.write(tmp_path / "one.wav", np.zeros(1), 16_000)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("not a sound")
    for name, word in (("one.wav", "0.1 s"), ("empty.wav", "empty"), ("text.wav", "sound"), ("no.wav", "no such file")):
        assert speak(photo, tmp_path / name, output) == 2
        refused(capsys, word)
    assert not output.exists()


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (192_000, 2), (44_100, 2)])
def test_any_rate_and_channels(rate, channels, photo, tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (rate // 2, channels)), rate)
    assert speak(photo, path, tmp_path / "out.mp4") == 0
    check_video(tmp_path / "out.mp4", (300, 256))


def test_silence_and_nan_work(photo, tmp_path):
    samples = np.zeros(8_000, np.float32)
    soundfile.write(tmp_path / "silent.wav", samples, 16_000)
    samples[100:120] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 16_000, subtype="FLOAT")
    for name in ("silent", "nan"):
        assert speak(photo, tmp_path / f"{name}.wav", tmp_path / f"{name}.mp4") == 0
        check_video(tmp_path / f"{name}.mp4", (300, 256))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-d", "hapy:0.8"], ["hapy", "happy"]),
        (["-d", "happy:1.8"], ["1.8", "0 to 1"]),
        (["-d", "missing.yaml"], ["missing.yaml", "no such file"]),
        (["--fps", "0"], ["--fps", "10 to 120"]),
        (["--crf", "99"], ["--crf", "0 to 51"]),
        (["--text", "missing.txt"], ["missing.txt"]),
        (["-o", "out.docx"], [".docx", ".mp4"]),
    ],
)
def test_wrong_options(more, words, photo, voice, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert speak(photo, voice, Path("out.mp4"), *more) == 2
    refused(capsys, *words)
    assert not Path("out.mp4").exists()


def test_a_line_of_a_direction_file_is_named(photo, voice, tmp_path, capsys):
    scene = tmp_path / "scene.yaml"
    scene.write_text("emotion: happy:0.5\nblink: 15\nregions:\n  brows: 3\n")
    assert speak(photo, voice, tmp_path / "out.mp4", "-d", str(scene)) == 2
    refused(capsys, "scene.yaml:4", "0 to 2")


def test_the_record_names_what_was_used_without_folders(photo, voice, tmp_path):
    """A direction in a folder of its own, with a motion beside it; where things lie is nobody's business."""
    (tmp_path / "scenes").mkdir()
    FaceMotion.zeros(60, 25).save(tmp_path / "scenes" / "brows.npz")
    scene = tmp_path / "scenes" / "scene.yaml"
    scene.write_text("regions: {brows: {source: brows.npz}}\n")
    output = tmp_path / "out.npz"
    assert speak(photo, voice, output, "-d", str(scene)) == 0
    record = read_provenance(output)
    assert record["inputs"]["regions.brows.source"]["name"] == "brows.npz"
    assert record["settings"]["direction"] == {"regions": {"brows": {"source": "brows.npz"}}}
    assert str(tmp_path) not in json.dumps(record)
    assert np.ptp(read_motion(output).column("browInnerUp")) == 0


def test_the_inputs_are_never_the_output(photo, voice, capsys):
    before = photo.read_bytes(), voice.read_bytes()
    assert speak(photo, voice, voice) == 2
    capsys.readouterr()
    copy = photo.with_suffix(".mp4")
    photo.rename(copy)
    assert speak(copy, voice, copy) == 2
    assert (copy.read_bytes(), voice.read_bytes()) == before


@pytest.mark.parametrize(
    ("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_stopped_midway_nothing_is_lost(signal_number, code, photo, tmp_path):
    """A run that is interrupted leaves the old output; after kill -9 the next run cleans up behind it."""
    samples, rate = soundfile.read(EXAMPLE_SPEECH)
    soundfile.write(tmp_path / "long.wav", np.tile(samples, 8), rate)
    output = tmp_path / "out.mp4"
    output.write_bytes(b"precious")
    command = [
        sys.executable,
        "-m",
        "mien",
        "speak",
        "-p",
        str(photo),
        "-s",
        str(tmp_path / "long.wav"),
        "-o",
        str(output),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c)
    deadline = time.monotonic() + 300
    while not any(p.stat().st_size > 0 for p in tmp_path.glob(".out.*/growing.mp4")):
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before it could be stopped"
        time.sleep(0.05)
    os.kill(process.pid, signal_number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert output.read_bytes() == b"precious"
    if signal_number != signal.SIGKILL:
        assert not list(tmp_path.glob(".out.*"))
    soundfile.write(tmp_path / "short.wav", samples[: rate // 2], rate)
    assert speak(photo, tmp_path / "short.wav", output) == 0
    assert not list(tmp_path.glob(".out.*"))
