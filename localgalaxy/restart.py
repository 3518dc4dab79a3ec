"""Stops Galaxy while its jobs run elsewhere, starts it again, and looks for their outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from localgalaxy import server
from localgalaxy.checks import check
from localgalaxy.outcomes import Outcome
from localgalaxy.remote_jobs import Patient, trained
from localgalaxy.settings import Adapt

SHORT, LONG = 5, 80  # epochs: the second is still busy when the first has ended
PATIENCE = 300.0  # seconds


def submit(patient: Patient) -> list[dict[str, Any]]:
    """Submit a job that ends while Galaxy is down, and one that runs until Galaxy is back."""
    return [patient.train(SHORT), patient.train(LONG)]


def restarted(
    adapt: Adapt, answers: Sequence[dict[str, Any]], ended: Callable[[int], bool]
) -> Iterator[Outcome]:
    """Wait without Galaxy until the first job has ended, start Galaxy, and fetch both.

    Args:
        adapt: As at the first start.
        answers: What `submit` gave; both jobs run, and Galaxy is down.
        ended: Tells whether the job of that number in `answers` has ended where it runs.
    """

    def alone() -> str:
        deadline = time.monotonic() + PATIENCE
        while not ended(0):
            if time.monotonic() > deadline:
                return "the job did not end"
            time.sleep(1)
        return "both jobs ended: none is left for Galaxy to find running" if ended(1) else ""

    yield check("without Galaxy the jobs go on", alone)
    with server.running_galaxy(adapt) as galaxy:
        patient = Patient(galaxy, "After the restart")
        for answer, epochs, name in zip(
            answers,
            (SHORT, LONG),
            ("what ended while Galaxy was down is there", "what ran through a restart is there"),
            strict=True,
        ):
            yield check(name, _fetch(patient, answer, epochs))


def _fetch(patient: Patient, answer: dict[str, Any], epochs: int) -> Callable[[], str]:
    return lambda: trained(patient.finish(answer, PATIENCE), epochs)
