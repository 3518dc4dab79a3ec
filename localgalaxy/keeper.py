"""Runs one program and sees to it that nothing of it is left when it shall end.

Galaxy puts each job into a process group of its own, so ending Galaxy's group leaves jobs behind.
The keeper is the reaper of all descendants (Linux `PR_SET_CHILD_SUBREAPER`): whatever they do, they
stay below it in the process tree, and it ends them all when it is told to stop, when the program
ends, and when its own parent dies.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def die_with_parent(expected_parent: int) -> None:
    """Ask the kernel to end this process when its parent ends, however that happens."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != expected_parent:
        sys.exit(1)


def descendants(root: int) -> list[int]:
    """Return the process ids below `root`, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name of a program, in brackets, may hold blanks: count from the last bracket.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(0), [])
        found.extend(below)
        waiting.extend(below)
    return found


def _signal_all(processes: Sequence[int], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def end_descendants(patience: float) -> None:
    """End every process below this one: kindly, and after `patience` seconds for sure."""
    deadline = time.monotonic() + patience
    _signal_all(descendants(os.getpid()), signal.SIGTERM)
    while time.monotonic() < deadline:
        _reap()
        if not descendants(os.getpid()):
            return
        time.sleep(0.1)
    while left := descendants(os.getpid()):
        _signal_all(left, signal.SIGKILL)
        time.sleep(0.05)
        _reap()


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise SystemExit(0)


def split_commands(arguments: Sequence[str]) -> list[list[str]]:
    """Split a list at each `--` into command lines."""
    commands: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "--":
            commands.append([])
        else:
            commands[-1].append(argument)
    return commands


def main(arguments: Sequence[str]) -> None:
    """Keep programs running until one of them ends.

    Args:
        arguments: The process id of the parent, the seconds in which the programs may end by
            themselves, and their command lines with `--` between them.
    """
    die_with_parent(int(arguments[0]))
    patience = float(arguments[1])
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        programs = [subprocess.Popen(command) for command in split_commands(arguments[2:])]
        while all(program.poll() is None for program in programs):
            time.sleep(0.2)
    finally:
        # A second signal must not interrupt the cleaning up.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        end_descendants(patience)
    sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
