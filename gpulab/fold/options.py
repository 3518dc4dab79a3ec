"""What the user chose for a fold, read from the JSON parameters, as arguments of ColabFold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpulab.errors import InputError
from gpulab.fold.weights import MODEL_TYPES, check_weights

TABLES_FILE = "tables.json"  # what Galaxy wrote of the chosen rows of its data tables
MAX_STRUCTURES = 2000  # of one job: models × seeds × queries
_MAX_MSA = re.compile(r"([1-9]\d{0,4}):([1-9]\d{0,5})")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Weights:
    """The networks' weights, a row of the data table.

    Attributes:
        name: What the form calls them.
        version: Their version.
        folder: The folder that ColabFold gets as `--data`.
        licence: Under which terms they may be used.
    """

    name: str
    version: str
    folder: Path
    licence: str


@dataclass(frozen=True)
class File:
    """A file of the user's.

    Attributes:
        label: Its name in the history.
        path: Where it lies.
    """

    label: str
    path: Path


@dataclass(frozen=True)
class FoldOptions:
    """What the user chose.

    Attributes:
        kind: Where the sequences are: `text`, `fasta`, `a3m` or `tar`.
        text: Sequences that were typed into the form.
        files: The files of sequences or alignments.
        single_sequence: Whether alignments are left aside.
        weights: The weights.
        model_type: `auto` or a key of `weights.MODEL_TYPES`.
        models: Networks for each query and seed, 1 to 5.
        recycles: Recycles of each network; None for ColabFold's choice.
        seed: First seed.
        seeds: Number of seeds.
        max_msa: Sequences of the alignment that are used, such as `512:1024`; empty for
            ColabFold's choice.
        templates: Structures that serve as templates.
        relax: Structures of each query that are relaxed.
        arguments: ColabFold's arguments for all that is not named above.
        outputs: Outputs on request.
    """

    kind: str
    text: str
    files: tuple[File, ...]
    single_sequence: bool
    weights: Weights
    model_type: str
    models: int
    recycles: int | None
    seed: int
    seeds: int
    max_msa: str
    templates: tuple[File, ...]
    relax: int
    arguments: tuple[str, ...]
    outputs: frozenset[str] = field(default=frozenset())

    def model_type_of(self, *, is_complex: bool) -> str:
        """Return the type of model that folds single chains or complexes."""
        if self.model_type != "auto":
            return self.model_type
        # What ColabFold's `set_model_type` takes.
        return "alphafold2_multimer_v3" if is_complex else "alphafold2_ptm"

    def check_weights(self, *, is_complex: bool) -> None:
        """Refuse weights that lack the type of model.

        Raises:
            InputError: They do.
        """
        model_type = self.model_type_of(is_complex=is_complex)
        check_weights(self.weights.folder, model_type, self.weights.name)


def options_of(params: Mapping[str, Any], folder: Path) -> FoldOptions:
    """Read the parameters; data sets are objects with `element_identifier` and `source_path`.

    Args:
        params: The form.
        folder: Where Galaxy wrote what its data tables say, see `TABLES_FILE`.

    Raises:
        InputError: A value cannot be used, or the weights are not there.
    """
    source, model, relaxation = params["input"], params["model"], params["relaxation"]
    model_type = str(model["model_type"])
    if model_type != "auto" and model_type not in MODEL_TYPES:
        raise InputError(f"The model type {model_type!r} is unknown, choose one of the form's")
    kind = str(source["kind"])
    keys = {"fasta": "fasta_file", "a3m": "a3m_files", "tar": "archive"}
    models, seeds = int(model["num_models"]), int(model["num_seeds"])
    recycles = model.get("num_recycle")
    return FoldOptions(
        kind=kind,
        text=str(source.get("sequences") or ""),
        files=files_of(source[keys[kind]]) if kind in keys else (),
        single_sequence=kind in ("text", "fasta") or source.get("msa_mode") == "single_sequence",
        weights=_weights(params["weights"], folder),
        model_type=model_type,
        models=models,
        recycles=None if recycles in (None, "") else int(str(recycles)),
        seed=int(model["random_seed"]),
        seeds=seeds,
        max_msa=_max_msa(str(params["sampling"].get("max_msa") or "")),
        templates=_templates(params["templates"]),
        relax=_relaxed(relaxation["relax"], models * seeds),
        arguments=tuple(_arguments(params)),
        outputs=frozenset(params.get("outputs") or ()) | frozenset(params.get("save") or ()),
    )


def files_of(items: Any) -> tuple[File, ...]:
    """Return the files of a data parameter; names of nested elements are joined."""
    found = items if isinstance(items, list) else [items]
    return tuple(
        File(_label(item["element_identifier"]), Path(item["source_path"]))
        for item in found
        if item
    )


def _label(value: str | Sequence[str]) -> str:
    text = value if isinstance(value, str) else "_".join(value)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _weights(value: Any, folder: Path) -> Weights:
    row = value if isinstance(value, dict) else _table_row(folder / TABLES_FILE)
    try:
        path = Path(row["path"])
        weights = Weights(str(row["name"]), str(row["version"]), path, str(row["licence"]))
    except KeyError as error:
        raise InputError(
            f"The data table of the weights lacks {error}, tell the administrator"
        ) from error
    if not path.is_dir():
        raise InputError(
            f"The weights {weights.name!r} are listed but their folder is not there, choose others "
            "or tell the administrator"
        )
    return weights


def _table_row(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "No weights are chosen: ask the administrator to install some with the data manager "
            "of ColabFold's weights"
        ) from error
    row = content.get("weights") if isinstance(content, dict) else None
    return row if isinstance(row, dict) else {}


def _max_msa(text: str) -> str:
    compact = "".join(text.split())
    if compact and not _MAX_MSA.fullmatch(compact):
        raise InputError(
            f"The MSA depth {text[:40]!r} must be two numbers with a colon, such as 512:1024"
        )
    return compact


def _templates(chosen: Mapping[str, Any]) -> tuple[File, ...]:
    if chosen["kind"] != "custom":
        return ()
    files = files_of(chosen["template_files"])
    if not files:
        raise InputError("No template is given, choose PDB or mmCIF files or no templates")
    return files


def _relaxed(chosen: Mapping[str, Any], structures: int) -> int:
    if chosen["kind"] == "none":
        return 0
    return structures if chosen["kind"] == "all" else min(int(chosen["num_relax"]), structures)


def _arguments(params: Mapping[str, Any]) -> list[str]:
    """Return ColabFold's arguments; what equals its default is given all the same."""
    model, sampling = params["model"], params["sampling"]
    result = ["--num-models", str(int(model["num_models"]))]
    result += ["--num-seeds", str(int(model["num_seeds"]))]
    result += ["--random-seed", str(int(model["random_seed"]))]
    result += ["--num-ensemble", str(int(model["num_ensemble"]))]
    result += ["--rank", str(model["rank"])]
    result += ["--stop-at-score", f"{float(model['stop_at_score']):g}"]
    # Left empty, the type of model decides: 3 without a tolerance, or 20 and 0.5 Å.
    for name, flag in (
        ("num_recycle", "--num-recycle"),
        ("recycle_early_stop_tolerance", "--recycle-early-stop-tolerance"),
    ):
        value = model.get(name)
        if value not in (None, ""):
            result += [flag, f"{float(str(value)):g}"]
    switches = (
        (sampling, "use_dropout", "--use-dropout"),
        (sampling, "disable_cluster_profile", "--disable-cluster-profile"),
        (model, "calc_extra_ptm", "--calc-extra-ptm"),
        (params["speed"], "use_fast_kernels", "--use-fast-kernels"),
    )
    result += [flag for section, name, flag in switches if is_true(section[name])]
    result += ["--recompile-padding", str(int(params["speed"]["recompile_padding"]))]
    return result + _relax_arguments(params) + _template_arguments(params) + _saved(params)


