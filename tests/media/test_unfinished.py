"""A run that is stopped is gone on with by the next one, and what comes out is the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from media_samples import hear_ctrl_c, scene

import mien.media.unfinished
from mien.errors import InputError
from mien.media.unfinished import Unfinished, fingerprint_of, unfinished
from mien.media.video import SEGMENT, n_finished, write_video
from mien.types import Frame

mien.media.unfinished.PACKAGE = Path(__file__)  # mien itself may be edited while the tests run

N_FRAMES, STOPPED_AT = 2 * SEGMENT + 30, SEGMENT + 100
RECORD = {"settings": {"direction": "happy"}, "created": "today"}

STOPPABLE = """
import sys, time
from dataclasses import dataclass
from pathlib import Path
import mien.media.unfinished
from mien.cli import VERBS, main
from mien.media.unfinished import unfinished
from mien.media.video import write_video
from media_samples import scene

mien.media.unfinished.PACKAGE = Path({package})

@dataclass
class Options:
    output: Path
    sound: Path

def slow(options, progress):
    with unfinished(options.output, {record}) as work:
        write_video(options.output, frames(), 25, sound=options.sound, work=work)

def frames():
    for index in range({stopped_at}):
        yield scene(index, 48, 64)
    time.sleep(1)  # what is on its way to the encoder arrives
    print("waiting", flush=True)
    time.sleep(60)

VERBS["slow"] = ("__main__", "Options", "slow", "a verb that takes its time")
sys.exit(main(["slow", "--output", sys.argv[1], "--sound", sys.argv[2]]))
"""


def stopped(path: Path, sound: Path, signal: int) -> tuple[int, str]:
    """Exit code and stderr of a run that gets a signal after :data:`STOPPED_AT` frames."""
    code = STOPPABLE
    for name, value in (("record", RECORD), ("stopped_at", STOPPED_AT), ("package", __file__)):
        code = code.replace(f"{{{name}}}", repr(value))
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path), str(sound)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        process.send_signal(signal)
        _, complaint = process.communicate(timeout=20)
    return process.returncode, complaint


def scenes(start: int) -> Iterator[Frame]:
    return (scene(index, 48, 64) for index in range(start, N_FRAMES))


def content(path: Path) -> list[object]:
    """Everything in a video but its date: packets with their times, or the bytes of pictures."""
    if path.is_dir():
        return [(file.name, file.read_bytes()) for file in sorted(path.iterdir())]
    with av.open(str(path)) as container:
        return [
            (p.stream_index, p.pts, p.dts, p.duration, p.is_keyframe, bytes(p)) for p in container.demux() if p.size
        ]


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "frames"])
def test_a_killed_run_is_gone_on_with_and_nothing_shows_it(tmp_path: Path, wav: Path, name: str) -> None:
    whole = write_video(tmp_path / "whole" / name, scenes(0), 25, sound=wav)
    path = tmp_path / "stopped" / name
    path.parent.mkdir()
    assert stopped(path, wav, 9)[0] == -9
    assert (path.parent / f".{name}.part").is_dir() and not path.exists()
    with unfinished(path, RECORD | {"created": "tomorrow"}) as work:
        done = n_finished(path, work)
        assert done == (STOPPED_AT - 1 if name == "frames" else SEGMENT)
        write_video(path, scenes(done), 25, sound=wav, work=work)
    assert content(path) == content(whole)
    assert list(path.parent.iterdir()) == [path]


def test_ctrl_c_says_that_the_run_can_be_gone_on_with(tmp_path: Path, wav: Path) -> None:
    code, complaint = stopped(tmp_path / "out.mp4", wav, 2)
    assert code == 130
    assert complaint.startswith("mien: interrupted; no output was written; ") and complaint.count("\n") == 1
    assert "goes on from there" in complaint
    assert (tmp_path / ".out.mp4.part" / "segment_00000.mp4").exists()


def test_other_settings_start_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out.mp4"
    half_done(path, RECORD)
    with unfinished(path, {"settings": {"direction": "sad"}}) as work:
        assert n_finished(path, work) == 0
    assert len(caplog.records) == 1 and "removed" in caplog.text
    assert not list(tmp_path.iterdir())


def half_done(path: Path, record: dict[str, object]) -> None:
    with pytest.raises(RuntimeError), unfinished(path, record) as work:
        (work.folder / "track.npz").write_bytes(b"what was seen")
        raise RuntimeError("stopped")


def test_what_cannot_be_used_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError), unfinished(tmp_path / "out.mp4", RECORD) as work:
        (work.folder / "track.npz").write_bytes(b"what was seen")
        raise InputError("no face")
    with pytest.raises(RuntimeError) as stop, unfinished(tmp_path / "out.mp4", RECORD):
        raise RuntimeError("before anything was done")
    assert not hasattr(stop.value, "__notes__")
    assert not list(tmp_path.iterdir())


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"

    def made(work: Unfinished) -> None:
        write_video(path, (scene(index, 48, 64) for index in range(3)), 25, work=work)

    with unfinished(path, RECORD) as first, unfinished(path, RECORD) as second:
        assert first.folder != second.folder
        made(second)
        made(first)
    assert list(tmp_path.iterdir()) == [path]


def test_only_what_decides_the_result_counts(tmp_path: Path) -> None:
    weights = tmp_path / "weights.npz"
    np.savez(weights, a=1)
    record = {"settings": {"weights": weights, "text": "", "output": tmp_path / "a.mp4"}, "inputs": {"video": "abc"}}
    mark = fingerprint_of(record)
    assert fingerprint_of(record | {"created": "now"}) == mark
    (tmp_path / "a.mp4").write_bytes(b"an older result")
    assert fingerprint_of(record) == mark
    assert fingerprint_of(record | {"inputs": {"video": "abd"}}) != mark
    np.savez(weights, a=[1, 2])
    assert fingerprint_of(record) != mark
