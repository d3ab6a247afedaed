"""The studio's routes: what the page may ask for, and the guard in front of them.

Every answer that is no file is JSON; an error is ``{"error": one line}`` with a status of 400 and above.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Body, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from mien.direction import CONTROLS, HABITS, LABEL_ANGLES, LABELS, REGIONS, STYLES, Direction, EmotionKey
from mien.errors import MienError
from mien.studio.jobs import Job
from mien.studio.lanes import command, direction_of, drawn, lanes_of, restyle_command, written
from mien.studio.session import SILENT_SECONDS, Session, Take, offered

PAGE = Path(__file__).parent / "page"
PRESETS = Path(__file__).parent / "presets"

MOST_BYTES = {"portrait": 64 << 20, "speech": 512 << 20, "other": 1 << 20}
"""How much may be sent at once: a picture, a voice (an hour of uncompressed stereo), anything else."""

_HEADERS = [(name.encode(), value.encode()) for name, value in {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}.items()]  # fmt: skip
"""The page asks nothing of other hosts, and no other site may show it or read from it."""

log = logging.getLogger(__name__)


class TakeBody(BaseModel):
    """What a page means; see :class:`~mien.studio.session.Take`."""

    model_config = ConfigDict(extra="forbid")

    portrait: str
    speech: str | None = None
    lanes: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    at: Annotated[float, Field(ge=0, le=86_400)] = 0.0

    def take(self) -> Take:
        """With its direction read."""
        return Take(self.portrait, self.speech, direction_of(self.lanes), self.options)


class RestyleBody(BaseModel):
    """A picture and an emotion as a keyframe of lanes has it."""

    model_config = ConfigDict(extra="forbid")

    portrait: str
    emotion: dict[str, Any]
    face: Annotated[int | None, Field(ge=1, le=99)] = None
    full: bool = False

    def key(self) -> EmotionKey:
        """The emotion, read."""
        return Direction.from_dict({"emotion": [self.emotion | {"at": 0}]}).emotion[0]


class DirectionBody(BaseModel):
    """A direction as text or as lanes, whichever was changed."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    lanes: dict[str, Any] | None = None
    seconds: Annotated[float, Field(ge=0, le=86_400)] = SILENT_SECONDS


