"""How well the sequences that were found cover a query, in numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

import numpy as np
import numpy.typing as npt

from gpulab.fold.a3m import GAP, Alignment, Rows
from gpulab.fold.queries import Query

# Sequences that share this much count as one, as in the AlphaFold2 paper (see `effective_depth`).
SAME_IDENTITY = 0.8
# AlphaFold2's accuracy falls off below a depth of about 30 (Jumper et al. 2021, figure 5a).
SHALLOW = 30
# Comparing all pairs of letters beyond this takes more than a few seconds on one core.
MAX_COMPARED = 4 * 10**9
BLOCK_BYTES = 1 << 26

COLUMNS = (
    "query",
    "label",
    "chain",
    "copies",
    "residues",
    "depth",
    "paired",
    "neff",
    "mean_identity",
    "mean_coverage",
    "shallow_residues",
    "note",
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ChainCoverage:
    """What one chain of a query has been found.

    Attributes:
        chain: Letter of the first copy of the chain.
        copies: How often the chain is in the query.
        residues: Its length.
        depth: Sequences with the chain itself.
        paired: Sequences of the query that cover several chains.
        neff: Effective depth, see `effective_depth`; NaN for a query that failed.
        mean_identity: Mean share of equal residues among the aligned ones, over the found
            sequences; NaN where none was found.
        mean_coverage: Mean share of the chain's positions that a found sequence covers; NaN where
            none was found.
        shallow: Positions that fewer than `SHALLOW` sequences cover.
        note: What is to be known about the row.
    """

    chain: str = ""
    copies: int = 0
    residues: int = 0
    depth: int = 0
    paired: int = 0
    neff: float = np.nan
    mean_identity: float = np.nan
    mean_coverage: float = np.nan
    shallow: int = 0
    note: str = ""


def measure(alignment: Alignment) -> list[ChainCoverage]:
    """Return the numbers of each different chain, in the order of the alignment."""
    found = []
    position = 0
    for chain in alignment.chains:
        hits = identities(chain.rows)[1:]
        covered = chain.rows != GAP
        neff, sampled = effective_depth(chain.rows)
        note = "neff was estimated from a sample of the sequences" if sampled else ""
        if chain.depth == 1:
            note = "no other sequence"
        found.append(
            ChainCoverage(
                chain=chain_letter(position),
                copies=chain.copies,
                residues=len(chain.sequence),
                depth=chain.depth,
                paired=alignment.paired,
                neff=neff,
                mean_identity=float(hits.mean()) if len(hits) else np.nan,
                mean_coverage=float(covered[1:].mean()) if len(hits) else np.nan,
                shallow=int((covered.sum(axis=0) < SHALLOW).sum()),
                note=note,
            )
        )
        position += chain.copies
    return found


def chain_letter(position: int) -> str:
    """Return the name of a chain as structure files have it: A to Z, a to z, 0 to 9."""
    return (ascii_uppercase + ascii_uppercase.lower() + "0123456789")[position]


def identities(rows: Rows) -> Floats:
    """Return the share of each row's residues that equal the first row's, shape (depth,)."""
    present = rows != GAP
    equal = (rows == rows[0]) & present
    return np.asarray(equal.sum(axis=1) / np.maximum(present.sum(axis=1), 1), np.float64)


def effective_depth(rows: Rows, max_compared: int = MAX_COMPARED) -> tuple[float, bool]:
    """Return the number of effective sequences, Neff.

    A sequence that n sequences (itself among them) resemble with an identity of at least 80 %
    counts 1/n. Identity is taken over the positions at which either has a residue. Neff is the
    median over the query's positions of the summed weights of the sequences that cover it: Jumper
    et al., Nature 596:583 (2021), figure 5a and its methods.

    Args:
        rows: Aligned sequences as letters, shape (depth, residues), uint8, the query first.
        max_compared: Letters that are compared at most; of deeper alignments a sample of the
            sequences stands for all, evenly drawn.

    Returns:
        Neff, at least 1, and whether it was estimated from a sample.
    """
    depth, residues = rows.shape
    sample = max(1, min(depth, max_compared // (depth * residues)))
    others = np.unique(np.linspace(0, depth - 1, sample).astype(int))
    counts = _neighbours(rows, rows[others]) * (depth / len(others))
    weights = 1.0 / np.maximum(counts, 1.0)
    per_position = weights @ (rows != GAP)
    return float(np.median(per_position)), len(others) < depth


def _neighbours(rows: Rows, others: Rows) -> Floats:
    """Return for each row how many of the others resemble it."""
    # A gap of one side never equals a gap of the other.
    left = np.where(rows == GAP, 0, rows).astype(np.uint8)
    right = np.where(others == GAP, 255, others).astype(np.uint8)
    left_present, right_present = (rows != GAP).astype(np.float32), (others != GAP)
    right_sizes = right_present.sum(axis=1)
    block = max(1, BLOCK_BYTES // others.size)
    counts = np.empty(len(rows))
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        equal = np.count_nonzero(left[part, None, :] == right[None], axis=2)
        both = left_present[part] @ right_present.T.astype(np.float32)
        either = left_present[part].sum(axis=1)[:, None] + right_sizes - both
        counts[part] = (equal >= SAME_IDENTITY * either).sum(axis=1)
    return counts


def write_coverage(path: Path, rows: Iterable[tuple[Query, Sequence[ChainCoverage]]]) -> None:
    """Write the table: a row for each different chain of a query, with tabs and a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for query, chains in rows:
            for chain in chains:
                writer.writerow([query.name, query.label.replace('"', "'"), *_cells(chain)])


def _cells(chain: ChainCoverage) -> list[str]:
    return [
        chain.chain,
        str(chain.copies),
        str(chain.residues),
        str(chain.depth),
        str(chain.paired),
        _number(chain.neff, 1),
        _number(chain.mean_identity, 3),
        _number(chain.mean_coverage, 3),
        str(chain.shallow),
        chain.note,
    ]


def _number(value: float, digits: int) -> str:
    return "NaN" if np.isnan(value) else f"{value:.{digits}f}"
