"""What the client does when the network or the server fails: a server on loopback fails to order.

Only failures are played here, which a real Galaxy would not do when asked to; all else is tested
against a real Galaxy in tests/galaxy.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gpulab.client import network, tus
from gpulab.client.download import Downloader, free_name, safe_name
from gpulab.client.errors import ServerError
from gpulab.client.galaxy import Galaxy, connect
from gpulab.client.network import again, once
from gpulab.client.server import Server
from gpulab.client.submit import make_history
from gpulab.client.tus import TusUpload
from gpulab.errors import InputError

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


def test_busy_and_broken_answers_are_asked_again(server: Failing, galaxy: Galaxy) -> None:
    server.answers["GET /api/x"] = [say(503), hang_up, say(502), say(429), say(200, {"a": 1})]
    assert galaxy.read("x", "reading") == {"a": 1}
    assert len(server.requests) == 5


def test_the_patience_has_an_end(server: Failing, galaxy: Galaxy) -> None:
    server.answers["GET /api/x"] = [say(503, {"err_msg": "busy"})]
    with pytest.raises(
        ServerError, match=r"Gave up reading after 1 s: the server answers 503 busy"
    ):
        again(lambda: galaxy.jobs._get(url=f"{galaxy.url}/x"), "reading", patience=1)


def test_a_server_that_never_answers(server: Failing, galaxy: Galaxy) -> None:
    waiting = threading.Event()
    server.answers["GET /api/x"] = [lambda handler: [None, waiting.wait(10)][0]]
    galaxy.timeout = (0.2, 0.2)
    with pytest.raises(ServerError, match="Gave up reading"):
        again(lambda: galaxy.jobs._get(url=f"{galaxy.url}/x"), "reading", patience=0.5)
    waiting.set()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (say(401, {"err_msg": "Provided API key is not valid."}), "does not accept the API key"),
        (say(400, {"err_msg": "no", "err_data": {"x": "bad"}}), r'\(400\): no \{"x": "bad"\}'),
        (say(403, {"err_msg": "not yours"}), r"\(403\): not yours"),
        (say(200, None), "ok"),
    ],
)
def test_refusals_are_not_asked_again(
    server: Failing, galaxy: Galaxy, answer: Answer, message: str
) -> None:
    server.answers["GET /api/x"] = [answer]
    if message == "ok":
        assert galaxy.read("x", "reading") is None
    else:
        with pytest.raises(InputError, match=message):
            galaxy.read("x", "reading")
    assert len(server.requests) == 1


def test_what_is_no_galaxy(server: Failing) -> None:
    def page(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "6")
        handler.end_headers()
        handler.wfile.write(b"<html>")

    server.answers["GET /api/users/current"] = [page]
    with pytest.raises(InputError, match="is no Galaxy"):
        connect(Server(server.url, KEY))


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpulab.client import galaxy

    monkeypatch.setattr(galaxy, "FIRST_PATIENCE", 0.3)
    with pytest.raises(
        ServerError, match=r"Gave up connecting to http://127\.0\.0\.1:9 "
    ) as caught:
        connect(Server("http://127.0.0.1:9", KEY))
    assert KEY not in str(caught.value)


def test_untrusted_certificate(tmp_path: Path, server: Failing) -> None:
    # A server without TLS cannot be trusted by https, and is not asked again without it.
    with pytest.raises(InputError, match="certificate cannot be trusted"):
        connect(Server(server.url.replace("http:", "https:"), KEY))


def test_lost_answer_of_a_request_that_succeeded(server: Failing, galaxy: Galaxy) -> None:
    made: list[str] = []

    def make_and_hang_up(handler: Handler) -> None:
        made.append(json.loads(handler.body())["name"])
        handler.hang_up()

    def find(handler: Handler) -> None:
        say(200, [{"id": "h1", "name": made[0]}])(handler)

    server.answers["POST /api/histories"] = [make_and_hang_up]
    server.answers["GET /api/histories"] = [find]
    server.answers["PUT /api/histories/h1"] = [say(200, {"id": "h1"})]
    assert make_history(galaxy, "CT  run") == "h1"
    assert len(made) == 1
    # The history was looked for by the mark that no other has, and then got its name.
    assert re.search(r"qv=CT\+run\+%28[0-9a-f]{32}%29", server.asked("GET /api/histories")[0][1])
    assert len(server.asked("PUT /api/histories/h1")) == 1


def test_lost_request_is_sent_again(server: Failing, galaxy: Galaxy) -> None:
    server.answers["POST /api/histories"] = [hang_up, say(503), say(200, {"id": "h2"})]
    server.answers["GET /api/histories"] = [say(200, [])]
    server.answers["PUT /api/histories/h2"] = [say(200, {"id": "h2"})]
    assert make_history(galaxy, "CT run") == "h2"
    assert len(server.asked("POST")) == 3
    assert len(server.asked("GET")) == 4  # twice after each failure


def test_what_was_never_sent_is_not_looked_for() -> None:
    looked = []
    galaxy = Galaxy(Server("http://127.0.0.1:9", KEY))
    with pytest.raises(ServerError):
        once(
            lambda: galaxy.histories.create_history("x"),
            lambda: looked.append(1),
            "making",
            patience=0.1,
        )
    assert looked == []


def test_the_key_does_not_follow_a_redirection(server: Failing, galaxy: Galaxy) -> None:
    with Failing(("127.0.0.1", 0), Handler) as other:
        other.answers, other.requests = {"GET /api/x": [say(200, {})]}, []
        threading.Thread(target=other.serve_forever, daemon=True).start()
        server.answers["GET /api/x"] = [say(302, None, Location=f"{other.url}/api/x")]
        with pytest.raises(InputError, match="sends requests on to"):
            galaxy.read("x", "reading")
        other.shutdown()
    assert other.requests == []


def test_the_key_is_nowhere(server: Failing, galaxy: Galaxy, capfd: Any, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    server.answers["GET /api/x"] = [say(500, {"err_msg": "broken"})]
    with pytest.raises(ServerError) as caught:
        galaxy.read("x", "reading")
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in repr(error) + str(error)
        error = error.__cause__ or error.__context__
    assert KEY not in repr(galaxy) + str(galaxy) + caplog.text + "".join(capfd.readouterr())
    assert all(KEY not in path for _, path, _ in server.requests)
    assert server.requests[0][2]["x-api-key"] == KEY


# --- uploads -------------------------------------------------------------------------------------


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


# --- downloads -----------------------------------------------------------------------------------


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
