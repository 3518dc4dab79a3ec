"""Runs podman with images and settings of this checkout; everything lies in `.venvs/containers/`.

The user's own images, containers and settings are neither seen nor changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from localgalaxy.environments import environment, run_quietly
from localgalaxy.paths import ROOT, VENVS

FOLDER = VENVS / "containers"
PODMAN = FOLDER / "podman"
# Named by the checkout: two clones on one machine must not see each other's containers.
RUN_ROOT = Path("/run") / f"gpulab-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]}"
PROGRAMS = ("podman", "runc", "debootstrap")

_WRAPPER = """\
#!/bin/sh
# {program} with images and settings of its own, so that the user's are left alone.
CONTAINERS_CONF='{folder}/containers.conf' exec {program} --root '{folder}/storage' \\
    --runroot {run_root} {more}"$@"
"""
# Explicit limits, because podman would raise them, which a process in a container may not do.
_SETTINGS = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=8192:8192"]
log_driver = "k8s-file"
"""


def missing() -> str:
    """Return in words what this machine lacks for containers, nothing if it lacks nothing."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"{' and '.join(lacking)} not found (Debian: apt-get install {' '.join(lacking)})"
    if os.geteuid() != 0:
        return "the base image is made with debootstrap, which only root can run"
    return ""


def write_wrapper(program: str = "podman") -> Path:
    """Write a program that is podman (or buildah) with our settings, and return its path."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "containers.conf").write_text(_SETTINGS, encoding="utf-8")
    path = FOLDER / program
    more = f"--tmpdir {RUN_ROOT}/libpod " if program == "podman" else ""
    text = _WRAPPER.format(program=program, folder=FOLDER, run_root=RUN_ROOT, more=more)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def podman(*arguments: str, check: bool = True) -> str:
    """Run podman and return what it printed.

    Raises:
        LocalGalaxyError: It failed, and `check` is true.
    """
    # Podman notes in its current folder that a container ran out of memory.
    return run([str(PODMAN), *arguments], check=check, cwd=FOLDER)


def run(command: Sequence[str], *, check: bool = True, cwd: Path = ROOT) -> str:
    """Run a program without the user's Python settings and return what it printed.

    Raises:
        LocalGalaxyError: It failed, and `check` is true; the message has its last lines.
    """
    if check:
        return run_quietly(command, cwd=cwd)
    return _run(command, cwd, subprocess.PIPE).stdout


def attempt(command: Sequence[str], cwd: Path) -> tuple[int, str]:
    """Run a program that may fail; return its exit code and all that it printed."""
    done = _run(command, cwd, subprocess.STDOUT)
    return done.returncode, done.stdout


def _run(command: Sequence[str], cwd: Path, errors: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        errors="replace",
        check=False,
        env=environment(),
        cwd=cwd,
    )
