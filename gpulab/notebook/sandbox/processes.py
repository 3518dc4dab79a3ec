"""The processes of a kernel: finding them all, and ending them all."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

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


class Process(NamedTuple):
    """One line of the system's table of processes.

    Attributes:
        pid: Its number.
        parent: The number of its parent.
        zombie: Whether it has ended, and its parent has not taken notice.
        began: Clock ticks since the machine's start.
    """

    pid: int
    parent: int
    zombie: bool
    began: int


def all_processes() -> list[Process]:
    """Return every process that this one sees.

    A library's object for each process would cost seconds where thousands must be found.
    """
    found: list[Process] = []
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                with suppress(OSError, IndexError, ValueError):
                    text = Path(entry.path, "stat").read_bytes()
                    # A program's name, in brackets, may hold anything: begin behind the last one.
                    fields = text.rpartition(b")")[2].split()
                    zombie = fields[0] in (b"Z", b"X")
                    found.append(Process(int(entry.name), int(fields[1]), zombie, int(fields[19])))
    return found


class Family:
    """All processes of a kernel: it, those below it, and those that left it.

    A process that was started twice over (a daemon) is below nobody of the family any more. It is a
    child of this process then, if that became the reaper.

    Args:
        pid: The kernel's process id.
        spare: Children of this process that have nothing to do with the kernel. Those that began
            before the kernel are spared anyway.
    """

    def __init__(self, pid: int, spare: Collection[int] = ()) -> None:
        self.pid = pid
        self._adopts = is_reaper()
        self._spare = {*spare, pid}
        # Of a kernel that has ended and was waited for, the time of its start is not known.
        self._began = next((one.began for one in all_processes() if one.pid == pid), 0)

    def members(self) -> list[int]:
        """Return the numbers of the living members, the kernel first."""
        return [one.pid for one in self._all() if not one.zombie]

    def end(self) -> None:
        """Kill every member; returns when none is left.

        Raises:
            TimeoutError: One could not be killed, because the system holds it.
        """
        deadline = time.monotonic() + _PATIENCE
        while members := self.members():
            kill_all(members)
            self.reap()
            if time.monotonic() > deadline:
                some = ", ".join(str(pid) for pid in members[:10])
                raise TimeoutError(f"processes of the kernel could not be ended: {some}")
            time.sleep(0.01)
        self.reap()

    def _all(self) -> list[Process]:
        children: dict[int, list[Process]] = {}
        roots: list[Process] = []
        me = os.getpid()
        for one in all_processes():
            children.setdefault(one.parent, []).append(one)
            if one.pid == self.pid or (self._adopts and one.parent == me and self._is_new(one)):
                roots.append(one)
        roots.sort(key=lambda one: one.pid != self.pid)
        found: dict[int, Process] = {}
        while roots:
            one = roots.pop(0)
            if one.pid not in found:
                found[one.pid] = one
                roots += children.get(one.pid, [])
        return list(found.values())

    def _is_new(self, child: Process) -> bool:
        return child.pid not in self._spare and child.began >= self._began

    def reap(self) -> None:
        """Take notice of the ends of adopted processes; the kernel's own is its starter's.

        Until then they count in what the system allows: daemons that come and go would use it up.
        """
        me = os.getpid()
        for one in self._all():
            if one.zombie and one.parent == me and one.pid != self.pid:
                with suppress(ChildProcessError):
                    os.waitpid(one.pid, os.WNOHANG)


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


def kill_all(processes: Iterable[int]) -> None:
    """Kill processes so that none of them can start another one meanwhile.

    The first process of a namespace takes all others of it along, at once. Else each is stopped
    before any is killed: who is stopped cannot fork.
    """
    members = list(processes)
    first = [pid for pid in members[:3] if _is_first(pid)]
    if not first:
        _send(signal.SIGSTOP, members)
    _send(signal.SIGKILL, [*first, *members])


def _send(number: signal.Signals, processes: Iterable[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _is_first(pid: int) -> bool:
    """Tell whether a process has the number 1 in a namespace below ours."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        for line in status.splitlines():
            if line.startswith("NSpid:"):
                numbers = line.split()[1:]
                return len(numbers) > 1 and numbers[-1] == "1"
    return False
