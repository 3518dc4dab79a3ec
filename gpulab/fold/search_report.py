"""The report of a search, and the picture of the depths in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gpulab.fold.coverage import SHALLOW, ChainCoverage
from gpulab.fold.msa import count
from gpulab.fold.queries import Query
from gpulab.fold.search_options import LocalSearch, SearchOptions, ServerSearch
from gpulab.report.figures import BLUE, RED, SKY, new_figure, save_figure
from gpulab.report.markdown import Report, escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_BARS = 40
READING = (
    "**Depth** counts the sequences, with the query itself; **Neff** counts those alike only once "
    "(sequences that share 80 % of their residues), as the median over the positions of the "
    f"query. AlphaFold2 becomes less accurate below about {SHALLOW}, and much of a structure whose "
    "Neff is near 1 is a guess unless the protein was designed. **Paired** sequences cover several "
    "chains of a complex, which tells the network how they touch. **Shallow residues** are covered "
    f"by fewer than {SHALLOW} sequences."
)
CITATIONS = (
    ("ColabFold", "10.1038/s41592-022-01488-1", ""),
    ("MMseqs2", "10.1038/nbt.3988", "searched"),
    ("Neff (AlphaFold2)", "10.1038/s41586-021-03819-2", ""),
    ("AlphaFold3, whose input was written", "10.1038/s41586-024-07487-w", "af3_json"),
)
WAYS = {
    "unpaired_paired": "paired by organism, and unpaired",
    "paired": "paired by organism alone",
    "unpaired": "not paired",
}

Table = Sequence[tuple[Query, Sequence[ChainCoverage]]]


def write_report(
    path: Path,
    picture: Path,
    table: Table,
    options: SearchOptions,
    facts: Mapping[str, str],
) -> None:
    """Write the report and the picture that it shows.

    Args:
        path: Markdown file to write.
        picture: PNG file to write.
        table: Each query with what was measured of its chains; a note alone where it failed.
        options: What the user chose.
        facts: Facts of the run.
    """
    found = [(query, chains) for query, chains in table if chains[0].depth]
    report = Report("Related sequences")
    report.text(
        f"{len(found)} of {count(len(table), 'query has', 'queries have')} an alignment. "
        f"{_where(options)}"
    )
    for note in options.notes:
        report.warning(note)
    for _, chains in table:
        if not chains[0].depth:
            report.warning(chains[0].note)
    thin = sum(chain.neff < SHALLOW for _, chains in found for chain in chains)
    total = sum(len(chains) for _, chains in found)
    if thin and options.search is not None:
        report.warning(f"{thin} of {total} different chains have a Neff below {SHALLOW}.")
    save_figure(draw_depths(found), picture)
    report.heading("Depth of the alignments")
    report.image("overview")
    report.text(READING)
    report.dataset_table("coverage")
    report.heading("About this run")
    report.items(_about(options) | dict(facts))
    report.heading("Please cite")
    used = {"", *options.outputs} | ({"searched"} if options.search is not None else set())
    report.text(
        "\n".join(
            f"- {escape(name)}: [doi:{doi}](https://doi.org/{doi})"
            for name, doi, when in CITATIONS
            if when in used
        )
    )
    report.write(path)


def _where(options: SearchOptions) -> str:
    search = options.search
    if isinstance(search, LocalSearch):
        return f"Searched in *{escape(search.name)}* on this server; no sequence left this Galaxy."
    if isinstance(search, ServerSearch):
        return (
            f"**The sequences left this Galaxy:** they were sent to the MSA server "
            f"*{escape(search.name)}* at {escape(search.url)}, one query after the other. "
            f"{escape(search.note)}"
        )
    return "Nothing was searched: each alignment holds the query alone."


def _about(options: SearchOptions) -> dict[str, str]:
    search = options.search
    if search is None:
        return {"Search": "none"}
    about = {"Chains of complexes": WAYS[options.pairing.mode]}
    if options.pairing.mode != "unpaired":
        about["Pairing strategy"] = options.pairing.strategy
    about["Filter"] = "as the MSA server filters" if search.filtered else "none"
    if isinstance(search, ServerSearch):
        about["Server"] = f"{search.name}, {search.url}"
        about["Environmental sequences"] = "yes" if search.environmental else "no"
        return about
    about["Database"] = search.name
    about["Parts"] = ", ".join(
        filter(None, (search.uniref, search.environmental, search.templates))
    )
    about["Prefilter"] = ("k-mers", "ungapped alignment", "none: exhaustive")[search.prefilter]
    about["Sensitivity"] = (
        "threshold of the MSA server" if search.sensitivity is None else f"{search.sensitivity:g}"
    )
    return about


def draw_depths(table: Table) -> Figure:
    """Draw depth and Neff of each chain as bars, the shallowest `MAX_BARS` of them."""
    bars = [
        (query.name if len(chains) == 1 else f"{query.name}, {chain.chain}", chain)
        for query, chains in table
        for chain in chains
    ]
    if len(bars) > MAX_BARS:
        bars = sorted(bars, key=lambda bar: bar[1].neff)[:MAX_BARS]
    figure, axes = new_figure(width=8.0, height=1.4 + 0.3 * max(len(bars), 2))
    axis = axes[0, 0]
    places = np.arange(len(bars))
    axis.barh(places, [chain.depth for _, chain in bars], color=SKY, label="Depth")
    axis.barh(places, [chain.neff for _, chain in bars], 0.4, color=BLUE, label="Neff")
    axis.axvline(SHALLOW, color=RED, linewidth=1, label=f"{SHALLOW} sequences")
    axis.set_yticks(places, [name[:40] for name, _ in bars], parse_math=False)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlim(left=0.8)
    axis.set_xlabel("Sequences")
    axis.set_title("The shallowest alignments" if len(bars) == MAX_BARS else "Alignments")
    figure.legend(loc="outside right upper", frameon=False)
    return figure
