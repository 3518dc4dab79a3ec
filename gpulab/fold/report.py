"""The report of a fold, and the picture of the best structures in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpulab.fold.options import FoldOptions
from gpulab.fold.pictures import BANDS, draw_overview
from gpulab.fold.scores import Fold
from gpulab.fold.scores_table import best_pair, number
from gpulab.report.figures import save_figure
from gpulab.report.markdown import Report, escape

if TYPE_CHECKING:
    from gpulab.fold.run import Outcome

# Galaxy shows the first 10 KiB of a report (`DatasetsService.report` of 26.1).
MAX_ROWS = 20
MAX_WARNINGS = 8
MAX_TEMPLATES = 8
MAX_NAME = 50
READING = (
    "**pLDDT** (0 to 100) says how sure the network is of each residue's place among its "
    "neighbours: above 90 very high, 70 to 90 confident, 50 to 70 low; below 50 the chain is often "
    "disordered and its drawn shape means nothing. **PAE** in Å says how far a residue would be "
    "off if another one were in the right place: dark squares are parts whose places to each "
    "other are known. **pTM** and **ipTM** (0 to 1) judge the whole fold and the interfaces of a "
    "complex; ipTM above 0.8 is a good sign, below 0.6 mostly a failed one. **ipSAE** and "
    "**pDockQ** judge the best pair of chains."
)
CITATIONS = (
    ("ColabFold", "10.1038/s41592-022-01488-1", ""),
    ("AlphaFold2", "10.1038/s41586-021-03819-2", "alphafold2"),
    ("AlphaFold-Multimer", "10.1101/2021.10.04.463034", "alphafold2_multimer"),
    ("DeepFold", "10.1093/bioinformatics/btad712", "deepfold"),
    ("HH-suite (templates)", "10.1186/s12859-019-3019-7", "templates"),
    ("OpenMM (relaxation)", "10.1371/journal.pcbi.1005659", "relaxed"),
    ("ipSAE", "10.1101/2025.02.10.637595", "complex"),
    ("pDockQ", "10.1038/s41467-022-28865-w", "complex"),
)


def write_report(
    path: Path,
    picture: Path,
    outcome: Outcome,
    options: FoldOptions,
    facts: Mapping[str, str],
    notes: Sequence[str],
) -> None:
    """Write the report and the picture that it shows.

    Args:
        path: Markdown file to write.
        picture: PNG file to write; not written when nothing was folded.
        outcome: What came out.
        options: What the user chose.
        facts: Facts of the run.
        notes: Sentences to which attention is drawn.
    """
    folds = outcome.folds
    folded = [fold for fold in folds if fold.models]
    report = Report("Predicted structures")
    report.text(_summary(folds, options))
    warnings = [*(fold.note for fold in folds if not fold.models), *notes]
    for warning in warnings[:MAX_WARNINGS]:
        report.warning(warning[:300])
    if warnings[MAX_WARNINGS:]:
        more = len(warnings) - MAX_WARNINGS
        report.warning(f"{more} more, see the column note in the table of scores and the job's log")
    if folded:
        report.heading("Best structures")
        report.table(_HEADER, [_row(fold) for fold in folded[:MAX_ROWS]])
        if len(folded) > MAX_ROWS:
            report.text(f"The other {len(folded) - MAX_ROWS} are in the table of scores.")
        report.text(READING)
        report.heading("Pictures")
        save_figure(draw_overview(folded), picture)
        report.image("overview")
        report.heading("All models")
        report.dataset_table("scores")
    report.heading("About this run")
    report.items({**_about(options, folded), **facts})
    report.heading("Please cite")
    report.text(_citations(options, folded))
    report.write(path)


_HEADER = (
    *("Query", "Residues", "Chains", "MSA depth", "Best model", "pLDDT", "pTM", "ipTM", "ipSAE"),
    *("pDockQ", "Confidence"),
)


def _row(fold: Fold) -> tuple[str, ...]:
    best = fold.best
    band = next(band for band in BANDS if best.mean_plddt >= band.lowest)
    return (
        fold.name if fold.name == fold.label else f"{fold.name} ({fold.label[:MAX_NAME]})",
        str(fold.length),
        str(len(fold.chains)),
        str(fold.msa_depth),
        f"{best.model}" + (f", seed {best.seed}" if best.seed else ""),
        number(best.mean_plddt, 1),
        *(_shown(value, 2) for value in (best.ptm, best.iptm)),
        *(_shown(best_pair(values), 3) for values in (best.ipsae, best.pdockq)),
        band.name,
    )


def _shown(value: float, decimals: int) -> str:
    return number(value, decimals) if value == value else "–"


def _summary(folds: Sequence[Fold], options: FoldOptions) -> str:
    folded = [fold for fold in folds if fold.models]
    models = sum(len(fold.models) for fold in folded)
    queries = "query" if len(folds) == 1 else "queries"
    text = f"{len(folded)} of {len(folds)} {queries} folded, {models} structures."
    if options.single_sequence:
        text += (
            " The sequences were folded **alone, without an alignment**: the network then knows "
            "little, and most natural proteins come out wrong. Search for related sequences with "
            "*colabfold_search* first and fold its alignments, unless the protein is designed."
        )
    return text


def _about(options: FoldOptions, folded: Sequence[Fold]) -> dict[str, str]:
    types = sorted({model.model_type for fold in folded for model in fold.models})
    result = {
        "Networks": ", ".join(types) or "none",
        "Weights": f"{options.weights.name}, version {options.weights.version}",
        "Licence of the weights": options.weights.licence,
        "Models and seeds": f"{options.models} models, {options.seeds} seed(s)",
        "Recycles": "the network's default" if options.recycles is None else str(options.recycles),
    }
    if options.templates:
        names = [file.label[:MAX_NAME] for file in options.templates]
        more = f" and {len(names) - MAX_TEMPLATES} more" if names[MAX_TEMPLATES:] else ""
        result["Templates"] = ", ".join(names[:MAX_TEMPLATES]) + more
    if options.relax:
        result["Relaxed"] = f"the best {options.relax} of each query"
    return result


def _citations(options: FoldOptions, folded: Sequence[Fold]) -> str:
    used = {""}
    for fold in folded:
        used |= {"complex"} if len(fold.chains) > 1 else set()
        for model in fold.models:
            used.add("deepfold" if model.model_type.startswith("deepfold") else "alphafold2")
            if "multimer" in model.model_type:
                used.add("alphafold2_multimer")
    used |= {"templates"} if options.templates else set()
    used |= {"relaxed"} if options.relax else set()
    lines = [
        f"- {escape(name)}: [doi:{doi}](https://doi.org/{doi})"
        for name, doi, when in CITATIONS
        if when in used
    ]
    return "\n".join(lines)
