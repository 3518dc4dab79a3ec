"""Failures: told in a sentence each, and never with exit code 0."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from inputs import DATA, dataset, form, text
from test_run import Done, run_tool

from gpulab.fold import run
from gpulab.fold.options import options_of
from gpulab.fold.run import make_batches, run_batches
from gpulab.fold.run_input import read_jobs
from gpulab.testing.fold_inputs import ALPHA, BETA

# Stands in for ColabFold where it dies, which it does not do when asked: it folds (a helix with its
# scores), fails, crashes or is killed, as the number of residues says.
STAND_IN = """
import json, os, signal, sys
from pathlib import Path
from gpulab.testing.fold_inputs import helix
fasta, results = Path(sys.argv[1]), Path(sys.argv[2])
stamp = "2026-11-23 03:37:57,143 "
records = fasta.read_text().split(">")[1:]
queries = sorted((r.split() for r in records), key=lambda q: len(q[1]))
print(stamp + "Running on GPU", flush=True)
for place, (key, sequence) in enumerate(queries, 1):
    print(f"{stamp}Query {place}/{len(queries)}: {key} (length {len(sequence)})", flush=True)
    if len(sequence) == 6:
        print("ValueError: Amber gave up", flush=True)
        sys.exit(1)
    if len(sequence) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    if len(sequence) == 11:
        os.kill(os.getpid(), signal.SIGTERM)
    if len(sequence) == 8:
        why = "RESOURCE_EXHAUSTED: Out of memory"
        print(f"{stamp}Could not predict {key}. Not Enough GPU memory? {why}", flush=True)
        continue
    if len(sequence) == 9:
        continue
    tag = "rank_001_alphafold2_ptm_model_1_seed_000"
    scores = {"plddt": [61.0] * len(sequence), "ptm": 0.1, "max_pae": 1.0, "pae": []}
    (results / f"{key}_scores_{tag}.json").write_text(json.dumps(scores))
    (results / f"{key}_unrelaxed_{tag}.pdb").write_text(helix(sequence))
    (results / f"{key}.a3m").write_text(f"#{len(sequence)}\\t1\\n>101\\n{sequence}\\n")
    (results / f"{key}.done.txt").touch()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "colabfold_batch"
    program.write_text(STAND_IN)
    monkeypatch.setattr(run, "colabfold", lambda name: program)
    monkeypatch.setenv("PYTHONPATH", str(DATA.parents[1]))
    return tmp_path


def fold(folder: Path, *sequences: str) -> tuple[run.Outcome, list[str]]:
    fasta = "".join(f">p{len(sequence)}\n{sequence}\n" for sequence in sequences)
    options = options_of(form(folder, text(fasta)), folder)
    jobs = read_jobs(options, folder)
    told: list[str] = []
    batches = make_batches(jobs, options, folder)
    return run_batches(jobs, batches, options, folder / "log.txt", told.append), told


def test_after_a_crash_the_others_are_folded(stand_in: Path) -> None:
    outcome, told = fold(stand_in, ALPHA[:10], ALPHA[:6], ALPHA[:5])
    assert [bool(fold.models) for fold in outcome.folds] == [True, False, True]
    assert outcome.folds[1].note == (
        "The query 'p6' was not folded: ColabFold ended with 'ValueError: Amber gave up'"
    )
    assert not outcome.out_of_memory
    assert outcome.device == "GPU"
    assert [line for line in told if line.startswith("Query")] == [
        "Query 1 of 3: p5 (5 residues, alphafold2_ptm)",
        "Query 2 of 3: p6 (6 residues, alphafold2_ptm)",
        "Query 3 of 3: p10 (10 residues, alphafold2_ptm)",
    ]


def test_a_signal_is_called_one(stand_in: Path) -> None:
    outcome, _ = fold(stand_in, ALPHA[:11], ALPHA[:12])
    assert [bool(fold.models) for fold in outcome.folds] == [False, True]
    assert "ended by a signal (Terminated) after 'Query 1/2: q0001" in outcome.folds[0].note
    assert not outcome.out_of_memory


