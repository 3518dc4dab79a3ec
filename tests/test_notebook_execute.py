"""Running notebooks for real: each ends in its own way, and nothing is lost or left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from gpulab.errors import InputError
from gpulab.notebook.endings import Run
from gpulab.notebook.execute import Plan, run_notebook
from gpulab.notebook.kernel import make_folders
from gpulab.notebook.options import TimeLimits
from gpulab.notebook.sandbox import become_reaper, choose_isolation
from gpulab.notebook.source import read_source
from gpulab.notebook.watch import Limits
from gpulab.testing.notebooks import make_notebook

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20


class Trial:
    """A notebook that was run in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        *cells: str,
        cell: float | None = None,
        total: float | None = None,
        inputs: dict[str, Path] | None = None,
        **limits: int,
    ) -> None:
        nbformat.write(make_notebook(*cells), folder / "a.ipynb")
        self.folders = make_folders(folder / "run")
        (self.folders.work / "galaxy_inputs.json").write_text('{"a": "b"}')
        become_reaper()
        self.lines: list[str] = []
        self.plan = Plan(
            notebook=read_source(folder / "a.ipynb", "notebook", "a"),
            executed=folder / "executed.ipynb",
            folders=self.folders,
            inputs=inputs or {},
            isolation=_isolation(),
            time=TimeLimits(cell, total),
            limits=Limits(**limits),
            which="all",
            pattern="",
        )
        self.run: Run = run_notebook(self.plan, os.environ, self.lines.append)

    @property
    def texts(self) -> list[str]:
        """All that each code cell printed or raised."""
        notebook: Any = nbformat.read(self.plan.executed, as_version=4)
        return [
            "".join(output.get("text", output.get("evalue", "")) for output in cell.outputs)
            for cell in notebook.cells
        ]

    @property
    def states(self) -> list[str]:
        return [cell.state for cell in self.run.cells]

    @property
    def rows(self) -> str:
        """What was captured."""
        return (self.folders.captured / "variables.jsonl").read_text()


def _isolation() -> Any:
    try:
        return choose_isolation(os.environ)
    except InputError:
        print("neither bubblewrap nor a container here: these notebooks run in the open")
        return choose_isolation({**os.environ, "GPULAB_ALLOW_UNISOLATED": "1"})


def test_what_notebooks_may_do(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("from the history")
    trial = Trial(
        tmp_path,
        "print(open('data/input.txt').read(), GALAXY_INPUTS)",
        "%%bash\necho shell: $((40 + 2))",
        "import asyncio\nawait asyncio.sleep(0)\nprint('awaited')",
        "if __name__ == '__main__':\n    print('main')",
        "!echo bang\n%time x = 1",
        "from IPython.display import display, HTML\nimport ipywidgets\n"
        "display(HTML('<b>bold</b>'), ipywidgets.IntSlider(value=7))",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
        inputs={"data/input.txt": tmp_path / "input.txt"},
    )
    assert trial.run.ending == "done", trial.run
    assert trial.states == ["done"] * 7
    assert trial.texts[0] == "from the history {'a': 'b'}\n"
    assert trial.texts[1:4] == ["shell: 42\n", "awaited\n", "main\n"]
    assert "bang" in trial.texts[4]
    notebook: Any = nbformat.read(trial.plan.executed, as_version=4)
    assert any("text/html" in output.data for output in notebook.cells[5].outputs)
    assert "widgets" in notebook.metadata
    assert "image/png" in notebook.cells[6].outputs[-1].data
    assert any(line.startswith("cell 2 of 7: done") for line in trial.lines)
    assert any("shell: 42" in line for line in trial.lines)


def test_a_failure_keeps_what_came_before(tmp_path: Path) -> None:
    trial = Trial(tmp_path, "kept = [1, 2, 3]", "print('Mean squared error: 1')\n1 / 0", "lost = 1")
    assert (trial.run.ending, trial.states) == ("failed", ["done", "failed", "skipped"])
    assert trial.run.sentence == "Cell 2 failed: ZeroDivisionError: division by zero"
    assert "1 / 0" in trial.run.traceback
    assert "\x1b" not in trial.run.traceback
    assert '"kept"' in trial.rows
    assert '"lost"' not in trial.rows


@pytest.mark.parametrize(
    ("code", "ending", "state"),
    [
        ("import sys\nsys.exit(0)", "done", "done"),
        ("exit()", "done", "done"),
        ("quit(0)", "done", "done"),
        ("raise SystemExit", "done", "done"),
        ("raise SystemExit(3)", "failed", "failed"),
        ("exit('bad')", "failed", "failed"),
        ("raise MemoryError('too large')", "memory", "failed"),
    ],
)
def test_leaving_early(tmp_path: Path, code: str, ending: str, state: str) -> None:
    trial = Trial(tmp_path, "kept = 1", code, "print('not reached')")
    assert trial.run.ending == ending
    assert trial.states == ["done", state, "skipped"]
    assert trial.texts[2] == ""
    assert '"kept"' in trial.rows


def test_input_fails_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    trial = Trial(tmp_path, "input('name?')")
    assert trial.run.ending == "failed"
    assert "asks for input, and nobody is there" in trial.run.sentence
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("code", "ending", "words"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "memory", "memory ran out"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "died", "segmentation fault"),
        ("import os\nos._exit(0)", "died", "ended its own Python"),
    ],
)
def test_a_dead_kernel_is_told_as_that(tmp_path: Path, code: str, ending: str, words: str) -> None:
    trial = Trial(tmp_path, "print('before')", code, "print('after')")
    assert trial.run.ending == ending
    assert words in trial.run.sentence
    assert trial.run.sentence.startswith("Cell 2: ")
    assert trial.states[:2] == ["done", "died"]
    assert trial.texts[0] == "before\n"


