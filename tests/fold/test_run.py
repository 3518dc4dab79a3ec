"""Folding for real, with ColabFold's own code and stand-in weights whose answers are known.

Model 1 to 5 give a pLDDT of 61, 71, 91, 81 and 51 and a PAE of 2.25 to 6.25 Å everywhere, so single
chains rank 3, 4, 2, 1, 5. Coordinates mean nothing and are never looked at.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs import DATA, ROOT, dataset, form, text

from gpulab.fold.cif import read_atoms
from gpulab.fold.scores_table import MODEL_COLUMNS
from gpulab.testing.fold_inputs import ALPHA, BETA

TOOL = ROOT / "tools" / "colabfold" / "colabfold_batch.py"
EVERYTHING = ["report", "view", "pictures", "residues", "pae"]


@dataclass
class Done:
    """A run of the tool: its outputs, and what it printed."""

    folder: Path
    code: int
    stdout: str
    stderr: str

    def table(self, name: str = "scores") -> list[dict[str, str]]:
        with (self.folder / f"{name}.tabular").open(newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))

    def names(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.folder / folder).glob("*"))


def run_tool(folder: Path, params: dict[str, Any], **variables: str) -> Done:
    (folder / "params.json").write_text(json.dumps(params))
    outputs = folder / "outputs"
    command = [sys.executable, str(TOOL), "--params", str(folder / "params.json")]
    done = subprocess.run(
        [*command, "--outputs", str(outputs)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **variables},
    )
    print(done.stdout[-3000:], done.stderr[-3000:])
    # Whatever happens, nothing half done stays.
    assert not [path.name for path in outputs.iterdir() if path.name.startswith((".", "fold-"))]
    return Done(outputs, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def mixed(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Two chains of one name, a bad one, and a complex in which one chain comes twice."""
    sequences = f">one\n{BETA}\n>bad\nPIAQ1HIL\n>one\n{ALPHA[:10]}\n"
    sequences += f">cplx\n{ALPHA[:8]}:{BETA[:6]}:{ALPHA[:8]}\n"
    params = form(weights, text(sequences), model={"num_models": 5}, outputs=EVERYTHING)
    return run_tool(tmp_path_factory.mktemp("mixed"), params)


def test_a_bad_query_makes_the_job_red_and_the_others_are_kept(mixed: Done) -> None:
    assert mixed.code == 2
    sentence, summary = mixed.stderr.splitlines()
    assert sentence.startswith("The query 'bad' holds '1' at position 5, which is no residue")
    assert summary == (
        "1 of 4 queries were not folded (bad), see the sentence on each above, the results of the "
        "others are kept"
    )
    assert mixed.names("best") == ["cplx.pdb", "one.pdb", "one_2.pdb"]


def test_single_chains_rank_as_their_networks_are_sure(mixed: Done) -> None:
    rows = [row for row in mixed.table() if row["query"] == "one_2"]
    assert [row["model"] for row in rows] == ["3", "4", "2", "1", "5"]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row["mean_plddt"] for row in rows] == ["91.00", "81.00", "71.00", "61.00", "51.00"]
    assert [row["max_pae"] for row in rows] == ["4.25", "5.25", "3.25", "2.25", "6.25"]
    for row in rows:
        assert row["model_type"] == "alphafold2_ptm"
        assert (row["label"], row["length"], row["chains"]) == ("one", "10", "1")
        assert (row["msa_depth"], row["recycles"], row["relaxed"]) == ("1", "0", "no")
        assert row["iptm"] == row["ipsae"] == row["pdockq"] == "NaN"
        assert float(row["seconds"]) > 0


def test_complexes_of_the_same_job_get_the_networks_for_them(mixed: Done) -> None:
    rows = [row for row in mixed.table() if row["query"] == "cplx"]
    assert {row["model_type"] for row in rows} == {"alphafold2_multimer_v3"}
    ranked = [0.8 * float(row["iptm"]) + 0.2 * float(row["ptm"]) for row in rows]
    assert ranked == sorted(ranked, reverse=True)
    plddt = {row["model"]: row["mean_plddt"] for row in rows}
    assert plddt == {"1": "61.00", "2": "71.00", "3": "91.00", "4": "81.00", "5": "51.00"}
    for row in rows:
        assert (row["length"], row["chains"]) == ("22", "3")
        assert 0 < float(row["ipsae"]) <= 1
        assert 0 <= float(row["pdockq"]) <= 1


