"""What the client does when an upload breaks off, or the server misleads it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from client_server import CONTENT, KEY, Failing, say
from client_server import galaxy as galaxy
from client_server import server as server

from gpulab.client import tus
from gpulab.client.errors import ServerError
from gpulab.client.galaxy import Galaxy
from gpulab.client.tus import TusUpload
from gpulab.errors import InputError


@pytest.fixture
def big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tus, "PIECE", 100_000)
    path = tmp_path / "big.h5"
    path.write_bytes(CONTENT)
    return path


def upload(galaxy: Galaxy, path: Path, folder: Path, **more: Any) -> TusUpload:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return TusUpload(galaxy, path, digest, "user", folder=folder, **more)


def sent(server: Failing) -> int:
    return sum(int(headers["Content-Length"]) for _, _, headers in server.asked("PATCH"))


def test_upload_in_pieces(server: Failing, galaxy: Galaxy, big: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    session = upload(galaxy, big, tmp_path / "notes").send(seen.append)
    assert server.uploads[session] == CONTENT
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == len(CONTENT)
    assert len(server.asked("PATCH")) == 11


def test_upload_goes_on_where_it_broke(
    server: Failing, galaxy: Galaxy, big: Path, tmp_path: Path
) -> None:
    server.breaks = [50_000, 0, 99_999]
    session = upload(galaxy, big, tmp_path / "notes").send(lambda size: None)
    assert server.uploads[session] == CONTENT
    assert len(server.uploads) == 1
    assert sent(server) < len(CONTENT) + 300_000


def test_upload_goes_on_in_another_run(
    server: Failing, galaxy: Galaxy, big: Path, tmp_path: Path
) -> None:
    class StoppedError(Exception):
        pass

    def stop(size: int) -> None:
        if size >= 500_000:
            raise StoppedError

    with pytest.raises(StoppedError):
        upload(galaxy, big, tmp_path / "notes").send(stop)
    assert all(KEY not in note.read_text() for note in (tmp_path / "notes").iterdir())
    server.requests.clear()
    second = upload(galaxy, big, tmp_path / "notes")
    assert server.uploads[second.send(lambda size: None)] == CONTENT
    assert sent(server) == len(CONTENT) - 500_000
    second.forget()
    assert list((tmp_path / "notes").iterdir()) == []


def test_file_that_begins_like_another_is_another(
    server: Failing, galaxy: Galaxy, big: Path, tmp_path: Path
) -> None:
    # tuspy would go on with the first file's upload: same size, same first 64 KiB.
    first = upload(galaxy, big, tmp_path / "notes")
    first.send(lambda size: None)
    other = tmp_path / "other.h5"
    other.write_bytes(CONTENT[:-10] + bytes(10))
    session = upload(galaxy, other, tmp_path / "notes").send(lambda size: None)
    assert server.uploads[session] == other.read_bytes()


def test_server_that_forgot_the_upload(
    server: Failing, galaxy: Galaxy, big: Path, tmp_path: Path
) -> None:
    upload(galaxy, big, tmp_path / "notes").send(lambda size: None)
    server.uploads["u0"] = bytearray()
    del server.uploads["u0"]
    session = upload(galaxy, big, tmp_path / "notes").send(lambda size: None)
    assert server.uploads[session] == CONTENT


def test_upload_that_makes_no_progress_ends(
    server: Failing, galaxy: Galaxy, big: Path, tmp_path: Path
) -> None:
    server.breaks = [0] * 1000
    with pytest.raises(ServerError, match=r"Gave up sending big\.h5"):
        upload(galaxy, big, tmp_path / "notes", patience=0.5).send(lambda size: None)


def test_upload_to_another_address_is_refused(
    server: Failing, galaxy: Galaxy, big: Path, tmp_path: Path
) -> None:
    server.answers["POST /api/upload/resumable_upload"] = [
        say(201, None, Location="http://evil.example/u1")
    ]
    with pytest.raises(InputError, match=r"uploads sent to http://evil\.example/u1"):
        upload(galaxy, big, tmp_path / "notes").send(lambda size: None)
    # Neither does a note on this computer lead there.
    note = upload(galaxy, big, tmp_path / "notes")._note
    note.parent.mkdir(exist_ok=True)
    note.write_text(json.dumps({"url": "http://evil.example/u1"}))
    assert upload(galaxy, big, tmp_path / "notes")._remembered() == ""


@pytest.mark.parametrize("note", ["", "[]", "{", '{"url": 5}', "\0"])
def test_damaged_note(
    server: Failing, galaxy: Galaxy, big: Path, tmp_path: Path, note: str
) -> None:
    first = upload(galaxy, big, tmp_path / "notes")
    first._note.parent.mkdir()
    first._note.write_text(note)
    assert server.uploads[first.send(lambda size: None)] == CONTENT


def test_file_that_shrinks(server: Failing, galaxy: Galaxy, big: Path, tmp_path: Path) -> None:
    shrinking = upload(galaxy, big, tmp_path / "notes")
    big.write_bytes(CONTENT[:150_000])
    with pytest.raises(InputError, match="became shorter"):
        shrinking.send(lambda size: None)
