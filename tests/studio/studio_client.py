"""A studio on a free port of this machine, and a small browser."""

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPMessage
from pathlib import Path

import uvicorn

from mien.studio.launch import listen
from mien.studio.server import build
from mien.studio.session import Session


class Answer:
    """What the studio said."""

    def __init__(self, status: int, headers: HTTPMessage, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert self.status >= 400, self.body[:300]
        line = self.json["error"]
        assert line and "\n" not in line
        return line


class Browser:
    """Asks a studio."""

    def __init__(self, address: str, session: Session) -> None:
        self.address, self.session = address, session

    def ask(self, path, body=None, method=None, **headers) -> Answer:
        """``body``: bytes as they are, anything else as JSON; headers with ``_`` for ``-``."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("content-type", "application/json")
        request = urllib.request.Request(self.address + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def get(self, path, **headers):
        answer = self.ask(path, **headers)
        assert answer.status == 200, answer.body[:300]
        return answer

    def post(self, path, body=None, **headers):
        answer = self.ask(path, {} if body is None else body, **headers)
        assert answer.status == 200, answer.body[:300]
        return answer

    def finished(self, key, seconds=60):
        """The last report of a render."""
        for _ in range(seconds * 20):
            report = self.get(f"api/render/{key}").json
            if report["state"] not in ("waiting", "running"):
                return report
            time.sleep(0.05)
        raise AssertionError("the render does not end")


@contextlib.contextmanager
def serving(folder: Path, **given):
    """A running studio."""
    session, listening = Session(folder), listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(build(session, given), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Browser(f"http://127.0.0.1:{listening.getsockname()[1]}/", session)
    finally:
        server.should_exit = True
        thread.join()
        session.close()
        listening.close()
