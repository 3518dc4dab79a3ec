"""Shows how a job goes: as a bar where somebody looks, else line by line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gpulab.client.states import JobStatus

Show = Callable[[JobStatus], None]
LINE = 60  # characters of the job's last line beside the bar


@contextmanager
def show_progress(wanted: bool) -> Iterator[Show]:
    """Give a function that shows a status on standard error, or does nothing."""
    if not wanted:
        yield _nothing
    elif sys.stderr.isatty() or _in_notebook():
        with _bar() as show:
            yield show
    else:
        yield _lines()


def _in_notebook() -> bool:
    """Tell whether standard error is shown below a cell."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


@contextmanager
def _bar() -> Iterator[Show]:
    from tqdm import tqdm

    layout = "{desc} {bar} {n_fmt}/{total_fmt} [{elapsed}]{postfix}"
    with tqdm(total=0, desc="cells", bar_format=layout, unit="cell") as bar:

        def show(status: JobStatus) -> None:
            bar.total = status.progress.cells
            bar.n = min(status.progress.cell, bar.total)
            text = status.progress.line if status.kind == "running" else status.message
            bar.set_postfix_str(text[:LINE], refresh=False)
            bar.refresh()

        yield show


def _nothing(status: JobStatus) -> None:
    del status


def _lines() -> Show:
    last = ""

    def show(status: JobStatus) -> None:
        nonlocal last
        line = str(status)
        if line != last:
            print(line, file=sys.stderr, flush=True)
            last = line

    return show
