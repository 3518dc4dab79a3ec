"""What an exit code says about how a kernel ended."""

from __future__ import annotations

import signal
from typing import Literal, NamedTuple

EndKind = Literal["ended", "memory", "crash", "killed", "failed"]


class End(NamedTuple):
    """How a process ended.

    Attributes:
        kind: `ended` by itself with code 0, `memory` (killed as the system does when memory ends),
            `crash` of native code, `killed` by another signal, `failed` with another code.
        sentence: The same for people.
    """

    kind: EndKind
    sentence: str


_CRASHES = {
    signal.SIGSEGV: "a segmentation fault",
    signal.SIGBUS: "a bus error",
    signal.SIGILL: "an instruction that this processor does not have",
    signal.SIGFPE: "an arithmetic fault",
    signal.SIGABRT: "an abort",
}


def describe_end(returncode: int | None) -> End:
    """Say what an exit code means.

    Args:
        returncode: As `subprocess` gives it (-9), or as a shell and bubblewrap do (137); None while
            the process runs.
    """
    if returncode is None:
        return End("killed", "The kernel does not answer any more.")
    if returncode == 0:
        return End("ended", "The notebook ended its own Python.")
    number = -returncode if returncode < 0 else returncode - 128
    if number == signal.SIGKILL:
        return End(
            "memory",
            "The kernel was killed from outside, most often because memory ran out: use less data"
            " at a time, a smaller batch, or a job with more memory.",
        )
    if number in _CRASHES:
        what = _CRASHES[signal.Signals(number)]
        return End("crash", f"The kernel crashed in native code with {what}.")
    if number == signal.SIGXFSZ:
        return End("killed", "The kernel was ended because it wrote a file larger than allowed.")
    if number in set(signal.Signals):
        name = signal.Signals(number).name
        return End("killed", f"The kernel was ended by the signal {name}.")
    return End("failed", f"The notebook ended its own Python with exit code {returncode}.")
