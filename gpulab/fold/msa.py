"""What a search gives for each query: an alignment, and on request template hits and AF3 input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpulab.errors import InputError
from gpulab.fold.a3m import FIRST_CHAIN_NUMBER, Alignment, normalised, parse_a3m
from gpulab.fold.queries import Query


@dataclass
class Found:
    """The result of a search for one query.

    Attributes:
        query: What was searched with.
        a3m: The alignment as a file's content; empty where the search failed.
        alignment: What was read from it.
        templates: Hits of template structures in MMseqs2's m8 columns; None where none were
            searched.
        af3: Input of AlphaFold3; None where it was not asked for.
        problem: Why there is no alignment, as a sentence; empty where there is one.
    """

    query: Query
    a3m: bytes = b""
    alignment: Alignment | None = None
    templates: bytes | None = None
    af3: dict[str, Any] | None = field(default=None, repr=False)
    problem: str = ""


def found(
    query: Query,
    a3m: bytes,
    *,
    templates: bytes | None = None,
    af3: dict[str, Any] | None = None,
) -> Found:
    """Check what a search gave for a query.

    Returns:
        The alignment in the form that ColabFold reads well; or a problem, where it is none or
        belongs to other sequences.
    """
    try:
        alignment = parse_a3m(a3m, query.label)
    except InputError as error:
        return Found(query, problem=f"The search gave no usable alignment: {error}")
    if alignment.sequences != grouped(query.chains):
        return Found(
            query,
            problem=f"The alignment that was found for {query.label[:80]!r} belongs to other "
            f"sequences, run the search again",
        )
    text = normalised(a3m, alignment)
    return Found(query, text, parse_a3m(text, query.label), templates, _named(af3, query))


def grouped(chains: Sequence[str]) -> tuple[str, ...]:
    """Return chains as ColabFold orders them: copies of one sequence stand together."""
    return tuple(chain for chain in unique(chains) for _ in range(chains.count(chain)))


def unique(chains: Sequence[str]) -> list[str]:
    """Return the different chains in the order in which they come first."""
    return list(dict.fromkeys(chains))


def alone(query: Query, *, with_af3: bool) -> Found:
    """Return an alignment of the query with nothing but itself."""
    unpaired = [
        f">{number}\n{chain}\n"
        for number, chain in enumerate(unique(query.chains), start=FIRST_CHAIN_NUMBER)
    ]
    a3m, af3 = assemble(query.chains, unpaired, None)
    return found(query, a3m.encode(), af3=af3 if with_af3 else None)


def assemble(
    chains: Sequence[str], unpaired: list[str] | None, paired: list[str] | None
) -> tuple[str, dict[str, Any]]:
    """Join the alignments of the chains into ColabFold's a3m and into AlphaFold3's input.

    Args:
        chains: All chains of the query.
        unpaired: An a3m for each different chain, or None.
        paired: The same with rows of one organism in one line, or None.
    """
    from colabfold.input import msa_to_str
    from colabfold.utils import AF3Utils

    different = unique(chains)
    copies = [chains.count(chain) for chain in different]
    a3m: str = msa_to_str(unpaired, paired, different, copies)
    af3: dict[str, Any] = AF3Utils("query", different, copies, unpaired, paired).content
    return a3m, af3


def _named(af3: dict[str, Any] | None, query: Query) -> dict[str, Any] | None:
    return None if af3 is None else {**af3, "name": query.name}


def read_optional(path: Path) -> bytes | None:
    """Return a file's content, or None where there is none."""
    return path.read_bytes() if path.is_file() else None


def count(number: int, one: str, many: str) -> str:
    """Return a number with the noun that fits it."""
    return f"{number} {one if number == 1 else many}"