def build(session: Session, given: dict[str, Any] | None = None, host: str = "127.0.0.1") -> FastAPI:
    """The application.

    Args:
        session: what is loaded.
        given: what the page starts with: the answers for a ``portrait`` and a ``speech``, ``text`` of a direction.
        host: the name it is served under.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)  # their pages load scripts from elsewhere
    app.add_middleware(Guard, host=host)
    _say_errors(app, session)
    _serve_page(app, given or {})
    _serve_files(app, session)
    _serve_takes(app, session)
    _serve_renders(app, session)
    return app


class Guard:
    """Lets only this studio's own page in.

    The Host header must be an address or a name of this machine: a foreign name that was made to point here (DNS
    rebinding) is refused. Requests that change something must come from a page of the same origin.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app, self._names = app, {"localhost", host.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        if refusal is None:
            await self._app(scope, receive, send_guarded)
            return
        while (await receive()).get("more_body", False):  # browsers hear an answer only when they have sent everything
            pass
        await refusal(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> JSONResponse | None:
        host = headers.get("host", "")
        if not self._is_own(host):
            return _refused(403, f"{host!r} is not this studio; open it under the address it printed")
        if scope["method"] in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        if headers.get("sec-fetch-site", "same-origin") != "same-origin" or (
            origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        ):
            return _refused(403, "another site's page may not use this studio")
        length = headers.get("content-length", "0" if "transfer-encoding" not in headers else "")
        kind = scope["path"].removeprefix("/api/")
        most = MOST_BYTES.get(kind, MOST_BYTES["other"])
        if not length.isdigit() or int(length) > most:
            return _refused(413, f"more than {most >> 20} MB cannot be sent as a {kind}; make it smaller first")
        return None

    def _is_own(self, host: str) -> bool:
        name = re.sub(r":\d+$", "", host).strip("[]").lower()
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _refused(status: int, line: str) -> JSONResponse:
    return JSONResponse({"error": line}, status)


def _say_errors(app: FastAPI, session: Session) -> None:
    """Every error is one line."""

    @app.exception_handler(MienError)
    async def mien_error(_: Request, error: MienError) -> Response:
        return _refused(422, session.in_short(str(error)))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _refused(400, f"{'.'.join(map(str, first['loc'][1:])) or 'the request'}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return _refused(error.status_code, str(error.detail))

    @app.middleware("http")
    async def fault(request: Request, respond: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            return await respond(request)
        except Exception as error:
            line = f"a fault in mien ({type(error).__name__}: {error})"
            log.exception("%s: %s", request.url.path, line)
            return _refused(500, line)


def _serve_page(app: FastAPI, given: dict[str, Any]) -> None:
    app.mount("/page", StaticFiles(directory=PAGE))

    @app.get("/")
    def page() -> Response:
        return FileResponse(PAGE / "index.html")

    @app.get("/favicon.ico")
    def icon() -> Response:
        return FileResponse(PAGE / "icon.svg", media_type="image/svg+xml")

    @app.get("/api/setup")
    def setup() -> dict[str, Any]:
        return {
            "version": version("mien"),
            "controls": {key: asdict(control) for key, control in CONTROLS.items()},
            "labels": [{"name": name, "angle": LABEL_ANGLES.get(name)} for name in LABELS],
            "styles": STYLES,
            "habits": HABITS,
            "regions": REGIONS,
            "options": offered(),
            "presets": presets(),
            "silent_seconds": SILENT_SECONDS,
            "most_bytes": MOST_BYTES,
            "given": given,
        }


def presets() -> list[dict[str, str]]:
    """The directions that come with the studio; the first line of each file is its name and what it is like."""
    found = []
    for path in sorted(PRESETS.glob("*.yaml")):
        title, _, text = path.read_text(encoding="utf-8").partition("\n")
        name, _, about = title.removeprefix("# ").partition(": ")
        found.append({"name": name, "about": about, "text": text})
    return found


def _serve_files(app: FastAPI, session: Session) -> None:
    @app.post("/api/portrait")
    async def portrait(request: Request, name: Annotated[str, Query(max_length=300)] = "portrait") -> dict[str, Any]:
        path = await _received(request, session, name)
        return await run_in_threadpool(session.add_portrait, path, path.name)

    @app.post("/api/portrait/example")
    def example_portrait() -> dict[str, Any]:
        from mien.pipelines.samples import sample_portrait

        return session.add_portrait(sample_portrait(), str(sample_portrait()))

    @app.get("/api/portrait/{key}")
    def picture(key: str) -> Response:
        return _jpeg(session.picture(key))

    @app.post("/api/speech")
    async def speech(request: Request, name: Annotated[str, Query(max_length=300)] = "voice") -> dict[str, Any]:
        path = await _received(request, session, name)
        return await run_in_threadpool(session.add_speech, path, path.name)

    @app.post("/api/speech/example")
    def example_speech() -> dict[str, Any]:
        from mien.pipelines.samples import sample_speech

        path = sample_speech()
        text = " ".join(path.with_suffix(".txt").read_text(encoding="utf-8").split())
        return session.add_speech(path, str(path), text)

    @app.get("/api/speech/{key}")
    def sound(key: str) -> Response:
        return FileResponse(session.sound_of(session.file(key)), media_type="audio/wav")

    @app.post("/api/speech/{key}/heard")
    def heard(
        key: str, text: Annotated[str, Body(max_length=100_000)] = "", fps: Annotated[float, Body(ge=10, le=120)] = 25
    ) -> dict[str, Any]:
        speech = session.speech(key, fps, text or None)
        phones = [[phone.symbol, round(phone.start, 3), round(phone.end, 3)] for phone in speech.phones]
        return {"phones": phones, "source": speech.source, "seconds": len(speech) / speech.fps}


async def _received(request: Request, session: Session, name: str) -> Path:
    """The body of an upload as a file; the guard has seen that it is not too large."""
    path = session.place_for(name)
    with path.open("wb") as file:
        async for chunk in request.stream():
            file.write(chunk)
    return path


def _jpeg(frame: Any) -> Response:
    from mien.media.image import jpeg

    return Response(jpeg(frame), media_type="image/jpeg")


def _serve_takes(app: FastAPI, session: Session) -> None:
    @app.post("/api/direction")
    def direction(body: DirectionBody) -> dict[str, Any]:
        asked = Direction.read(body.text) if body.text is not None else direction_of(body.lanes or {})
        return {"text": written(asked), "lanes": lanes_of(asked), "drawn": drawn(asked, body.seconds)}

    @app.post("/api/frame")
    def frame(body: TakeBody) -> Response:
        return _jpeg(session.frame(body.take(), body.at))

    @app.post("/api/still")
    def still(body: TakeBody) -> Response:
        return FileResponse(session.still(body.take(), body.at), media_type="image/png")

    @app.post("/api/restyle")
    def restyle(body: RestyleBody) -> Response:
        if not body.full:
            return _jpeg(session.restyled(body.portrait, body.key(), body.face))
        return Response(session.restyled_whole(body.portrait, body.key(), body.face), media_type="image/png")

    @app.post("/api/restyle/command")
    def restyle_line(body: RestyleBody) -> dict[str, str]:
        return {"command": restyle_command(body.key(), session.file(body.portrait).shown, body.face)}

    @app.post("/api/command")
    def line(body: TakeBody) -> dict[str, str]:
        take = body.take()
        speech = session.file(take.speech).shown if take.speech else "voice.wav"
        defaults = {option["name"]: option["default"] for option in offered()}
        changed = {
            name: value for name, value in take.options.items() if value not in ("", None) and value != defaults[name]
        }
        return {"command": command(take.direction, session.file(take.portrait).shown, speech, changed)}


def _serve_renders(app: FastAPI, session: Session) -> None:
    @app.post("/api/render")
    def render(body: TakeBody) -> dict[str, object]:
        return _report(session.render(body.take()))

    @app.get("/api/render/{key}")
    def report(key: str) -> dict[str, object]:
        return _report(_job(key))

    @app.delete("/api/render/{key}")
    def cancel(key: str) -> dict[str, object]:
        _job(key).cancel()
        return _report(_job(key))

    @app.get("/api/render/{key}/video")
    def video(key: str, download: bool = False) -> Response:
        job = _job(key)
        if job.state != "done":
            raise HTTPException(404, "this video is not there")
        disposition = "attachment" if download else "inline"
        return FileResponse(job.output, filename=job.name, content_disposition_type=disposition)

    def _job(key: str) -> Job:
        try:
            return session.jobs[key]
        except KeyError:
            raise HTTPException(404, "there is no such render") from None

    def _report(job: Job) -> dict[str, object]:
        return {**job.report(), "error": session.in_short(job.error), "ahead": session.jobs.ahead_of(job)}
