"""What can go wrong beside an input that cannot be used (`gpulab.errors.InputError`)."""

from __future__ import annotations

import re

_ESCAPE_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])"
)


def plain_text(text: str) -> str:
    """Return `text` without terminal control: colours, cursor movements, bells.

    What a job printed comes from a server. Shown in a terminal it must not be able to do more than
    be read. Line breaks and tabs stay; of a line that was written over, as progress bars do, the
    last version stays.
    """
    lines = (_written_over(line) for line in _ESCAPE_SEQUENCE.sub("", text).split("\n"))
    return "\n".join("".join(c for c in line if c.isprintable() or c == "\t") for line in lines)


def _written_over(line: str) -> str:
    versions = [version for version in line.split("\r") if version]
    return versions[-1] if versions else ""


class ServerError(Exception):
    """The server or the network did not do what was asked; of the job nothing is known."""

    exit_code = 3


class WaitLimitError(ServerError, TimeoutError):
    """The job was not done within the time that `wait` was given; the job itself goes on."""


class RemoteJobError(Exception):
    """The job did not succeed.

    Attributes:
        job_id: The id by which `RemoteJob.from_id` finds the job again.
        state: Galaxy's word for the job's state, such as `error`, `paused` or `deleted`.
        traceback: The notebook's traceback as plain text, or the end of what the job wrote on
            standard error; empty where there is neither.
    """

    exit_code = 1

    def __init__(self, message: str, *, job_id: str, state: str, traceback: str = "") -> None:
        self.job_id = job_id
        self.state = state
        self.traceback = plain_text(traceback).strip("\n")
        message = " ".join(plain_text(message).split())
        super().__init__(f"{message}\n\n{self.traceback}" if self.traceback else message)
