"""What is noted while a notebook runs: the same words for who measures, draws and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CellState = Literal["done", "failed", "interrupted", "died", "skipped"]


@dataclass(frozen=True)
class Sample:
    """One look at the kernel and all processes below it.

    Attributes:
        seconds: Since the kernel was started.
        memory_bytes: Of all processes together; memory that they share is counted once where the
            system tells it (proportional set size).
        processes: How many there were.
        gpu_memory_bytes: Of these processes on all GPUs, None without a GPU.
        gpu_percent: How busy the GPUs were on average, 0 to 100, None without a GPU.
    """

    seconds: float
    memory_bytes: int
    processes: int
    gpu_memory_bytes: int | None = None
    gpu_percent: float | None = None


@dataclass(frozen=True)
class CellTime:
    """How long one code cell took.

    Attributes:
        number: Number of the code cell in the notebook, from 1.
        begin: Seconds since the kernel was started.
        seconds: Duration, 0 for a cell that did not run.
        state: How it ended.
    """

    number: int
    begin: float
    seconds: float
    state: CellState
