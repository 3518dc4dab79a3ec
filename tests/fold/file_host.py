"""A server on loopback that offers one file, with the manners that real servers have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 20_000  # 5 MB


@dataclass
class Host:
    """A server and how it behaves."""

    content: bytes = CONTENT
    etag: str = '"one"'
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)  # bytes after which an answer breaks off
    statuses: list[int] = field(default_factory=list)  # errors before the first good answer
    announce: bool = True
    shift: int = 0  # by how much a partial answer begins at another place
    asked: list[str] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, host: Host, *arguments: object) -> None:
        self.host = host
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        host = self.host
        wanted = self.headers.get("Range") or ""
        host.asked.append(wanted)
        if host.statuses:
            self.send_error(host.statuses.pop(0))
            return
        start = 0
        if wanted and host.ranges and self.headers.get("If-Range") == host.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-")) + host.shift
        body = host.content[start:]
        self.send_response(206 if start else 200)
        if start:
            total = len(host.content)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if host.announce:
            self.send_header("Content-Length", str(len(body)))
        if host.etag:
            self.send_header("ETag", host.etag)
        self.end_headers()
        if host.breaks:
            body = body[: host.breaks.pop(0)]
            self.close_connection = True
        with suppress(ConnectionError):  # a client that has seen enough hangs up
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hosting(host: Host) -> Iterator[Host]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, host)) as server:
        host.url = f"http://127.0.0.1:{server.server_address[1]}/weights.tar"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()
