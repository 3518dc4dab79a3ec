"""Throughput of many jobs through Slurm against the number of workers.

Runs in Galaxy's environment, started by `benchmarks.scale`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import print_table
from benchmarks.scale import parse
from localgalaxy import server
from localgalaxy.console import LocalGalaxyError, say, step
from localgalaxy.keeper import descendants
from localgalaxy.paths import STATE
from localgalaxy.remote_jobs import Patient
from localgalaxy.slurm import jobconf
from localgalaxy.slurm.cluster import Cluster, running_cluster

SEQUENCE = "PIAQIHILEG"
PATIENCE = 5400.0  # seconds for one row of the table
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """One row: how many jobs, and what their going through Galaxy and Slurm took, in seconds."""

    what: str
    workers: int
    jobs: int
    request: float
    wall: float
    in_slurm: float
    waited: float
    galaxy: float

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        return (
            self.what,
            str(self.workers),
            str(self.jobs),
            f"{self.wall:.0f}",
            f"{60 * self.jobs / self.wall:.1f}",
            f"{self.in_slurm / self.jobs:.1f}",
            f"{self.in_slurm / (self.workers * self.wall):.0%}",
            f"{self.request:.0f}",
            f"{self.galaxy / self.jobs:.2f}",
        )


HEADER = (
    "jobs",
    "workers",
    "number",
    "seconds",
    "jobs a minute",
    "seconds in Slurm, each",
    "workers busy",
    "seconds of the request",
    "Galaxy's processor seconds, each",
)


def main() -> int:
    """Measure what the command line asks for, and print the table."""
    rows = measure(parse(__doc__))
    print_table(HEADER, [row.cells() for row in rows])
    return 0


def measure(arguments: argparse.Namespace) -> list[Measured]:
    """Run every row in one cluster and one Galaxy."""
    logs = STATE / "cluster"
    logs.mkdir(parents=True, exist_ok=True)
    adapt = partial(jobconf.adapt, processors=1, threads=arguments.threads)
    most = max(arguments.workers)
    rows = []
    with running_cluster(logs, nodes=most, cpus=1) as cluster:
        os.environ.update(cluster.variables)
        with server.running_galaxy(adapt) as galaxy:
            # The first job of a tool loads what later ones find in memory.
            warm = Patient(galaxy, "Warm-up")
            warm.finish_all([warm.predict(warm.data("part_test.h5"))], PATIENCE)
            for workers in arguments.workers:
                use(cluster, workers)
                measured = measure_with(cluster, galaxy, workers, arguments)
                # At once: a long measurement that is cut short has told what it had.
                for row in measured:
                    say(" | ".join(row.cells()))
                rows += measured
    return rows


def use(cluster: Cluster, workers: int) -> None:
    """Let Slurm start jobs on so many of the nodes."""
    nodes = ",".join(f"n{number}" for number in range(1, workers + 1))
    cluster.run("scontrol", "update", "PartitionName=main", f"Nodes={nodes}")


def measure_with(
    cluster: Cluster, galaxy: server.Galaxy, workers: int, arguments: argparse.Namespace
) -> list[Measured]:
    """Measure each kind of jobs with so many workers."""
    several = range(arguments.several)
    patient = Patient(galaxy, f"{workers} workers")
    with step("Uploading"):
        images = patient.collection("part_test.h5", arguments.datasets)
        for name in ("predict/model_bce.onnx", "part_train.h5", "part_valid.h5"):
            patient.data(name)
    kinds = {
        "predictions": lambda: [patient.predict(images)],
        "trainings": lambda: [patient.train(5) for _ in several],
        "foldings": lambda: [patient.fold(SEQUENCE) for _ in several],
    }
    rows = []
    for what, submit in kinds.items():
        if what == "predictions" or arguments.several:
            with step(f"{what.capitalize()} with {workers} workers"):
                rows.append(_measure(cluster, galaxy, patient, workers, what, submit))
    return rows


def _measure(
    cluster: Cluster,
    galaxy: server.Galaxy,
    patient: Patient,
    workers: int,
    what: str,
    submit: Any,
) -> Measured:
    known = set(cluster.finished())
    used = processor_seconds(galaxy.pid)
    began = time.monotonic()
    answers = submit()
    request = time.monotonic() - began
    states = patient.finish_all(answers, PATIENCE)
    wall = time.monotonic() - began
    if set(states) != {"ok"}:
        raise LocalGalaxyError(f"The jobs ended as {sorted(set(states))}.")
    done = [one for number, one in cluster.finished().items() if number not in known]
    return Measured(
        what,
        workers,
        len(states),
        request,
        wall,
        _seconds(done, "StartTime", "EndTime"),
        _seconds(done, "SubmitTime", "StartTime"),
        processor_seconds(galaxy.pid) - used,
    )


def _seconds(jobs: Sequence[dict[str, str]], start: str, end: str) -> float:
    return sum(
        (datetime.fromisoformat(job[end]) - datetime.fromisoformat(job[start])).total_seconds()
        for job in jobs
    )


def processor_seconds(keeper: int) -> float:
    """Return what Galaxy's own processes have used; jobs are Slurm's and not below them."""
    total = 0
    for process in descendants(keeper):
        try:
            text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        # Of itself and of its children that have ended.
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS


if __name__ == "__main__":
    sys.exit(main())
