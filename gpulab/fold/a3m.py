"""Alignments in a3m: read from untrusted files, checked, split into the chains of the query.

Upper-case letters and dashes are positions of the query, lower-case letters are insertions between
them. A first line `#60,50<TAB>1,2` says that the query is a chain of 60 residues and two copies of
one of 50; without it the query is the first sequence, one chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpulab.errors import InputError
from gpulab.fold.queries import MAX_CHAINS, RESIDUES, UNKNOWN

MAX_FILE_BYTES = 512 << 20
GAP = ord("-")
# ColabFold numbers the chains of a query from here on, in the place of their names.
FIRST_CHAIN_NUMBER = 101

Rows = npt.NDArray[np.uint8]

_LOWER_CASE = b"abcdefghijklmnopqrstuvwxyz"
# What may stand in a found sequence: every letter, since databases hold B, J, O, U and Z.
_ALLOWED = re.compile(rb"[A-Z-]+")
_HEADER = re.compile(r"#([0-9]+(?:,[0-9]+)*)\t([0-9]+(?:,[0-9]+)*)")


@dataclass(frozen=True)
class ChainAlignment:
    """What was found for one chain.

    Attributes:
        sequence: The chain's residues.
        copies: How often the chain is in the structure.
        rows: Aligned sequences as letters, shape (depth, residues), uint8; the first is the chain
            itself, none stands there twice under the same name.
    """

    sequence: str
    copies: int
    rows: Rows

    @property
    def depth(self) -> int:
        """Number of sequences, with the chain itself."""
        return len(self.rows)


@dataclass(frozen=True)
class Alignment:
    """The alignment of a query.

    Attributes:
        chains: Each different chain, in the order of the file.
        paired: Sequences that cover several chains, without the query itself.
        has_header: Whether a first line says the lengths and copies of the chains.
        query_first: Whether the first row holds all chains.
    """

    chains: tuple[ChainAlignment, ...]
    paired: int
    has_header: bool
    query_first: bool

    @property
    def sequences(self) -> tuple[str, ...]:
        """Residues of every chain of the structure, copies one after the other."""
        return tuple(chain.sequence for chain in self.chains for _ in range(chain.copies))


def a3m_header(lengths: tuple[int, ...], copies: tuple[int, ...]) -> str:
    """Return the first line that tells ColabFold what the chains are."""
    return f"#{','.join(map(str, lengths))}\t{','.join(map(str, copies))}"


def read_a3m(path: Path, label: str) -> Alignment:
    """Read and check an alignment.

    Args:
        path: The untrusted file.
        label: Its name for messages.

    Raises:
        InputError: It is no alignment in a3m.
    """
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InputError(
            f"The alignment {label!r} takes {size >> 20} MiB, more than {MAX_FILE_BYTES >> 20} "
            f"MiB, filter it first"
        )
    return parse_a3m(path.read_bytes(), label)


def parse_a3m(content: bytes, label: str) -> Alignment:
    """Read and check an alignment, as `read_a3m` does from a file.

    Raises:
        InputError: It is no alignment in a3m.
    """
    # MMseqs2 ends each alignment of its databases with a zero byte.
    lines = content.replace(b"\0", b"").splitlines()
    header = _header(lines[0] if lines else b"", label)
    records = _records(lines, label)
    first = next(records, None)
    if first is None:
        raise InputError(
            f"The alignment {label!r} holds no sequence, give an a3m file whose first sequence is "
            f"the query"
        )
    width = len(_columns(first, label))
    lengths, copies = header or ((width,), (1,))
    if sum(lengths) != width:
        raise InputError(
            f"The alignment {label!r} says in its first line that the query has {sum(lengths)} "
            f"residues, but its first sequence has {width} positions, make it again"
        )
    names, matrix = _matrix(first, records, width, label)
    return _split(names, matrix, lengths, copies, header is not None, label)


def _header(line: bytes, label: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    text = line.decode("ascii", "replace")
    # HH-suite's files begin with `#A3M#`, which says nothing of chains.
    if not text.startswith("#") or "\t" not in text:
        return None
    match = _HEADER.fullmatch(text.rstrip())
    lengths, copies = (
        ([_number(n) for n in part.split(",")] for part in match.groups()) if (match) else ([], [])
    )
    whole = len(lengths) == len(copies) and min([*lengths, *copies, 1]) > 0
    if not lengths or not whole or sum(copies) > MAX_CHAINS:
        raise InputError(
            f"The first line of the alignment {label!r} must give the lengths and the copies of "
            f"its chains, such as #60,50, a tab, 1,2, and at most {MAX_CHAINS} chains"
        )
    return tuple(lengths), tuple(copies)


def _number(text: str) -> int:
    # Longer numbers are no lengths, and Python refuses to read very long ones.
    return int(text) if len(text) < 8 else 0


def _records(lines: list[bytes], label: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the letters of each sequence."""
    name: str | None = None
    parts: list[bytes] = []
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if stripped.startswith(b">"):
            if name is not None:
                yield name, b"".join(parts)
            name, parts = stripped[1:].decode("utf-8", "replace"), []
        elif stripped and not stripped.startswith(b"#"):
            if name is None:
                raise InputError(
                    f"Line {number} of the alignment {label!r} stands before the first name, give "
                    f"an a3m file, whose sequences each follow a line with > and a name"
                )
            parts.append(stripped)
    if name is not None:
        yield name, b"".join(parts)


