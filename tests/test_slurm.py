"""What of the tests of Slurm and Pulsar can be tested without them and without Galaxy."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from bare_machine import said_on_a_bare_machine

from localgalaxy.paths import ROOT
from localgalaxy.slurm.cluster import Cluster

ENVIRONMENTS: dict[str, dict[str, Any]] = yaml.safe_load(
    (ROOT / "deploy" / "job_conf.yml").read_text(encoding="utf-8")
)["execution"]["environments"]
SLURM = ("slurm_cpu", "slurm_cpu_large", "slurm_gpu")


def test_says_that_nothing_was_tested() -> None:
    # Debian's servers are where an ordinary user's PATH does not look, its commands are not.
    said = said_on_a_bare_machine("slurm")
    assert said.startswith("Skipped, nothing was tested: ")
    assert "apt-get install slurm-wlm munge" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", SLURM)
def test_a_job_that_slurm_ends_leaves_an_exit_code(name: str, tmp_path: Path) -> None:
    (line,) = [one["execute"] for one in ENVIRONMENTS[name]["env"] if "execute" in one]
    folder = tmp_path / "000" / "17"
    folder.mkdir(parents=True)
    code = folder / "galaxy_17.ec"

    def source() -> None:
        command = ["bash", "-ec", f'_GALAXY_JOB_DIR="{folder}"; {line}']
        subprocess.run(command, check=True)

    source()
    assert code.read_text().strip() == "143"
    # Galaxy's script comes by once more, after the tool has written its own.
    code.write_text("0\n")
    source()
    assert code.read_text().strip() == "0"


@pytest.mark.parametrize("name", SLURM)
def test_a_job_asks_slurm_for_what_it_needs(name: str) -> None:
    asked = ENVIRONMENTS[name]
    # Two numbers with a colon are a number of seconds in YAML, and Slurm would take minutes.
    assert isinstance(asked["job_time"], str)
    assert asked["job_ncpus"] > 1
    assert ("job_--gres" in asked) == (name == "slurm_gpu")


def test_out_of_memory_goes_where_there_is_more() -> None:
    (rule,) = ENVIRONMENTS["slurm_cpu"]["resubmit"]
    assert rule["condition"] == "memory_limit_reached"
    more, less = (
        int(ENVIRONMENTS[name]["job_--mem"].removesuffix("G"))
        for name in (rule["environment"], "slurm_cpu")
    )
    assert more > less
    # Once: else a job that can never fit would come back for ever.
    assert "resubmit" not in ENVIRONMENTS[rule["environment"]]


def test_reads_what_slurm_recorded(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    assert cluster.finished() == {}
    (tmp_path / "finished.txt").write_text(
        "JobId=7 JobState=COMPLETED Tres=cpu=2,mem=500M NodeList=n1 Account= \n"
        "JobId=8 JobState=CANCELLED NodeList=(null) \n"
    )
    found = cluster.finished()
    assert found["7"]["Tres"] == "cpu=2,mem=500M"
    assert found["7"]["Account"] == ""
    assert found["8"]["JobState"] == "CANCELLED"
