"""``mien studio``: the web page, served from this machine for this machine."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from mien.background import in_background
from mien.direction import Direction
from mien.errors import InputError
from mien.progress import Progress, Silent

if TYPE_CHECKING:
    from mien.studio.session import Session


@dataclass(frozen=True)
class StudioOptions:
    """A page in the browser on which a portrait is made to talk and feel.

    Every change is seen at once; a timeline has a lane for each control. Runs until Ctrl-C. What is loaded there stays
    on this machine, in a temporary folder that is removed at the end.
    """

    portrait: Annotated[Path | None, arg(aliases=("-p",))] = None
    """Picture to begin with."""

    speech: Annotated[Path | None, arg(aliases=("-s",))] = None
    """Sound file or video to begin with."""

    direction: Annotated[str, arg(aliases=("-d",))] = "neutral"
    """Direction to begin with: text, or a .yaml or .json file."""

    port: int = 7860
    """Where on this machine; 0 takes any that is free."""

    host: str = "127.0.0.1"
    """Which address to listen on. Whoever reaches it can use the studio: there is no password."""

    no_browser: Annotated[bool, arg(help_behavior_hint="")] = False
    """Print the address and open nothing."""


@dataclass(frozen=True)
class StudioResult:
    """A studio that has been closed.

    Attributes:
        address: where it was.
    """

    address: str

    def __str__(self) -> str:
        return "the studio is closed"


def studio(options: StudioOptions, progress: Progress | None = None) -> StudioResult:
    """Serve the page until Ctrl-C.

    Raises:
        InputError: if the port is taken, or what to begin with cannot be used.
    """
    if not 0 <= options.port <= 65_535:
        raise InputError(f"--port is {options.port}", "allowed: 0 to 65535")
    direction = Direction.parse(options.direction)
    listening = listen(options.host, options.port)
    with listening, tempfile.TemporaryDirectory(prefix="mien-studio-", ignore_cleanup_errors=True) as folder:
        import uvicorn

        from mien.studio.server import build
        from mien.studio.session import Session

        session = Session(Path(folder), frozenset(direction.files.values()))
        given = _given(options, direction, session, progress or Silent())
        address = _address(options.host, listening.getsockname()[1])
        server = uvicorn.Server(
            uvicorn.Config(
                build(session, given, options.host), log_level="warning", lifespan="off", timeout_graceful_shutdown=1
            )
        )
        print(f"mien studio: {address}   (Ctrl-C ends it)", file=sys.stderr, flush=True)
        in_background(_warm_up)
        if not options.no_browser:
            in_background(lambda: _show(address))
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn has closed everything and passes it on; here it is the way to end
            pass
        finally:
            session.close()
    return StudioResult(address)


def listen(host: str, port: int) -> socket.socket:
    """A socket that browsers can reach; port 0 takes any that is free.

    Raises:
        InputError: if the port is taken, or the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    if os.name == "posix":  # elsewhere this flag would let two studios share a port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        if isinstance(error, socket.gaierror):
            raise InputError(f"--host {host!r} is no address of this machine", "try 127.0.0.1") from None
        remedy = f"close the other studio, or choose another, as in --port {port % 65_535 + 1}"
        raise InputError(f"port {port} of {host} cannot be used ({error.strerror})", remedy) from None
    return listening


def _address(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"


def _show(address: str) -> None:
    """Open a browser that has a window; a text browser would take the terminal."""
    import webbrowser

    if sys.platform in ("win32", "darwin") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        webbrowser.open(address)


def _given(options: StudioOptions, direction: Direction, session: Session, progress: Progress) -> dict[str, Any]:
    from mien.studio.lanes import written

    given: dict[str, Any] = {"text": written(direction)}
    if options.portrait is not None:
        with progress.stage("portrait"):
            given["portrait"] = session.add_portrait(options.portrait, str(options.portrait))
    if options.speech is not None:
        with progress.stage("speech"):
            given["speech"] = session.add_speech(options.speech, str(options.speech))
    return given


def _warm_up() -> None:
    """Load what the first picture will need while nobody waits for it."""
    for name in ("mien.perception.tracking", "mien.perception.speech", "mien.rendering.warp"):
        import_module(name)
