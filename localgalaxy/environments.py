"""Makes the virtual environments from the lock files, once, with a pinned `uv`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from localgalaxy.console import LocalGalaxyError, step
from localgalaxy.paths import (
    DEPLOY_VENV,
    FOLD_VENV,
    GALAXY_VENV,
    LOCKS,
    NOTEBOOK_VENV,
    PULSAR_VENV,
    TOOLSHED_VENV,
    UNET_VENV,
    VENVS,
    shown,
)

UV_VERSION = "0.13.9"
UV_VENV = VENVS / "uv"
STAMP = ".locks.json"
# Where variables forbid Python to write bytecode, each start would compile all that it loads.
COMPILED = {"bytecode": "compiled"}

GALAXY_LOCKS = ("galaxy.txt",)
UNET_LOCKS = ("unet-cpu.txt",)
NOTEBOOK_LOCKS = ("notebook-cpu.txt",)
TEST_LOCKS = ("unet-cpu.txt", "notebook-cpu.txt", "test.txt")
FOLD_LOCKS = ("fold-cpu.txt",)
FOLD_TEST_LOCKS = ("fold-cpu.txt", "fold-test.txt")
TOOLSHED_LOCKS = ("toolshed.txt",)
DEPLOY_LOCKS = ("deploy.txt",)
PULSAR_LOCKS = ("pulsar.txt",)

SBOM_LOCKS = ("sbom.txt",)
# Wheels for Debian 12, on which the images are built.
_DEBIAN = ("--python-platform", "x86_64-manylinux_2_36")

# The test programs must not change the versions with which the tools run.
LOCK_SOURCES = {
    "galaxy.txt": ["locks/galaxy.in"],
    "toolshed.txt": ["locks/toolshed.in"],
    "deploy.txt": ["locks/deploy.in", "-c", "locks/galaxy.txt"],
    "unet-cpu.txt": [
        "pyproject.toml",
        *("--extra", "build"),
        *("--extra", "predict"),
        *("--extra", "train"),
    ],
    # The libraries of the segmentation tools in the same versions, and what runs a notebook.
    "notebook-cpu.txt": [
        "pyproject.toml",
        *("--extra", "build"),
        *("--extra", "predict"),
        *("--extra", "train"),
        *("--extra", "notebook"),
        *("-c", "locks/unet-cpu.txt"),
    ],
    # All but the folding tools, whose libraries want other versions of the same ones.
    "test.txt": [
        "pyproject.toml",
        *("--extra", "build"),
        *("--extra", "predict"),
        *("--extra", "train"),
        *("--extra", "notebook"),
        *("--extra", "client"),
        *("--extra", "test"),
        *("-c", "locks/notebook-cpu.txt"),
    ],
    "fold-cpu.txt": ["pyproject.toml", "--extra", "fold"],
    "fold-test.txt": [
        "pyproject.toml",
        *("--extra", "fold"),
        *("--extra", "test"),
        *("-c", "locks/fold-cpu.txt"),
    ],
    # Only in images: the same versions, with the libraries of CUDA in wheels.
    "unet-cuda.txt": [
        *("locks/unet-cuda.in", "pyproject.toml", "--overrides", "locks/cuda-instead.in"),
        *("--extra", "build"),
        *("--extra", "predict"),
        *("--extra", "train"),
        *("-c", "locks/unet-cpu.txt", "-c", "locks/cuda-12.in", *_DEBIAN),
    ],
    "notebook-cuda.txt": [
        *("locks/unet-cuda.in", "pyproject.toml", "--overrides", "locks/cuda-instead.in"),
        *("--extra", "build"),
        *("--extra", "predict"),
        *("--extra", "train"),
        *("--extra", "notebook"),
        *("-c", "locks/notebook-cpu.txt", "-c", "locks/unet-cuda.txt"),
        *("-c", "locks/cuda-12.in", *_DEBIAN),
    ],
    "fold-cuda.txt": [
        *("locks/fold-cuda.in", "pyproject.toml", "--extra", "fold"),
        *("-c", "locks/fold-cpu.txt", *_DEBIAN),
    ],
    "sbom.txt": ["locks/sbom.in"],
    "pulsar.txt": ["locks/pulsar.in"],
}


def environment(venv: Path | None = None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the user's variables as a program of `venv` shall see them.

    Variables that would leak the user's own Python into the environment are left out.
    """
    unwanted = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__"}
    result = {
        name: value
        for name, value in os.environ.items()
        if name not in unwanted and not name.startswith(("GALAXY_", "PLANEMO_"))
    }
    result["PYTHONNOUSERSITE"] = "1"
    if venv is not None:
        result["VIRTUAL_ENV"] = str(venv)
        result["PATH"] = os.pathsep.join([str(venv / "bin"), result.get("PATH", os.defpath)])
    result.update(extra or {})
    return result


def ensure_galaxy() -> None:
    """Make the environment of Galaxy and planemo when it is missing or its lock changed."""
    _ensure(GALAXY_VENV, GALAXY_LOCKS, "Galaxy and planemo")


