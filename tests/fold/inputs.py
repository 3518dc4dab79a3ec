"""The tool's form and a folded query, as the tests of several files need them."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

from gpulab.fold.scores import Fold, Model
from gpulab.testing.fold_inputs import helix

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "test-data" / "fold"

FORM: dict[str, Any] = {
    "templates": {"kind": "none"},
    "model": {
        "model_type": "auto",
        "num_models": 1,
        "num_recycle": 0,
        "recycle_early_stop_tolerance": None,
        "num_seeds": 1,
        "random_seed": 0,
        "num_ensemble": 1,
        "rank": "auto",
        "stop_at_score": 100.0,
        "calc_extra_ptm": False,
    },
    "sampling": {"max_msa": "", "use_dropout": False, "disable_cluster_profile": False},
    "relaxation": {"relax": {"kind": "none"}},
    "speed": {"use_fast_kernels": False, "recompile_padding": 10},
    "outputs": [],
    "save": [],
}


def form(weights: Path, source: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the form with quick settings; `changes` are merged into its sections."""
    result = copy.deepcopy(FORM)
    row = {"name": "Stand-in", "version": "1", "path": str(weights), "licence": "none: made up"}
    result |= {"weights": row, "input": source}
    for name, value in changes.items():
        result[name] = {**result[name], **value} if isinstance(value, dict) else value
    return result


def text(sequences: str) -> dict[str, Any]:
    """Return sequences that are pasted into the form."""
    return {"kind": "text", "sequences": sequences}


def dataset(path: Path) -> dict[str, str]:
    """Return a data set as Galaxy writes it."""
    return {"element_identifier": path.name, "source_path": str(path)}


def made_up_fold(folder: Path, *, label: str = "made up", chains: tuple[str, ...] = ()) -> Fold:
    """Return a query with two models whose structures are helices on disk."""
    chains = chains or ("PIAQIHILEG",)
    length = sum(map(len, chains))
    models = []
    for rank, number in ((1, 3), (2, 1)):
        path = (
            folder / f"q0001_unrelaxed_rank_{rank:03d}_alphafold2_ptm_model_{number}_seed_000.pdb"
        )
        path.write_text(helix(chains[0]))
        models.append(
            Model(
                rank=rank,
                model_type="alphafold2_ptm",
                model=number,
                seed=0,
                plddt=tuple(95.0 - 4 * i % 60 for i in range(length)),
                pae=[[float(abs(i - j)) for j in range(length)] for i in range(length)],
                max_pae=float(length - 1),
                ptm=0.5,
                iptm=math.nan,
                ipsae={},
                pdockq={},
                structure=path,
            )
        )
    return Fold("query", label, chains, tuple(models), msa_depth=1)


def write_scores(folder: Path, rank: int, model: int, **changes: Any) -> Path:
    """Write a structure and its scores as ColabFold does, for a query of four residues."""
    tag = f"rank_{rank:03d}_alphafold2_ptm_model_{model}_seed_000"
    content = {
        "plddt": [90.0, 80.0, 70.0, 60.0],
        "max_pae": 3.0,
        "ptm": 0.5,
        "pae": [[3.0] * 4] * 4,
    }
    (folder / f"q0001_scores_{tag}.json").write_text(json.dumps(content | changes))
    path = folder / f"q0001_unrelaxed_{tag}.pdb"
    path.write_text(helix("PIAQ"))
    return path
