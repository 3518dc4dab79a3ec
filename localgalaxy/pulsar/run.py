"""Runs the segmentation workflow on a remote Pulsar, kills it, and restarts Galaxy meanwhile.

Runs in Galaxy's environment, started by `localgalaxy.pulsar.command`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from localgalaxy import restart, server, tooltests
from localgalaxy.checks import check
from localgalaxy.outcomes import Outcome, conclude, shown_one_by_one
from localgalaxy.paths import ROOT, STATE, WORKFLOWS
from localgalaxy.pulsar.jobconf import adapt_to
from localgalaxy.pulsar.server import Pulsar, crash, new_pulsar
from localgalaxy.remote_jobs import Patient, job_id, now, our_jobs, trained

WORKFLOW = WORKFLOWS / "ct_segmentation" / "ct_segmentation.ga"
EPOCHS = 5
REFUSED = 60.0  # seconds within which Galaxy says that there is no Pulsar
LOST = 60.0  # seconds within which it says, after Pulsar's return, that a job is lost
PATIENCE = 300.0  # seconds


def main() -> int:
    """Run every check and return the exit code."""
    outcomes: list[Outcome] = []
    with new_pulsar(STATE / "pulsar.log") as pulsar, ExitStack() as servers:
        adapt = adapt_to(pulsar)
        keeper = servers.enter_context(pulsar.running())
        with server.running_galaxy(adapt) as galaxy:
            began = now()
            outcomes += tooltests.run_tests(galaxy, [WORKFLOW], "pulsar")
            outcomes += shown_one_by_one(
                [check("its jobs were Pulsar's", lambda: _were_remote(pulsar, galaxy, began))]
            )
            patient = Patient(galaxy, "Pulsar")
            broken = patient.train(EPOCHS)
            patient.wait(job_id(broken), {"running"}, patience=PATIENCE)
            crash(keeper)
            outcomes += shown_one_by_one(_without_pulsar(patient, broken))
            servers.enter_context(pulsar.running())
            outcomes += shown_one_by_one(_pulsar_is_back(patient, broken))
            answers = restart.submit(patient)
            jobs = [
                patient.wait(job_id(one), {"running"}, patience=PATIENCE)["external_id"]
                for one in answers
            ]
            held = restart.hold({"HOME": str(pulsar.staging / jobs[1] / "working")})
        outcomes += shown_one_by_one(
            restart.restarted(
                adapt, answers, held, (pulsar.staging / jobs[0] / "return_code").exists
            )
        )
    return conclude(outcomes)


def _were_remote(pulsar: Pulsar, galaxy: server.Galaxy, began: str) -> str:
    """Look at every job of the workflow: each path it was given is below Pulsar's folder."""
    jobs = our_jobs(galaxy, began)
    if {one["tool_id"] for one in jobs} != {"h5_dataset_split", "unet_train", "unet_predict"}:
        return f"these are not the workflow's jobs: {[one['tool_id'] for one in jobs]}"
    for job in jobs:
        command = str(job["command_line"])
        if str(pulsar.staging / str(job["external_id"])) not in command:
            return f"{job['tool_id']} did not run in Pulsar's folder: {command}"
        if str(ROOT) in command:
            return f"{job['tool_id']} was given a path of Galaxy's machine: {command}"
    return ""


def _without_pulsar(patient: Patient, broken: dict[str, Any]) -> Iterator[Outcome]:
    def refused() -> str:
        began = time.monotonic()
        job = patient.finish(patient.train(EPOCHS), PATIENCE)
        took = time.monotonic() - began
        if job.state != "error" or took > REFUSED:
            return f"after {took:.0f} s its state is {job.state}"
        return "" if job.messages else "nothing tells the user why"

    def kept() -> str:
        state = patient.galaxy.jobs.show_job(job_id(broken))["state"]
        return "" if state == "running" else f"its state is {state}"

    yield check("a job for a Pulsar that is gone fails at once", refused)
    yield check("Galaxy waits for the Pulsar that had a job", kept)


def _pulsar_is_back(patient: Patient, broken: dict[str, Any]) -> Iterator[Outcome]:
    def lost() -> str:
        job = patient.finish(broken, LOST)
        if job.state != "error":
            return f"its state is {job.state}"
        said = "The server ended the job"
        return "" if said in job.messages else f"“{said}” is missing in: {job.messages}"

    def again() -> str:
        return trained(patient.finish(patient.run_again(job_id(broken)), PATIENCE), EPOCHS)

    yield check("a job that died with Pulsar is an error that says so", lost)
    yield check("run again, it succeeds", again)


if __name__ == "__main__":
    sys.exit(main())
