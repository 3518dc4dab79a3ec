"""The form as ColabFold's arguments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from inputs import DATA, ROOT, dataset, form, text

from gpulab.errors import InputError
from gpulab.fold.options import FoldOptions, options_of
from gpulab.fold.run import Batch, _Runner
from gpulab.fold.run_input import Job


def read(folder: Path, **changes: Any) -> FoldOptions:
    return options_of(form(folder, text("PIAQ"), **changes), folder)


def command(folder: Path, options: FoldOptions, *depths: int) -> list[str]:
    jobs = {
        f"q{i}": Job(f"q{i}", "", ("PIAQ",), alignment=DATA, depth=depth)
        for i, depth in enumerate(depths)
    }
    batch = Batch(jobs, "alphafold2_ptm", folder)
    return _Runner(batch, options, folder / "log", print, 0, 1).command(folder / "in", jobs)


def test_empty_fields_leave_the_choice_to_colabfold(tmp_path: Path) -> None:
    options = read(tmp_path, model={"num_recycle": None})
    assert options.recycles is None
    assert "--num-recycle" not in options.arguments
    assert "--recycle-early-stop-tolerance" not in options.arguments
    assert not {"--use-dropout", "--amber", "--templates"} & set(options.arguments)


def test_zero_recycles_are_not_an_empty_field(tmp_path: Path) -> None:
    arguments = read(tmp_path, model={"recycle_early_stop_tolerance": 0.5}).arguments
    assert arguments[arguments.index("--num-recycle") + 1] == "0"
    assert arguments[arguments.index("--recycle-early-stop-tolerance") + 1] == "0.5"


def test_the_untouched_form_is_what_colabfold_takes_by_default(tmp_path: Path) -> None:
    """The defaults in the XML are those that ColabFold's own parser would take."""
    import subprocess
    import sys

    from gpulab.fold.programs import colabfold

    done = subprocess.run(
        [sys.executable, str(colabfold("colabfold_batch")), "--help"],
        capture_output=True, text=True, check=True, env={"COLUMNS": "300"},
    )  # fmt: skip
    defaults = dict(
        re.findall(
            r"--([a-z-]+)\b(?:(?!\(default:|\n  --).)*\(default:\s+(\S+)\)", done.stdout, re.DOTALL
        )
    )
    tree = ElementTree.parse(ROOT / "tools" / "colabfold" / "colabfold_batch.xml")
    compared = 0
    for param in tree.iter("param"):
        name = param.attrib.get("argument", "").removeprefix("--")
        if not name or name == "num-relax":
            continue
        chosen = param.attrib.get("value", param.attrib.get("checked", ""))
        for option in param.iter("option"):
            chosen = option.attrib["value"] if option.get("selected") else chosen
        expected = defaults[name].replace("None", "").lower()
        assert chosen in (expected, expected.removesuffix(".0")), name
        compared += 1
    assert compared >= 20


@pytest.mark.parametrize(
    ("depths", "expected"),
    [((1,), None), ((10, 30), "30:1"), ((100, 700), "512:188"), ((9999, 1), "512:5120")],
)
def test_several_alignments_get_the_rows_of_the_deepest(
    tmp_path: Path, depths: tuple[int, ...], expected: str | None
) -> None:
    source = {"kind": "a3m", "a3m_files": [dataset(DATA / "alpha.a3m")], "msa_mode": "alignment"}
    options = options_of(form(tmp_path, source), tmp_path)
    line = command(tmp_path, options, *depths)
    assert ("--max-msa" in line) == (expected is not None)
    if expected:
        assert line[line.index("--max-msa") + 1] == expected
    chosen = options_of(form(tmp_path, source, sampling={"max_msa": " 64:128 "}), tmp_path)
    line = command(tmp_path, chosen, *depths)
    assert line[line.index("--max-msa") + 1] == "64:128"


def test_sequences_are_folded_alone(tmp_path: Path) -> None:
    line = command(tmp_path, read(tmp_path), 1, 1)
    assert line[line.index("--msa-mode") + 1] == "single_sequence"
    assert "--max-msa" not in line


def test_relaxation(tmp_path: Path) -> None:
    numbers = {"max_iterations": 0, "tolerance": 1.5, "stiffness": 2.0, "max_outer_iterations": 1}
    every = {"relax": {"kind": "all", "use_gpu": True, **numbers}}
    options = read(tmp_path, model={"num_models": 2, "num_seeds": 3}, relaxation=every)
    assert options.relax == 6
    assert "--num-relax" not in options.arguments
    assert "--use-gpu-relax" in options.arguments
    top = {"relax": {"kind": "top", "num_relax": 9, "use_gpu": "false", **numbers}}
    options = read(tmp_path, model={"num_models": 2}, relaxation=top)
    assert options.relax == 2
    assert "--use-gpu-relax" not in options.arguments


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"model_type": "--msa-only"}}, "unknown"),
        ({"sampling": {"max_msa": "512"}}, "two numbers with a colon"),
        ({"sampling": {"max_msa": "0:1"}}, "two numbers with a colon"),
        (
            {"templates": {"kind": "custom", "template_files": [], "max_hits": 1}},
            "No template is given",
        ),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, **changes)


def test_a_date_must_be_one(tmp_path: Path) -> None:
    chosen = {
        "kind": "custom", "template_files": [dataset(DATA / "helix.pdb")], "max_hits": 3,
        "max_date": "2021-09-30",
    }  # fmt: skip
    arguments = read(tmp_path, templates=chosen).arguments
    assert arguments[-2:] == ("--max-template-date", "2021-09-30")
    with pytest.raises(InputError, match="must look like"):
        read(tmp_path, templates={**chosen, "max_date": "--zip"})