def test_the_bad_query_has_a_row_with_the_reason(mixed: Done) -> None:
    rows = [row for row in mixed.table() if row["query"] == "bad"]
    assert len(rows) == 1
    assert rows[0]["rank"] == "NaN"
    assert "holds '1'" in rows[0]["note"]
    assert list(rows[0]) == list(MODEL_COLUMNS)


def test_structures_have_the_chains_atoms_and_b_factors(mixed: Done) -> None:
    atoms = read_atoms(mixed.folder / "best" / "one_2.pdb")
    # PIAQIHILEG: heavy atoms of its residues, without the terminal oxygen.
    assert len(atoms) == 76
    assert {atom.chain for atom in atoms} == {"A"}
    assert {atom.b_factor for atom in atoms} == {"91.00"}
    chains = [atom.chain for atom in read_atoms(mixed.folder / "best" / "cplx.pdb")]
    assert list(dict.fromkeys(chains)) == ["A", "B", "C"]
    # The copies of the first chain come one after the other.
    assert chains.count("A") == chains.count("B") != chains.count("C")


def test_each_structure_is_there_as_pdb_and_as_mmcif(mixed: Done) -> None:
    names = [Path(name).stem for name in mixed.names("structures")]
    assert names == [Path(name).stem for name in mixed.names("structures_cif")]
    assert len(names) == 15
    assert "one_unrelaxed_rank_001_alphafold2_ptm_model_3_seed_000" in names
    for name in names:
        pdb = read_atoms(mixed.folder / "structures" / f"{name}.pdb")
        cif = (mixed.folder / "structures_cif" / f"{name}.cif").read_text().splitlines()
        assert len([line for line in cif if line.startswith("ATOM")]) == len(pdb)


def test_tables_json_pictures_and_page(mixed: Done) -> None:
    residues = mixed.table("residues")
    assert len(residues) == 5 * (12 + 10 + 22)
    assert residues[0] == {
        "query": "one", "rank": "1", "model": "3", "seed": "0", "chain": "A", "residue": "1",
        "position": "1", "amino_acid": "G", "plddt": "91.00",
    }  # fmt: skip
    pae = json.loads((mixed.folder / "pae" / "one_2.json").read_text())
    assert pae["max_predicted_aligned_error"] == 4.25
    assert np.shape(pae["predicted_aligned_error"]) == (10, 10)
    kinds = ("coverage", "pae", "plddt")
    assert mixed.names("pictures") == sorted(
        f"{name}_{kind}.png" for name in ("cplx", "one", "one_2") for kind in kinds
    )
    page = (mixed.folder / "view.html").read_text()
    assert page.count("rank 1: model 3, not relaxed") == 2


def test_the_report_says_what_ran_and_what_to_cite(mixed: Done) -> None:
    report = (mixed.folder / "report.md").read_text()
    assert "3 of 4 queries folded, 15 structures." in report
    assert "without an alignment" in report
    assert 'history_dataset_as_image(output="overview")' in report
    assert (mixed.folder / "overview.png").stat().st_size > 10_000
    for words in ("none: made up", "CPU, ", "colabfold 1.6", "Peak memory", "10.1101/2021.10.04"):
        assert words in report
    assert "Amber" not in report


def test_the_log_tells_how_far_it_is(mixed: Done) -> None:
    lines = mixed.stdout.splitlines()
    assert lines[0] == "3 queries to fold: 2 single chains, 1 complexes"
    titles = [line for line in lines if line.startswith("Query ")]
    assert titles == [
        "Query 1 of 3: one_2 (10 residues, alphafold2_ptm)",
        "Query 2 of 3: one (12 residues, alphafold2_ptm)",
        "Query 3 of 3: cplx (22 residues, alphafold2_multimer_v3)",
    ]
    assert any(re.fullmatch(r"  model 3, recycle 0: pLDDT 91 pTM \S+", line) for line in lines)


