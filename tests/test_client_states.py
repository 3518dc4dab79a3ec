"""What states mean, what a job prints, and what of it reaches a terminal."""

from __future__ import annotations

import pytest

from gpulab.client.errors import RemoteJobError, plain_text
from gpulab.client.states import CellProgress, JobStatus, kind_of, meaning, read_progress

# The states of Galaxy 26.1, and what somebody who waits has to know.
STATES = {
    "new": "waiting",
    "resubmitted": "waiting",
    "upload": "waiting",
    "waiting": "waiting",
    "queued": "waiting",
    "running": "running",
    "stop": "running",
    "ok": "ok",
    "error": "failed",
    "failed": "failed",
    "paused": "paused",
    "deleting": "cancelled",
    "deleted": "cancelled",
    "stopped": "cancelled",
    "skipped": "failed",
}


@pytest.mark.parametrize(("state", "kind"), STATES.items())
def test_states_are_told_apart(state: str, kind: str) -> None:
    assert kind_of(state) == kind
    status = JobStatus(state, kind_of(state), CellProgress(), meaning(state))
    # The original took paused, upload, deleted and stopped for success.
    assert status.finished is (kind in ("ok", "failed", "cancelled"))


def test_unknown_state_is_not_the_end() -> None:
    assert kind_of("something_new") == "waiting"
    assert "something_new" in meaning("something_new")


def test_each_state_has_words_of_its_own() -> None:
    assert len({meaning(state) for state in STATES}) == len(STATES)


def test_progress_of_cells() -> None:
    text = "reading the notebook\ncell 1 of 12 …\ncell 1 of 12: done, 0.2 s\ncell 2 of 12 …\n"
    assert read_progress(text) == CellProgress(2, 12, "reading the notebook")


def test_last_line_of_the_notebook() -> None:
    text = "cell 3 of 4 …\ncell 3 of 4: runs, 10.0 s   epoch 2/10 loss 0.31\n"
    assert read_progress(text) == CellProgress(3, 4, "epoch 2/10 loss 0.31")


def test_progress_goes_on_from_what_was_known() -> None:
    known = read_progress("cell 3 of 4 …\n")
    assert read_progress("epoch 7\n", known) == CellProgress(3, 4, "epoch 7")
    assert read_progress("", known) == known


def test_a_bar_that_writes_over_itself() -> None:
    assert read_progress("10%\r 50%\r100% done\n").line == "100% done"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil.example\x1b\\link", "link"),
        ("a\x07b\x00c", "abc"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x9b31mred", "31mred"),
        ("right\u202eleft", "rightleft"),
    ],
)
def test_terminal_controls_are_taken_out(text: str, plain: str) -> None:
    assert plain_text(text) == plain


def test_error_shows_the_traceback() -> None:
    error = RemoteJobError(
        "the job failed", job_id="a1", state="error", traceback="\x1b[31mValueError\x1b[0m: no"
    )
    assert str(error) == "the job failed\n\nValueError: no"
    assert (error.job_id, error.state, error.exit_code) == ("a1", "error", 1)
