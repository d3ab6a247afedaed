from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

import mien
from mien.cli import EXAMPLES, VERBS, main, parse, stoppable
from mien.direction import Direction
from mien.errors import InputError
from mien.media.image import write_image
from mien.media.motion_file import read_motion, write_motion
from mien.media.provenance import provenance
from mien.media.style_file import StyleFile, write_style
from mien.media.video import write_video
from mien.progress import Progress
from mien.terminal import LoggedProgress, TerminalProgress
from mien.types import FaceMotion, Frame

HEAVY = ("mediapipe", "numba", "torch", "cv2", "scipy", "matplotlib", "av", "pocketsphinx", "soundfile", "PIL.Image")


@dataclass(frozen=True)
class PlayOptions:
    """A verb to test with."""

    output: Path = Path("out.mp4")
    """Where to."""

    fault: str = "none"
    """What shall go wrong,
    if anything."""


@dataclass(frozen=True)
class PlayResult:
    output: Path
    n_frames: int


def play(options: PlayOptions, progress: Progress | None = None) -> PlayResult:
    logging.getLogger("mien.test").warning("the speech was not recognised")
    logging.getLogger("mien.test").info("a detail")
    if options.fault == "input":
        raise InputError("a.png: the picture is\n16 px wide", "give a larger one")
    if options.fault == "bug":
        raise ZeroDivisionError("oh")
    if options.fault == "ctrl-c":
        raise KeyboardInterrupt
    return PlayResult(options.output, 3)


@pytest.fixture(autouse=True)
def verb_to_test_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "play", (__name__, "PlayOptions", "play", "a verb to test with"))


def picture() -> Frame:
    return np.full((96, 128, 3), 90, np.uint8)


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {verb} " in out for verb in VERBS)


def test_without_a_verb_the_help_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: mien VERB" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_a_command_that_works_and_nothing_of_python(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    parse(verb, shlex.split(EXAMPLES[verb]))
    assert main([*verb.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Example: mien {verb} {EXAMPLES[verb]}" in " ".join(shown.split())
    for word in ("None", "False", "FLOAT", "STR", "(default: )", "(default: '')"):
        assert word not in shown


def test_help_is_filled_however_the_source_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "--help"]) == 0
    assert "What shall go wrong, if anything." in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mien 0.")


@pytest.mark.parametrize("verb", ["", *(verb for verb in VERBS if verb != "play")])
def test_help_imports_nothing_heavy(verb: str) -> None:
    program = (
        f"import sys; from mien.cli import main; code = main({[verb, '--help'] if verb else ['--help']});"
        f" print('HEAVY', *(name for name in {HEAVY} if name in sys.modules)); sys.exit(code)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[0].startswith("usage: mien")
    assert run.stdout.splitlines()[-1] == "HEAVY"


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("inspekt", "did you mean inspect?"), ("fly", "mien --help lists"), ("train", "there are ")],
)
def test_unknown_verb(typed: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mien: error: ") and f"{typed}" in error and hint in error and error.count("\n") == 1


def test_an_option_is_not_taken_for_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--versoin"]) == 2
    assert capsys.readouterr().err == "mien: error: no option '--versoin'; did you mean --version?\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["mien", "ins"], "inspect"),
        (["mien", "plot", ""], "va regions"),
        (["mien", "speak", "--rend"], "--renderer"),
        (["mien", "plot", "va", "--in"], "--input"),
        (["mien", "prepare", "--crop"], "--crop-size"),
        (["mien", "speak", "-p", "a.jpg", "--renderer", ""], "warp mesh person"),
        (["mien", "speak", "-p", ""], ""),  # a file
    ],
)
def test_shells_complete(typed: list[str], offered: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--completion"]) == 0
    words = f"COMP_WORDS=({shlex.join(typed)}); COMP_CWORD={len(typed) - 1}"
    program = f'{capsys.readouterr().out}\n{words}; _mien; echo "${{COMPREPLY[*]}}"'
    run = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert (run.stdout.strip(), run.stderr) == (offered, "")


def test_help_is_a_verb_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "inspect"]) == 0 and "usage: mien inspect" in capsys.readouterr().out
    assert main(["help"]) == 0 and "usage: mien VERB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["export", "-i", "a.npz"], "--output"),
        (["export", "-i", "a.npz", "-o", "a.csv", "--fps", "fast"], "--fps"),
        (["play", "--fualt", "none"], "--fault"),
        (["inspect"], "FILE"),
        (["export", "-i", "a.npz", "-o", "a.csv", "--fps", "fast"], "--fps is 'fast'; expected a number"),
        (["export", "-i", "a.npz", "-o", "a", "--blinks", "1.5"], "--blinks is '1.5'; expected a whole number"),
        (["export", "-i", "a.npz", "-o", "a", "--mesh", "stl"], "--mesh is 'stl'; expected 'obj', 'ply'"),
        (["export", "-i"], "--input is given nothing"),
        (["prepare", "a.mp4", "-o", "a", "--jobs", "two"], "--jobs is 'two'; expected a whole number"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("mien: error: ") and captured.err.count("\n") == 1 and not captured.out
    assert word in captured.err and captured.err.endswith(f"; see mien {arguments[0]} --help\n")


def test_an_empty_value_is_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """As an unset variable of the shell leaves it; Path("") would be the folder where one stands."""
    assert main(["export", "-i", "", "-o", "a.csv"]) == 2
    assert capsys.readouterr().err == "mien: error: -i is given nothing; is a variable of your shell empty?\n"


def test_all_missing_flags_are_named_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--json"]) == 2
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert (answer["ok"], answer["verb"], answer["error"]) == (False, "export", "InputError")
    assert answer["what"] == "Missing from mien export: --input PATH, --output PATH"


def test_result_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "--output", "ä b.mp4"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "ä b.mp4: frames 3\n"
    assert captured.err == "mien: warning: the speech was not recognised\n"


def test_verbose_shows_details(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "-v"]) == 0
    assert "mien: a detail\n" in capsys.readouterr().err


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_json_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "verb": "play", "output": "out.mp4", "n_frames": 3}


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "--fault", "input", "-q"]) == 2
    assert capsys.readouterr() == ("", "mien: error: a.png: the picture is 16 px wide; give a larger one\n")


