"""Reads what ColabFold wrote about each structure."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# How ColabFold names its files: query, kind, rank, model type, model and seed.
_SCORES = re.compile(
    r"_scores_rank_(?P<rank>\d{3,})_(?P<type>[a-z0-9_]+?)_model_(?P<model>\d)_seed_(?P<seed>\d+)\.json"
)


class OutputError(ValueError):
    """What ColabFold wrote for a query is not all there; the message says what is missing."""


@dataclass(frozen=True)
class Model:
    """One structure that ColabFold predicted, and what it says of it.

    Attributes:
        rank: 1 for the best.
        model_type: ColabFold's name of the kind of network.
        model: Number of the network, 1 to 5.
        seed: Seed of its random choices.
        plddt: Predicted lDDT of each residue, 0 to 100, chains one after the other.
        pae: Predicted aligned error in Å, `pae[i][j]` of residue j when residue i is aligned; None
            for model types without.
        max_pae: Its largest value in Å; NaN without.
        ptm: Predicted TM-score, 0 to 1, to two decimals; NaN without.
        iptm: Predicted TM-score of the interfaces; NaN for a single chain.
        ipsae: ipSAE of each ordered pair of chains such as `A-B`; empty for a single chain.
        pdockq: pDockQ of each pair of chains; empty for a single chain.
        structure: The PDB file as predicted.
        relaxed: The PDB file after relaxation; None without.
        recycles: Recycles that were run; -1 where the log does not say.
        seconds: Seconds that the prediction took; NaN where the log does not say.
    """

    rank: int
    model_type: str
    model: int
    seed: int
    plddt: tuple[float, ...]
    pae: Sequence[Sequence[float]] | None
    max_pae: float
    ptm: float
    iptm: float
    ipsae: Mapping[str, float]
    pdockq: Mapping[str, float]
    structure: Path
    relaxed: Path | None = None
    recycles: int = -1
    seconds: float = math.nan

    @property
    def tag(self) -> str:
        """The name that ColabFold's log gives to this model and seed."""
        return f"{self.model_type}_model_{self.model}_seed_{self.seed:03d}"

    @property
    def mean_plddt(self) -> float:
        """Mean of the predicted lDDT over all residues."""
        return sum(self.plddt) / len(self.plddt)

    @property
    def best_structure(self) -> Path:
        """The relaxed structure where there is one, else the predicted one."""
        return self.relaxed or self.structure


@dataclass(frozen=True)
class Fold:
    """The structures of one query.

    Attributes:
        name: Name of the query, safe for files.
        label: Name as the user wrote it.
        chains: Residues of each chain in the order of the structure, see `folded_chains`.
        models: Best first; empty where it was not folded.
        msa_depth: Sequences in its alignment, its own among them, of a complex those of the chain
            with the fewest; 0 where not folded.
        alignment: The a3m file that ColabFold used; None where not folded.
        note: A sentence about it, as the reason why it was not folded.
        templates: Names of the templates that were used.
    """

    name: str
    label: str
    chains: tuple[str, ...]
    models: tuple[Model, ...] = ()
    msa_depth: int = 0
    alignment: Path | None = None
    note: str = ""
    templates: tuple[str, ...] = field(default=())

    @property
    def length(self) -> int:
        """Residues of all chains together."""
        return sum(map(len, self.chains))

    @property
    def best(self) -> Model:
        """The model of rank 1."""
        return self.models[0]


def read_models(
    folder: Path, key: str, length: int, timings: Mapping[str, tuple[float, int]]
) -> tuple[Model, ...]:
    """Read the models of one query from ColabFold's folder of results.

    Args:
        folder: The folder.
        key: Name of the query in it.
        length: Residues of the query.
        timings: Seconds and recycles by `Model.tag`, from the log.

    Returns:
        The models, best first, at least one.

    Raises:
        OutputError: A file is missing, damaged, or about another number of residues.
    """
    models = []
    for path in sorted(folder.glob(f"{key}_scores_rank_*.json")):
        found = _SCORES.fullmatch(path.name.removeprefix(key))
        if found is not None:
            models.append(_read_model(path, found, timings))
    models.sort(key=lambda model: model.rank)
    if not models or models[0].rank != 1:
        raise OutputError("ColabFold wrote no structure of rank 1")
    for model in models:
        if len(model.plddt) != length:
            raise OutputError(
                f"ColabFold wrote scores of {len(model.plddt)} residues instead of {length}"
            )
    return tuple(models)


def _read_model(
    path: Path, found: re.Match[str], timings: Mapping[str, tuple[float, int]]
) -> Model:
    content = _read_json(path)
    plddt = content.get("plddt")
    if not isinstance(plddt, list) or not plddt or not all(map(math.isfinite, plddt)):
        raise OutputError(f"ColabFold's scores of rank {int(found['rank'])} hold no usable pLDDT")
    name = path.name.removesuffix(".json")
    structure = _pdb_file(path, name.replace("_scores_rank_", "_unrelaxed_rank_", 1))
    if structure is None:
        raise OutputError(f"ColabFold wrote no structure of rank {int(found['rank'])}")
    model = Model(
        rank=int(found["rank"]),
        model_type=found["type"],
        model=int(found["model"]),
        seed=int(found["seed"]),
        plddt=tuple(map(float, plddt)),
        pae=content.get("pae"),
        max_pae=float(content.get("max_pae", math.nan)),
        ptm=float(content.get("ptm", math.nan)),
        iptm=float(content.get("iptm", math.nan)),
        ipsae=content.get("ipsae") or {},
        pdockq=content.get("pdockq") or {},
        structure=structure,
        relaxed=_pdb_file(path, name.replace("_scores_rank_", "_relaxed_rank_", 1)),
    )
    seconds, recycles = timings.get(model.tag, (math.nan, -1))
    return Model(**{**vars(model), "seconds": seconds, "recycles": recycles})


def _pdb_file(beside: Path, stem: str) -> Path | None:
    """Return the PDB file `stem` beside a file; None where it is missing or empty."""
    path = beside.with_name(f"{stem}.pdb")
    return path if path.is_file() and path.stat().st_size else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OutputError(f"ColabFold's file of scores is damaged ({error})") from error
    if not isinstance(content, dict):
        raise OutputError("ColabFold's file of scores holds no scores")
    return content


def folded_chains(chains: Sequence[str]) -> tuple[str, ...]:
    """Return the chains in the order in which ColabFold folds them.

    Copies of a sequence come one after the other, at the place of the first (`unserialize_msa` and
    `generate_input_feature` of ColabFold 1.6.3 know sequences and how often each occurs).
    """
    copies = Counter(chains)
    return tuple(chain for chain, count in copies.items() for _ in range(count))


def chain_name(number: int) -> str:
    """Return the name that AlphaFold's PDB files give to chain `number`, from 0 on."""
    # alphafold.common.protein.PDB_CHAIN_IDS
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"[number]
