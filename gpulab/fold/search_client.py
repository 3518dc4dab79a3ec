"""The process in which ColabFold's client talks to an MSA server: `python -m …`, JSON in and out.

Reads one JSON object from standard input (see `main`), and writes a JSON object a line to standard
output: `{"tell": …}`, `{"query": key, "a3m": file, …}` or `{"query": key, "problem": …}`.
"""

from __future__ import annotations

import json
import resource
import sys
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.fold.msa import assemble, read_optional, unique
from gpulab.fold.search_guard import GaveUpError, Guard, MemberFilter

# What ColabFold's client and the tar module make of an archive that is none of theirs.
BROKEN = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, KeyError, TypeError)
# A few bytes of an archive can claim to be gigabytes of a file's name.
MAX_MEMORY = 6 << 30


def main() -> None:
    """Search with each query of the request, one after the other.

    The request holds `host`, `url`, `user_agent`, `patience`, `pause`, `environmental`, `filtered`,
    `mode`, `strategy`, `folder`, and `queries`: lists of a key and the query's chains.
    """
    request = json.load(sys.stdin)
    lines = sys.stdout
    # ColabFold's progress bars and messages must not stand among our lines.
    sys.stdout = sys.stderr

    def say(**values: Any) -> None:
        print(json.dumps(values), file=lines, flush=True)

    guard = Guard(
        request["host"],
        request["patience"],
        tell=lambda text: say(tell=text),
        pause=request["pause"],
    )
    member_filter = MemberFilter(request["host"])
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    _stand_between(guard, member_filter)
    for key, chains in request["queries"]:
        guard.begin()
        member_filter.begin()
        say(begin=key)
        try:
            say(query=key, **_search(request, key, chains))
        except GaveUpError as error:
            say(query=key, problem=str(error), for_all=error.for_all)
            if error.for_all:
                return
        except (*BROKEN, MemoryError) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            problem = (
                f"The archive of the MSA server {request['host']} is broken or holds no "
                f"alignment of this query"
            )
            say(query=key, problem=problem, for_all=False)


def _stand_between(guard: Guard, member_filter: MemberFilter) -> None:
    # ColabFold's client does without JAX, which takes a second to load.
    sys.modules["jax"] = None  # type: ignore[assignment]
    from colabfold import colabfold

    colabfold.requests = guard
    member_filter.install()


def _search(request: dict[str, Any], key: str, chains: Sequence[str]) -> dict[str, str]:
    """Get the alignments of a query and write them; return the names of the files."""
    folder = Path(request["folder"])
    different = unique(chains)
    mode = request["mode"] if len(chains) > 1 else "unpaired"
    unpaired = paired = None
    if mode != "paired":
        unpaired = _ask(request, key, different, pairing=False)
    if mode != "unpaired":
        paired = _pairs(request, key, chains)
    a3m, af3 = assemble(chains, unpaired, paired)
    (folder / f"{key}.a3m").write_text(a3m, encoding="utf-8")
    (folder / f"{key}.json").write_text(json.dumps(af3), encoding="utf-8")
    files = {"a3m": f"{key}.a3m", "af3": f"{key}.json"}
    for hits in sorted(folder.glob(f"{key}_*/pdb70.m8")):
        (folder / f"{key}.m8").write_bytes(read_optional(hits) or b"")
        files["templates"] = f"{key}.m8"
    return files


def _pairs(request: dict[str, Any], key: str, chains: Sequence[str]) -> list[str]:
    different = unique(chains)
    if len(different) > 1:
        return _ask(request, key, different, pairing=True)
    # Copies of one chain pair with themselves, as ColabFold has it; the server is not asked.
    return [f">{number}\n{different[0]}\n" for number in range(101, 101 + len(different))]


def _ask(request: dict[str, Any], key: str, chains: Sequence[str], *, pairing: bool) -> list[str]:
    from colabfold.colabfold import run_mmseqs2

    answer: list[str] = run_mmseqs2(
        list(chains),
        str(Path(request["folder"]) / key),
        # Pairing in environmental sequences is not what ColabFold does by default.
        use_env=request["environmental"] and not pairing,
        use_filter=request["filtered"],
        use_pairing=pairing,
        pairing_strategy=request["strategy"],
        host_url=request["url"],
        user_agent=request["user_agent"],
    )
    return answer


if __name__ == "__main__":
    main()
