"""Turns a function that says what is wrong into an outcome."""

from __future__ import annotations

import time
from collections.abc import Callable

from localgalaxy.console import LocalGalaxyError
from localgalaxy.outcomes import Outcome


def check(name: str, action: Callable[[], str]) -> Outcome:
    """Run a check that returns what is wrong, or nothing."""
    began = time.monotonic()
    try:
        wrong = action()
    except LocalGalaxyError as error:
        wrong = str(error)
    return Outcome(name, not wrong, time.monotonic() - began, wrong)
