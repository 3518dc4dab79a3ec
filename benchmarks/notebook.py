"""What run_jupyter_job costs above plain papermill on the same notebook: start, cells, memory."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil

from benchmarks.common import print_machine, print_table
from gpulab.report.facts import MEBIBYTE
from gpulab.testing.notebooks import make_notebook

ROOT = Path(__file__).parents[1]
LOOK = 0.1  # seconds between two looks at the memory
TOOL = ROOT / "tools" / "run_jupyter_job" / "run_jupyter_job.py"

NOTEBOOKS = {
    "one empty cell": ["pass"],
    "100 cells that print": [f"print({number})" for number in range(100)],
    "100 MB of variables": [
        "import numpy as np\nrandom = np.random.default_rng(1)",
        "values = [random.random(1_250_000) for _ in range(10)]",
    ],
    "a plot": ["import matplotlib.pyplot as plt\nplt.plot([1, 2, 4])\nplt.show()"],
}


def main() -> None:
    """Print a table with both programs side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print_machine()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for title, cells in NOTEBOOKS.items():
            rows.append((title, *_compare(Path(name), cells, arguments.rounds)))
    header = ("notebook", "papermill, s", "run_jupyter_job, s", "more, s", "MiB", "MiB")
    print_table(header, rows)


def _compare(folder: Path, cells: list[str], rounds: int) -> tuple[str, ...]:
    nbformat.write(make_notebook(*cells), folder / "a.ipynb")
    params = folder / "params.json"
    params.write_text(json.dumps(_form(folder / "a.ipynb")), encoding="utf-8")
    plain: list[tuple[float, float]] = []
    tool: list[tuple[float, float]] = []
    for number in range(rounds):  # in turns, so that a busy moment strikes both
        papermill = [sys.executable, "-m", "papermill", str(folder / "a.ipynb")]
        papermill += [str(folder / "out.ipynb"), "-k", "python3", "--cwd", str(folder)]
        plain.append(_measure(papermill))
        job = [sys.executable, str(TOOL), "--params", str(params)]
        tool.append(_measure([*job, "--outputs", str(folder / str(number))]))
    seconds = [statistics.median(each[0] for each in group) for group in (plain, tool)]
    memory = [statistics.median(each[1] for each in group) / MEBIBYTE for group in (plain, tool)]
    return (
        *(f"{value:.2f}" for value in seconds),
        f"{seconds[1] - seconds[0]:.2f}",
        *(f"{value:.0f}" for value in memory),
    )


def _form(notebook: Path) -> dict[str, Any]:
    """Return the untouched form."""
    source = {"element_identifier": "a.ipynb", "ext": "ipynb", "source_path": str(notebook)}
    return {
        "source": {"kind": "notebook", "notebook": source},
        "datasets": [],
        "parameters": [],
        "limits": {"cell_minutes": 0, "total_minutes": 0, "max_files": 10000, "max_gigabytes": 20},
        "failure": "fail",
        "variables": {"which": "all"},
        "hide_code": False,
    }


def _measure(command: list[str]) -> tuple[float, float]:
    """Return the seconds of a program, and the largest memory of it and all below it in bytes.

    Memory is the proportional set size, which counts shared pages once (proc_pid_smaps(5)).
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    program = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0
    while program.poll() is None:
        peak = max(peak, _memory(program.pid))
        time.sleep(LOOK)
    seconds = time.perf_counter() - began
    if program.returncode:
        raise RuntimeError(f"{command} ended with {program.returncode}")
    return seconds, float(peak)


def _memory(pid: int) -> int:
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
    except psutil.Error:
        pass
    return total


if __name__ == "__main__":
    main()
