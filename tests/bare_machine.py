"""Runs a command of `localgalaxy` as on a machine that has none of the programs it needs."""

from __future__ import annotations

import subprocess
import sys

from localgalaxy.paths import ROOT


def said_on_a_bare_machine(command: str) -> str:
    """Return what the command printed, after it ended well."""
    done = subprocess.run(
        [sys.executable, "-m", "localgalaxy", command],
        env={"PATH": "/nonexistent"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
