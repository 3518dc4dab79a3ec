"""What the client does when a download breaks off, or the server misleads it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from client_server import CONTENT, Answer, Failing, Handler, say
from client_server import galaxy as galaxy
from client_server import server as server

from gpulab.client.download import Downloader, free_name, safe_name
from gpulab.client.galaxy import Galaxy
from gpulab.errors import InputError


def serve(content: bytes, ranges: bool = True) -> Answer:
    def answer(handler: Handler) -> None:
        asked = handler.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and ranges else 0
        body = content[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.server.breaks:
            handler.wfile.write(body[: handler.server.breaks.pop(0)])
            handler.wfile.flush()
            handler.hang_up()
        else:
            handler.wfile.write(body)

    return answer


DATASET = {"id": "d1", "file_size": len(CONTENT)}
DISPLAY = "GET /api/datasets/d1/display"


@pytest.mark.parametrize("ranges", [True, False])
def test_download_after_a_broken_connection(
    server: Failing, galaxy: Galaxy, tmp_path: Path, ranges: bool
) -> None:
    server.answers[DISPLAY] = [serve(CONTENT, ranges)]
    server.breaks = [300_000, 10]
    Downloader(galaxy, show=False).fetch(DATASET, tmp_path / "new" / "a.h5")
    assert (tmp_path / "new" / "a.h5").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.h5"]
    starts = [headers.get("Range", "") for _, _, headers in server.requests]
    # What arrived in whole blocks of 64 KiB was kept.
    assert starts[:2] == ["", "bytes=262144-"]


def test_download_that_is_refused_leaves_nothing(
    server: Failing, galaxy: Galaxy, tmp_path: Path
) -> None:
    server.answers[DISPLAY] = [say(403, {"err_msg": "not yours"})]
    with pytest.raises(InputError, match="not yours"):
        Downloader(galaxy, show=False).fetch(DATASET, tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_download_of_another_size_leaves_the_old_file(
    server: Failing, galaxy: Galaxy, tmp_path: Path
) -> None:
    (tmp_path / "a.h5").write_bytes(b"earlier")
    server.answers[DISPLAY] = [serve(CONTENT[:-1])]
    with pytest.raises(InputError, match="where Galaxy says"):
        Downloader(galaxy, show=False).fetch(DATASET, tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == b"earlier"
    assert len(list(tmp_path.iterdir())) == 1


def test_download_from_a_store_elsewhere_goes_without_the_key(
    server: Failing, galaxy: Galaxy, tmp_path: Path
) -> None:
    with Failing(("127.0.0.1", 0), Handler) as store:
        store.answers, store.requests, store.breaks = {"GET /object": [serve(CONTENT)]}, [], []
        threading.Thread(target=store.serve_forever, daemon=True).start()
        server.answers[DISPLAY] = [say(302, None, Location=f"{store.url}/object?signature=1")]
        Downloader(galaxy, show=False).fetch(DATASET, tmp_path / "a.h5")
        store.shutdown()
    assert (tmp_path / "a.h5").read_bytes() == CONTENT
    assert "x-api-key" not in {name.lower() for name in store.requests[0][2]}


def test_download_is_not_sent_on_in_the_open(
    server: Failing, galaxy: Galaxy, tmp_path: Path
) -> None:
    server.answers[DISPLAY] = [say(302, None, Location="http://store.example/object")]
    with pytest.raises(InputError, match="is not encrypted"):
        Downloader(galaxy, show=False).fetch(DATASET, tmp_path / "a.h5")


def test_download_takes_the_place_of_a_link(
    server: Failing, galaxy: Galaxy, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / "a.h5").symlink_to(tmp_path / "precious")
    server.answers[DISPLAY] = [serve(CONTENT)]
    Downloader(galaxy, show=False).fetch(DATASET, tmp_path / "a.h5")
    assert (tmp_path / "precious").read_bytes() == b"mine"


HOSTILE = {
    "../../etc/passwd": "_.._etc_passwd",
    "/etc/passwd": "_etc_passwd",
    "..": "output",
    ".bashrc": "bashrc",
    "": "output",
    "a\0b\nc": "a_b_c",
    "C:\\Windows\\x": "C_Windows_x",
    "con.txt": "_con.txt",
    "x" * 400: "x" * 150,
    "é.csv": "é.csv",
    "results 1.csv": "results 1.csv",
    "a|b>c*?": "a_b_c_",
}


@pytest.mark.parametrize(("name", "safe"), HOSTILE.items())
def test_names_from_a_server(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_names_that_meet_in_one_folder() -> None:
    taken: set[str] = set()
    names = [free_name(name, taken) for name in ("a.csv", "A.csv", "a.csv", "a-2.csv", "b")]
    assert len({name.casefold() for name in names}) == 5
    assert names[:3] == ["a.csv", "A-2.csv", "a-3.csv"]


def test_hostile_collection_stays_in_its_folder(
    server: Failing, galaxy: Galaxy, tmp_path: Path
) -> None:
    def element(name: str, number: str) -> dict[str, Any]:
        return {"element_identifier": name, "element_type": "hda", "object": {"id": number}}

    inner = {
        "element_identifier": "../up",
        "element_type": "dataset_collection",
        "object": {"elements": [element("../../x", "d3")]},
    }
    server.answers["GET /api/dataset_collections/c1"] = [
        say(200, {"elements": [element("../evil", "d1"), element("/evil", "d2"), inner]})
    ]
    for number in ("d1", "d2", "d3"):
        dataset = {"id": number, "file_size": 3, "state": "ok", "extension": "../csv"}
        server.answers[f"GET /api/datasets/{number}"] = [say(200, dataset)]
        server.answers[f"GET /api/datasets/{number}/display"] = [serve(b"abc")]
    details = {"output_collections": {"../files": {"id": "c1"}}, "outputs": {}}
    target = tmp_path / "results"
    found = Downloader(galaxy, show=False).fetch_outputs(details, target, limit=1)
    assert list(found) == ["../files"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert all(target in path.parents for path in files)
