"""Runs planemo from Galaxy's environment, without touching the user's own planemo settings."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from localgalaxy.environments import environment
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import GALAXY_VENV, ROOT, STATE, private_home


def command(*arguments: str) -> list[str]:
    """Return the command line of planemo with its files below `.galaxy/`."""
    home = STATE / "planemo"
    return [
        str(GALAXY_VENV / "bin" / "planemo"),
        "--directory",
        str(home),
        "--config",
        str(home / "planemo.yml"),
        *arguments,
    ]


def variables() -> dict[str, str]:
    """Return the variables with which planemo runs."""
    return environment(GALAXY_VENV, {"HOME": str(private_home()), "PYTHONWARNINGS": "ignore"})


def start(
    arguments: Sequence[str], output: IO[str], extra: Mapping[str, str]
) -> subprocess.Popen[str]:
    """Start planemo with more variables and its output going to a file."""
    return subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        env=variables() | dict(extra),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )


def check(
    name: str,
    arguments: Sequence[str],
    *,
    cwd: Path = ROOT,
    extra: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a planemo command that says by its exit code whether all is well."""
    return outcome_of(name, command(*arguments), cwd=cwd, extra=extra)


def outcome_of(
    name: str,
    program: Sequence[str],
    *,
    cwd: Path = ROOT,
    extra: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a program with planemo's variables; its exit code says whether all is well."""
    began = time.monotonic()
    done = subprocess.run(
        list(program),
        cwd=cwd,
        env=variables() | dict(extra or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Outcome(name, done.returncode == 0, time.monotonic() - began, done.stdout.strip())
