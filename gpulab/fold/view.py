"""Writes one page that shows the structures in three dimensions and loads nothing from anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.fold.pictures import BANDS
from gpulab.fold.scores import Fold, Model
from gpulab.fold.scores_table import number

STATIC = Path(__file__).with_name("static")
# Browsers take a page of this size well, and Galaxy's previews do too.
MAX_BYTES = 24_000_000


def write_view(path: Path, folds: Sequence[Fold]) -> str:
    """Write the page.

    Args:
        path: HTML file to write.
        folds: The queries; those without a structure are left out.

    Returns:
        A sentence about what was left out because the page would be too large; else empty.
    """
    folded = [fold for fold in folds if fold.models]
    everything = [(fold, list(fold.models)) for fold in folded]
    best = [(fold, [fold.best]) for fold in folded]
    left_out = ""
    chosen = everything
    if _size(everything) > MAX_BYTES:
        chosen, left_out = best, "The 3D page shows the best structure of each query alone."
    if _size(chosen) > MAX_BYTES:
        chosen = _first(best)
        left_out = (
            f"The 3D page shows the best structure of the first {len(chosen)} of {len(best)} "
            "queries alone."
        )
    content = {
        "bands": [
            {"lowest": band.lowest, "colour": band.colour, "name": band.name, "range": text}
            for band, text in zip(BANDS, ("> 90", "70–90", "50–70", "< 50"), strict=True)
        ],
        "queries": [_query(fold, models) for fold, models in chosen],
    }
    # Escaped so that no name can end the script element.
    data = json.dumps(content, ensure_ascii=True).replace("<", "\\u003c")
    page = (STATIC / "view.html").read_text(encoding="utf-8")
    program = (STATIC / "view.js").read_text(encoding="utf-8")
    before, after = page.split("/*DATA*/")
    path.write_text(before + data + after.replace("/*PROGRAM*/", program), encoding="utf-8")
    return left_out


def _size(chosen: Sequence[tuple[Fold, Sequence[Model]]]) -> int:
    return sum(model.best_structure.stat().st_size for _, models in chosen for model in models)


def _first(best: Sequence[tuple[Fold, list[Model]]]) -> list[tuple[Fold, list[Model]]]:
    """Return as many of the queries as fit, but the first in any case."""
    chosen = list(best[:1])
    for pair in best[1:]:
        if _size([*chosen, pair]) > MAX_BYTES:
            break
        chosen.append(pair)
    return chosen


def _query(fold: Fold, models: Sequence[Model]) -> dict[str, Any]:
    title = fold.name if fold.label == fold.name else f"{fold.name}: {fold.label}"
    return {"title": title[:120], "models": [_model(model) for model in models]}


def _model(model: Model) -> dict[str, str]:
    scores = [f"mean pLDDT {model.mean_plddt:.1f}"]
    scores += [
        f"{name} {number(value, 2)}"
        for name, value in (("pTM", model.ptm), ("ipTM", model.iptm))
        if value == value
    ]
    kind = "relaxed" if model.relaxed else "not relaxed"
    seed = f", seed {model.seed}" if model.seed else ""
    return {
        "title": f"rank {model.rank}: model {model.model}{seed}, {kind}",
        "scores": ", ".join(scores),
        "pdb": model.best_structure.read_text(encoding="ascii"),
    }
