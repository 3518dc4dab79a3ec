"""Runs a notebook to its end, whatever that is, and says how it ended."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from nbclient.exceptions import CellExecutionError, DeadKernelError

from gpulab.errors import InputError
from gpulab.notebook.cells import CellGuard, JobClient, Saver, kernel_process, plain
from gpulab.notebook.endings import Ending, Run, note_death, note_failure
from gpulab.notebook.kernel import Folders, kernel_manager
from gpulab.notebook.options import TimeLimits, WhichVariables
from gpulab.notebook.records import CellState, CellTime
from gpulab.notebook.sandbox import Isolation
from gpulab.notebook.source import code_cells
from gpulab.notebook.watch import Limits, Watch, end_all

if TYPE_CHECKING:
    from nbformat import NotebookNode

START_LIMIT = 180  # seconds; loading Python from a cold network disk takes its time
SETUP_LIMIT = 120.0
CAPTURE_LIMIT = 3600.0
STOPPED_CAPTURE_LIMIT = 20.0  # after the server has asked the job to end


@dataclass(frozen=True)
class Plan:
    """What shall be run, and how.

    Attributes:
        notebook: With its parameters.
        executed: Where the notebook is saved after each cell.
        folders: Where the kernel works.
        inputs: Path in the notebook's folder → dataset.
        isolation: How the kernel is kept apart.
        time: Time limits.
        limits: Limits of memory, processes and disk.
        which: Which variables are saved.
        pattern: Names with wildcards, for `which="pattern"`.
    """

    notebook: NotebookNode
    executed: Path
    folders: Folders
    inputs: Mapping[str, Path]
    isolation: Isolation
    time: TimeLimits
    limits: Limits
    which: WhichVariables
    pattern: str


def run_notebook(
    plan: Plan, environ: Mapping[str, str], tell: Callable[[str], None] = print
) -> Run:
    """Run every cell until one fails, save the variables, and end all that the notebook started.

    Args:
        plan: What to run.
        environ: The job's environment.
        tell: Takes the lines for the job's log.

    Raises:
        InputError: The kernel cannot be started.
    """
    run = Run()
    saver = Saver(
        plan.notebook,
        output_path=str(plan.executed),
        progress_bar=False,
        autosave_cell_every=0,  # the cells' guard does it
    )
    saver.notebook_start()
    total = sum(1 for _ in code_cells(plan.notebook))
    guard = CellGuard(plan.time.cell, plan.time.total, total, tell)
    try:
        with (
            kernel_manager(plan.isolation, plan.folders, plan.inputs, environ) as (manager, env),
            _told_to_stop(guard),
        ):
            client = JobClient(
                saver,
                km=manager,
                startup_timeout=START_LIMIT,
                iopub_timeout=60,
                raise_on_iopub_timeout=False,
                coalesce_streams=True,
                shutdown_kernel="immediate",
            )
            tell("starting Python")
            _with_kernel(client, plan, guard, run, env, tell)
    finally:
        saver.notebook_complete()
        saver.write()
    return run


def _with_kernel(
    client: JobClient,
    plan: Plan,
    guard: CellGuard,
    run: Run,
    environment: dict[str, str],
    tell: Callable[[str], None],
) -> None:
    began = time.monotonic()
    try:
        client.start_new_kernel(cwd=str(plan.folders.work), env=environment)
    except OSError as error:
        raise InputError(f"Python could not be started for the notebook: {error}") from error
    process = kernel_process(client)
    pid = process.pid
    breaches: dict[Ending, str] = {}

    def on_breach(kind: str, sentence: str) -> None:
        breaches[kind] = sentence  # type: ignore[index]

    watch = Watch(pid, plan.limits, on_breach, folders=(plan.folders.work, plan.folders.scratch))
    watch.start()
    client.attach(guard, lambda: end_all(pid))
    try:
        with client.setup_kernel(cleanup_kc=False):
            _run_all(client, plan, guard, run, began, tell)
    except DeadKernelError:
        note_death(client, run, process.wait(), breaches)
    except RuntimeError as error:
        # Jupyter's word for a kernel that does not answer after its start.
        end_all(pid)
        note_death(client, run, process.wait(), breaches)
        run.notes.append(f"Jupyter says: {plain(str(error))[:200]}")
    finally:
        watch.stop()
        end_all(pid)
        run.samples = watch.samples
        run.seconds = time.monotonic() - began
        if run.ending == "done":  # passed while the variables were being saved
            run.notes += breaches.values()
        client._cleanup_kernel()  # sockets and connection file; the kernel has ended


def _run_all(
    client: JobClient,
    plan: Plan,
    guard: CellGuard,
    run: Run,
    began: float,
    tell: Callable[[str], None],
) -> None:
    if failed := client.silently(_call("start"), SETUP_LIMIT):
        raise InputError(f"The notebook's kernel could not be prepared: {failed}")
    _run_cells(client, plan.notebook, guard, run, began)
    tell("saving variables and models")
    options: dict[str, object] = {
        "folder": str(plan.folders.captured),
        "which": plan.which,
        "pattern": plan.pattern,
        "inputs": list(plan.inputs),
        "base": str(plan.folders.work),
    }
    if plan.limits.disk_bytes is not None:
        # What is saved must not pass the limit itself: the watch would end it in the middle.
        options["max_bytes"] = plan.limits.disk_bytes // 4
    limit = STOPPED_CAPTURE_LIMIT if guard.stopped else CAPTURE_LIMIT
    guard.stopped = ""  # a second request ends the saving
    try:
        failed = client.silently(_call("finish", json.dumps(options)), limit)
    except DeadKernelError:
        failed = "Python ended while they were being saved"
    if failed:
        run.notes.append(f"Not all variables could be saved: {plain(failed)[:300]}")
    client.set_widgets_metadata()


def _call(function: str, *arguments: str) -> str:
    """Return code that calls a function of `inside` and leaves no name behind."""
    texts = ", ".join(["get_ipython()", *(repr(argument) for argument in arguments)])
    module = "__import__('gpulab.notebook.inside', fromlist=['inside'])"
    return f"{module}.{function}({texts})"


def _run_cells(
    client: JobClient, notebook: NotebookNode, guard: CellGuard, run: Run, began: float
) -> None:
    runnable = [
        (index, cell)
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]
    for number, (index, cell) in enumerate(runnable, start=1):
        if run.sentence or run.left:
            run.cells.append(CellTime(number, time.monotonic() - began, 0.0, "skipped"))
            continue
        begin = time.monotonic()
        guard.begin(number)
        state: CellState = "died"
        try:
            state = _run_cell(client, index, cell, number, run)
        finally:
            guard.end(state)
            run.cells.append(CellTime(number, begin - began, time.monotonic() - begin, state))


def _run_cell(
    client: JobClient, index: int, cell: NotebookNode, number: int, run: Run
) -> CellState:
    manager = client.nb_man
    manager.cell_start(cell, index)
    state: CellState = "done"
    try:
        client.execute_cell(cell, index)
    except CellExecutionError as error:
        state = note_failure(error, number, run)
        if state == "failed":
            manager.cell_exception(cell, cell_index=index, exception=error)
    except DeadKernelError:
        manager.cell_exception(cell, cell_index=index)
        raise
    finally:
        manager.cell_complete(cell, cell_index=index)
    if client.interruption:
        run.ending = "stopped" if client.guard.stopped else "time"
        run.sentence = client.interruption
        return "interrupted"
    return state


@contextmanager
def _told_to_stop(guard: CellGuard) -> Iterator[None]:
    """Let SIGTERM, with which a server ends a job, end the notebook in order."""

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        guard.stopped = f"The server ended the job ({signal.Signals(number).name})"

    old = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
