"""Runs the cells of a notebook in a kernel: nbclient with limits, progress and bounded outputs."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_core.utils import run_sync
from nbclient.exceptions import DeadKernelError
from nbclient.util import ensure_async
from nbformat.v4 import output_from_msg
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NotebookExecutionManager
from papermill.iorw import write_ipynb

LOOK = 0.5  # seconds between two looks at the limits
SAVE = 1.0  # seconds between two saved notebooks
SAVE_SHARE = 20  # as many times as long as saving takes is not saved again
PROGRESS = 10.0  # seconds between two lines about a cell that runs
GRACE = 30.0  # seconds that an interrupted cell has to end
MAX_CELL_TEXT = 2 << 20  # characters that one cell prints
MAX_OUTPUT_BYTES = 300 << 20  # of all outputs of the notebook

# Colours and other controls of a terminal.
TERMINAL_CODES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07")
_REWRITTEN = re.compile(r"[^\n]*\r(?=[^\n])")


class Saver(NotebookExecutionManager):  # type: ignore[misc]
    """Saves the notebook while it runs, so that it is whole on disk at every moment.

    Papermill saves it before and after each cell, which costs more than a quick cell itself: here
    what changed is written once a second at most, and a large one less often.
    """

    changed = False
    _pause = SAVE

    def save(self, **_kwargs: Any) -> None:
        """Note that the notebook has changed, and write it if that was not done just now."""
        self.changed = True
        self.write_if_due()

    def write_if_due(self) -> None:
        """Write the notebook if it has changed and was not written just now."""
        if (self.now() - self.last_save_time).total_seconds() >= self._pause:
            self.write()

    def write(self) -> None:
        """Write the notebook under another name if it has changed, and put it in place at once."""
        if not self.changed:
            return
        began = self.now()
        whole = Path(self.output_path)
        unfinished = whole.with_name(f".unfinished-{whole.name}")
        write_ipynb(self.nb, str(unfinished))
        unfinished.replace(whole)
        self.changed = False
        self.last_save_time = self.now()
        self._pause = max(SAVE, SAVE_SHARE * (self.last_save_time - began).total_seconds())


class CellGuard:
    """Says when a cell must end, and tells how it goes.

    Args:
        cell_limit: Seconds for each cell, None for no limit.
        total_limit: Seconds for all cells, counted from the first, None for no limit.
        total: Number of code cells.
        tell: Takes the lines for the job's log.
    """

    def __init__(
        self,
        cell_limit: float | None,
        total_limit: float | None,
        total: int,
        tell: Callable[[str], None],
    ) -> None:
        self.cell_limit = cell_limit
        self.total_limit = total_limit
        self._deadline: float | None = None
        self.stopped = ""  # why the server wants the job to end
        self.last_line = ""
        self._total = total
        self._tell = tell
        self._number = 0
        self._began = 0.0
        self._told = 0.0

    def begin(self, number: int) -> None:
        """Note that a cell begins."""
        self._number, self._began = number, time.monotonic()
        if self._deadline is None and self.total_limit:
            self._deadline = self._began + self.total_limit
        self._told, self.last_line = self._began, ""
        self._tell(f"cell {number} of {self._total} …")

    def end(self, state: str) -> None:
        """Tell how a cell ended."""
        self._say(state)

    def why_end(self) -> str:
        """Return why the cell must end now, empty while it may go on."""
        now = time.monotonic()
        if self.stopped:
            return self.stopped
        if self.cell_limit and now - self._began > self.cell_limit:
            return f"Cell {self._number} reached the limit of {minutes(self.cell_limit)} for a cell"
        if self._deadline and now > self._deadline:
            return f"The notebook reached its total time limit in cell {self._number}"
        if now - self._told >= PROGRESS:
            self._told = now
            self._say("runs")
        return ""

    def _say(self, state: str) -> None:
        seconds = time.monotonic() - self._began
        line = f"cell {self._number} of {self._total}: {state}, {seconds:.1f} s"
        self._tell(f"{line}   {self.last_line}" if self.last_line else line)


class JobClient(PapermillNotebookClient):  # type: ignore[misc]
    """A client whose cells end when their guard says so, and whose outputs are bounded."""

    guard: CellGuard
    kill: Callable[[], None]  # ends the kernel and everything below it
    interruption = ""

    def attach(self, guard: CellGuard, kill: Callable[[], None]) -> None:
        """Give the client its guard; to be called before the first cell."""
        self.guard, self.kill = guard, kill
        self._bytes = 0
        self._cell_text = 0
        self._cut = False

    async def async_execute_cell(self, cell: Any, cell_index: int, **kwargs: Any) -> Any:
        """Execute a cell under the guard."""
        self._cell_text, self._cut = 0, False
        watcher = asyncio.ensure_future(self._watch())
        try:
            return await super().async_execute_cell(cell, cell_index, **kwargs)
        finally:
            watcher.cancel()

    execute_cell = run_sync(async_execute_cell)

    async def _watch(self) -> None:
        while not (reason := self.guard.why_end()):
            await asyncio.sleep(LOOK)
            self.nb_man.write_if_due()
        self.interruption = reason
        # One interruption can be lost, where Python is busy between two pieces of code.
        for _ in range(2):
            await ensure_async(self.km.interrupt_kernel())
            await asyncio.sleep(GRACE / 2)
        self.kill()

    async def _async_silently(self, code: str, limit: float) -> str:
        message = await ensure_async(
            self.kc.execute(code, silent=True, store_history=False, allow_stdin=False)
        )
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline and not self.guard.stopped:
            try:
                reply = await ensure_async(self.kc.shell_channel.get_msg(timeout=1))
            except Empty:
                await self._async_check_alive()
                continue
            if reply["parent_header"].get("msg_id") == message:
                content = reply["content"]
                if content.get("status") == "ok":
                    return ""
                return f"{content.get('ename')}: {content.get('evalue')}"
        return self.guard.stopped or f"not finished after {minutes(limit)}"

    def silently(self, code: str, limit: float) -> str:
        """Run code that is no part of the notebook.

        Returns:
            Why it failed, empty if it did not.

        Raises:
            DeadKernelError: The kernel died.
        """
        return str(run_sync(self._async_silently)(code, limit))

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        """Take up a message of the kernel unless the outputs have become too large."""
        self.nb_man.changed = True
        kind = msg["msg_type"]
        if kind == "stream":
            text = str(msg["content"].get("text", ""))
            self._note_last_line(text)
            self._cell_text += len(text)
            if self._cell_text > MAX_CELL_TEXT and not self._shrink(cell):
                return self._leave_out(cell, f"more than {MAX_CELL_TEXT:,} characters")
            if self._continues(msg, cell):
                cell.outputs[-1]["text"] += text
                return None
        elif kind in ("display_data", "execute_result", "update_display_data"):
            size = sum(len(str(value)) for value in msg["content"].get("data", {}).values())
            if self._bytes + size > MAX_OUTPUT_BYTES:
                return self._leave_out(cell, f"more than {MAX_OUTPUT_BYTES >> 20} MiB in all")
            # What replaces an earlier output is counted when it is the larger one at most.
            self._bytes += size if kind != "update_display_data" else 0
        return super().process_message(msg, cell, cell_index)

    def _continues(self, msg: Any, cell: Any) -> bool:
        """Say whether text goes on where the last output ended: it need not be one of its own."""
        if self.clear_before_next_output or not cell.outputs:
            return False
        if self.output_hook_stack.get(msg["parent_header"].get("msg_id")):
            return False  # an output widget takes it
        return bool(cell.outputs[-1].get("name") == msg["content"].get("name"))

    def _note_last_line(self, text: str) -> None:
        lines = TERMINAL_CODES.sub("", text[-2000:]).replace("\r", "\n").splitlines()
        shown = ["".join(c for c in line if c.isprintable()).strip() for line in lines]
        if last := [line for line in shown if line]:
            self.guard.last_line = last[-1][:200]

    def _shrink(self, cell: Any) -> bool:
        """Drop the lines that a progress bar has written over; say if there is room again."""
        streams = [output for output in cell.outputs if output["output_type"] == "stream"]
        for output in streams:
            output["text"] = _REWRITTEN.sub("", output["text"])
        self._cell_text = sum(len(output["text"]) for output in streams)
        return self._cell_text < MAX_CELL_TEXT // 2

    def _leave_out(self, cell: Any, reason: str) -> None:
        if not self._cut:
            self._cut = True
            message = {
                "msg_type": "stream",
                "header": {"msg_type": "stream"},
                "content": {"name": "stderr", "text": f"\n[the rest was left out: {reason}]\n"},
            }
            cell.outputs.append(output_from_msg(message))


def minutes(seconds: float) -> str:
    """Return a duration in words."""
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def kernel_process(client: JobClient) -> subprocess.Popen[bytes]:
    """Return the program that was started as kernel."""
    process = getattr(client.km.provisioner, "process", None)
    if not isinstance(process, subprocess.Popen):
        raise DeadKernelError("The kernel has no process")
    return process


def plain(text: str) -> str:
    """Return text without a terminal's colours and other controls; tabs and line ends stay."""
    bare = TERMINAL_CODES.sub("", text)
    return "".join(c for c in bare if c.isprintable() or c in "\n\t")
