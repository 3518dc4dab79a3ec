"""Rows for Galaxy's data tables, as a data manager hands them over."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from gpulab.errors import InputError

MANAGER_FILE = "data_manager.json"


def one_line(text: object, label: str) -> str:
    """Return a text that may stand in a column of a table.

    Args:
        text: What the administrator wrote.
        label: What the form calls it.

    Raises:
        InputError: It is empty, or holds a tab, a line break or another control character.
    """
    result = str(text or "").strip()
    if not result or not result.isprintable():
        raise InputError(f"{label} is empty or holds a tab or a line break: write one line of text")
    return result


def row_value(start: str, contents: Iterable[str]) -> str:
    """Return a value for a row that no other content has.

    Args:
        start: Something that people recognise.
        contents: Sums, or whatever else makes the row another one.
    """
    digest = hashlib.sha256("\n".join(contents).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9.]+', '_', start).strip('_').lower()}_{digest[:8]}"


def write_row(path: Path, table: str, row: Mapping[str, str]) -> None:
    """Write what Galaxy shall add to one of its data tables."""
    content = {"data_tables": {table: [dict(row)]}}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
