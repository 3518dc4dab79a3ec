"""Stops Galaxy while its jobs run elsewhere, starts it again, and looks for their outputs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from localgalaxy import server
from localgalaxy.checks import check
from localgalaxy.outcomes import Outcome
from localgalaxy.remote_jobs import Patient, job_id, tool_process, trained
from localgalaxy.settings import Adapt

EPOCHS = 5
PATIENCE = 300.0  # seconds


def submit(patient: Patient) -> list[dict[str, Any]]:
    """Submit a job that ends while Galaxy is down, and one to hold until Galaxy is back."""
    return [patient.train(EPOCHS), patient.train(EPOCHS)]


def hold(variables: Mapping[str, str]) -> int:
    """Stop the second job's tool where it is, and return its process id.

    Args:
        variables: Some of its environment, see `tool_process`.
    """
    process = tool_process("unet_train.py", variables)
    os.kill(process, signal.SIGSTOP)
    return process


def restarted(
    adapt: Adapt, answers: Sequence[dict[str, Any]], held: int, ended: Callable[[], bool]
) -> Iterator[Outcome]:
    """Wait without Galaxy until the first job has ended, start Galaxy, and fetch both.

    Args:
        adapt: As at the first start.
        answers: What `submit` gave; both jobs run, and Galaxy is down.
        held: What `hold` gave.
        ended: Tells whether the first job has ended where it runs.
    """

    def alone() -> str:
        deadline = time.monotonic() + PATIENCE
        while not ended():
            if time.monotonic() > deadline:
                return "the job did not end"
            time.sleep(1)
        return ""

    yield check("without Galaxy a job goes on to its end", alone)
    with server.running_galaxy(adapt) as galaxy:
        patient = Patient(galaxy, "After the restart")

        def still_running() -> str:
            state = patient.galaxy.jobs.show_job(job_id(answers[1]))["state"]
            os.kill(held, signal.SIGCONT)
            if state != "running":
                return f"Galaxy says {state} of a job that runs"
            return trained(patient.finish(answers[1], PATIENCE), EPOCHS)

        yield check(
            "what ended while Galaxy was down is there",
            lambda: trained(patient.finish(answers[0], PATIENCE), EPOCHS),
        )
        yield check("what ran through Galaxy's restart is there", still_running)
