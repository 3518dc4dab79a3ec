"""A server on loopback that fails to order, for the tests of the client.

Only failures are played here, which a real Galaxy would not do when asked to; all else is tested
against a real Galaxy in tests/galaxy.

Import its fixtures as themselves: `from client_server import server as server`.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gpulab.client import network, tus
from gpulab.client.galaxy import Galaxy
from gpulab.client.server import Server

KEY = "0123456789abcdef0123456789abcdef"
CONTENT = bytes(range(256)) * 4000

Answer = Callable[["Handler"], None]


class Failing(ThreadingHTTPServer):
    """Answers as a test says; keeps what it was asked."""

    daemon_threads = True
    answers: dict[str, list[Answer]]  # "METHOD /path" → answers in order, the last for ever
    requests: list[tuple[str, str, dict[str, str]]]
    uploads: dict[str, bytearray]
    breaks: list[int]  # after how many bytes of a body to hang up

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, start: str) -> list[tuple[str, str, dict[str, str]]]:
        return [one for one in self.requests if f"{one[0]} {one[1]}".startswith(start)]


class Handler(BaseHTTPRequestHandler):
    server: Failing
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        answers = self.server.answers.get(f"{self.command} {path}")
        if answers:
            (answers.pop(0) if len(answers) > 1 else answers[0])(self)
        elif path.startswith("/api/upload/resumable_upload"):
            self.tus(path)
        else:
            say(404, {"err_msg": "nothing here"})(self)

    do_GET = do_POST = do_PUT = do_HEAD = do_PATCH = do_DELETE = handle_any  # noqa: N815

    def body(self, limit: int | None = None) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(length if limit is None else min(limit, length))

    def tus(self, path: str) -> None:
        uploads = self.server.uploads
        name = path.rpartition("/")[2]
        if self.command == "POST":
            # Galaxy's server takes an upload without these, but does not let it go on.
            assert re.fullmatch(r"filename \S+,filetype \S+", self.headers["Upload-Metadata"])
            name = f"u{len(uploads)}"
            uploads[name] = bytearray()
            return self.empty(201, {"Location": f"{path}/{name}"})
        if name not in uploads:
            return self.empty(404, {})
        if self.command == "PATCH":
            if int(self.headers["Upload-Offset"]) != len(uploads[name]):
                return self.empty(409, {})
            if self.server.breaks:
                uploads[name] += self.body(self.server.breaks.pop(0))
                return self.hang_up()
            uploads[name] += self.body()
        return self.empty(204, {"Upload-Offset": str(len(uploads[name]))})

    def empty(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for header, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(header, value)
        self.end_headers()

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""

    def log_error(self, *arguments: object) -> None:
        """Keep the test's output clean."""


def say(status: int, content: Any = None, **headers: str) -> Answer:
    """Answer with JSON."""

    def answer(handler: Handler) -> None:
        handler.body()
        body = json.dumps(content).encode()
        handler.send_response(status)
        for header, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(header, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return answer


def hang_up(handler: Handler) -> None:
    """Take the request, and hang up before an answer."""
    handler.body()
    handler.hang_up()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(network, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(network, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(network, "LOOK_PAUSES", (0.01, 0.01))
    monkeypatch.setattr(tus, "PAUSES", (0.01,))
    with Failing(("127.0.0.1", 0), Handler) as running:
        running.answers, running.requests, running.uploads, running.breaks = {}, [], {}, []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def galaxy(server: Failing) -> Galaxy:
    return Galaxy(Server(server.url, KEY))
