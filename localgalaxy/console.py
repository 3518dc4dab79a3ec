"""What the commands print: one line for each step, with its seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
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
    """A line that is rewritten on a terminal; elsewhere each change is a line of its own.

    Args:
        only_live: Print nothing where there is no terminal.
    """

    def __init__(self, *, only_live: bool = False) -> None:
        self._live = sys.stdout.isatty()
        self._silent = only_live and not self._live
        self._last = ""

    def show(self, text: str) -> None:
        """Show the text in place of what was shown before."""
        if self._silent or text == self._last:
            return
        self._last = text
        if self._live:
            print(f"\r\033[K{text[:160]}", end="", flush=True)
        else:
            print(text, flush=True)

    def end(self) -> None:
        """Leave the line so that the next print begins on a new one."""
        if self._live and self._last:
            print(flush=True)
        self._last = ""
