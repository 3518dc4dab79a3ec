"""What the user chose for a search, and what the administrator registered."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gpulab.errors import InputError
from gpulab.fold.databases import Databases, present
from gpulab.fold.queries import Query, parse_queries, read_queries

# What Galaxy wrote of the rows of its data tables that the form's choices stand for. They are the
# administrator's words: a path or an address never comes out of the form.
TABLES_FILE = "tables.json"
LOAD_MODE_VARIABLE = "COLABFOLD_DB_LOAD_MODE"
GPU_SERVER_VARIABLE = "COLABFOLD_GPU_SERVER"
CONTACT_VARIABLE = "COLABFOLD_CONTACT"
PATIENCE_VARIABLE = "COLABFOLD_SERVER_MINUTES"
DEFAULT_PATIENCE = 240

PairMode = Literal["unpaired_paired", "paired", "unpaired"]
PairStrategy = Literal["greedy", "complete"]


@dataclass(frozen=True)
class Pairing:
    """How sequences of the chains of a complex are put together.

    Attributes:
        mode: Whether rows of one organism are joined (`paired`), kept apart, or both.
        strategy: Whether all chains (`complete`) or at least two (`greedy`) must have a sequence
            of that organism.
    """

    mode: PairMode = "unpaired_paired"
    strategy: PairStrategy = "greedy"


@dataclass(frozen=True)
class LocalSearch:
    """A search with MMseqs2 on this server.

    Attributes:
        name: What the administrator calls the database.
        folder: Where it lies.
        uniref: Prefix of the clustered sequences with taxonomy.
        environmental: Prefix of the environmental sequences; empty to leave them out.
        templates: Prefix of the sequences of known structures; empty to leave them out.
        prefilter: 0 for k-mers, 1 for ungapped alignment, 2 for none.
        sensitivity: MMseqs2's sensitivity, 1 to 9; None for the threshold of the MSA server.
        gpu: Whether a GPU searches.
        filtered: Whether the alignment is thinned out as the MSA server does.
    """

    name: str
    folder: Path
    uniref: str
    environmental: str = ""
    templates: str = ""
    prefilter: int = 0
    sensitivity: float | None = None
    gpu: bool = False
    filtered: bool = True


@dataclass(frozen=True)
class ServerSearch:
    """A search on an MSA server that the administrator has registered.

    Attributes:
        name: What the administrator calls it.
        url: Its address, without a slash at its end.
        note: The administrator's words on its rules.
        environmental: Whether it also searches environmental sequences.
        filtered: Whether it thins the alignment out.
        templates: Whether its hits of known structures are kept.
        contact: The administrator's address for the server's people; may be empty.
        patience: Seconds that a query may take.
    """

    name: str
    url: str
    note: str = ""
    environmental: bool = True
    filtered: bool = True
    templates: bool = False
    contact: str = ""
    patience: float = DEFAULT_PATIENCE * 60


@dataclass(frozen=True)
class SearchOptions:
    """What the user chose.

    Attributes:
        queries: The sequences, some of them perhaps with a problem.
        search: Where to search; None for not at all.
        pairing: How the chains of complexes are paired.
        outputs: Outputs on request: `coverage_plots`, `colab_tar`, `af3_json`, `report`.
        notes: What the user should know of how the choices were understood.
    """

    queries: tuple[Query, ...]
    search: LocalSearch | ServerSearch | None
    pairing: Pairing
    outputs: frozenset[str]
    notes: tuple[str, ...] = ()


def options_of(params: Mapping[str, Any], folder: Path) -> SearchOptions:
    """Read the form's parameters and the data tables' rows.

    Args:
        params: The form.
        folder: Where `TABLES_FILE` lies.

    Raises:
        InputError: Sequences, or what the administrator registered, cannot be used.
    """
    way = params["way"]
    tables = _tables(folder / TABLES_FILE)
    search: LocalSearch | ServerSearch | None = None
    notes: tuple[str, ...] = ()
    if way["kind"] == "local":
        search, notes = local_search(way, tables.get("database", {}))
    elif way["kind"] == "server":
        search = server_search(way, tables.get("server", {}))
    pairing, more = _pairing(way, tables.get("database", {}))
    return SearchOptions(
        queries=tuple(_queries(params["sequences"])),
        search=search,
        pairing=pairing,
        outputs=frozenset(params.get("outputs") or ()),
        notes=notes + more,
    )


def local_search(
    way: Mapping[str, Any], row: Mapping[str, str]
) -> tuple[LocalSearch, tuple[str, ...]]:
    """Read the form's choices for a local search, and check that the database is there.

    Raises:
        InputError: A part of the database is missing.
    """
    if not row.get("path") or not row.get("uniref"):
        raise InputError("No database is chosen, ask the administrator to register one")
    environmental, templates = _name(row.get("environmental")), _name(row.get("templates"))
    notes = []
    details = way["search"]
    if details["device"] == "gpu" and not _offers(row, "gpu"):
        raise InputError(
            f"The database {row['name']!r} is not prepared for a search on a GPU, choose the CPU"
        )
    if way["environmental"] and not environmental:
        notes.append(f"The database {row['name']} has no environmental sequences.")
    if way["templates"] and not templates:
        raise InputError(
            f"The database {row['name']!r} has no sequences of known structures, search without "
            f"templates or choose another database"
        )
    found = LocalSearch(
        name=f"{row['name']} {row.get('version', '')}".strip(),
        folder=Path(row["path"]),
        uniref=row["uniref"],
        environmental=environmental if way["environmental"] else "",
        templates=templates if way["templates"] else "",
        prefilter=int(details["prefilter"]),
        sensitivity=_number(details.get("sensitivity")),
        gpu=details["device"] == "gpu",
        filtered=bool(way["filtered"]),
    )
    if not present(Databases(found.folder, found.uniref, environmental, templates)):
        raise InputError(
            f"The database {found.name!r} is not complete on this server, tell the administrator"
        )
    return found, tuple(notes)


def server_search(way: Mapping[str, Any], row: Mapping[str, str]) -> ServerSearch:
    """Read the form's choices for a search on a server.

    Raises:
        InputError: No server is registered, or what the administrator set cannot be used.
    """
    url = row.get("url", "").rstrip("/")
    if not url.startswith(("https://", "http://")):
        raise InputError(
            "No MSA server is registered on this Galaxy, search in a local database or ask the "
            "administrator"
        )
    minutes = os.environ.get(PATIENCE_VARIABLE, "").strip() or str(DEFAULT_PATIENCE)
    if not minutes.isascii() or not minutes.isdigit():
        raise InputError(
            f"The server's variable {PATIENCE_VARIABLE} is {minutes[:40]!r}, which is no whole "
            f"number of minutes, tell the administrator"
        )
    return ServerSearch(
        name=row.get("name") or url,
        url=url,
        note=row.get("note", ""),
        environmental=bool(way["environmental"]),
        filtered=bool(way["filtered"]),
        templates=bool(way["templates"]),
        contact=os.environ.get(CONTACT_VARIABLE, "").strip(),
        patience=60.0 * int(minutes),
    )


def _tables(path: Path) -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return tables


def _number(value: object) -> float | None:
    """Return an optional number of the form."""
    return None if value in (None, "") else float(str(value))


def _name(text: str | None) -> str:
    """Return a table's cell, where a dash stands for nothing."""
    stripped = (text or "").strip()
    return "" if stripped == "-" else stripped


def _queries(choice: Mapping[str, Any]) -> list[Query]:
    if choice["kind"] == "text":
        return parse_queries(str(choice["text"] or ""), "pasted text")
    file = choice["file"]
    label = file["element_identifier"]
    name = label if isinstance(label, str) else "_".join(label)
    return read_queries(Path(file["source_path"]), name)


def _pairing(way: Mapping[str, Any], row: Mapping[str, str]) -> tuple[Pairing, tuple[str, ...]]:
    if "pairing" not in way:
        return Pairing(), ()
    pairing = Pairing(way["pairing"]["mode"], way["pairing"]["strategy"])
    if way["kind"] != "local" or pairing.mode == "unpaired" or _offers(row, "pairing"):
        return pairing, ()
    if pairing.mode == "paired":
        raise InputError(
            f"The database {row['name']!r} does not know the organisms of its sequences, so chains "
            f"cannot be paired, choose to search them unpaired"
        )
    note = f"The database {row['name']} does not know organisms: chains were not paired."
    return Pairing("unpaired", pairing.strategy), (note,)


def _offers(row: Mapping[str, str], kind: str) -> bool:
    """Tell whether a database's row promises a kind of search."""
    return kind in [part.strip() for part in row.get("kinds", "").split(",")]
