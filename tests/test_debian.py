"""The Debian packages of the tests: what is missing is installed, or named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from localgalaxy import debian
from localgalaxy.console import LocalGalaxyError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which no program is found but those put into this folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(debian, "SYSTEM_FOLDERS", ())
    return tmp_path


def put(folder: Path, name: str, text: str = "#!/bin/sh\n") -> None:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / name).chmod(0o755)


def test_only_what_is_missing_is_named(bare: Path) -> None:
    assert debian.missing_packages() == list(debian.PACKAGES.values())
    put(bare, "podman")
    assert "podman" not in debian.missing_packages()
    assert "runc" in debian.missing_packages()


def test_without_apt_the_command_is_told(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert debian.install_packages() == 0
    assert "apt-get install podman runc" in capsys.readouterr().out


def test_apt_is_asked_for_what_is_missing_alone(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in debian.PACKAGES:
        put(bare, name)
    (bare / "munged").unlink()
    put(bare, "apt-get", f'#!/bin/sh\necho "$@" >> {bare}/asked\n')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert debian.install_packages() == 0
    asked = (bare / "asked").read_text(encoding="utf-8").splitlines()
    assert asked[0] == "update -qq"
    assert asked[1].split()[0] == "install"
    assert asked[1].split()[-1] == "munge"
    assert len(asked) == 2


def test_a_failure_of_apt_is_told(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bare, "apt-get", "#!/bin/sh\necho no such package >&2\nexit 100\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(LocalGalaxyError, match="no such package"):
        debian.install_packages()
