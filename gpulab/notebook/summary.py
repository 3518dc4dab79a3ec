"""The report of a notebook job: how it ended, what it used, what came of it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpulab import __version__
from gpulab.notebook.cells import plain
from gpulab.notebook.source import code_cells
from gpulab.report.facts import MEBIBYTE
from gpulab.report.markdown import Report, escape

if TYPE_CHECKING:
    from gpulab.notebook.captured import Captured
    from gpulab.notebook.endings import Run
    from gpulab.notebook.execute import Plan
    from gpulab.notebook.files import Harvest
    from gpulab.notebook.options import Options

MAX_FACTS_BYTES = 1 << 20
MAX_SHOWN = 40  # rows of a table in the report
MAX_WARNINGS = 10
MAX_VERSIONS = 150
DOUBTS = ("do not rely", "not compared")  # in the note of a model that may not be the original

ENDINGS = {
    "done": "All cells ran.",
    "failed": "A cell failed.",
    "time": "A time limit ended the notebook.",
    "stopped": "The server ended the job.",
    "died": "Python ended before the notebook did.",
    "memory": "The job ran out of memory.",
    "processes": "The notebook started too many processes.",
    "disk": "The notebook wrote too much.",
}


@dataclass(frozen=True)
class Facts:
    """What the notebook itself says about where it ran; not checked.

    Attributes:
        versions: Version of each package that it imported.
        devices: GPUs that its libraries saw.
    """

    versions: dict[str, str]
    devices: list[str]


@dataclass(frozen=True)
class Results:
    """What a run left behind.

    Attributes:
        captured: Variables and models.
        files: Files.
        figures: Number of pictures.
        facts: Versions and devices.
        seed_advice: A sentence, or nothing.
    """

    captured: Captured
    files: Harvest
    figures: int
    facts: Facts
    seed_advice: str


def read_facts(path: Path) -> Facts:
    """Read what the kernel noted; a missing or forged file gives nothing."""
    try:
        if path.is_symlink() or path.stat().st_size > MAX_FACTS_BYTES:
            return Facts({}, [])
        values = json.loads(path.read_text(encoding="utf-8"))
        versions = {str(name)[:80]: str(text)[:80] for name, text in values["versions"].items()}
        return Facts(versions, [str(device)[:200] for device in values["devices"][:16]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Facts({}, [])


def write_report(path: Path, plan: Plan, options: Options, run: Run, results: Results) -> None:
    """Write the report as Markdown for Galaxy."""
    report = Report(f"Run of {options.label}")
    _write_ending(report, plan, run)
    report.items(_facts(run, results.facts))
    if results.seed_advice:
        report.text(escape(results.seed_advice))
    report.image("usage")
    _write_results(report, results)
    _write_cells(report, plan, run)
    _write_inputs(report, options)
    _write_isolation(report, plan)
    _write_versions(report, results.facts)
    report.write(path)


def _write_ending(report: Report, plan: Plan, run: Run) -> None:
    report.text(f"**{ENDINGS[run.ending]}**")
    if run.left:
        report.text("The notebook ended itself before the last cell.")
    if run.sentence:
        report.text(escape(run.sentence))
    if run.traceback:
        report.code(run.traceback)
    for note in run.notes:
        report.warning(note)
    if plan.isolation.kind == "open":
        report.text("\n\n".join(plan.isolation.sentences()))


def _facts(run: Run, facts: Facts) -> dict[str, str]:
    peak = max((sample.memory_bytes for sample in run.samples), default=0)
    gpu = [s.gpu_memory_bytes for s in run.samples if s.gpu_memory_bytes is not None]
    values = {
        "Wall time": f"{run.seconds:.1f} s",
        "Device": "; ".join(facts.devices) or "CPU (no library of the notebook saw a GPU)",
        "Peak memory": f"{peak / MEBIBYTE:.0f} MiB, all processes of the notebook together",
    }
    if gpu:
        values["Peak GPU memory"] = f"{max(gpu) / MEBIBYTE:.0f} MiB"
    return values


def _write_cells(report: Report, plan: Plan, run: Run) -> None:
    report.heading("Cells")
    sources = [cell.source for cell in code_cells(plan.notebook)]
    rows = [
        (cell.number, _first_line(source), f"{cell.seconds:.1f}", cell.state)
        for cell, source in zip(run.cells, sources, strict=False)
    ]
    if len(rows) > MAX_SHOWN:
        # The slow ones are what one looks for, and the one that failed.
        slow = sorted(rows, key=lambda row: (row[3] in ("done", "skipped"), -float(row[2])))
        rows = sorted(slow[:MAX_SHOWN])
        report.text(f"The {MAX_SHOWN} slowest of {len(run.cells)} cells:")
    report.table(("Cell", "Begins with", "Seconds", "State"), rows)


def _first_line(source: str) -> str:
    lines = [line.strip() for line in source.splitlines()]
    code = [line for line in lines if line and not line.startswith("#")]
    return plain((code or lines or [""])[0])[:60]


def _write_results(report: Report, results: Results) -> None:
    report.heading("Results")
    rows = results.captured.rows
    saved = sum(1 for row in rows if row.saved == "arrays")
    report.items(
        {
            "Models": ", ".join(results.captured.models) or "none",
            "Variables saved": f"{saved} of {len(rows)}",
            "Files in outputs/": len(results.files.files),
            "Files in the zip": results.files.zipped,
            "Figures": results.figures,
        }
    )
    doubtful = [
        f"{row.name}: {row.note}"
        for row in rows
        if row.saved == "model" and any(words in row.note for words in DOUBTS)
    ]
    notes = [*doubtful, *results.captured.notes, *results.files.notes, *results.files.refused]
    for note in notes[:MAX_WARNINGS]:
        report.warning(note[:300])
    if notes[MAX_WARNINGS:]:
        report.warning(f"{len(notes) - MAX_WARNINGS} more things like these")
    if rows:
        report.dataset_table("variables_table")


def _write_inputs(report: Report, options: Options) -> None:
    if options.inputs.names:
        report.heading("Datasets")
        rows = [(name, _places(value)) for name, value in options.inputs.names.items()]
        report.table(("Name in GALAXY_INPUTS", "Path"), rows[:MAX_SHOWN])
    if options.parameters:
        report.heading("Parameters")
        report.items({name: repr(value)[:200] for name, value in options.parameters.items()})


def _places(value: str | Mapping[str, str]) -> str:
    return value if isinstance(value, str) else f"{len(value)} files"


def _write_isolation(report: Report, plan: Plan) -> None:
    report.heading("Isolation")
    report.text("\n".join(f"- {sentence}" for sentence in plan.isolation.sentences()))


def _write_versions(report: Report, facts: Facts) -> None:
    report.heading("Versions")
    known = {"run_jupyter_job": __version__, "Python": platform.python_version(), **facts.versions}
    named = [f"{name} {version}" for name, version in known.items()]
    report.text(escape(", ".join(named[:MAX_VERSIONS])))