def _columns(record: tuple[str, bytes], label: str) -> bytes:
    """Return what stands at the query's positions."""
    name, letters = record
    columns = letters.translate(None, _LOWER_CASE)
    if not _ALLOWED.fullmatch(columns):
        wrong = _ALLOWED.sub(b"", columns)[:1].decode("ascii", "replace")
        what = f"holds {wrong!r}" if wrong else "is empty"
        raise InputError(
            f"The sequence {name[:60]!r} in the alignment {label!r} {what}, in a3m there are "
            f"letters and dashes alone"
        )
    return columns


def _matrix(
    first: tuple[str, bytes], others: Iterator[tuple[str, bytes]], width: int, label: str
) -> tuple[list[str], Rows]:
    names, rows = [first[0]], [_columns(first, label)]
    for number, record in enumerate(others, start=2):
        columns = _columns(record, label)
        if len(columns) != width:
            raise InputError(
                f"The file {label!r} is no alignment: its sequence {number}, {record[0][:60]!r}, "
                f"has {len(columns)} positions and the first has {width}, give an a3m file, or "
                f"search with these sequences first"
            )
        names.append(record[0])
        rows.append(columns)
    return names, np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)


def _split(
    names: list[str],
    matrix: Rows,
    lengths: tuple[int, ...],
    copies: tuple[int, ...],
    has_header: bool,
    label: str,
) -> Alignment:
    parts = np.split(matrix, np.cumsum(lengths)[:-1], axis=1)
    covered = np.stack([(part != GAP).any(axis=1) for part in parts], axis=1)
    several = covered.sum(axis=1) > 1
    chains = []
    for number, part in enumerate(parts):
        own = [
            _name_of(name, number, paired=bool(p)) for name, p in zip(names, several, strict=True)
        ]
        chains.append(_chain(own, part, covered[:, number], number, copies[number], label))
    # A row of the query itself covers all chains: it is no pair that was found.
    paired = int(several[1:].sum())
    return Alignment(tuple(chains), paired, has_header, bool(covered[0].all()))


def _name_of(name: str, number: int, *, paired: bool) -> str:
    """Return a sequence's own name: rows of pairs have one for each chain, others have scores."""
    parts = name.split("\t")
    return parts[min(number, len(parts) - 1)] if paired else parts[0].split(" ")[0]


def _chain(
    names: list[str],
    part: Rows,
    covered: npt.NDArray[np.bool_],
    number: int,
    copies: int,
    label: str,
) -> ChainAlignment:
    # Without pairs ColabFold writes the chains one below the other, each with a row of its own.
    own_name = str(FIRST_CHAIN_NUMBER + number)
    own = 0 if covered[0] else next((i for i, name in enumerate(names) if name == own_name), 0)
    sequence = part[own].tobytes()
    if not set(sequence.decode("ascii")) <= set(RESIDUES + UNKNOWN):
        raise InputError(
            f"The first sequence of the alignment {label!r} must be the query, with the residues "
            f"of its chain {number + 1} and without gaps, put the query first"
        )
    kept: dict[tuple[str, bytes], int] = {}
    for row in np.flatnonzero(covered):
        content = part[row].tobytes()
        # The query stands there again at the head of each part of the file, under its number.
        if row != own and not (content == sequence and names[row].isdigit()):
            kept.setdefault((names[row], content), int(row))
    return ChainAlignment(sequence.decode("ascii"), copies, part[[own, *kept.values()]])


def normalised(content: bytes, alignment: Alignment) -> bytes:
    """Return an alignment as ColabFold reads it well: with first line and the query in one row.

    ColabFold takes the residues of all chains from the first row, but writes none that has them
    where chains are not paired.

    Args:
        content: The file.
        alignment: What was read from it.
    """
    text = content.replace(b"\0", b"")
    lengths = tuple(len(chain.sequence) for chain in alignment.chains)
    lines = text.splitlines()
    head: list[bytes] = []
    if alignment.has_header:
        head.append(lines.pop(0).strip())
    else:
        head.append(a3m_header(lengths, (1,)).encode())
    if not alignment.query_first:
        numbers = range(FIRST_CHAIN_NUMBER, FIRST_CHAIN_NUMBER + len(lengths))
        head.append(b">" + "\t".join(map(str, numbers)).encode())
        head.append("".join(chain.sequence for chain in alignment.chains).encode())
    return b"\n".join([*head, *lines]).rstrip() + b"\n"