def test_bad_input_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "--fault", "input", "-q", "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False and answer["error"] == "InputError" and answer["remedy"] == "give a larger one"


def test_a_fault_of_mien_asks_for_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "--fault", "bug", "-q"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "ZeroDivisionError: oh" in error and "-v" in error


def test_a_fault_of_mien_is_traced_with_verbose() -> None:
    with pytest.raises(ZeroDivisionError):
        main(["play", "--fault", "bug", "-v"])


def test_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "--fault", "ctrl-c", "-q"]) == 130
    assert capsys.readouterr().err == "mien: interrupted; no output was written\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_that_python_cannot_raise_is_not_lost(number: int) -> None:
    class Ending:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)
            time.sleep(0.01)

    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt), stoppable():
            Ending()
            for _ in range(200):
                time.sleep(0.05)
    finally:
        signal.signal(signal.SIGINT, inherited)


def test_what_a_stop_leaves_half_made_ends_in_silence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Program:
        def __init__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
            self.handle = 1

        def __del__(self) -> None:
            assert self.handle, "AttributeError when half made"

    monkeypatch.setattr("mien.cli._dispatch", lambda arguments: Program())
    assert main([]) == 143
    assert capsys.readouterr().err == "mien: interrupted; no output was written\n"


@pytest.mark.parametrize("arguments", ["--help", "inspect --help", "inspect a.png"])
def test_closed_pipe_is_no_error(tmp_path: Path, arguments: str) -> None:
    write_image(tmp_path / "a.png", picture())
    pipe = f"(sleep 0.1; exec {sys.executable} -m mien {arguments}) | true; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (run.stdout, run.stderr) == ("141\n", "")


def test_progress_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress() as progress, progress.stage("render", 3) as outer, progress.stage("video") as inner:
        for _ in range(3):
            outer.advance()
            inner.advance(2)
    shown = capsys.readouterr().err
    assert "render" in shown and "3/3" in shown and "video" in shown and "6/?" in shown


def test_progress_in_a_log_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))  # a second passes at every look
    monkeypatch.setattr("mien.terminal.time.monotonic", lambda: float(next(clock)))
    progress = LoggedProgress(seconds=30)
    with progress.stage("render", 200) as stage:
        stage.advance(100)  # an earlier run's
        for _ in range(40):
            stage.advance()
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 3
    assert re.fullmatch(r"render: 1\d\d of 200, 0\.\d+/s, \d+ (min|s) left", lines[0])


def test_a_short_job_says_nothing_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with LoggedProgress().stage("render", 3) as stage:
        for _ in range(3):
            stage.advance()
    assert capsys.readouterr().err == ""


@pytest.fixture
def motion() -> FaceMotion:
    smile = np.linspace(0, 1, 50)
    return FaceMotion.zeros(50, 25).with_columns({"mouthSmileLeft": smile, "jawOpen": smile[::-1]})


