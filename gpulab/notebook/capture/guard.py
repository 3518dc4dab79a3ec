"""Keeping one hostile or broken variable from costing the others: time limits and safe texts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpulab.notebook.capture.rows import one_line

# An object may swallow the first alarm in a loop of its own.
_REPEAT_SECONDS = 5.0


class UnsaveableError(Exception):
    """A value cannot be saved; the text is the reason, as it stands in the table."""


class TooManyError(UnsaveableError):
    """A value needs too many objects of a file; leaving out some of its items would not help."""


class TimeUp(BaseException):
    """A variable took too long. No `Exception`, so that an object's own handlers let it pass."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeUp` in the body once it took this long.

    It works in the main thread alone, where a kernel runs its cells, and between two steps of
    Python: a call into compiled code that does not return is left to the job's own time limit.

    Raises:
        TimeUp: The body took longer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, _REPEAT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        # None stands for a handler that was not made by Python.
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def error_text(error: BaseException) -> str:
    """Return an exception as one short line, whatever its own `__str__` does."""
    kind = type(error).__name__
    try:
        with time_limit(5):
            lines = [line for line in str(error).splitlines() if line.strip()]
    except (Exception, TimeUp):  # noqa: BLE001  the exception's class belongs to the user
        return kind
    text = one_line(lines[0], 200) if lines else ""
    return text if isinstance(error, UnsaveableError) else f"{kind}: {text}" if text else kind


def is_a(value: object, classes: type | tuple[type, ...]) -> bool:
    """Tell whether a value is of a class, by its real class: what it claims to be may be code."""
    return issubclass(type(value), classes)


def type_name(value: object) -> str:
    """Return the class of a value, such as `int`, `numpy.ndarray` or `MyModel`."""
    cls = type(value)
    try:
        module, name = str(cls.__module__).split(".")[0], str(cls.__qualname__)
    except Exception:  # noqa: BLE001  a metaclass may raise anything
        return "?"
    return one_line(name if module in ("builtins", "__main__") else f"{module}.{name}", 120)


def shape_text(value: object) -> str:
    """Return the shape or the length of a value in words, empty where it has none."""
    if isinstance(value, dict | list | tuple | set | frozenset):
        return f"{len(value)} item{'' if len(value) == 1 else 's'}"
    if isinstance(value, str | bytes | bytearray):
        return f"{len(value)} {'characters' if isinstance(value, str) else 'bytes'}"
    try:
        shape: Any = getattr(value, "shape", None)
        lengths = [str(int(length)) for length in shape] if shape is not None else None
    except Exception:  # noqa: BLE001  a property of the user's class
        return ""
    return "" if lengths is None else f"({', '.join(lengths)})"


def size_of(value: object) -> int | None:
    """Return how many bytes of data an array-like value holds, None where it does not say."""
    try:
        size: Any = getattr(value, "nbytes", None)
    except Exception:  # noqa: BLE001  a property of the user's class, or of a sparse tensor
        return None
    return size if type(size) is int and size >= 0 else None


def is_large(value: object, limit: int) -> bool:
    """Tell whether an array has more bytes than this; no code of the user is run."""
    return is_a(value, np.ndarray) and np.ndarray.nbytes.__get__(value) > limit