@pytest.fixture(scope="module")
def rich(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Two alignments with a template, two seeds, a recycle, dropout, relaxation, all saved."""
    params = form(
        weights,
        {"kind": "a3m", "a3m_files": [dataset(DATA / f"{name}.a3m") for name in ("alpha", "beta")]},
        model={"num_recycle": 1, "num_seeds": 2, "random_seed": 7},
        sampling={"use_dropout": True},
        templates={
            "kind": "custom", "template_files": [dataset(DATA / "helix.pdb")], "max_hits": 5,
            "max_date": "",
        },
        relaxation={
            "relax": {
                "kind": "top", "num_relax": 1, "max_iterations": 20, "tolerance": 2.39,
                "stiffness": 10.0, "max_outer_iterations": 1, "use_gpu": False,
            }
        },
        outputs=["report"],
        save=["alignments", "json", "recycles", "single", "pair", "log"],
    )  # fmt: skip
    return run_tool(tmp_path_factory.mktemp("rich"), params)


def test_seeds_recycles_and_relaxation_are_in_the_table(rich: Done) -> None:
    assert rich.code == 0
    rows = [row for row in rich.table() if row["query"] == "alpha"]
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert sorted(row["seed"] for row in rows) == ["7", "8"]
    assert [row["recycles"] for row in rows] == ["1", "1"]
    assert [row["relaxed"] for row in rows] == ["yes", "no"]
    assert {row["msa_depth"] for row in rows} == {"4"}
    assert {row["mean_plddt"] for row in rows} == {"61.00"}


def test_the_relaxed_structure_is_the_best(rich: Done) -> None:
    atoms = read_atoms(rich.folder / "best" / "alpha.pdb")
    assert "H" in {atom.element for atom in atoms}
    assert {atom.b_factor for atom in atoms} == {"61.00"}
    assert len(rich.names("structures")) == len(rich.names("structures_cif")) == 6


def test_the_template_is_found_and_the_users_file_left_alone(rich: Done) -> None:
    assert "chain 1: templates: ['t000_A']" in rich.stdout
    assert not list(DATA.glob("pdb70*"))
    assert "helix.pdb" in (rich.folder / "report.md").read_text()


def test_everything_asked_for_is_saved_under_the_querys_name(rich: Done) -> None:
    assert rich.names("alignments") == ["alpha.a3m", "beta.a3m"]
    assert "PIAQIHILDGRSDEQK" in (rich.folder / "alignments" / "alpha.a3m").read_text()
    assert len(rich.names("recycles")) == 8
    name = "alpha_single_repr_rank_001_alphafold2_ptm_model_1_seed_00"
    single = [np.load(rich.folder / "single" / item) for item in rich.names("single")]
    assert len(single) == 4
    assert rich.names("single")[0].startswith(name)
    assert {array.shape[-1] for array in single} == {256}
    pair = [np.load(rich.folder / "pair" / item) for item in rich.names("pair")]
    assert {array.shape[-1] for array in pair} == {128}
    scores = json.loads(next((rich.folder / "model_scores").glob("alpha*rank_001*")).read_text())
    assert set(scores) == {"plddt", "max_pae", "pae", "ptm"}


def test_the_network_gets_no_more_rows_than_there_are(rich: Done) -> None:
    # Alone, ColabFold would compute 512 + 5120 rows for alignments of three and four.
    log = (rich.folder / "colabfold_log.txt").read_text()
    assert "--max-msa 8:1" in log
    assert "--msa-mode" not in log


def test_a_tar_networks_without_pae_and_a_score_that_is_enough(
    weights: Path, tmp_path: Path
) -> None:
    source = {"kind": "tar", "archive": dataset(DATA / "msas.tar"), "msa_mode": "single_sequence"}
    params = form(
        weights,
        source,
        model={"model_type": "deepfold_v1", "num_models": 5, "stop_at_score": 65.0},
        outputs=EVERYTHING,
    )
    done = run_tool(tmp_path, params)
    assert done.code == 0
    rows = done.table()
    # The second network is the first with a score above 65.
    assert [(row["query"], row["model"]) for row in rows] == [
        ("galaxy_0", "2"), ("galaxy_0", "1"), ("galaxy_1", "2"), ("galaxy_1", "1"),
    ]  # fmt: skip
    assert {row["ptm"] for row in rows} == {row["max_pae"] for row in rows} == {"NaN"}
    assert not (done.folder / "pae").exists()
    assert "10.1093/bioinformatics/btad712" in (done.folder / "report.md").read_text()
