"""Becomes the kernel: gives up what the kernel must not have, and runs the given command.

It is run by its path with `python -I -S`, before any code of a notebook is there, and imports
nothing but the standard library.

Usage: enter.py JSON COMMAND [ARGUMENT ...]. The JSON object has the keys `environment` (all
variables of the command), `folder` (where it runs), `log` (file of its output), `parent` (process
that it may not survive), `file_bytes` (largest file, or null) and `lock_privileges`.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
KEYCTL_JOIN_SESSION_KEYRING = 1
KEYCTL_NUMBERS = {"x86_64": 250, "aarch64": 219}


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started the kernel has ended")


def _forget_keys() -> None:
    """Leave the keyring of the server's session, in which Kerberos may keep tickets."""
    number = KEYCTL_NUMBERS.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, KEYCTL_JOIN_SESSION_KEYRING, None)


def _limit(file_bytes: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if file_bytes is not None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        if hard == resource.RLIM_INFINITY or file_bytes < hard:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    # When the machine's memory ends, the notebook goes first and no other process. Some containers
    # forbid to say so: their own memory limit holds.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _redirect(log: str) -> None:
    """Write the command's output into a file of the job, and close every other file.

    An open file of the server could be opened again by /proc/self/fd, for writing.
    """
    Path(log).unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW
    output = os.open(log, flags, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1024))


def main(arguments: list[str]) -> None:
    """Prepare this process and become the command."""
    settings: dict[str, Any] = json.loads(arguments[0])
    command = arguments[1:]
    _die_with(settings["parent"])
    _forget_keys()
    _limit(settings["file_bytes"])
    if settings["lock_privileges"]:
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _redirect(settings["log"])
    os.chdir(settings["folder"])
    os.execve(command[0], command, settings["environment"])  # noqa: S606 - a list, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
