"""``mien studio`` as a program: how it starts, and how it ends."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from media_samples import hear_ctrl_c

from mien.cli import main
from mien.errors import InputError
from mien.studio.launch import StudioOptions, listen, studio


def test_port_in_use(capsys):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["studio", "--no-browser", "--port", str(port)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and f"port {port} " in line and f"--port {port + 1}" in line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (StudioOptions(port=70_000), "allowed: 0 to 65535"),
        (StudioOptions(port=0, host="no.such.host.invalid"), "no address of this machine"),
        (StudioOptions(port=0, direction="hapy"), "did you mean 'happy'"),
        (StudioOptions(port=0, portrait=Path("nobody.jpg")), "nobody.jpg: no such file"),
    ],
)
def test_bad_options_are_refused_before_anything_is_served(options, says):
    with pytest.raises(InputError, match=re.escape(says)):
        studio(options)


def test_starts_and_ends_with_ctrl_c(tmp_path):
    command = [sys.executable, "-m", "mien", "studio", "--no-browser", "--port", "0", "-d", "0s:sad, 2s:happy:0.5"]
    environment = {"PATH": "", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c, env=environment
    ) as run:
        address = re.search(r"http://127\.0\.0\.1:\d+/", run.stderr.readline())[0]
        with urllib.request.urlopen(address + "api/setup", timeout=20) as answer:
            assert b'"text":"0s:sad:1, 2s:happy:0.5"' in answer.read()
        assert [path.name.startswith("mien-studio-") for path in tmp_path.iterdir() if path.name != ".cache"] == [True]
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)
    assert (run.returncode, out, err) == (0, "the studio is closed\n", "")
    assert not list(tmp_path.glob("mien-studio-*"))


def test_others_on_the_network_do_not_reach_it():
    assert StudioOptions().host == "127.0.0.1"
    with listen(StudioOptions().host, 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(OSError):
            socket.create_connection((socket.gethostbyname("localhost").replace("127.0.0.1", "127.0.0.2"), port), 1)
