"""Runs small hostile programs as a notebook's kernel would run, for the tests of the sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gpulab.notebook.sandbox import (
    Isolation,
    kernel_command,
    kernel_environment,
    place_inputs,
)
from gpulab.notebook.sandbox.bubblewrap import Bubblewrap, find_bubblewrap

FOUND = find_bubblewrap(os.environ)
needs_bubblewrap = pytest.mark.skipif(
    not isinstance(FOUND, Bubblewrap), reason=f"no sandbox to test: {FOUND}"
)
OPEN = Isolation("open", reason="a test wants it")
KINDS = [pytest.param("bubblewrap", marks=needs_bubblewrap), "open"]

# Each program calls attempt() for what must not work, and the results come back as JSON.
PRELUDE = """
import json, os, sys
results = {}
def attempt(name, action):
    try:
        results[name] = ["worked", repr(action())[:2000]]
    except BaseException as error:
        results[name] = ["failed", type(error).__name__ + ": " + str(error)[:300]]
"""
POSTLUDE = """
with open("results.json", "w") as file:
    json.dump(results, file)
"""


def sandboxed() -> Isolation:
    """The sandbox that works here."""
    assert isinstance(FOUND, Bubblewrap)
    return Isolation("bubblewrap", bubblewrap=FOUND)


@dataclass
class Cage:
    """A job's folders, and a secret beside them."""

    top: Path
    isolation: Isolation
    inputs: Mapping[str, Path] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def __post_init__(self) -> None:
        self.work = self.top / "job one" / "notebook"
        self.scratch = self.top / "job one" / "scratch"
        self.sockets = self.top / "sockets"
        for folder in (self.work, self.scratch, self.sockets):
            folder.mkdir(parents=True)
        self.secret = self.top / "galaxy.yml"
        self.secret.write_text("database_connection: SECRET-OF-THE-SERVER")
        place_inputs(self.isolation, self.work, self.inputs)

    def command(self, code: str, *arguments: str) -> list[str]:
        return kernel_command(
            self.isolation,
            [sys.executable, "-c", textwrap.dedent(code), *arguments],
            work=self.work,
            scratch=self.scratch,
            sockets=self.sockets,
            inputs=self.inputs,
            environment=kernel_environment(self.environ, self.scratch),
        )

    def start(self, code: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(code, *arguments), start_new_session=True)

    def attempts(self, code: str, *arguments: object) -> dict[str, tuple[str, str]]:
        """Run attempts and return for each whether it worked or failed, and what it said."""
        whole = PRELUDE + textwrap.dedent(code) + POSTLUDE
        done = subprocess.run(
            self.command(whole, *(str(argument) for argument in arguments)),
            env={**os.environ, **self.environ},
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, self.log()
        results = self.work / "results.json"
        found = json.loads(results.read_text())
        results.unlink()
        return {name: (state, said) for name, (state, said) in found.items()}

    def log(self) -> str:
        return (self.scratch / "kernel.log").read_text()


def states(results: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    return {name: state for name, (state, _) in results.items()}


def cage_of(kind: str, top: Path, **more: object) -> Cage:
    return Cage(top, sandboxed() if kind == "bubblewrap" else OPEN, **more)  # type: ignore[arg-type]


def expected(kind: str) -> str:
    """Tell how a hostile attempt must end.

    Under bubblewrap it must fail, and in the open it must work: the second half of that sentence is
    what makes the first half a test.
    """
    return "failed" if kind == "bubblewrap" else "worked"


@pytest.fixture
def cage(tmp_path: Path) -> Cage:
    return Cage(tmp_path / "a server", sandboxed())
