"""Searches with ColabFold's own search program and MMseqs2 in a database on this server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from gpulab.errors import InputError
from gpulab.fold.msa import Found, count, found, read_optional
from gpulab.fold.programs import colabfold, mmseqs
from gpulab.fold.queries import Query, write_fasta
from gpulab.fold.search_options import (
    GPU_SERVER_VARIABLE,
    LOAD_MODE_VARIABLE,
    LocalSearch,
    Pairing,
    PairMode,
)

Tell = Callable[[str], None]

LAST_LINES = 40
STRATEGIES = {"greedy": "0", "complete": "1"}
# MMseqs2's modules that take time, in words.
STEPS = {
    "createdb": "reading the queries",
    "search": "searching",
    "expandaln": "adding the members of the clusters",
    "align": "aligning",
    "filterresult": "filtering",
    "pairaln": "pairing the chains",
    "result2msa": "writing the alignments",
}
_RUNNING = re.compile(r"INFO:colabfold\.mmseqs\.search:Running \S*mmseqs (\w+) (.*)")
_NO_MEMORY = re.compile(
    r"bad_alloc|[Cc]an ?not allocate|[Oo]ut of memory|Can not mmap|died with <Signals\.SIGKILL"
)

_COMPLAINT = re.compile(r"error|fail|could not|can ?not|unrecogni|missing|not found|invalid", re.I)


def search_local(
    queries: Sequence[Query],
    search: LocalSearch,
    pairing: Pairing,
    folder: Path,
    *,
    with_af3: bool,
    tell: Tell = print,
) -> Iterator[Found]:
    """Search all queries at once, monomers apart from complexes.

    Apart, because one complex among the queries makes ColabFold pair all of them, and with nothing
    but pairs wanted, monomers would get no alignment.

    Args:
        queries: Queries without a problem.
        search: The database and how to search it.
        pairing: How chains of complexes are paired.
        folder: An empty folder for intermediate files.
        with_af3: Whether input for AlphaFold3 is wanted.
        tell: Is given a line on each step.

    Yields:
        What was found for each query, one after the other, since all might not fit in memory.

    Raises:
        MemoryError: MMseqs2 ran out of memory.
    """
    single = [query for query in queries if not query.is_complex]
    complexes = [query for query in queries if query.is_complex]
    kinds: list[tuple[list[Query], PairMode, str]] = [
        (single, "unpaired", count(len(single), "single chain", "single chains")),
        (complexes, pairing.mode, count(len(complexes), "complex", "complexes")),
    ]
    for number, (members, mode, words) in enumerate(kinds):
        if not members:
            continue
        tell(f"Searching {search.name} for {words}")
        work = folder / str(number)
        work.mkdir()
        numbered = write_fasta(members, work / "queries.fasta")
        command = _command(search, Pairing(mode, pairing.strategy), work, with_af3=with_af3)
        try:
            _run(command, search, tell)
        except InputError as error:
            for query in members:
                yield Found(
                    query, problem=f"The query {query.label[:80]!r} has no alignment: {error}"
                )
            continue
        for key, query in numbered.items():
            yield _collect(work / "found", key, query, search, with_af3=with_af3)


def _command(search: LocalSearch, pairing: Pairing, work: Path, *, with_af3: bool) -> list[str]:
    def switch(name: str, value: bool) -> list[str]:
        return [name, "1" if value else "0"]

    command = [str(colabfold("colabfold_search")), "--mmseqs", str(mmseqs())]
    command += ["--threads", os.environ.get("GALAXY_SLOTS", "") or str(os.cpu_count() or 1)]
    command += ["--db1", search.uniref, "--pair-mode", pairing.mode]
    command += ["--pairing_strategy", STRATEGIES[pairing.strategy]]
    command += switch("--use-env", bool(search.environmental))
    command += switch("--use-templates", bool(search.templates))
    command += switch("--filter", search.filtered)
    command += ["--prefilter-mode", str(search.prefilter)]
    if search.environmental:
        command += ["--db3", search.environmental]
    if search.templates:
        command += ["--db2", search.templates]
    if search.sensitivity is not None:
        command += ["-s", f"{search.sensitivity:.1f}"]
    command += _administrators(os.environ, gpu=search.gpu)
    if with_af3:
        command.append("--af3-json")
    return [*command, str(work / "queries.fasta"), str(search.folder), str(work / "found")]


def _administrators(environ: Mapping[str, str], *, gpu: bool) -> list[str]:
    """Return the options by which a server keeps its databases in memory."""
    mode = environ.get(LOAD_MODE_VARIABLE, "").strip() or "0"
    options = ["--db-load-mode", mode if mode in {"0", "1", "2", "3"} else "0"]
    if gpu:
        server = environ.get(GPU_SERVER_VARIABLE, "").strip() == "1"
        options += ["--gpu", "1", "--gpu-server", "1" if server else "0"]
    return options


def _run(command: Sequence[str], search: LocalSearch, tell: Tell) -> None:
    started = time.monotonic()
    last: deque[str] = deque(maxlen=LAST_LINES)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            last.append(line.strip())
            if step := _step(line, search):
                tell(f"[{time.monotonic() - started:.0f} s] {step}")
    if process.returncode != 0:
        _fail(process.returncode, list(last), search)


def _step(line: str, search: LocalSearch) -> str:
    """Return in words what MMseqs2 begins to do; empty for what takes no time."""
    match = _RUNNING.match(line)
    if match is None or match.group(1) not in STEPS:
        return ""
    parts = {
        search.uniref: "clustered sequences",
        search.environmental: "environmental sequences",
        search.templates: "known structures",
    }
    prefixes = (Path(word).name for word in match.group(2).split())
    names = (prefix.removesuffix(".idx").removesuffix("_seq") for prefix in prefixes)
    part = next((parts[name] for name in names if name and name in parts), "")
    return STEPS[match.group(1)] + (f": {part}" if part else "")


def _fail(code: int, last: Sequence[str], search: LocalSearch) -> None:
    if code == -signal.SIGKILL or any(_NO_MEMORY.search(line) for line in last):
        raise MemoryError
    began = max((n for n, line in enumerate(last) if _RUNNING.match(line)), default=-1)
    # Lines with options repeat the command.
    words = [line for line in last[began + 1 :] if line and " --" not in line]
    said = next((line for line in words if _COMPLAINT.search(line)), (words or ["nothing"])[-1])
    # Where databases lie is nobody's business but the administrator's.
    said = said.replace(f"{search.folder}/", "")[:300]
    raise InputError(
        f"MMseqs2 could not search the database {search.name!r} and said: {said!r}, tell the "
        f"administrator"
    )


def _collect(folder: Path, key: str, query: Query, search: LocalSearch, *, with_af3: bool) -> Found:
    a3m = read_optional(folder / f"{key}.a3m")
    if a3m is None:
        return Found(
            query, problem=f"The search gave nothing for {query.label[:80]!r}, run it again"
        )
    templates = read_optional(folder / f"{key}_{search.templates}.m8") if search.templates else None
    af3 = None
    if with_af3:
        af3 = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    return found(query, a3m, templates=templates, af3=af3)
