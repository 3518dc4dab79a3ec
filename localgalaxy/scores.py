"""Shows a table of scores in the terminal."""

from __future__ import annotations

from pathlib import Path

POOLED = {"pooled", "all", "overall"}


def pooled_table(path: Path) -> str:
    """Return the header and the pooled rows of a tab-separated table, in aligned columns.

    Returns:
        An empty string when the table has no pooled rows, so is no table of scores.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    pooled = [row for row in rows[1:] if POOLED & {cell.strip().lower() for cell in row}]
    if not pooled:
        return ""
    shown = [rows[0], *([_short(cell) for cell in row] for row in pooled)]
    widths = [max(len(row[i]) for row in shown if i < len(row)) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in shown
    )


def _short(cell: str) -> str:
    """Return a number with four decimals, and anything else as it is."""
    if "." not in cell:
        return cell
    try:
        return f"{float(cell):.4f}"
    except ValueError:
        return cell
