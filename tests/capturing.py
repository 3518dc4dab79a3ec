"""Captures variables and reads back what was written, for the tests of capturing."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from gpulab.notebook.capture import capture
from gpulab.notebook.capture.load import load_variables

Rows = dict[str, dict[str, Any]]


def rows_of(folder: Path) -> Rows:
    """Return the rows of the table by name."""
    lines = (folder / "variables.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["name"]: row for row in rows if "name" in row}


def captured(folder: Path, **variables: Any) -> Rows:
    """Capture variables; return the rows of the table by name."""
    capture(variables, str(folder))
    return rows_of(folder)


def saved(tmp_path: Path, **variables: Any) -> tuple[Rows, dict[str, Any]]:
    """Capture variables; return the rows and the values read back."""
    folder = tmp_path / f"captured-{time.monotonic_ns()}"
    rows = captured(folder, **variables)
    arrays = folder / "arrays.h5"
    return rows, load_variables(arrays) if arrays.exists() else {}
