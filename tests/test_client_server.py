"""Which server and which key: nothing is contacted here."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from gpulab.client.server import Server, find_server
from gpulab.errors import InputError

KEY = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "bioblend.cfg"
    path.write_text(f"[galaxy]\nurl = https://file.example/\nkey = {KEY}\n")
    return path


def test_arguments_come_first(settings: Path) -> None:
    environ = {"GALAXY_SERVER": "https://environment.example", "GALAXY_API_KEY": OTHER}
    found = find_server("https://argument.example", "k1", environ=environ, config_files=[settings])
    assert (found.url, found.key) == ("https://argument.example", "k1")


@pytest.mark.parametrize(
    ("url_name", "key_name"),
    [("GALAXY_SERVER", "GALAXY_API_KEY"), ("GALAXY_URL", "API_KEY")],
)
def test_environment_comes_before_the_file(url_name: str, key_name: str, settings: Path) -> None:
    environ = {url_name: "https://environment.example/galaxy/", key_name: OTHER}
    found = find_server(environ=environ, config_files=[settings])
    assert (found.url, found.key) == ("https://environment.example/galaxy", OTHER)


def test_file_of_bioblend(settings: Path) -> None:
    found = find_server(environ={}, config_files=[settings])
    assert (found.url, found.key) == ("https://file.example", KEY)


def test_file_by_bioblends_own_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.cfg"
    path.write_text(f"[galaxy]\nurl = https://own.example\nkey = {KEY}\n")
    module = importlib.import_module("bioblend.config")
    monkeypatch.setattr(module, "BioBlendConfigLocations", [str(path)])
    assert find_server(environ={}).url == "https://own.example"


def test_key_with_a_percent_sign(tmp_path: Path) -> None:
    path = tmp_path / "bioblend.cfg"
    path.write_text("[galaxy]\nurl = https://file.example\nkey = 50%off%(x)s\n")
    assert find_server(environ={}, config_files=[path]).key == "50%off%(x)s"


def test_key_goes_to_no_other_server_than_its_own(settings: Path) -> None:
    environ = {"GALAXY_SERVER": "https://environment.example", "GALAXY_API_KEY": OTHER}
    with pytest.raises(InputError, match=r"no API key for https://argument\.example"):
        find_server("https://argument.example", environ=environ, config_files=[settings])
    # The same server in another spelling is the same server.
    found = find_server("https://FILE.example/", environ={}, config_files=[settings])
    assert found.key == KEY


def test_key_without_a_server_beside_it_is_for_any() -> None:
    found = find_server("https://a.example", environ={"API_KEY": KEY}, config_files=[])
    assert found.key == KEY


def test_key_is_not_shown() -> None:
    server = Server("https://a.example", KEY)
    assert KEY not in repr(server) and KEY not in str(server) and KEY not in f"{server}"


def test_broken_file_does_not_show_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "bioblend.cfg"
    path.write_text(f"key = {KEY}\nno section above\n")
    with pytest.raises(InputError) as caught:
        find_server(environ={}, config_files=[path])
    assert KEY not in str(caught.value)
    assert "cannot be read" in str(caught.value)
    # Nor does a traceback that Python prints with the reasons behind it.
    assert caught.value.__suppress_context__


def test_broken_file_that_is_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "bioblend.cfg"
    path.write_text("no section above\n")
    environ = {"GALAXY_URL": "https://a.example", "API_KEY": KEY}
    assert find_server(environ=environ, config_files=[path]).key == KEY


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://user:secret@a.example", "Give the address of a.example alone"),
        (f"https://a.example/?key={KEY}", "Give the address of a.example alone"),
        ("ftp://a.example", "must look like https"),
        ("file:///etc/passwd", "must look like https"),
        ("https://", "must look like https"),
        ("https://a.example:port", "is not one"),
    ],
)
def test_addresses_that_are_none(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find_server(url, KEY, environ={}, config_files=[])
    assert "secret" not in str(caught.value) and KEY not in str(caught.value)


def test_nothing_given() -> None:
    with pytest.raises(InputError, match="No Galaxy server is named"):
        find_server(environ={}, config_files=[])
    with pytest.raises(InputError, match="There is no API key"):
        find_server("https://a.example", environ={}, config_files=[])


def test_key_that_could_forge_a_header() -> None:
    with pytest.raises(InputError, match="holds characters"):
        find_server("https://a.example", "abc\r\nHost: b", environ={}, config_files=[])


@pytest.mark.parametrize(
    ("url", "clean", "warns"),
    [
        ("usegalaxy.example", "https://usegalaxy.example", False),
        ("localhost:8080", "http://localhost:8080", False),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080", False),
        ("http://[::1]:8080", "http://[::1]:8080", False),
        ("http://galaxy.example", "http://galaxy.example", True),
        ("http://127.0.0.1.evil.example", "http://127.0.0.1.evil.example", True),
        ("http://192.168.1.2", "http://192.168.1.2", True),
    ],
)
def test_unencrypted_addresses_are_told(url: str, clean: str, warns: bool) -> None:
    found = find_server(url, KEY, environ={}, config_files=[])
    assert found.url == clean
    assert bool(found.warning) is warns
    assert KEY not in found.warning
