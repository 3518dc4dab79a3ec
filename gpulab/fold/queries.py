"""The sequences to search and fold: read from an untrusted FASTA file, table or text, and checked.

A query is one structure: one chain, or several joined by colons. Its name can be used for files
and is different from every other's; what the user wrote stays as its label.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.errors import InputError
from gpulab.fold.query_files import named_sequences

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
UNKNOWN = "X"
MAX_FILE_BYTES = 16 << 20
MAX_NAME = 60
MAX_LABEL = 200
# A structure file has one letter or digit for a chain.
MAX_CHAINS = 62
# No protein of this length is made of four or five kinds of residues by chance.
DNA_LENGTH = 30

MIN_RESIDUES_VARIABLE = "COLABFOLD_AA_LENGTH_MIN"
MAX_RESIDUES_VARIABLE = "COLABFOLD_AA_LENGTH_MAX"
MAX_QUERIES_VARIABLE = "COLABFOLD_MAX_SEQUENCES"

_SPECIAL = {
    "B": "aspartate or asparagine, write D, N or X",
    "J": "leucine or isoleucine, write L, I or X",
    "O": "pyrrolysine, write K or X",
    "U": "selenocysteine, write C or X",
    "Z": "glutamate or glutamine, write E, Q or X",
    "-": "a gap, give the sequences without their alignment",
    ".": "a gap, give the sequences without their alignment",
    "*": "a stop codon in the middle, give the protein up to it",
    "/": "no residue, join chains with a colon",
}


@dataclass(frozen=True)
class Limits:
    """What the server's administrator allows.

    Attributes:
        min_residues: Residues that each chain has at least.
        max_residues: Residues that all chains of a query have at most together. The default is
            what 16 GB of GPU memory fold according to ColabFold's README.
        max_queries: Queries of one job at most.
    """

    min_residues: int = 4
    max_residues: int = 2000
    max_queries: int = 500

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] | None = None) -> Limits:
        """Read the limits from the environment variables of the job.

        Raises:
            InputError: A variable is set to something else than a whole number above 0.
        """
        values = os.environ if environ is None else environ
        return cls(
            min_residues=_whole(values, MIN_RESIDUES_VARIABLE, cls.min_residues),
            max_residues=_whole(values, MAX_RESIDUES_VARIABLE, cls.max_residues),
            max_queries=_whole(values, MAX_QUERIES_VARIABLE, cls.max_queries),
        )


@dataclass(frozen=True)
class Query:
    """One structure to be folded.

    Attributes:
        name: Different from every other query's, also without regard to case, and safe for files.
        label: The name as the user wrote it, printable, at most `MAX_LABEL` characters.
        chains: Residues of each chain in one-letter code, upper case, in the user's order.
        problem: Why it cannot be folded, as a sentence; empty where it can.
    """

    name: str
    label: str
    chains: tuple[str, ...]
    problem: str = ""

    @property
    def length(self) -> int:
        """Residues of all chains together."""
        return sum(map(len, self.chains))

    @property
    def is_complex(self) -> bool:
        """Whether it has several chains, also if they are copies of one sequence."""
        return len(self.chains) > 1


def read_queries(path: Path, label: str, limits: Limits | None = None) -> list[Query]:
    """Read queries from FASTA, from a table (tabs, commas or semicolons), or one bare sequence.

    A query that cannot be folded is among the result, with its `problem`, so that the others need
    not wait for it.

    Args:
        path: The untrusted file.
        label: Its name for messages.
        limits: What is allowed; by default what the job's environment variables say.

    Returns:
        The queries in the order of the file, of which at least one has no problem.

    Raises:
        InputError: The file is unreadable, holds no sequence, too many, or none without a problem.
    """
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InputError(
            f"The sequences {label!r} take {size >> 20} MiB, more than {MAX_FILE_BYTES >> 20} MiB, "
            f"split them into several data sets"
        )
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        raise InputError(f"The sequences {label!r} are compressed, decompress them first")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(f"The sequences {label!r} are no text, give FASTA or a table")
    return parse_queries(text, label, limits)


def parse_queries(text: str, label: str, limits: Limits | None = None) -> list[Query]:
    """Read queries from text, as `read_queries` does from a file.

    Raises:
        InputError: The text holds no sequence, too many, or none without a problem.
    """
    limits = Limits.of_environment() if limits is None else limits
    # Line ends of every system, but not the exotic ones that may stand inside a name.
    text = re.sub(r"\r\n?", "\n", text.removeprefix("\ufeff")).strip()
    if not text:
        raise InputError(f"The sequences {label!r} are empty, give at least one sequence")
    records = list(named_sequences(text, label, limits.max_queries))
    queries = _queries(records, limits)
    if all(query.problem for query in queries):
        others = f" (and {len(queries) - 1} more cannot be used either)" if queries[1:] else ""
        raise InputError(f"{queries[0].problem}{others}")
    return queries


def usable(queries: Iterable[Query]) -> list[Query]:
    """Return the queries that have no problem."""
    return [query for query in queries if not query.problem]


def write_fasta(queries: Sequence[Query], path: Path) -> dict[str, Query]:
    """Write queries for ColabFold, under names of ours: it takes whole headers for file names.

    Args:
        queries: Queries without a problem.
        path: FASTA file to write; chains are joined by colons.

    Returns:
        The queries by their names in the file, q0001, q0002 and so on.

    Raises:
        ValueError: A query has a problem.
    """
    if len(usable(queries)) != len(queries):
        raise ValueError("a query with a problem cannot be folded")
    numbered = {f"q{number:04d}": query for number, query in enumerate(queries, start=1)}
    lines = [f">{key}\n{':'.join(query.chains)}\n" for key, query in numbered.items()]
    path.write_text("".join(lines), encoding="ascii")
    return numbered


def safe_name(label: str) -> str:
    """Return the first word of a label with nothing but letters, digits, dot, dash, underscore."""
    words = label.split()
    return re.sub(r"[^A-Za-z0-9._-]+", "_", words[0] if words else "").strip("._-")[:MAX_NAME]


def unique_names(labels: Sequence[str]) -> list[str]:
    """Return a safe name for each label; a number tells equal and empty ones apart."""
    taken: set[str] = set()
    names = []
    for position, label in enumerate(labels, start=1):
        first = safe_name(label) or f"query_{position}"
        candidate, number = first, 1
        # Some file systems do not tell upper from lower case.
        while candidate.lower() in taken:
            number += 1
            candidate = f"{first}_{number}"
        taken.add(candidate.lower())
        names.append(candidate)
    return names


def _whole(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise InputError(
            f"The server's variable {name} is {text[:40]!r}, which is no whole number above 0, "
            f"tell the administrator"
        )
    return int(text)


def _queries(records: Sequence[tuple[str, str]], limits: Limits) -> list[Query]:
    labels = [_printable(name) for name, _ in records]
    queries = []
    for name, label, (_, text) in zip(unique_names(labels), labels, records, strict=True):
        sequence = "".join(text.split()).upper()
        # A translated gene ends in a star for its stop codon.
        chains = tuple(chain.removesuffix("*") for chain in sequence.split(":"))
        problem = _problem(label or name, chains, limits)
        queries.append(Query(name, label or name, chains, problem))
    return queries


def _printable(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_LABEL]


def _problem(label: str, chains: Sequence[str], limits: Limits) -> str:
    who = f"The query {label[:80]!r}"
    if not any(chains):
        return f"{who} has no sequence, give its residues or leave it out"
    if len(chains) > MAX_CHAINS:
        return f"{who} has {len(chains)} chains, a structure file holds at most {MAX_CHAINS}"
    length = sum(map(len, chains))
    if length > limits.max_residues:
        return (
            f"{who} has {length} residues, this server folds at most {limits.max_residues} (all "
            f"chains together), cut it into domains"
        )
    for number, chain in enumerate(chains, start=1):
        where = f"{who}, chain {number}," if len(chains) > 1 else who
        if problem := _chain_problem(where, chain, limits):
            return problem
    return ""


def _chain_problem(where: str, chain: str, limits: Limits) -> str:
    if not chain:
        return f"{where} is empty, put one colon between two chains and none at the ends"
    wrong = re.search(f"[^{RESIDUES}{UNKNOWN}]", chain)
    if wrong:
        sign = wrong.group()
        why = _SPECIAL.get(sign, "no residue, use the one-letter code of amino acids")
        return f"{where} holds {sign!r} at position {wrong.start() + 1}, which is {why}"
    if len(chain) < limits.min_residues:
        return (
            f"{where} has {len(chain)} residue(s), this server takes chains of at least "
            f"{limits.min_residues}"
        )
    if not set(chain) - {UNKNOWN}:
        return f"{where} holds nothing but X, give its residues"
    if len(chain) >= DNA_LENGTH and set(chain) <= set("ACGTN"):
        return f"{where} looks like DNA, translate it into amino acids first"
    return ""
