"""A running Galaxy with our tools, named by the environment; without one these tests are skipped.

`python3 -m localgalaxy test` starts one and sets the variables.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpulab.client.galaxy import Galaxy, connect
from gpulab.client.server import Server

URL, KEY = "GPULAB_TEST_GALAXY_URL", "GPULAB_TEST_GALAXY_KEY"


class Variables(dict[str, str]):
    """Environment variables; a failing test shows its arguments, and one of these is the key."""

    def __repr__(self) -> str:
        return f"Variables({sorted(self)})"


@pytest.fixture(scope="session")
def place() -> Server:
    """Address and key of the Galaxy."""
    if not os.environ.get(URL) or not os.environ.get(KEY):
        pytest.skip(f"no Galaxy is named by {URL} and {KEY}")
    return Server(os.environ[URL].rstrip("/"), os.environ[KEY])


@pytest.fixture(scope="session")
def galaxy(place: Server) -> Galaxy:
    """A connection to it."""
    connection, _ = connect(place)
    return connection


@pytest.fixture(autouse=True)
def environment(
    place: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The user's environment: server and key, an empty home, and a folder to work in."""
    variables = Variables(
        GALAXY_SERVER=place.url,
        GALAXY_API_KEY=place.key,
        HOME=str(tmp_path / "home"),
        XDG_CACHE_HOME=str(tmp_path / "home" / "cache"),
        no_proxy="127.0.0.1,localhost",
    )
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "home").mkdir()
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    yield variables
