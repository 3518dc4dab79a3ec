"""The processes of a kernel: finding them all, and ending them all."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
_PATIENCE = 30.0  # seconds in which killed processes must be gone


def become_reaper() -> None:
    """Let processes whose parents end become children of this process (Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def is_reaper() -> bool:
    """Tell whether `become_reaper` was called in this process."""
    value = ctypes.c_int(0)
    ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(value), 0, 0, 0)
    return value.value == 1


class Family:
    """All processes of a kernel: it, those below it, and those that left it.

    A process that was started twice over (a daemon) is below nobody of the family any more. It is a
    child of this process then, if that became the reaper.

    Args:
        pid: The kernel's process id.
        spare: Children of this process that have nothing to do with the kernel.
    """

    def __init__(self, pid: int, spare: Collection[int] = ()) -> None:
        self.pid = pid
        self._adopts = is_reaper()
        self._spare = {os.getpid(), *spare}
        try:
            self._began = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            self._began = 0.0

    def members(self) -> list[psutil.Process]:
        """Return the living members, the kernel first."""
        found: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            kernel = psutil.Process(self.pid)
            found = [kernel, *kernel.children(recursive=True)]
        if self._adopts:
            for child in psutil.Process().children():
                if child.pid != self.pid and self._is_adopted(child):
                    found.append(child)
                    with suppress(psutil.NoSuchProcess):
                        found += child.children(recursive=True)
        return [process for process in found if _lives(process)]

    def end(self) -> None:
        """Kill every member; returns when none is left.

        Raises:
            TimeoutError: One could not be killed, because the system holds it.
        """
        deadline = time.monotonic() + _PATIENCE
        while members := self.members():
            kill_all(members)
            self._reap()
            if time.monotonic() > deadline:
                names = ", ".join(str(process.pid) for process in members)
                raise TimeoutError(f"processes of the kernel could not be ended: {names}")
            time.sleep(0.01)
        self._reap()

    def _is_adopted(self, child: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):
            return child.pid not in self._spare and child.create_time() >= self._began
        return False

    def _reap(self) -> None:
        """Take notice of the ends of adopted processes; the kernel's own is its starter's."""
        if not self._adopts:
            return
        for child in psutil.Process().children():
            if child.pid != self.pid and self._is_adopted(child) and not _lives(child):
                with suppress(ChildProcessError):
                    os.waitpid(child.pid, os.WNOHANG)


def end_all(pid: int, spare: Collection[int] = ()) -> None:
    """End the kernel and every process that came from it; none is left when this returns.

    Args:
        pid: The kernel's process id; it may have ended.
        spare: Children of this process that have nothing to do with the kernel. All others that
            began after the kernel are ended, if this process is a reaper (`become_reaper`).

    Raises:
        TimeoutError: A process could not be killed, because the system holds it.
    """
    Family(pid, spare).end()


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kill processes so that none of them can start another one meanwhile.

    The first process of a namespace takes all others of it along, at once. Else each is stopped
    before any is killed: who is stopped cannot fork.
    """
    members = list(processes)
    first = [process for process in members if _is_first(process)]
    for number, targets in (
        (signal.SIGKILL, first),
        (signal.SIGSTOP, [process for process in members if process not in first]),
        (signal.SIGKILL, members),
    ):
        for process in targets:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.send_signal(number)


def _is_first(process: psutil.Process) -> bool:
    """Tell whether a process has the number 1 in a namespace below ours."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == "1"
    return False


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
