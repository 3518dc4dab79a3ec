"""Runs the segmentation workflow through Slurm, breaks jobs there, and restarts Galaxy meanwhile.

Runs in Galaxy's environment, started by `localgalaxy.slurm.command`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from localgalaxy import restart, server, tooltests
from localgalaxy.checks import check
from localgalaxy.console import LocalGalaxyError
from localgalaxy.outcomes import Outcome, conclude, shown_one_by_one
from localgalaxy.paths import STATE, WORKFLOWS
from localgalaxy.remote_jobs import Patient, job_id, metrics, now, our_jobs, tool_process, trained
from localgalaxy.slurm.cluster import Cluster, running_cluster
from localgalaxy.slurm.jobconf import CARD_TOOL, CPU, LARGE, MEMORY_MB, PROCESSORS, adapt

WORKFLOW = WORKFLOWS / "ct_segmentation" / "ct_segmentation.ga"
EPOCHS = 5  # of a job that is to be broken; loading the libraries alone takes seconds
SEQUENCE = "PIAQIHILEG"
MAPPED = 12  # datasets of the collection
PATIENCE = 240.0  # seconds


def main() -> int:
    """Run every check and return the exit code."""
    logs = STATE / "cluster"
    logs.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    with running_cluster(logs) as cluster:
        os.environ.update(cluster.variables)
        with server.running_galaxy(adapt) as galaxy:
            began = now()
            outcomes += tooltests.run_tests(galaxy, [WORKFLOW], "slurm")
            outcomes += shown_one_by_one(_checks(cluster, galaxy, began))
            patient = Patient(galaxy, "Restart")
            answers = restart.submit(patient)
            numbers = [started(cluster, patient, one) for one in answers]
            held = restart.hold({"SLURM_JOB_ID": numbers[1]})
        outcomes += shown_one_by_one(
            restart.restarted(
                adapt, answers, held, lambda: cluster.show(numbers[0])["JobState"] != "RUNNING"
            )
        )
    return conclude(outcomes)


def _checks(cluster: Cluster, galaxy: server.Galaxy, began: str) -> Iterator[Outcome]:
    yield check("each job of the workflow was Slurm's", lambda: _asked(cluster, galaxy, began))
    yield check("two nodes worked at the same time", lambda: _overlapped(cluster))
    patient = Patient(galaxy, "Slurm")
    cancelled, starved = patient.train(EPOCHS), patient.train(EPOCHS)
    first = started(cluster, patient, cancelled)
    second = started(cluster, patient, starved)
    cluster.run("scancel", first)
    again: dict[str, Any] = {}
    yield check(
        "a job that Slurm cancelled is an error that says so",
        lambda: _said(patient, cancelled, again),
    )
    yield check(
        "a job out of memory is sent again with more",
        lambda: _with_more(cluster, patient, starved, second),
    )
    yield check(
        "the cancelled job runs again and succeeds",
        lambda: trained(patient.finish(again, PATIENCE), EPOCHS),
    )
    yield check("two folding jobs at once", lambda: _folded(patient))
    yield check(f"a tool mapped over {MAPPED} datasets", lambda: _mapped(patient))


def started(cluster: Cluster, patient: Patient, answer: dict[str, Any]) -> str:
    """Wait until Slurm runs a job and return Slurm's number of it."""
    number = str(patient.wait(job_id(answer), {"running"}, patience=PATIENCE)["external_id"])
    state = cluster.show(number)["JobState"]
    if state != "RUNNING":
        raise LocalGalaxyError(f"Galaxy says that the job runs, Slurm says {state}.")
    return number


def _asked(cluster: Cluster, galaxy: server.Galaxy, began: str) -> str:
    """Compare what Galaxy asked for with what Slurm gave and the job saw."""
    jobs = our_jobs(galaxy, began)
    if {one["tool_id"] for one in jobs} != {"h5_dataset_split", "unet_train", "unet_predict"}:
        return f"these are not the workflow's jobs: {[one['tool_id'] for one in jobs]}"
    finished = cluster.finished()
    for job in jobs:
        name, number = job["tool_id"], str(job["external_id"])
        slurm = finished.get(number)
        if slurm is None or slurm["JobState"] != "COMPLETED":
            return f"Slurm knows no completed job {number}, which is {name}: {slurm}"
        wanted = f"cpu={PROCESSORS},mem={MEMORY_MB[CPU]}M,"
        if not slurm["Tres"].startswith(wanted):
            return f"{name} should have {wanted} it has {slurm['Tres']}"
        seen = metrics(galaxy, job["id"])
        given = (float(seen["galaxy_slots"]), float(seen["galaxy_memory_mb"]))
        if given != (PROCESSORS, MEMORY_MB[CPU]):
            return f"{name} saw GALAXY_SLOTS and GALAXY_MEMORY_MB of {given}"
        cards = cluster.show(number).get("TresPerNode", "")
        if cards != ("gres:gpu:1" if name == CARD_TOOL else ""):
            return f"{name} asked for the cards “{cards}”"
    return ""


def _overlapped(cluster: Cluster) -> str:
    """Look for two jobs that ran on different nodes during the same seconds."""
    jobs = [one for one in cluster.finished().values() if one["JobState"] == "COMPLETED"]
    for one in jobs:
        for other in jobs:
            # The times are of one form and one day, or of midnight, when they compare as well.
            together = one["StartTime"] < other["EndTime"] and other["StartTime"] < one["EndTime"]
            if together and one["NodeList"] != other["NodeList"]:
                return ""
    return f"no two jobs ran at once on two nodes: {jobs}"


def _said(patient: Patient, answer: dict[str, Any], again: dict[str, Any]) -> str:
    """Expect an error with a sentence, and submit the job once more."""
    job = patient.finish(answer)
    again.update(patient.run_again(job_id(answer)))
    if job.state != "error":
        return f"the job ended in the state {job.state}"
    for text in ("The server ended the job", "CANCELLED"):
        if text not in job.messages:
            return f"“{text}” is missing in: {job.messages}"
    return ""


def _with_more(cluster: Cluster, patient: Patient, answer: dict[str, Any], number: str) -> str:
    """End the tool as the kernel does when memory is out, and wait for the second try."""
    os.kill(tool_process("unet_train.py", {"SLURM_JOB_ID": number}), signal.SIGKILL)
    job = patient.finish(answer, PATIENCE)
    wrong = trained(job, EPOCHS)
    if wrong:
        return wrong
    memory = cluster.show(str(job.details["external_id"]))["TRES"]
    if f"mem={MEMORY_MB[LARGE]}M" not in memory:
        return f"the second try had no more memory: {memory}"
    return ""


def _mapped(patient: Patient) -> str:
    images = patient.collection("part_test.h5", MAPPED)
    states = patient.finish_all([patient.predict(images)], PATIENCE)
    return "" if states == ["ok"] * MAPPED else f"the jobs ended as {states}"


def _folded(patient: Patient) -> str:
    """Fold twice at once: both jobs may compile into JAX's one folder."""
    states = patient.finish_all([patient.fold(SEQUENCE) for _ in range(2)], PATIENCE)
    return "" if states == ["ok"] * 2 else f"the jobs ended as {states}"


if __name__ == "__main__":
    sys.exit(main())