def ensure_toolshed() -> None:
    """Make the environment of the Tool Shed when it is missing or its lock changed."""
    _ensure(TOOLSHED_VENV, TOOLSHED_LOCKS, "the Tool Shed")


def ensure_deployment() -> None:
    """Make the environment in which the files of `deploy/` are checked."""
    _ensure(DEPLOY_VENV, DEPLOY_LOCKS, "what checks deploy/")


def ensure_tools(*, with_tests: bool = False) -> None:
    """Make the environments in which the tools' jobs run.

    Args:
        with_tests: Whether the developers' programs, and all that the tests import, are wanted in
            the environments of the segmentation and the folding tools.
    """
    if with_tests:
        _ensure(UNET_VENV, TEST_LOCKS, "the tools' libraries and the test programs")
    else:
        _ensure(UNET_VENV, UNET_LOCKS, "the segmentation tools' libraries")
    _ensure(NOTEBOOK_VENV, NOTEBOOK_LOCKS, "the notebook tool's libraries")
    fold_locks = FOLD_TEST_LOCKS if with_tests else FOLD_LOCKS
    _ensure(FOLD_VENV, fold_locks, "the folding tools' libraries")


def _ensure(venv: Path, locks: Sequence[str], what: str) -> None:
    wanted = {name: _digest(LOCKS / name) for name in locks} | COMPILED
    stamp = _read_stamp(venv)
    if wanted.items() <= stamp.items() and (venv / "bin" / "python").exists():
        return
    # An environment that once held the test programs keeps them when a lock changes.
    names = sorted({*locks, *(name for name in stamp if (LOCKS / name).is_file())})
    uv = ensure_uv()
    with step(f"Installing {what} into {shown(venv)}"):
        stale = not (venv / "bin" / "python").exists()
        if stale:
            shutil.rmtree(venv, ignore_errors=True)
            run_quietly([str(uv), "venv", "--quiet", "--python", sys.executable, str(venv)])
        (venv / STAMP).unlink(missing_ok=True)
        run_quietly(
            [
                *(str(uv), "pip", "sync", "--quiet", "--compile-bytecode"),
                *(str(LOCKS / name) for name in names),
            ],
            environment(venv),
        )
        digests = {name: _digest(LOCKS / name) for name in names} | COMPILED
        (venv / STAMP).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def ensure_pulsar() -> None:
    """Make the environment of a Pulsar server."""
    _ensure(PULSAR_VENV, PULSAR_LOCKS, "Pulsar")


def ensure_uv() -> Path:
    """Make the environment of the pinned `uv` when it is missing, and return the program."""
    uv = UV_VENV / "bin" / "uv"
    if uv.exists() and _read_stamp(UV_VENV).get("uv") == UV_VERSION:
        return uv
    with step(f"Installing uv {UV_VERSION} into {shown(UV_VENV)}"):
        shutil.rmtree(UV_VENV, ignore_errors=True)
        made = subprocess.run(
            [sys.executable, "-m", "venv", str(UV_VENV)],
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
        )
        if made.returncode:
            shutil.rmtree(UV_VENV, ignore_errors=True)
            if "ensurepip" in made.stdout + made.stderr or "No module named venv" in made.stderr:
                raise LocalGalaxyError(
                    "This Python cannot make virtual environments: run"
                    " `apt-get install python3-venv` and start again."
                )
            raise LocalGalaxyError(f"python3 -m venv failed: {made.stderr.strip()}")
        pip = [str(UV_VENV / "bin" / "python"), "-m", "pip"]
        run_quietly(
            [*pip, "install", "--quiet", "--disable-pip-version-check", f"uv=={UV_VERSION}"]
        )
        (UV_VENV / STAMP).write_text(json.dumps({"uv": UV_VERSION}) + "\n", encoding="utf-8")
    return uv


def compile_locks() -> None:
    """Resolve every lock file anew from what `locks/*.in` and `pyproject.toml` allow.

    Hashes and addresses of package indexes are left out: a lock says which versions, and the user's
    own settings say from where.
    """
    uv = str(ensure_uv())
    form = ["--quiet", "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--upgrade"]
    for output, sources in LOCK_SOURCES.items():
        with step(f"Resolving locks/{output}"):
            command = [uv, "pip", "compile", *form, "--python-version", "3.11"]
            run_quietly([*command, *sources, "-o", f"locks/{output}"], cwd=LOCKS.parent)


def run_quietly(
    command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run a program and return what it printed, which is shown only when it fails.

    Args:
        command: The program and its arguments.
        env: Its variables; None is the user's without their Python settings.
        cwd: The folder in which it runs, the current one when None.

    Raises:
        LocalGalaxyError: It failed; the message has its last lines.
    """
    done = subprocess.run(
        list(command),
        env=dict(env) if env is not None else environment(),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise LocalGalaxyError(f"`{' '.join(command)}` failed:\n{output}")
    return done.stdout


def _digest(path: Path) -> str:
    if not path.is_file():
        raise LocalGalaxyError(f"The lock file {shown(path)} is missing: run `make locks`.")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_stamp(venv: Path) -> dict[str, str]:
    try:
        stamp = json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in stamp.items()}
