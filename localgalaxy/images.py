"""Builds the image of `containers/notebook/` with podman; everything lies in `.venvs/containers/`.

Where an image of Python cannot be fetched, its base is made from Debian's packages.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from localgalaxy.console import LocalGalaxyError, step
from localgalaxy.environments import ensure_uv, environment
from localgalaxy.paths import LOCKS, ROOT, TOOLS, VENVS

FOLDER = VENVS / "containers"
PODMAN = FOLDER / "podman"
# Named by the checkout: two clones on one machine must not see each other's containers.
RUN_ROOT = Path("/run") / f"gpulab-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]}"
STAMP = FOLDER / "image.json"
CONTAINERFILE = ROOT / "containers" / "notebook" / "Containerfile"
LOCK = LOCKS / "notebook-cpu.txt"
BASE = "localhost/gpulab-base:bookworm"
PROGRAMS = ("podman", "runc", "debootstrap")

_WRAPPER = """\
#!/bin/sh
# podman with images and settings of its own, so that the user's are left alone.
CONTAINERS_CONF='{folder}/containers.conf' exec podman --root '{folder}/storage' \\
    --runroot {run_root} --tmpdir {run_root}/libpod "$@"
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


def image_name() -> str:
    """Return the image that the tool's XML names."""
    macros = (TOOLS / "run_jupyter_job" / "macros.xml").read_text(encoding="utf-8")
    version = re.search(r'<token name="@TOOL_VERSION@">([^<]+)</token>', macros)
    if version is None:
        raise LocalGalaxyError("macros.xml of run_jupyter_job has no @TOOL_VERSION@.")
    return f"quay.io/galaxy-gpu-lab/notebook:{version.group(1)}"


def podman(*arguments: str, check: bool = True) -> str:
    """Run podman and return what it printed.

    Raises:
        LocalGalaxyError: It failed, and `check` is true.
    """
    # Podman notes in its current folder that a container ran out of memory.
    return _run([str(PODMAN), *arguments], check=check, cwd=FOLDER)


def ensure_image() -> str:
    """Build the image when it is missing or out of date, and return its name."""
    name = image_name()
    _write_wrapper()
    wanted = {"image": name, "digest": _digest(CONTAINERFILE) + _digest(LOCK)}
    if _read_stamp() == wanted and podman("images", "--quiet", name, check=False).strip():
        return name
    if not podman("images", "--quiet", BASE, check=False).strip():
        _make_base()
    wheels = _fetch_wheels()
    with step(f"Building {name}"):
        podman(
            *("build", "--quiet", "--isolation", "chroot", "--ulimit", "nofile=1024:1024"),
            *("--build-arg", f"BASE={BASE}"),
            *("--build-arg", "PIP_ARGUMENTS=--no-index --find-links /wheels"),
            *("--volume", f"{wheels}:/wheels:ro"),
            *("--file", str(CONTAINERFILE), "--tag", name, str(ROOT)),
        )
    STAMP.write_text(json.dumps(wanted) + "\n", encoding="utf-8")
    return name


def _write_wrapper() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "containers.conf").write_text(_SETTINGS, encoding="utf-8")
    PODMAN.write_text(_WRAPPER.format(folder=FOLDER, run_root=RUN_ROOT), encoding="utf-8")
    PODMAN.chmod(0o755)


def _make_base() -> None:
    """Make a small Debian with Python, as `docker.io/library/python:3.11-slim-bookworm` is one."""
    tree = FOLDER / "base"
    archive = FOLDER / "base.tar"
    shutil.rmtree(tree, ignore_errors=True)
    try:
        with step("Making the base image with debootstrap"):
            packages = "--include=python3,python3-venv"
            _run(["debootstrap", "--variant=minbase", packages, "bookworm", str(tree)])
            _run(["tar", "-C", str(tree), "-cf", str(archive), "."])
            podman("import", "--quiet", str(archive), BASE)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        archive.unlink(missing_ok=True)


def _fetch_wheels() -> Path:
    """Fetch the packages out here, where the user's settings say from where."""
    wheels = FOLDER / "wheels"
    with step("Fetching the packages of the image"):
        python = ensure_uv().with_name("python")
        _run(
            [
                *(str(python), "-m", "pip", "download", "--quiet", "--only-binary", ":all:"),
                *("--python-version", "3.11", "--dest", str(wheels), "--requirement", str(LOCK)),
            ]
        )
    return wheels


def _run(command: Sequence[str], *, check: bool = True, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=environment(),
        cwd=cwd,
    )
    if check and done.returncode:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise LocalGalaxyError(f"`{' '.join(command)}` failed:\n{output}")
    return done.stdout


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_stamp() -> object:
    try:
        return json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
