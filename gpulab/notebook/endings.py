"""How a run of a notebook can end, and saying it in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nbclient.exceptions import CellExecutionError

from gpulab.notebook.cells import JobClient, plain
from gpulab.notebook.records import CellState, CellTime, Sample
from gpulab.notebook.sandbox import describe_end

# Exceptions with which libraries say that the memory of the machine or of the GPU is used up.
MEMORY_ERRORS = frozenset({"MemoryError", "OutOfMemoryError", "ResourceExhaustedError"})

Ending = Literal["done", "failed", "time", "stopped", "died", "memory", "processes", "disk"]


@dataclass
class Run:
    """What a run has come to.

    Attributes:
        ending: How it ended.
        sentence: The same for people; empty if all is well.
        left: Whether the notebook ended itself in order by `sys.exit(0)`.
        traceback: Of the cell that failed, without colours.
        cells: Time and state of each code cell.
        samples: Memory and GPU over time.
        notes: What else must be said, such as variables that could not be saved.
        seconds: How long the kernel lived.
    """

    ending: Ending = "done"
    sentence: str = ""
    left: bool = False
    traceback: str = ""
    cells: list[CellTime] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def note_failure(error: CellExecutionError, number: int, run: Run) -> CellState:
    """Note how a cell failed, or that it ended the notebook in order, and return its state.

    Args:
        error: What Jupyter says of the cell.
        number: The cell's number among the code cells, from 1.
        run: Where it is noted.
    """
    if error.ename == "SystemExit" and str(error.evalue) in ("", "0", "None"):
        run.left = True
        return "done"
    run.ending = "memory" if error.ename in MEMORY_ERRORS else "failed"
    run.sentence = f"Cell {number} failed: {_in_words(error)}"
    run.traceback = plain(str(error.traceback))
    return "failed"


def _in_words(error: CellExecutionError) -> str:
    if error.ename == "StdinNotImplementedError":
        return "it asks for input, and nobody is there to answer: use a parameter instead"
    value = plain(str(error.evalue)).strip().splitlines()
    return f"{error.ename}: {value[0] if value else ''}".rstrip(": ")


def note_death(client: JobClient, run: Run, status: int, breaches: Mapping[Ending, str]) -> None:
    """Note why the kernel ended before the notebook did.

    Args:
        client: It knows whether the cell was interrupted before.
        run: Where it is noted; its last cell is the one in which the kernel ended.
        status: Exit status of the kernel's process, negative for a signal.
        breaches: Limits that were passed, and for which the watch ended it.
    """
    place = f"Cell {len(run.cells)}" if run.cells else "Before the first cell"
    if client.interruption:
        run.ending = "stopped" if client.guard.stopped else "time"
        run.sentence = f"{client.interruption}, and did not end when it was interrupted"
    elif breaches:
        run.ending, sentence = next(iter(breaches.items()))
        run.sentence = f"{place}: {sentence}"
    else:
        kind, sentence = describe_end(status)
        run.ending = "memory" if kind == "memory" else "died"
        run.sentence = f"{place}: {sentence}"
    run.notes.append("No variable could be saved, because Python had ended")