def _relax_arguments(params: Mapping[str, Any]) -> list[str]:
    chosen = params["relaxation"]["relax"]
    if chosen["kind"] == "none":
        return []
    result = ["--amber"]
    if chosen["kind"] == "top":
        result += ["--num-relax", str(int(chosen["num_relax"]))]
    result += ["--relax-max-iterations", str(int(chosen["max_iterations"]))]
    result += ["--relax-tolerance", f"{float(chosen['tolerance']):g}"]
    result += ["--relax-stiffness", f"{float(chosen['stiffness']):g}"]
    result += ["--relax-max-outer-iterations", str(int(chosen["max_outer_iterations"]))]
    return result + (["--use-gpu-relax"] if is_true(chosen["use_gpu"]) else [])


def _template_arguments(params: Mapping[str, Any]) -> list[str]:
    chosen = params["templates"]
    if chosen["kind"] != "custom":
        return []
    result = ["--max-template-hits", str(int(chosen["max_hits"]))]
    date = str(chosen.get("max_date") or "").strip()
    if not date:
        return result
    if not _DATE.fullmatch(date):
        raise InputError(f"The date {date[:40]!r} must look like 2021-09-30")
    return [*result, "--max-template-date", date]


def _saved(params: Mapping[str, Any]) -> list[str]:
    flags = {
        "recycles": "--save-recycles",
        "single": "--save-single-representations",
        "pair": "--save-pair-representations",
    }
    chosen = params.get("save") or ()
    return [flag for name, flag in flags.items() if name in chosen]


def is_true(value: Any) -> bool:
    """Return a boolean of the form, which Galaxy writes as a boolean or as a word."""
    return value is True or str(value).lower() in ("true", "yes", "1")
