"""Searches on an MSA server that the administrator has registered."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gpulab import __version__
from gpulab.fold.msa import Found, found, read_optional
from gpulab.fold.queries import Query
from gpulab.fold.search_options import Pairing, ServerSearch

Tell = Callable[[str], None]

HOMEPAGE = "https://github.com/galaxy-gpu-lab/galaxy-gpu-lab"
PAUSE = 5.0  # seconds between two tries of a request that failed
PACKAGE = Path(__file__).resolve().parents[2]


def search_server(
    queries: Sequence[Query],
    search: ServerSearch,
    pairing: Pairing,
    folder: Path,
    *,
    with_af3: bool,
    tell: Tell = print,
    pause: float = PAUSE,
) -> Iterator[Found]:
    """Search one query after the other, as public servers ask for.

    Args:
        queries: Queries without a problem.
        search: The server and what it shall search.
        pairing: How chains of complexes are paired.
        folder: An empty folder for intermediate files.
        with_af3: Whether input for AlphaFold3 is wanted.
        tell: Is given a line on each step.
        pause: Seconds between two tries of a request that failed.

    Yields:
        What was found for each query. After a failure that the other queries would share, they
        are not sent.
    """
    numbered = {f"q{number:04d}": query for number, query in enumerate(queries, start=1)}
    waiting = dict(numbered)
    stopped = ""
    while waiting and not stopped:
        current = ""
        for event in _client(waiting, search, pairing, folder, pause):
            if "tell" in event:
                tell(f"  {event['tell']}")
            elif "begin" in event:
                current = event["begin"]
                place = len(numbered) - len(waiting) + 1
                name = waiting[current].name
                tell(f"Query {place} of {len(numbered)}, {name}: sent to {search.url}")
            else:
                query = waiting.pop(event["query"])
                current = ""
                yield _found(event, query, search, folder, with_af3=with_af3)
                if event.get("for_all"):
                    stopped = event["problem"]
        if not stopped and current:
            # The client died of this query: the next ones get another client.
            query = waiting.pop(current)
            yield Found(query, problem=f"{_who(query)} ended the MSA server's client, run it alone")
        elif not stopped and waiting:
            stopped = "The MSA server's client could not start"
    for query in waiting.values():
        yield Found(query, problem=f"{_who(query)} was not searched: {stopped}")


def user_agent(contact: str) -> str:
    """Return how we introduce ourselves: servers ask for a tool's name and an address."""
    colabfold = importlib.metadata.version("colabfold")
    # A header has no room for line breaks and letters beyond ASCII.
    plain = " ".join(contact.encode("ascii", "replace").decode("ascii").split())
    about = "; ".join(part for part in (f"+{HOMEPAGE}", plain) if part)
    return f"galaxy-gpu-lab/{__version__} colabfold/{colabfold} ({about})"


def _client(
    waiting: dict[str, Query],
    search: ServerSearch,
    pairing: Pairing,
    folder: Path,
    pause: float,
) -> Iterator[dict[str, Any]]:
    """Run the client and yield its lines."""
    request = {
        "host": urlsplit(search.url).netloc,
        "url": search.url,
        "user_agent": user_agent(search.contact),
        "patience": search.patience,
        "pause": pause,
        "environmental": search.environmental,
        "filtered": search.filtered,
        "mode": pairing.mode,
        "strategy": pairing.strategy,
        "folder": str(folder),
        "queries": [[key, query.chains] for key, query in waiting.items()],
    }
    path = os.pathsep.join(filter(None, (str(PACKAGE), os.environ.get("PYTHONPATH", ""))))
    with subprocess.Popen(
        [sys.executable, "-m", "gpulab.fold.search_client"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Its messages repeat what our lines say, in another voice.
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
        encoding="utf-8",
    ) as process:
        if process.stdin is None or process.stdout is None:
            return
        try:
            process.stdin.write(json.dumps(request))
            process.stdin.close()
            for line in process.stdout:
                yield json.loads(line)
        finally:
            process.kill()


def _found(
    event: dict[str, Any], query: Query, search: ServerSearch, folder: Path, *, with_af3: bool
) -> Found:
    if "problem" in event:
        return Found(query, problem=f"{_who(query)} has no alignment: {event['problem']}")
    af3 = json.loads((folder / event["af3"]).read_text(encoding="utf-8")) if with_af3 else None
    templates = None
    if search.templates:
        templates = read_optional(folder / event.get("templates", "")) or b""
    a3m = (folder / event["a3m"]).read_bytes()
    return found(query, a3m, templates=templates, af3=af3)


def _who(query: Query) -> str:
    return f"The query {query.label[:80]!r}"
