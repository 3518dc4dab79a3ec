"""A job on a Galaxy server, found again by its id at any time and from anywhere."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpulab.client.errors import RemoteJobError, ServerError, WaitLimitError, plain_text
from gpulab.client.network import again
from gpulab.client.server import find_server
from gpulab.client.states import CellProgress, JobStatus, kind_of, meaning, read_progress
from gpulab.errors import InputError

if TYPE_CHECKING:
    from gpulab.client.galaxy import Galaxy

WEEK = 7 * 24 * 3600.0
FIRST_POLL, LONGEST_POLL = 1.0, 15.0  # seconds
POLL_PATIENCE = 1800.0  # seconds for which `wait` bears a server that does not answer
CONSOLE_PIECE = 1 << 20  # characters asked for at once
ERROR_LINES = 40  # of standard error, where the notebook has no traceback
RUNNING_LIMIT = 600.0  # seconds in which the outputs of a finished job become readable


class RemoteJob:
    """A notebook that runs, or ran, as a Galaxy job.

    Args:
        galaxy: The connection.
        job_id: Galaxy's id of the job.
    """

    def __init__(self, galaxy: Galaxy, job_id: str) -> None:
        self._galaxy = galaxy
        self._id = job_id
        self._history = ""
        self._progress = CellProgress()
        self._position = 0  # bytes of the job's output that were read
        self._unfinished = ""  # the line on which the last look ended

    @classmethod
    def from_id(cls, id: str, server: str | None = None, key: str | None = None) -> RemoteJob:  # noqa: A002
        """Find a job again.

        Args:
            id: The id that the job object gave.
            server: Address of the server; else from the environment or BioBlend's settings.
            key: API key; likewise.

        Raises:
            InputError: There is no such job on this server, or it is not yours.
        """
        from gpulab.client.galaxy import connect

        if not re.fullmatch(r"[0-9a-fA-F]{16,64}", id):
            raise InputError(f"{id!r} is no id of a Galaxy job: it has 16 or more digits and a-f")
        galaxy, _ = connect(find_server(server, key))
        job = cls(galaxy, id)
        job.details()
        return job

    @property
    def id(self) -> str:
        """The id by which `from_id` finds the job again."""
        return self._id

    @property
    def server(self) -> str:
        """Address of the server."""
        return str(self._galaxy.base_url)

    @property
    def history_id(self) -> str:
        """Id of the history in which the job's outputs are."""
        if not self._history:
            self.details()
        return self._history

    @property
    def history_url(self) -> str:
        """Address of the history for a browser."""
        return f"{self.server}/histories/view?id={self.history_id}"

    def __repr__(self) -> str:
        return f"RemoteJob(id={self._id!r}, server={self.server!r})"

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("A job holds a connection with the API key: keep its id, it is a text")

    def details(self, *, patience: float = 180.0) -> dict[str, Any]:
        """Return all that Galaxy says about the job.

        Args:
            patience: Seconds for which a server that does not answer is borne.

        Raises:
            InputError: There is no such job on this server, or it is not yours.
            ServerError: No answer in time.
        """
        found = again(
            lambda: self._galaxy.jobs.show_job(self._id, full_details=True),
            f"reading the job {self._id}",
            patience=patience,
        )
        self._history = str(found.get("history_id") or "")
        return dict(found)

    def status(self) -> JobStatus:
        """Return the job's state, how far the notebook is, and the last line it printed."""
        return self._status(self.details())

    def wait(
        self, progress: bool = True, timeout: float = WEEK, poll: float = LONGEST_POLL
    ) -> JobStatus:
        """Wait until the job is done.

        Args:
            progress: Show the cells and the last line that the job printed, on standard error.
            timeout: Seconds after which to stop waiting; the job goes on.
            poll: Longest time between two looks in seconds.

        Returns:
            The status of a job that succeeded.

        Raises:
            RemoteJobError: The job failed, was cancelled, or is paused; with the notebook's
                traceback.
            WaitLimitError: It is not done within `timeout`.
            ServerError: The server did not answer for half an hour; the job goes on.
        """
        from gpulab.client.progress import show_progress

        deadline = time.monotonic() + timeout
        pause = FIRST_POLL
        with show_progress(progress) as show:
            while True:
                details = self.details(patience=POLL_PATIENCE)
                status = self._status(details)
                show(status)
                if status.kind == "ok":
                    return status
                if status.finished or status.kind == "paused":
                    raise self._failure(status, details)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise WaitLimitError(
                        f"The job {self._id} is not done after {timeout:.0f} s ({status}); it goes "
                        "on, and its id finds it again"
                    )
                time.sleep(min(pause, poll, left))
                pause *= 1.3

    def log(self) -> str:
        """Return what the job printed so far: standard output, then standard error."""
        details = self.details()
        out, error = self._output(details, 0)
        return out + (f"\n--- standard error ---\n{error}" if error.strip() else "")

    def download(self, folder: str | Path, progress: bool = True) -> dict[str, Path]:
        """Fetch all outputs that are there, also those of a job that failed.

        Args:
            folder: Where they shall lie; made when missing. Collections become folders.
            progress: Show how large files arrive, on standard error.

        Returns:
            Name of the output in the tool's form → its file or folder. `log` is what it printed.

        Raises:
            InputError: The job is not done, or the folder cannot be written.
            ServerError: The network fails for too long; what has arrived whole stays.
        """
        from gpulab.client.download import Downloader

        details = self.details()
        status = self._status(details)
        if not status.finished and status.kind != "paused":
            raise InputError(f"The job {self._id} is not done ({status}): wait for it first")
        target = Path(folder).expanduser()
        downloader = Downloader(self._galaxy, show=progress)
        files = downloader.fetch_outputs(details, target, limit=RUNNING_LIMIT)
        out, error = self._output(details, 0)
        files["log"] = downloader.write_text(target / "log.txt", f"{out}\n{error}".strip() + "\n")
        return files

    def cancel(self) -> bool:
        """End the job.

        Returns:
            Whether it was still to be ended.
        """
        if self.status().finished:
            return False
        again(lambda: self._galaxy.jobs.cancel_job(self._id), "cancelling the job")
        return True

    def _status(self, details: Mapping[str, Any]) -> JobStatus:
        state = str(details.get("state") or "")
        kind = kind_of(state)
        message = meaning(state)
        if kind == "running" or (kind in ("ok", "failed") and not self._position):
            out, _ = self._output(details, self._position)
            self._position += len(out.encode())
            lines = self._unfinished + out
            self._unfinished = lines.rpartition("\n")[2]
            self._progress = read_progress(lines, self._progress)
        if kind == "paused":
            message += f": {self._why_paused(details)}"
        return JobStatus(state, kind, self._progress, message)

    def _output(self, details: Mapping[str, Any], position: int) -> tuple[str, str]:
        """Return standard output from a position in bytes on, and standard error."""
        if kind_of(str(details.get("state"))) != "running":
            texts = (details.get("tool_stdout"), details.get("tool_stderr"))
            out, error = (str(text or "") for text in texts)
            return out.encode()[position:].decode(errors="replace"), error
        try:
            console = self._galaxy.read(
                f"jobs/{self._id}/console_output",
                "reading what the job prints",
                stdout_position=position,
                stdout_length=CONSOLE_PIECE,
                stderr_position=0,
                stderr_length=CONSOLE_PIECE,
            )
        except (InputError, ServerError):
            return "", ""  # not every server shows it, and none does at the very beginning
        return str(console.get("stdout") or ""), str(console.get("stderr") or "")

    def _why_paused(self, details: Mapping[str, Any]) -> str:
        for name, reference in (details.get("inputs") or {}).items():
            if reference.get("src") != "hda":
                continue
            dataset = self._galaxy.read(f"datasets/{reference['id']}", "reading an input")
            if dataset.get("state") not in ("ok", "queued", "new", "running", "setting_metadata"):
                why = " ".join(plain_text(str(dataset.get("misc_info") or "")).split())[:300]
                label = plain_text(str(dataset.get("name")))[:100]
                return f"its input {label!r} ({name}) is in the state {dataset['state']!r}. {why}"
        return "see the history for the reason, such as a full quota"

    def _failure(self, status: JobStatus, details: Mapping[str, Any]) -> RemoteJobError:
        from gpulab.client.download import read_traceback

        text = ""
        if status.kind == "failed":
            text = read_traceback(self._galaxy, details)
        if not text and status.kind != "cancelled":
            _, error = self._output(details, 0)
            text = "\n".join(error.strip().splitlines()[-ERROR_LINES:])
        message = f"{status.message} (job {self._id}, state {status.state!r}"
        code = details.get("exit_code")
        message += f", exit code {code})" if code is not None else ")"
        if status.kind == "failed" and code == 137:
            message += ": it ran out of memory"
        return RemoteJobError(message, job_id=self._id, state=status.state, traceback=text)
