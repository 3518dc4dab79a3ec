"""Keeps servers running for the time of a `with` block, and leaves nothing of them behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from localgalaxy.console import LocalGalaxyError, step
from localgalaxy.paths import KEEPER, shown

START_LIMIT = 600.0  # seconds; Galaxy needs about one hundred on a busy two-core machine
PATIENCE = 10.0  # seconds in which the programs and their children may end by themselves


@contextmanager
def running(
    name: str,
    programs: Sequence[Sequence[str]],
    answers: Callable[[], bool],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str],
    keep_open: Sequence[int] = (),
) -> Iterator[int]:
    """Start programs below one keeper, wait until they answer, and end them with the block.

    Args:
        name: What a person calls them.
        programs: Their command lines; when one ends, all end.
        answers: Tells whether they are up.
        log: The file that gets what they print.
        cwd: The folder in which they run.
        env: Their variables.
        keep_open: File descriptors that stay open until the last of their children has ended.

    Yields:
        The process id of the keeper.

    Raises:
        LocalGalaxyError: They ended or did not answer in time.
    """
    command = [sys.executable, "-I", str(KEEPER), str(os.getpid()), str(PATIENCE), *programs[0]]
    for program in programs[1:]:
        command += ["--", *program]
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for us alone: we decide when they end.
            start_new_session=True,
            pass_fds=keep_open,
        )
    try:
        with step(f"Starting {name}"):
            _wait_until_up(keeper, name, answers, log)
        yield keeper.pid
    finally:
        if keeper.poll() is None:
            with step(f"Stopping {name}"):
                keeper.terminate()
                keeper.wait()


def _wait_until_up(
    keeper: subprocess.Popen[bytes], name: str, answers: Callable[[], bool], log: Path
) -> None:
    deadline = time.monotonic() + START_LIMIT
    while not answers():
        if keeper.poll() is not None:
            raise LocalGalaxyError(f"{name} ended while it started.\n{log_tail(log)}")
        if time.monotonic() > deadline:
            raise LocalGalaxyError(f"{name} was not up after {START_LIMIT:.0f} s.\n{log_tail(log)}")
        time.sleep(0.5)


def log_tail(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log file, with its name above them."""
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join([f"The last lines of {shown(log)}:", *text])


def free_ports(count: int) -> list[int]:
    """Return ports of loopback on which nothing listens."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
