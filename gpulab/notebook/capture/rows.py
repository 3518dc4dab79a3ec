"""One line of the table of variables, as the kernel writes it and the tool reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Saved = Literal["arrays", "model", "no"]
ARRAYS_FILE = "arrays.h5"
ROWS_FILE = "variables.jsonl"
MODELS_FOLDER = "models"
MAX_TEXT = 500


@dataclass(frozen=True)
class Row:
    """What became of one variable.

    Attributes:
        name: Its name in the notebook.
        type: Its class, such as `numpy.ndarray`.
        shape: Its shape or length in words, such as `(150, 4)` or `3 items`; may be empty.
        size: Bytes as stored, before compression; None where unknown.
        saved: Where it went: into `arrays.h5`, into a model file of its own, or nowhere.
        where: The path in `arrays.h5`, or the name of the model's file; empty if it was not saved.
        note: Why it was not saved, what was left out, or how the model was compared.
        difference: Largest absolute difference between ONNX Runtime and the original model.
    """

    name: str
    type: str = ""
    shape: str = ""
    size: int | None = None
    saved: Saved = "no"
    where: str = ""
    note: str = ""
    difference: float | None = None


def one_line(text: str, length: int = MAX_TEXT) -> str:
    """Return a text as one short line of printable characters."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 2 * length])
    joined = " ".join(printable.split())
    return joined if len(joined) <= length else joined[: length - 1] + "…"


class RowFile:
    """The growing `variables.jsonl`: each line is on the disk as soon as it is written."""

    def __init__(self, folder: Path, planned: list[str]) -> None:
        """Start the file with the names of all variables, so that a reader sees what is missing."""
        self._path = folder / ROWS_FILE
        self._append({"planned": [one_line(name) for name in planned]}, "w")

    def add(self, row: Row) -> None:
        """Append a row; texts are cut to one short line each."""
        cells = asdict(row)
        texts = {key: one_line(cell) for key, cell in cells.items() if isinstance(cell, str)}
        self._append({**cells, **texts}, "a")

    def _append(self, content: dict[str, object], mode: str) -> None:
        with self._path.open(mode, encoding="utf-8") as file:
            file.write(json.dumps(content) + "\n")
