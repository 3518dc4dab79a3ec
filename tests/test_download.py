"""Downloading with resume, against a real HTTP server on loopback."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from localgalaxy.console import LocalGalaxyError
from localgalaxy.download import HDF5_SIGNATURE, download_hdf5

CONTENT = HDF5_SIGNATURE + bytes(range(256)) * 12_000


class Server(ThreadingHTTPServer):
    """Serves CONTENT and can be told to misbehave."""

    content = CONTENT
    understands_ranges = True
    says_length = True
    breaks: list[int]  # after how many bytes to hang up, one entry a request
    requests: list[str]  # the Range header of each request


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.requests.append(asked)
        start = 0
        if asked and self.server.understands_ranges:
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            assert match
            start = int(match[1])
            if start >= len(self.server.content):
                self.send_error(416)
                return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        if self.server.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.breaks:
            body = body[: self.server.breaks.pop(0)]
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.breaks = []
        running.requests = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def url(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return f"http://127.0.0.1:{server.server_port}/data.h5"


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole_download(server: Server, url: str, tmp_path: Path) -> None:
    target = download_hdf5(url, tmp_path / "new" / "data.h5", len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert leftovers(tmp_path / "new") == ["data.h5"]


def test_second_call_asks_nobody(server: Server, url: str, tmp_path: Path) -> None:
    download_hdf5(url, tmp_path / "data.h5", len(CONTENT))
    download_hdf5(url, tmp_path / "data.h5", len(CONTENT))
    assert len(server.requests) == 1


def test_goes_on_after_a_broken_connection(server: Server, url: str, tmp_path: Path) -> None:
    server.breaks = [1_500_000, 1_000]
    assert download_hdf5(url, tmp_path / "data.h5", len(CONTENT)).read_bytes() == CONTENT
    assert server.requests == ["", "bytes=1500000-", "bytes=1501000-"]


def test_goes_on_in_a_later_call(server: Server, url: str, tmp_path: Path) -> None:
    server.breaks = [2_000_000]
    with pytest.raises(LocalGalaxyError, match="start again"):
        download_hdf5(url, tmp_path / "data.h5", len(CONTENT), attempts=1)
    assert leftovers(tmp_path) == ["data.h5.part"]
    assert download_hdf5(url, tmp_path / "data.h5", len(CONTENT)).read_bytes() == CONTENT
    assert server.requests == ["", "bytes=2000000-"]


def test_server_without_ranges(server: Server, url: str, tmp_path: Path) -> None:
    server.understands_ranges = False
    server.breaks = [2_000_000]
    assert download_hdf5(url, tmp_path / "data.h5", len(CONTENT)).read_bytes() == CONTENT
    assert server.requests == ["", "bytes=2000000-"]
    assert leftovers(tmp_path) == ["data.h5"]


@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize("difference", [-1000, 1000])
def test_wrong_size_leaves_no_file(
    server: Server, url: str, tmp_path: Path, difference: int, says_length: bool
) -> None:
    server.says_length = says_length
    with pytest.raises(LocalGalaxyError, match=r"bytes where|broke off|cannot be had"):
        download_hdf5(url, tmp_path / "data.h5", len(CONTENT) + difference)
    assert not (tmp_path / "data.h5").exists()
    if says_length or difference < 0:
        assert leftovers(tmp_path) == []


def test_other_content_leaves_no_file(server: Server, url: str, tmp_path: Path) -> None:
    server.content = b"<html>" + CONTENT[6:]
    with pytest.raises(LocalGalaxyError, match="is not an HDF5 file"):
        download_hdf5(url, tmp_path / "data.h5", len(CONTENT))
    assert leftovers(tmp_path) == []


def test_refused_download_says_why(tmp_path: Path) -> None:
    with Server(("127.0.0.1", 0), BaseHTTPRequestHandler) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        with pytest.raises(LocalGalaxyError, match="501"):
            download_hdf5(f"http://127.0.0.1:{refusing.server_port}/x", tmp_path / "x.h5", 10)
        refusing.shutdown()
    assert leftovers(tmp_path) == []
