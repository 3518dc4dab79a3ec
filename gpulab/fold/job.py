"""The `colabfold_batch` tool: from sequences or alignments to structures, scores and pictures."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.errors import InputError
from gpulab.fold.cif import read_atoms, write_cif
from gpulab.fold.coverage import measure
from gpulab.fold.coverage_plot import draw_coverage
from gpulab.fold.options import FoldOptions, options_of
from gpulab.fold.pictures import draw_pae, draw_plddt, has_pae
from gpulab.fold.report import write_report
from gpulab.fold.run import Outcome, make_batches, run_batches
from gpulab.fold.run_estimate import check_size
from gpulab.fold.run_input import Job, read_jobs
from gpulab.fold.scores import Fold
from gpulab.fold.scores_table import (
    MODEL_COLUMNS,
    RESIDUE_COLUMNS,
    model_rows,
    pae_document,
    residue_rows,
    write_table,
)
from gpulab.fold.view import write_view
from gpulab.jobs import OutputFolder
from gpulab.models.runtime import thread_count
from gpulab.report.facts import KIBIBYTE, MEBIBYTE, RunClock, versions
from gpulab.report.figures import save_figure

PACKAGES = ("colabfold", "alphafold-colabfold", "jax", "jaxlib", "openmm", "biopython", "numpy")


def fold_job(params: dict[str, Any], outputs: OutputFolder) -> None:
    """Predict the structures of proteins and complexes with ColabFold.

    Args:
        params: The form: the conditionals `input` and `templates`, `weights`, the sections `model`,
            `sampling`, `relaxation` and `speed`, and the lists `outputs` and `save`.
        outputs: Receives scores.tabular and the folders structures, structures_cif and best, and as
            chosen residues.tabular, pae/, pictures/, view.html, report.md with overview.png,
            alignments/, model_scores/, recycles/, single/, pair/, colabfold_log.txt.

    Raises:
        InputError: Nothing can be folded, or a query was not; the others' results are kept.
        MemoryError: Queries were not folded, all for want of memory; the others' results are kept.
    """
    clock = RunClock()
    options = options_of(params, outputs.final)
    with tempfile.TemporaryDirectory(prefix="fold-", dir=outputs.final) as name:
        folder = Path(name)
        jobs = read_jobs(options, folder)
        for is_complex in sorted({job.is_complex for job in jobs if not job.problem}):
            options.check_weights(is_complex=is_complex)
        jobs, notes = check_size(jobs, options)
        _tell_plan(jobs, notes)
        log = outputs.file("colabfold.log")
        log.touch()
        batches = make_batches(jobs, options, folder)
        outcome = run_batches(jobs, batches, options, log, print)
        # What is good is kept even if the job fails: this folder's files stay, and the other one,
        # which takes away what an error leaves half done, holds nothing.
        with OutputFolder(outputs.final) as kept:
            _write(outcome, options, kept, log, notes, clock)
    _fail_for(outcome)


def _tell_plan(jobs: Sequence[Job], notes: Sequence[str]) -> None:
    good = [job for job in jobs if not job.problem]
    complexes = sum(job.is_complex for job in good)
    print(
        f"{len(good)} queries to fold: {len(good) - complexes} single chains, {complexes} complexes"
    )
    for job in jobs:
        if job.problem:
            print(f"Left out: {job.problem}")
    for note in notes:
        print(f"Please note: {note}")


def _fail_for(outcome: Outcome) -> None:
    failed = [fold for fold in outcome.folds if not fold.models]
    if not failed:
        return
    for fold in failed:
        print(fold.note, file=sys.stderr)
    if outcome.out_of_memory:
        raise MemoryError
    names = ", ".join(fold.name for fold in failed[:10]) + (", …" if failed[10:] else "")
    kept = "the results of the others are kept" if failed != outcome.folds else "nothing was folded"
    raise InputError(
        f"{len(failed)} of {len(outcome.folds)} queries were not folded ({names}), see the "
        f"sentence on each above, {kept}"
    )


def _write(
    outcome: Outcome,
    options: FoldOptions,
    outputs: OutputFolder,
    log: Path,
    notes: list[str],
    clock: RunClock,
) -> None:
    folds, chosen = outcome.folds, options.outputs
    folded = [fold for fold in folds if fold.models]
    write_table(outputs.file("scores.tabular"), MODEL_COLUMNS, model_rows(folds))
    _write_structures(folded, outputs)
    if "residues" in chosen:
        rows = residue_rows(folded)
        write_table(outputs.file("residues.tabular"), RESIDUE_COLUMNS, rows)
    for fold in folded:
        _write_query(fold, outcome, chosen, outputs)
    if "view" in chosen and folded:
        notes = [*notes, *filter(None, [write_view(outputs.file("view.html"), folded)])]
    if "log" in chosen:
        shutil.copyfile(log, outputs.file("colabfold_log.txt"))
    if "report" in chosen:
        facts = clock.facts(device=device(outcome), packages=PACKAGES, seed=options.seed)
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIBIBYTE
        facts["Peak memory"] = f"{children / MEBIBYTE:.0f} MiB (of ColabFold)"
        report, picture = outputs.file("report.md"), outputs.file("overview.png")
        write_report(report, picture, outcome, options, facts, notes)


def _write_structures(folded: Sequence[Fold], outputs: OutputFolder) -> None:
    version = versions(["colabfold"]).get("colabfold", "unknown")
    for fold in folded:
        for model in fold.models:
            for kind, path in (("unrelaxed", model.structure), ("relaxed", model.relaxed)):
                if path is None:
                    continue
                name = f"{fold.name}_{kind}_rank_{model.rank:03d}_{model.tag}"
                shutil.copyfile(path, outputs.file(f"structures/{name}.pdb"))
                target = outputs.file(f"structures_cif/{name}.cif")
                write_cif(target, fold, model, read_atoms(path), version)
        shutil.copyfile(fold.best.best_structure, outputs.file(f"best/{fold.name}.pdb"))


def _write_query(
    fold: Fold, outcome: Outcome, chosen: frozenset[str], outputs: OutputFolder
) -> None:
    if "pae" in chosen and has_pae(fold):
        text = json.dumps(pae_document(fold), separators=(",", ":"))
        outputs.file(f"pae/{fold.name}.json").write_text(text, encoding="ascii")
    if "pictures" in chosen:
        save_figure(draw_plddt(fold), outputs.file(f"pictures/{fold.name}_plddt.png"))
        if has_pae(fold):
            save_figure(draw_pae(fold), outputs.file(f"pictures/{fold.name}_pae.png"))
        alignment = outcome.alignments[fold.name]
        figure = draw_coverage(fold.name, alignment, measure(alignment))
        save_figure(figure, outputs.file(f"pictures/{fold.name}_coverage.png"))
    folder, key = outcome.results[fold.name]
    # What ColabFold wrote, under the query's name instead of the one that it had for ColabFold.
    for output, pattern, target in (
        ("alignments", f"{key}.a3m", "alignments"),
        ("json", f"{key}_scores_rank_*.json", "model_scores"),
        ("recycles", f"{key}_unrelaxed_rank_*.r[0-9]*.pdb", "recycles"),
        ("single", f"{key}_single_repr_*.npy", "single"),
        ("pair", f"{key}_pair_repr_*.npy", "pair"),
    ):
        for path in sorted(folder.glob(pattern)) if output in chosen else ():
            name = fold.name + path.name.removeprefix(key)
            shutil.copyfile(path, outputs.file(f"{target}/{name}"))


def device(outcome: Outcome) -> str:
    """Return where the networks ran, with the name of the GPU or the number of threads."""
    if outcome.device != "GPU":
        return f"CPU, {thread_count()} thread(s)"
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "GPU"
    return f"GPU, {', '.join(sorted(set(done.stdout.strip().splitlines())))}"
