"""What Galaxy's words for the state of a job mean to somebody who waits for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gpulab.client.errors import plain_text

Kind = Literal["waiting", "running", "ok", "failed", "paused", "cancelled"]

KINDS: Mapping[str, Kind] = {
    "new": "waiting",
    "resubmitted": "waiting",
    "upload": "waiting",
    "waiting": "waiting",
    "queued": "waiting",
    "running": "running",
    "stop": "running",  # asked to stop, still at it
    "ok": "ok",
    "error": "failed",
    "failed": "failed",
    "skipped": "failed",
    "paused": "paused",
    "deleting": "cancelled",
    "deleted": "cancelled",
    "stopped": "cancelled",
}
MEANINGS: Mapping[str, str] = {
    "new": "Galaxy prepares the job",
    "resubmitted": "Galaxy starts the job again elsewhere",
    "upload": "the data are on their way into the job",
    "waiting": "the job waits for its data",
    "queued": "the job waits for a computer",
    "running": "the job runs",
    "stop": "the job is being stopped",
    "ok": "the job succeeded",
    "error": "the job failed",
    "failed": "the job failed before it began",
    "skipped": "the job was skipped",
    "paused": "the job is paused",
    "deleting": "the job is being cancelled",
    "deleted": "the job was cancelled",
    "stopped": "the job was stopped",
}
DONE: frozenset[Kind] = frozenset({"ok", "failed", "cancelled"})

_CELL = re.compile(r"^cell (\d{1,6}) of (\d{1,6})\b(?::? *\w*, *[\d.]+ s)?[ …]*(.*)$")


@dataclass(frozen=True)
class CellProgress:
    """How far a notebook is, as its job printed.

    Attributes:
        cell: Number of the cell that runs or ran last, from 1; 0 before the first.
        cells: Number of code cells; 0 where it is not known.
        line: The last line that the job printed.
    """

    cell: int = 0
    cells: int = 0
    line: str = ""


def read_progress(text: str, before: CellProgress | None = None) -> CellProgress:
    """Read how far the notebook is from what the job printed.

    Args:
        text: What it printed since `before`; the last line may be unfinished.
        before: What was known.
    """
    known = before or CellProgress()
    cell, cells, line = known.cell, known.cells, known.line
    for printed in plain_text(text).split("\n"):
        match = _CELL.match(printed.strip())
        if match:
            cell, cells = int(match[1]), int(match[2])
            line = match[3].strip() or line
        elif printed.strip():
            line = printed.strip()
    return CellProgress(cell, cells, line)


@dataclass(frozen=True)
class JobStatus:
    """The state of a job.

    Attributes:
        state: Galaxy's word for it.
        kind: What it means for somebody who waits. "paused": Galaxy holds the job back until
            something else is put right. "cancelled": a person or an administrator ended it.
        progress: How far the notebook is.
        message: One sentence, with the reason of a pause.
    """

    state: str
    kind: Kind
    progress: CellProgress
    message: str

    @property
    def finished(self) -> bool:
        """Whether the state will not change any more."""
        return self.kind in DONE

    def __str__(self) -> str:
        parts = [self.message]
        if self.progress.cells and self.kind == "running":
            parts.append(f"cell {self.progress.cell} of {self.progress.cells}")
        if self.progress.line and self.kind == "running":
            parts.append(self.progress.line)
        return " · ".join(parts)


def kind_of(state: str) -> Kind:
    """Return what a state means; one that this client does not know is still on its way."""
    return KINDS.get(state, "waiting")


def meaning(state: str) -> str:
    """Return a sentence about a state."""
    return MEANINGS.get(state, f"the job is in the state {plain_text(state)!r}")