def test_memory_bomb_ends_the_notebook_alone(tmp_path: Path) -> None:
    code = (
        "x = bytearray(3 * 10**9)\nx[::4096] = b'1' * len(x[::4096])\nimport time\ntime.sleep(60)"
    )
    trial = Trial(tmp_path, code, memory_bytes=500 * MIB)
    assert trial.run.ending == "memory"
    assert "500 MB of this job" in trial.run.sentence


def test_cell_limit_interrupts_and_saves(tmp_path: Path) -> None:
    loop = "for step in range(1000):\n    print('step', step)\n    time.sleep(0.2)"
    trial = Trial(tmp_path, "import time\nkept = 5", loop, "after = 1", cell=3)
    assert (trial.run.ending, trial.states) == ("time", ["done", "interrupted", "skipped"])
    assert trial.run.sentence == "Cell 2 reached the limit of 3 seconds for a cell"
    assert "step 3" in trial.texts[1]
    assert '"kept"' in trial.rows


def test_total_limit_ends_also_who_catches_the_interruption(tmp_path: Path) -> None:
    code = (
        "import time\ntry:\n    time.sleep(100)\nexcept KeyboardInterrupt:\n    kept = 'tidied up'"
    )
    trial = Trial(tmp_path, code, "after = 1", total=3)
    assert (trial.run.ending, trial.states) == ("time", ["interrupted", "skipped"])
    assert "total time limit" in trial.run.sentence
    assert '"kept"' in trial.rows


def test_who_ignores_the_interruption_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpulab.notebook.cells.GRACE", 2.0)
    code = (
        "import time\nwhile True:\n    try:\n        time.sleep(1)\n"
        "    except KeyboardInterrupt:\n        print('no')"
    )
    trial = Trial(tmp_path, code, cell=2)
    assert trial.run.ending == "time"
    assert "did not end when it was interrupted" in trial.run.sentence
    assert trial.texts == ["no\nno\n"]


def test_nothing_is_left_running(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1234)'],"
        " start_new_session=True)"
    )
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    trial = Trial(tmp_path, code)
    assert trial.run.ending == "done"
    left = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


def test_outputs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpulab.notebook.cells.MAX_CELL_TEXT", 10_000)
    monkeypatch.setattr("gpulab.notebook.cells.MAX_OUTPUT_BYTES", 50_000)
    trial = Trial(
        tmp_path,
        "import sys\nfor n in range(5000):\n    print('progress', n, end='\\r', flush=True)",
        "for n in range(100):\n    print('y' * 1000, flush=True)",
        "from IPython.display import HTML\nfor n in range(10):\n    display(HTML('z' * 9000))",
        "print('all is well')",
    )
    assert trial.run.ending == "done"
    assert trial.texts[0].rstrip("\r") == "progress 4999"
    assert len(trial.texts[1]) < 12_000
    assert "the rest was left out: more than 10,000 characters" in trial.texts[1]
    assert "the rest was left out: more than 0 MiB in all" in trial.texts[2]
    assert trial.texts[3] == "all is well\n"


def test_environment_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GALAXY_API_KEY", "AWS_SECRET_ACCESS_KEY", "SOMETHING_ELSE", "GALAXY_URL"):
        monkeypatch.setenv(name, "do-not-tell")
    trial = Trial(tmp_path, "import os\nprint(dict(os.environ))", "!cat /proc/self/environ")
    assert trial.run.ending == "done"
    assert "do-not-tell" not in "".join(trial.texts)


def job_in_its_second_cell(tmp_path: Path, first: str) -> tuple[subprocess.Popen[str], Path]:
    """Start a job of its own and return it and its folder when its second cell runs."""
    script = tmp_path / "job.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[2])\n"
        "from test_notebook_execute import Trial\n"
        f"t = Trial(Path(sys.argv[1]), {first!r}, 'import time; time.sleep(300)')\n"
        "print(t.run.ending, t.states, '\"kept\"' in t.rows, t.run.sentence)\n"
    )
    folder = tmp_path / "job"
    folder.mkdir()
    job = subprocess.Popen(
        [sys.executable, str(script), str(folder), str(ROOT / "tests")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    executed = folder / "executed.ipynb"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if executed.exists() and '"status": "running"' in executed.read_text():
            notebook: Any = nbformat.read(executed, as_version=4)
            if notebook.cells[1].metadata.papermill.status == "running":
                return job, folder
    job.kill()
    raise AssertionError("the second cell did not begin")


def test_the_notebook_is_whole_while_it_runs(tmp_path: Path) -> None:
    """The job itself is killed in the second cell: what the first one printed is there."""
    job, folder = job_in_its_second_cell(tmp_path, "print('first')")
    below = psutil.Process(job.pid).children(recursive=True)
    os.kill(job.pid, signal.SIGKILL)
    job.communicate()
    notebook: Any = nbformat.read(folder / "executed.ipynb", as_version=4)
    assert notebook.cells[0].outputs[0].text == "first\n"
    _, alive = psutil.wait_procs(below, timeout=20)
    assert not alive, "the kernel outlived its job"


def test_sigterm_ends_in_order(tmp_path: Path) -> None:
    job, _ = job_in_its_second_cell(tmp_path, "kept = 1")
    os.kill(job.pid, signal.SIGTERM)
    output, _ = job.communicate(timeout=120)
    expected = "stopped ['done', 'interrupted'] True The server ended the job (SIGTERM)"
    assert output.splitlines()[-1] == expected