def inspected(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["inspect", str(path), "--json"]) == 0
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{path}: {answer['kind']}\n")
    return answer


def test_inspect_motion(tmp_path: Path, motion: FaceMotion, capsys: pytest.CaptureFixture[str]) -> None:
    write_motion(tmp_path / "a.npz", motion, provenance=provenance("track", inputs={}, seed=5))
    answer = inspected(tmp_path / "a.npz", capsys)
    assert answer["kind"] == "motion"
    assert answer["figures"]["frames"] == 50 and answer["figures"]["moving"] == ["jawOpen", "mouthSmileLeft"]  # type: ignore[index]
    assert answer["provenance"]["seed"] == 5  # type: ignore[index]


def test_inspect_rig(capsys: pytest.CaptureFixture[str]) -> None:
    import mien.face

    rig = Path(mien.face.__path__[0]) / "data" / "builtin.npz"
    answer = inspected(rig, capsys)
    assert answer["kind"] == "rig" and "template" in answer["figures"]  # type: ignore[operator]


def test_inspect_what_goes_in_besides_media(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Direction.parse("happy:0.5").save(tmp_path / "a.yaml")
    answer = inspected(tmp_path / "a.yaml", capsys)
    assert (answer["kind"], answer["figures"]) == ("direction", {"emotion": "0s:happy:0.5"})
    (tmp_path / "b.yaml").write_text("emotion: hapy\n")
    assert main(["inspect", str(tmp_path / "b.yaml")]) == 2
    assert "b.yaml:1: unknown emotion 'hapy'; did you mean 'happy'" in capsys.readouterr().err
    write_style(tmp_path / "a.json", StyleFile("film.mp4", {"lips": 1.5}))
    answer = inspected(tmp_path / "a.json", capsys)
    assert (answer["kind"], answer["figures"]) == ("style", {"clip": "film.mp4", "lips": 1.5, "for": "speak"})
    save_file(
        {"w": np.zeros((2, 3))}, tmp_path / "a.safetensors", metadata={"mien.dsm": '{"config": {"rig": "builtin"}}'}
    )
    answer = inspected(tmp_path / "a.safetensors", capsys)
    assert answer["figures"] == {"of": "mien.dsm", "arrays": 1, "values": 6, "rig": "builtin"}
    plane = {"mien.ganmut": '{"space": "linear", "emotions": {"happy": [0.99, 0.125]}}'}
    save_file({"w": np.zeros((2, 3))}, tmp_path / "a.safetensors", metadata=plane)
    found = inspected(tmp_path / "a.safetensors", capsys)["figures"]
    assert found == {"of": "mien.ganmut", "arrays": 1, "values": 6, "space": "linear", "happy": "at 0.99, 0.12"}
    ned = inspected(Path(mien.__file__).parent / "motion" / "data" / "ned.safetensors", capsys)["figures"]
    assert "happy" in ned["emotions"]  # type: ignore[index]
    for damaged in ("{", "3"):
        save_file({"w": np.zeros(1)}, tmp_path / "b.safetensors", metadata={"mien.dsm": damaged})
        assert main(["inspect", str(tmp_path / "b.safetensors")]) == 2
        assert "b.safetensors: its header is damaged" in capsys.readouterr().err


def test_inspect_media(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros((8000, 2)), 16000)
    assert inspected(tmp_path / "a.flac", capsys)["figures"] == {
        "container": "flac", "sound": "flac", "sample rate": 16000, "channels": 2, "sound length": 0.5,
    }  # fmt: skip
    record = provenance("speak", inputs={"speech": tmp_path / "a.flac"}, settings={"direction": "happy:0.8"}, seed=1)
    for name in ("a.mp4", "a.webm", "a.gif"):
        write_video(tmp_path / name, [picture()] * 10, 25, sound=tmp_path / "a.flac", provenance=record)
        answer = inspected(tmp_path / name, capsys)
        assert answer["kind"] == "video" and answer["provenance"] == record
        assert answer["figures"]["fps"] == 25 and answer["figures"]["width"] == 128  # type: ignore[index]
    write_video(tmp_path / "frames", [picture()] * 3, 25, provenance=record)
    answer = inspected(tmp_path / "frames", capsys)
    assert answer["kind"] == "frames" and answer["figures"]["frames"] == 3  # type: ignore[index]
    assert answer["provenance"] == record
    write_image(tmp_path / "a.png", picture())
    answer = inspected(tmp_path / "a.png", capsys)
    assert answer["kind"] == "picture" and answer["provenance"] is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"hello " * 100),
        ("a.npz", b"PK\x03\x04 broken"),
        ("a.mp4", bytes(100)),
        ("a.csv", b"a,b\n1,2\n"),
        ("a.json", b"[1, 2]"),
        ("a", b""),
    ],
)
def test_inspect_refuses_what_it_does_not_know(
    tmp_path: Path, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main(["inspect", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mien: error: {tmp_path / name}: ") and error.count("\n") == 1


def test_inspect_unpickles_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([{"an": "object"}], dtype=object))
    assert main(["inspect", str(tmp_path / "a.npz")]) == 2
    assert "plain arrays" in capsys.readouterr().err


def test_export_to_csv_and_back(tmp_path: Path, motion: FaceMotion, capsys: pytest.CaptureFixture[str]) -> None:
    write_motion(tmp_path / "a.npz", motion)
    assert main(["export", "-i", str(tmp_path / "a.npz"), "-o", str(tmp_path / "new" / "b.csv")]) == 0
    assert main(["export", "-i", str(tmp_path / "new" / "b.csv"), "-o", str(tmp_path / "c.npz")]) == 0
    back = read_motion(tmp_path / "c.npz")
    assert back.fps == 25
    np.testing.assert_allclose(back.expression, motion.expression, atol=1e-4)
    capsys.readouterr()
    assert inspected(tmp_path / "c.npz", capsys)["provenance"]["inputs"]["motion"]["name"] == "b.csv"  # type: ignore[index]
    assert inspected(tmp_path / "new" / "b.csv", capsys)["kind"] == "motion (Live Link Face CSV)"


def test_export_resamples(tmp_path: Path, motion: FaceMotion) -> None:
    write_motion(tmp_path / "a.npz", motion)
    assert main(["export", "-i", str(tmp_path / "a.npz"), "-o", str(tmp_path / "b.npz"), "--fps", "60", "-q"]) == 0
    assert read_motion(tmp_path / "b.npz").fps == 60


def test_export_geometry(tmp_path: Path, motion: FaceMotion, capsys: pytest.CaptureFixture[str]) -> None:
    write_motion(tmp_path / "a.npz", motion[:4])
    for name in ("b.glb", "meshes"):
        assert main(["export", "-i", str(tmp_path / "a.npz"), "-o", str(tmp_path / name), "--mesh", "ply"]) == 0
    assert "frames 4" in capsys.readouterr().out
    answer = inspected(tmp_path / "b.glb", capsys)
    assert answer["kind"] == "scene (glTF)" and answer["provenance"]["verb"] == "export"  # type: ignore[index]
    assert answer["figures"]["frames"] == 4 and answer["figures"]["morph targets"] == 52  # type: ignore[index]
    assert len(list((tmp_path / "meshes").glob("frame_*.ply"))) == 4


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["-i", "a.npz", "-o", "b.fbx"], "motion is not written as .fbx; end -o in .npz, .csv, .glb"),
        (["-i", "a.npz", "-o", "b.flame.npz"], "give --rig a FLAME model"),
        (["-i", "a.npz", "-o", "b.glb", "--rig", "elf"], "elf: no such rig"),
        (["-i", "a.npz", "-o", "./a.npz"], "is the input itself"),
        (["-i", "a.npz", "-o", "b.csv", "--fps", "0"], "--fps"),
        (["-i", "a.npz", "-o", "b.csv", "--fps", "nan"], "--fps"),
        (["-i", "missing.npz", "-o", "b.csv"], "no such file"),
        (["-i", "picture.png", "-o", "b.csv"], "not a mien motion file"),
        (["-i", "empty.npz", "-o", "b.csv"], "empty"),
        (["-i", "half.npz", "-o", "b.csv"], "not a mien motion file"),
    ],
)
def test_export_bad_input(
    tmp_path: Path, motion: FaceMotion, monkeypatch: pytest.MonkeyPatch, arguments: list[str], word: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_motion("a.npz", motion)
    write_image("picture.png", picture())
    Path("empty.npz").touch()
    Path("half.npz").write_bytes(Path("a.npz").read_bytes()[:500])
    before = sorted(tmp_path.iterdir())
    assert main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1 and error.startswith("mien: error: ")
    assert sorted(tmp_path.iterdir()) == before


def test_any_terminal_can_show_the_help() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mien", "--help"], capture_output=True, env={"PYTHONIOENCODING": "ascii"}
    )
    assert run.returncode == 0 and b"\\u2192" in run.stdout


def test_closed_streams_are_no_fault(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture())
    run = subprocess.run(
        ["sh", "-c", '"$0" -m mien inspect "$1" <&- >&- 2>&-', sys.executable, str(tmp_path / "a.png")]
    )
    assert run.returncode == 0
