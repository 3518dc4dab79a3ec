"""The job behind run_jupyter_job: from the form's parameters to the outputs in the history."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpulab.jobs import OUT_OF_MEMORY_EXIT_CODE, OutputFolder
from gpulab.notebook.captured import read_captured, write_variables
from gpulab.notebook.endings import Run
from gpulab.notebook.execute import Plan, run_notebook
from gpulab.notebook.figures import write_figures
from gpulab.notebook.files import FileLimits, harvest_files
from gpulab.notebook.inputs import INPUTS_FILE
from gpulab.notebook.inside import FACTS_FILE
from gpulab.notebook.kernel import make_folders
from gpulab.notebook.options import Options, read_options
from gpulab.notebook.page import write_page
from gpulab.notebook.sandbox import become_reaper, choose_isolation
from gpulab.notebook.seeds import seed_advice
from gpulab.notebook.source import insert_parameters, read_source
from gpulab.notebook.summary import Results, read_facts, write_report
from gpulab.notebook.usage import draw_usage
from gpulab.notebook.watch import Limits

# What a notebook may write while it runs, temporary files included, per byte that it may leave.
SCRATCH_FACTOR = 2
MAX_TRACEBACK = 20_000  # characters
EXECUTED = "executed.ipynb"
EXIT_CODES: Mapping[str, int] = {
    "done": 0,
    "failed": 3,
    "time": 4,
    "died": 5,
    "processes": 6,
    "disk": 6,
    "memory": OUT_OF_MEMORY_EXIT_CODE,
    "stopped": 143,  # what a shell reports for SIGTERM
}


def notebook_job(params: dict[str, Any], outputs: OutputFolder) -> int:
    """Run a notebook or script in a sandbox and write what came of it.

    Args:
        params: The tool's parameters.
        outputs: Where to write. The executed notebook goes to its final place from the beginning,
            so that it is there whenever and however the job ends.

    Returns:
        The exit code: 0, or that of the failure unless the form says that the job finishes all the
        same.

    Raises:
        InputError: An input cannot be used, or the server has no means to isolate the notebook.
    """
    options = read_options(params)
    notebook = read_source(options.source, options.kind, options.label)
    notebook = insert_parameters(notebook, options.parameters, options.label)
    isolation = choose_isolation(os.environ)
    become_reaper()
    folders = make_folders(outputs.final / "run")
    options.inputs.write(folders.work)
    plan = Plan(
        notebook=notebook,
        executed=outputs.final / EXECUTED,
        folders=folders,
        inputs=options.inputs.files,
        isolation=isolation,
        time=options.time,
        limits=replace(
            Limits.from_environment(os.environ), disk_bytes=SCRATCH_FACTOR * options.max_bytes
        ),
        which=options.which,
        pattern=options.pattern,
    )
    run = run_notebook(plan, os.environ)
    print("writing the outputs")
    results = _harvest(plan, options, run, outputs)
    write_report(outputs.file("report.md"), plan, options, run, results)
    shutil.rmtree(folders.parent, ignore_errors=True)
    _say_how_it_ended(run)
    return EXIT_CODES[run.ending] if options.fail else 0


def _harvest(plan: Plan, options: Options, run: Run, outputs: OutputFolder) -> Results:
    """Take over what the notebook left behind; nothing of it runs any more, and none is trusted."""
    folders = plan.folders
    captured = read_captured(folders.captured)
    write_variables(captured, outputs.file("variables.tabular"))
    arrays = outputs.file("arrays.h5")
    if captured.arrays is None:
        make_empty(arrays)
    else:
        captured.arrays.replace(arrays)
    models = outputs.folder("models")
    for name, path in captured.models.items():
        path.replace(models / f"{name}.onnx")
    files = harvest_files(
        folders.work,
        exclude=[*plan.inputs, INPUTS_FILE],
        outputs=outputs.folder("files"),
        archive=outputs.file("archive.zip"),
        limits=FileLimits(options.max_files, options.max_bytes),
    )
    figures = write_figures(plan.notebook, outputs.folder("figures"), files.notes)
    write_page(
        plan.notebook, outputs.file("page.html"), hide_code=options.hide_code, title=options.label
    )
    draw_usage(run.samples, run.cells, outputs.file("usage.png"))
    return Results(
        captured=captured,
        files=files,
        figures=len(figures),
        facts=read_facts(folders.captured / FACTS_FILE),
        seed_advice=seed_advice(plan.notebook),
    )


def make_empty(path: Path) -> None:
    """Write an HDF5 file without any dataset."""
    import h5py

    with h5py.File(path, "w"):
        pass


def _say_how_it_ended(run: Run) -> None:
    if run.sentence:
        print(run.sentence, file=sys.stderr)
    if run.traceback:
        print(run.traceback[-MAX_TRACEBACK:], file=sys.stderr)
    for note in run.notes:
        print(note, file=sys.stderr)
