"""What the client does when a request fails: it asks again, looks for what it made, or gives up."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from client_server import KEY, Answer, Failing, Handler, hang_up, say
from client_server import galaxy as galaxy
from client_server import server as server

from gpulab.client.errors import ServerError
from gpulab.client.galaxy import Galaxy, connect
from gpulab.client.network import again, once
from gpulab.client.server import Server
from gpulab.client.submit import make_history
from gpulab.errors import InputError


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
