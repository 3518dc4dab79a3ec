"""The `colabfold_search` tool: from sequences to alignments, their coverage and a report."""

from __future__ import annotations

import io
import json
import resource
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpulab.errors import InputError
from gpulab.fold.coverage import ChainCoverage, measure, write_coverage
from gpulab.fold.coverage_plot import draw_coverage
from gpulab.fold.msa import Found, alone, count
from gpulab.fold.programs import mmseqs, mmseqs_version
from gpulab.fold.queries import Query, usable
from gpulab.fold.search_local import search_local
from gpulab.fold.search_options import LocalSearch, SearchOptions, ServerSearch, options_of
from gpulab.fold.search_report import write_report
from gpulab.fold.search_server import search_server
from gpulab.jobs import OutputFolder
from gpulab.report.facts import KIBIBYTE, MEBIBYTE, RunClock
from gpulab.report.figures import save_figure

PACKAGES = ("colabfold", "numpy", "matplotlib")
# The folder in the archive of colabfold_msa of tools-iuc; its folding tool strips one folder.
ARCHIVE_FOLDER = "output.colab"


@dataclass
class Results:
    """What is known after the search; the alignments themselves are files by then.

    Attributes:
        queries: All queries, in the user's order.
        coverage: What was measured of each query that was found, by name.
        problems: Why others have no alignment, by name.
    """

    queries: tuple[Query, ...]
    coverage: dict[str, list[ChainCoverage]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def table(self) -> list[tuple[Query, list[ChainCoverage]]]:
        """Return each query with what was measured, or with the reason why nothing was."""
        return [
            (
                query,
                self.coverage.get(query.name)
                or [ChainCoverage(residues=query.length, note=self.problems[query.name])],
            )
            for query in self.queries
        ]


def search_job(params: dict[str, Any], outputs: OutputFolder) -> None:
    """Find sequences related to proteins and align them for ColabFold.

    Args:
        params: The form: the conditionals `sequences` and `way`, and the list `outputs`.
        outputs: Receives coverage.tabular and the folder a3m, and as chosen coverage/, hits/,
            af3_json/, colab.tar, report.md with overview.png.

    Raises:
        InputError: Nothing can be searched, or a query has no alignment; the others' are kept.
        MemoryError: MMseqs2 ran out of memory.
    """
    clock = RunClock()
    options = options_of(params, outputs.final)
    results = Results(options.queries)
    results.problems = {query.name: query.problem for query in options.queries if query.problem}
    good = usable(options.queries)
    _tell_plan(options, good)
    with (
        tempfile.TemporaryDirectory(prefix="search-", dir=outputs.final) as name,
        # What is good is kept even if the job fails: this folder's files stay, and the other one,
        # which takes away what an error leaves half done, holds nothing.
        OutputFolder(outputs.final) as kept,
    ):
        _search(options, good, Path(name), results, kept)
        write_coverage(kept.file("coverage.tabular"), results.table())
        if "report" in options.outputs:
            facts = clock.facts(device=_device(options), packages=PACKAGES)
            facts.update(_more_facts(options))
            report, picture = kept.file("report.md"), kept.file("overview.png")
            write_report(report, picture, results.table(), options, facts)
    _fail_for(results)


def _tell_plan(options: SearchOptions, good: Sequence[Query]) -> None:
    complexes = sum(query.is_complex for query in good)
    single = count(len(good) - complexes, "single chain", "single chains")
    several = count(complexes, "complex", "complexes")
    print(f"{count(len(good), 'query', 'queries')}: {single}, {several}")
    for query in options.queries:
        if query.problem:
            print(f"Left out: {query.problem}")


def _search(
    options: SearchOptions,
    good: Sequence[Query],
    folder: Path,
    results: Results,
    outputs: OutputFolder,
) -> None:
    """Search, and write what is found as it comes."""
    outputs.folder("a3m")
    archive = None
    if "colab_tar" in options.outputs:
        archive = tarfile.open(outputs.file("colab.tar"), "w")  # noqa: SIM115 - closed below
    try:
        for found in _found(options, good, folder):
            if found.alignment is None:
                results.problems[found.query.name] = found.problem
                print(f"Failed: {found.problem}")
                continue
            results.coverage[found.query.name] = _write(found, options, outputs)
            if archive is not None:
                _add(archive, f"{found.query.name}.a3m", found.a3m)
    finally:
        if archive is not None:
            archive.close()


def _found(options: SearchOptions, good: Sequence[Query], folder: Path) -> Iterator[Found]:
    search, pairing = options.search, options.pairing
    with_af3 = "af3_json" in options.outputs
    if isinstance(search, LocalSearch):
        yield from search_local(good, search, pairing, folder, with_af3=with_af3)
    elif isinstance(search, ServerSearch):
        yield from search_server(good, search, pairing, folder, with_af3=with_af3)
    else:
        yield from (alone(query, with_af3=with_af3) for query in good)


def _write(found: Found, options: SearchOptions, outputs: OutputFolder) -> list[ChainCoverage]:
    """Write the files of a query that was found, and return what was measured."""
    name, alignment = found.query.name, found.alignment
    if alignment is None:
        raise ValueError("a query without an alignment has no files")
    numbers = measure(alignment)
    outputs.file(f"a3m/{name}.a3m").write_bytes(found.a3m)
    if "coverage_plots" in options.outputs:
        figure = draw_coverage(name, alignment, numbers)
        save_figure(figure, outputs.file(f"coverage/{name}.png"))
    if found.templates is not None:
        outputs.file(f"hits/{name}.tabular").write_bytes(found.templates.replace(b"\0", b""))
    if found.af3 is not None:
        text = json.dumps(found.af3, indent=1)
        outputs.file(f"af3_json/{name}.json").write_text(text, encoding="utf-8")
    chains = ", ".join(f"{n.chain}: depth {n.depth}, Neff {n.neff:.1f}" for n in numbers)
    print(f"Found for {name}: chain {chains}")
    return numbers


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(f"{ARCHIVE_FOLDER}/{name}")
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))


def _device(options: SearchOptions) -> str:
    if isinstance(options.search, ServerSearch):
        return f"the MSA server {options.search.url}"
    return "GPU" if isinstance(options.search, LocalSearch) and options.search.gpu else "CPU"


def _more_facts(options: SearchOptions) -> dict[str, str]:
    if not isinstance(options.search, LocalSearch):
        return {}
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIBIBYTE
    return {
        "Peak memory": f"{children / MEBIBYTE:.0f} MiB (of MMseqs2)",
        "MMseqs2": mmseqs_version(mmseqs()),
    }


def _fail_for(results: Results) -> None:
    failed = [query for query in results.queries if query.name in results.problems]
    if not failed:
        return
    for query in failed:
        print(results.problems[query.name], file=sys.stderr)
    names = ", ".join(query.name for query in failed[:10]) + (", …" if failed[10:] else "")
    kept = "the results of the others are kept" if results.coverage else "nothing was found"
    raise InputError(
        f"{len(failed)} of {count(len(results.queries), 'query has', 'queries have')} no alignment "
        f"({names}), see the sentence on each above, {kept}"
    )
