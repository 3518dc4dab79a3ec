"""What a Pulsar's administrator runs before each start of it, tried on folders of jobs."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from localgalaxy.paths import ROOT

SCRIPT = ROOT / "deploy" / "pulsar_before_start.sh"
NO_PROCESS = 2**22 + 1  # more than Linux gives


def make_job(staging: Path, name: str, pid: int) -> Path:
    """Make a job's folder as Pulsar leaves it: what it keeps is JSON."""
    job = staging / name
    (job / "working").mkdir(parents=True)
    (job / "pid").write_text(f'"{pid}"')
    (job / "submitted").write_text('"true"')
    return job


def run(staging: Path) -> None:
    subprocess.run([str(SCRIPT), str(staging)], check=True, timeout=20)


def left(job: Path) -> tuple[str, bool]:
    """Return a job's exit code, and whether Pulsar would say that it runs."""
    code = job / "return_code"
    return code.read_text().strip() if code.exists() else "", (job / "pid").exists()


def test_nothing_is_there_before_the_first_start(tmp_path: Path) -> None:
    run(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    run(tmp_path / "empty")


def test_a_job_that_died_with_pulsar_gets_an_exit_code(tmp_path: Path) -> None:
    job = make_job(tmp_path, "3", NO_PROCESS)
    waiting = tmp_path / "4"
    waiting.mkdir()
    (waiting / "command_line").write_text('"true"')
    run(tmp_path)
    assert left(job) == ("143", False)
    assert not (job / "submitted").exists()
    # What Pulsar has not started it starts by itself.
    assert [path.name for path in waiting.iterdir()] == ["command_line"]


def test_a_job_that_ended_meanwhile_keeps_its_own(tmp_path: Path) -> None:
    job = make_job(tmp_path, "3", NO_PROCESS)
    (job / "return_code").write_text("0\n")
    run(tmp_path)
    assert left(job) == ("0", False)


def test_the_number_of_another_program_is_not_the_job(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as other:
        job = make_job(tmp_path, "3", other.pid)
        run(tmp_path)
        other.kill()
    assert left(job) == ("143", False)


def test_a_job_that_outlived_pulsar_ends_when_it_ends(tmp_path: Path) -> None:
    command = "sleep 3; echo 0 > ../return_code"
    job = tmp_path / "3"
    (job / "working").mkdir(parents=True)
    with subprocess.Popen(["sh", "-c", command], cwd=job / "working") as process:
        (job / "pid").write_text(f'"{process.pid}"')
        (job / "submitted").write_text('"true"')
        run(tmp_path)
        assert left(job) == ("", True)
    deadline = time.monotonic() + 20
    while left(job)[1]:
        if time.monotonic() > deadline:
            pytest.fail("the job is still said to run")
        time.sleep(0.2)
    assert left(job) == ("0", False)
