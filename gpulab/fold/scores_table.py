"""The tables of scores, and the predicted aligned error as JSON."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpulab.fold.scores import Fold, Model, chain_name

MODEL_COLUMNS = (
    "query",
    "label",
    "rank",
    "model_type",
    "model",
    "seed",
    "mean_plddt",
    "ptm",
    "iptm",
    "max_pae",
    "ipsae",
    "pdockq",
    "length",
    "chains",
    "msa_depth",
    "recycles",
    "seconds",
    "relaxed",
    "note",
)
RESIDUE_COLUMNS = (
    "query",
    "rank",
    "model",
    "seed",
    "chain",
    "residue",
    "position",
    "amino_acid",
    "plddt",
)
MISSING = "NaN"


def best_pair(values: Mapping[str, float]) -> float:
    """Return the largest value over all pairs of chains; NaN without a pair."""
    return max(values.values(), default=math.nan)


def number(value: float, decimals: int) -> str:
    """Return a number as the tables show it."""
    return f"{value:.{decimals}f}" if math.isfinite(value) else MISSING


def model_rows(folds: Iterable[Fold]) -> list[tuple[str, ...]]:
    """Return a row of `MODEL_COLUMNS` for each model, and one for each query without any."""
    rows = []
    for fold in folds:
        for model in fold.models:
            rows.append(_model_row(fold, model))
        if not fold.models:
            known = {
                "query": fold.name,
                "label": fold.label,
                "length": str(fold.length),
                "chains": str(len(fold.chains)),
                "note": fold.note,
            }
            rows.append(tuple(known.get(column, MISSING) for column in MODEL_COLUMNS))
    return rows


def _model_row(fold: Fold, model: Model) -> tuple[str, ...]:
    return (
        fold.name,
        fold.label,
        str(model.rank),
        model.model_type,
        str(model.model),
        str(model.seed),
        number(model.mean_plddt, 2),
        number(model.ptm, 2),
        number(model.iptm, 2),
        number(model.max_pae, 2),
        number(best_pair(model.ipsae), 4),
        number(best_pair(model.pdockq), 4),
        str(fold.length),
        str(len(fold.chains)),
        str(fold.msa_depth),
        str(model.recycles) if model.recycles >= 0 else MISSING,
        number(model.seconds, 1),
        "yes" if model.relaxed else "no",
        fold.note,
    )


def residue_rows(folds: Iterable[Fold]) -> Iterable[tuple[str, ...]]:
    """Yield a row of `RESIDUE_COLUMNS` for each residue of each model."""
    for fold in folds:
        places = [
            (chain_name(number), place, residue)
            for number, chain in enumerate(fold.chains)
            for place, residue in enumerate(chain, start=1)
        ]
        for model in fold.models:
            same = (fold.name, str(model.rank), str(model.model), str(model.seed))
            for position, ((chain, place, residue), plddt) in enumerate(
                zip(places, model.plddt, strict=True), start=1
            ):
                yield (*same, chain, str(place), str(position), residue, number(plddt, 2))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table with tabs and a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        # Names are one line without tabs; quotes in them stay as they are.
        writer = csv.writer(
            file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
        )
        writer.writerow(columns)
        writer.writerows(rows)


def pae_document(fold: Fold) -> dict[str, Any]:
    """Return the predicted aligned error of a query's best model in the form of AlphaFold DB."""
    return {
        "predicted_aligned_error": fold.best.pae,
        "max_predicted_aligned_error": fold.best.max_pae,
    }