def test_when_the_system_kills_it_longer_ones_are_not_tried(stand_in: Path) -> None:
    outcome, _ = fold(stand_in, ALPHA[:5], ALPHA[:7], ALPHA[:10])
    assert [bool(fold.models) for fold in outcome.folds] == [True, False, False]
    assert "memory ran out" in outcome.folds[1].note
    assert outcome.out_of_memory


def test_out_of_gpu_memory_is_told_apart_from_other_failures(stand_in: Path) -> None:
    outcome, _ = fold(stand_in, ALPHA[:8], ALPHA[:10])
    assert [bool(fold.models) for fold in outcome.folds] == [False, True]
    assert outcome.out_of_memory


def test_success_without_a_structure_is_none(stand_in: Path) -> None:
    outcome, _ = fold(stand_in, ALPHA[:8], ALPHA[:9])
    assert "'p9' was not folded: ColabFold wrote no structure" in outcome.folds[1].note
    assert not outcome.out_of_memory


def refused(folder: Path, params: dict[str, object]) -> Done:
    began = time.monotonic()
    done = run_tool(folder, params)
    assert done.code == 2
    assert len(done.stderr.splitlines()) == 1
    assert time.monotonic() - began < 20
    assert not list(done.folder.iterdir())
    return done


def test_weights_that_lack_the_type_of_model(weights: Path, tmp_path: Path) -> None:
    params = tmp_path / "weights" / "params"
    params.mkdir(parents=True)
    for path in (weights / "params").glob("*_ptm.npz"):
        (params / path.name).symlink_to(path)
    (params / "download_finished.txt").touch()
    done = refused(tmp_path, form(tmp_path / "weights", text(f">c\n{ALPHA}:{BETA}\n")))
    assert "alphafold2_multimer_v3 is asked for" in done.stderr


def test_weights_whose_folder_is_gone(tmp_path: Path) -> None:
    done = refused(tmp_path, form(tmp_path / "nowhere", text(ALPHA)))
    assert "their folder is not there" in done.stderr


def test_no_row_of_the_data_table(tmp_path: Path) -> None:
    params = form(tmp_path, text(ALPHA))
    done = refused(tmp_path, params | {"weights": "stand_in"})
    assert "ask the administrator to install" in done.stderr


def test_a_template_that_is_none(weights: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pdb"
    bad.write_text("nothing\n")
    templates = {
        "kind": "custom", "template_files": [dataset(bad)], "max_hits": 20, "max_date": "",
    }  # fmt: skip
    done = refused(tmp_path, form(weights, text(ALPHA), templates=templates))
    assert "The template 'bad.pdb' holds no amino acids" in done.stderr


def test_damaged_weights_end_the_job_red(weights: Path, tmp_path: Path) -> None:
    params = tmp_path / "weights" / "params"
    params.mkdir(parents=True)
    for path in (weights / "params").glob("*_ptm.npz"):
        (params / path.name).write_bytes(b"PK\x03\x04 cut short")
    (params / "download_finished.txt").touch()
    done = run_tool(tmp_path, form(tmp_path / "weights", text(f">a\n{ALPHA}\n>b\n{BETA}\n")))
    assert done.code == 2
    assert "The query 'a' was not folded: ColabFold ended with" in done.stderr
    assert "2 of 2 queries were not folded (a, b)" in done.stderr
    assert "nothing was folded" in done.stderr


def test_a_structure_that_is_not_the_query_is_no_result(stand_in: Path) -> None:
    program = stand_in / "colabfold_batch"
    program.write_text(STAND_IN.replace("helix(sequence)", "helix(sequence[:-1] + 'W')"))
    outcome, _ = fold(stand_in, ALPHA[:10])
    assert not outcome.folds[0].models
    assert "residues that are not the 10 asked" in outcome.folds[0].note
