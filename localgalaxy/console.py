"""What the commands print: one line for each step, with its seconds."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class LocalGalaxyError(Exception):
    """Something that the person at the keyboard can do something about; the message says what."""


def say(text: str = "") -> None:
    """Print a line at once."""
    print(text, flush=True)


@contextmanager
def step(label: str) -> Iterator[None]:
    """Print what begins, and how long it took when it ends."""
    began = time.monotonic()
    print(f"{label} ... ", end="", flush=True)
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - began:.0f} s", flush=True)


class Progress:
    """Lines that are rewritten in place on a terminal; elsewhere each changed line is printed.

    Args:
        only_live: Print nothing where there is no terminal.
    """

    def __init__(self, *, only_live: bool = False) -> None:
        self._live = sys.stdout.isatty()
        self._silent = only_live and not self._live
        self._shown: list[str] = []

    def show(self, lines: Sequence[str]) -> None:
        """Show the lines in place of those that were shown before."""
        if self._silent or list(lines) == self._shown:
            return
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            up = f"\033[{len(self._shown)}A" if self._shown else ""
            # Up to the first of the old lines, and clear from there to the end of the screen.
            print(up + "\r\033[J" + "\n".join(line[:width] for line in lines), flush=True)
        else:
            for line in lines:
                if line not in self._shown:
                    print(line, flush=True)
        self._shown = list(lines)

    def end(self) -> None:
        """Leave the lines where they are."""
        self._shown = []
