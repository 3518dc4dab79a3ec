"""Runs the data managers as an administrator does, and looks at the tables and folders after it.

planemo tests what a data manager writes; that Galaxy then adds a row, moves the folder, and does
neither after a failure, is seen only in the Galaxy itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from localgalaxy import api, folding
from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import TEST_DATA
from localgalaxy.server import Galaxy

WEIGHTS = TEST_DATA / "fold" / "weights_tiny.tar"
WRONG = "0" * 64
LIMIT = 300.0  # seconds for one job
POLL = 1.0

_FOLDER = {
    "source|kind": "folder",
    "source|path": str(folding.DATABASE),
    "source|uniref": "uniref30_2302_db",
    "source|environmental": "colabfold_envdb_202108_db",
    "source|templates": "pdb100_230517",
    "version": "1",
}


class _Fragile(BaseHTTPRequestHandler):
    """Serves one file; the first answer breaks off in the middle."""

    def __init__(self, content: bytes, asked: list[str], *arguments: Any) -> None:
        self._content, self._asked = content, asked
        super().__init__(*arguments)

    def do_GET(self) -> None:
        wanted = self.headers.get("Range") or ""
        first = not self._asked
        self._asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        size = len(self._content)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(self._content[start : size // 2 if first else size])
        self.close_connection = first

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _serving(content: bytes) -> Iterator[tuple[str, list[str]]]:
    """Serve a file on loopback; give its address and the ranges that were asked for."""
    asked: list[str] = []
    handler = partial(_Fragile, content, asked)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/weights.tar", asked
        finally:
            server.shutdown()


def run_tests(galaxy: Galaxy) -> Iterator[Outcome]:
    """Run every test and yield its outcome."""
    say("Testing the data managers as an administrator")
    with _serving(WEIGHTS.read_bytes()) as (url, asked):
        yield _check(galaxy, "weights from a server that breaks off", _weights(url), 0)
        resumed = asked[1:] == [f"bytes={WEIGHTS.stat().st_size // 2}-"]
        yield Outcome("the download went on where it broke off", resumed, None, str(asked))
    yield _check(galaxy, "weights with a wrong sum", _weights(WEIGHTS.as_uri(), WRONG), 2)
    missing = WEIGHTS.with_name("missing.tar").as_uri()
    yield _check(galaxy, "weights that are not there", _weights(missing), 2)
    yield _check(galaxy, "a folder of databases", _FOLDER | {"name": "Registered"}, 0)
    elsewhere = _FOLDER | {"name": "Elsewhere", "source|path": str(TEST_DATA)}
    yield _check(galaxy, "a folder without databases", elsewhere, 2)


def _weights(url: str, sha256: str = "") -> dict[str, str]:
    return {
        "source|kind": "address",
        "source|urls": url,
        "source|version": "1",
        "source|licence": "none: made-up numbers for tests",
        "name": f"Fetched {time.monotonic_ns()}",
        "sha256": sha256,
    }


def _check(galaxy: Galaxy, name: str, inputs: dict[str, str], wanted: int) -> Outcome:
    """Run a data manager; a row and its folder must be there after success, and only then."""
    kind = "weights" if "source|urls" in inputs else "databases"
    table, folder = f"colabfold_{kind}", folding.FETCHED / f"colabfold_{kind}"
    before = {path.name for path in folder.glob("*")}
    began = time.monotonic()
    try:
        job = _run(galaxy, f"data_manager_{table}", inputs)
    except LocalGalaxyError as error:
        return Outcome(name, False, time.monotonic() - began, str(error))
    rows = [row for row in _rows(galaxy, table) if row["name"] == inputs["name"]]
    new = {path.name for path in folder.glob("*")} - before
    problems = []
    if job["exit_code"] != wanted:
        problems.append(f"exit code {job['exit_code']}, not {wanted}: {job.get('stderr')}")
    if len(rows) != (1 if wanted == 0 else 0):
        problems.append(f"{len(rows)} rows in {table}")
    moved = {Path(row["path"]).name for row in rows if Path(row["path"]).parent == folder}
    if new != moved:
        problems.append(f"new folders {sorted(new)}, but the table has {sorted(moved)}")
    problems += [f"{row['path']} is not there" for row in rows if not Path(row["path"]).is_dir()]
    return Outcome(name, not problems, time.monotonic() - began, "\n".join(problems))


def _run(galaxy: Galaxy, tool: str, inputs: dict[str, str]) -> dict[str, Any]:
    """Run a tool to its end and return its job."""
    key = galaxy.user_key  # of an administrator
    history = api.request(
        galaxy.url, "/api/histories", key=key, method="POST", body={"name": f"Test of {tool}"}
    )
    body = {"tool_id": tool, "history_id": history["id"], "inputs": inputs}
    answer = api.request(galaxy.url, "/api/tools", key=key, method="POST", body=body)
    path = f"/api/jobs/{answer['jobs'][0]['id']}?full=true"
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        job: dict[str, Any] = api.request(galaxy.url, path, key=key)
        if job["state"] in ("ok", "error", "deleted"):
            return job
        time.sleep(POLL)
    raise LocalGalaxyError(f"The job of {tool} did not end in {LIMIT:.0f} s.")


def _rows(galaxy: Galaxy, table: str) -> list[dict[str, str]]:
    answer = api.request(galaxy.url, f"/api/tool_data/{table}", key=galaxy.admin_key)
    return [dict(zip(answer["columns"], row, strict=True)) for row in answer["fields"]]
