"""The outcome of one check, and the summary of many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from localgalaxy.console import say


@dataclass(frozen=True)
class Outcome:
    """One check: its name, whether it passed, how long it took, and why it failed.

    `lost` says that nothing was checked, because Galaxy lost what it needed before a job began.
    """

    name: str
    passed: bool
    seconds: float | None = None
    detail: str = ""
    lost: bool = False

    def show(self) -> None:
        """Print the outcome, with the reason below it when it failed."""
        mark = "ok    " if self.passed else "FAILED"
        time = "" if self.seconds is None else f" ({self.seconds:.0f} s)"
        say(f"{mark} {self.name}{time}")
        if not self.passed and self.detail:
            say("\n".join(f"       {line}" for line in self.detail.splitlines()))


def shown_one_by_one(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Print each outcome as soon as it is there."""
    for outcome in outcomes:
        outcome.show()
        yield outcome


def conclude(outcomes: Sequence[Outcome]) -> int:
    """Print the failures once more and the closing line; return the exit code."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if failed:
        say("\nFailed:")
        for outcome in failed:
            say(f"  {outcome.name}")
    say(f"\n{len(outcomes) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not outcomes else 0
