"""The forms in which users write sequences: FASTA, tables, and a bare sequence."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

from gpulab.errors import InputError

_NAME_COLUMNS = ("id", "name")
_SEQUENCE_COLUMN = "sequence"


def named_sequences(text: str, label: str, limit: int) -> Iterator[tuple[str, str]]:
    """Yield what the user wrote as name and as sequence, chains still joined by colons.

    Args:
        text: FASTA, a table of names and sequences, or a bare sequence; lines end in a line feed.
        label: Its name for messages.
        limit: Number of sequences at most.

    Raises:
        InputError: The text is none of these, or holds more sequences.
    """
    pairs = _fasta(text) if text.startswith(">") else _table(text, label)
    for number, pair in enumerate(pairs, start=1):
        if number > limit:
            raise InputError(
                f"The sequences {label!r} are more than {limit}, which this server allows for one "
                f"job, split them into several data sets"
            )
        yield pair


def _fasta(text: str) -> Iterator[tuple[str, str]]:
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    yield from SimpleFastaParser(io.StringIO(text, newline="\n"))


def _table(text: str, label: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.split("\n") if line.strip()]
    delimiter = next((sign for sign in "\t,;" if sign in lines[0]), "")
    if not delimiter:
        yield _bare(lines, label)
        return
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"The table {label!r} cannot be read ({error}), give FASTA") from error
    name_column, sequence_column, has_header = _columns(rows[0])
    for number, row in enumerate(rows[has_header:], start=1 + has_header):
        if len(row) <= max(name_column, sequence_column):
            raise InputError(
                f"Row {number} of the table {label!r} has {len(row)} column(s), give a name and a "
                f"sequence in each"
            )
        yield row[name_column], row[sequence_column]
    if len(rows) == has_header:
        raise InputError(f"The table {label!r} has a header alone, give at least one sequence")


def _columns(first: Sequence[str]) -> tuple[int, int, bool]:
    """Return the numbers of the columns of names and sequences, and whether there is a header."""
    titles = [cell.strip().lower() for cell in first]
    if _SEQUENCE_COLUMN not in titles:
        return 0, 1, False
    sequence = titles.index(_SEQUENCE_COLUMN)
    other = 0 if sequence else min(1, len(titles) - 1)
    name = next((titles.index(title) for title in _NAME_COLUMNS if title in titles), other)
    return name, sequence, True


def _bare(lines: Sequence[str], label: str) -> tuple[str, str]:
    stripped = [line.strip() for line in lines]
    # A line of several words is prose or another format, not a sequence.
    if not all(re.fullmatch(r"[A-Za-z*:]+", line) for line in stripped):
        raise InputError(
            f"The sequences {label!r} are neither FASTA (lines with > and a name, then the "
            f"sequence) nor a table with the columns id and sequence, give one of these"
        )
    return "", "".join(stripped)
