"""Runs the tests of the client, and of whatever else needs a running Galaxy, with pytest."""

from __future__ import annotations

import subprocess
import time
from xml.etree import ElementTree

from localgalaxy.console import say
from localgalaxy.environments import environment
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import GALAXY_TESTS, REPORTS, ROOT, UNET_VENV, shown
from localgalaxy.server import Galaxy

LIMIT = 1800.0  # seconds for all of them


def run_client_tests(galaxy: Galaxy) -> list[Outcome]:
    """Run `tests/galaxy` against a Galaxy and return one outcome for each test."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / "client.xml"
    report.unlink(missing_ok=True)
    began = time.monotonic()
    say(f"Testing {shown(GALAXY_TESTS)} against {galaxy.url}")
    variables = {
        "GPULAB_TEST_GALAXY_URL": galaxy.url,
        "GPULAB_TEST_GALAXY_KEY": galaxy.user_key,
    }
    command = [str(UNET_VENV / "bin" / "python"), "-m", "pytest", "-q", "--tb=short"]
    done = subprocess.run(
        [*command, f"--junitxml={report}", str(GALAXY_TESTS)],
        cwd=ROOT,
        env=environment(UNET_VENV, variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    outcomes = _read(report.read_bytes()) if report.exists() else []
    if not outcomes or (done.returncode and all(outcome.passed for outcome in outcomes)):
        outcomes.append(Outcome("pytest tests/galaxy", False, None, done.stdout))
    for outcome in outcomes:
        outcome.show()
    say(f"{len(outcomes)} tests took {time.monotonic() - began:.0f} s")
    return outcomes


def _read(text: bytes) -> list[Outcome]:
    outcomes = []
    for case in ElementTree.fromstring(text).iter("testcase"):  # noqa: S314 - written by pytest
        name = f"{case.get('classname', '').rpartition('.')[2]}: {case.get('name')}"
        skipped = case.find("skipped")
        if skipped is not None:
            say(f"skipped {name}: {skipped.get('message')}")
            continue
        failures = [*case.iter("failure"), *case.iter("error")]
        detail = "\n".join(failure.text or "" for failure in failures)
        outcomes.append(Outcome(name, not failures, float(case.get("time", 0)), detail))
    return outcomes
