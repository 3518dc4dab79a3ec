"""Runs the tests of tools and workflows with planemo against a running Galaxy."""

from __future__ import annotations

import json
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from localgalaxy import api, planemo
from localgalaxy.console import say, step
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import REPORTS, ROOT, shown, tool_files
from localgalaxy.server import Galaxy

LANES = 2  # as many planemo processes as there are job workers: each runs its tests one by one
TEST_LIMIT = 1200  # seconds for a single test
POLL = 2.0  # seconds
LINES = 30  # of a failed job's output


def run_tests(galaxy: Galaxy, targets: Sequence[Path], label: str) -> list[Outcome]:
    """Run the tests of all targets, several at a time.

    Args:
        galaxy: The running Galaxy.
        targets: Tool XML files or workflows with tests.
        label: Names the report files in `.galaxy/reports/`.

    Returns:
        One outcome for each test.
    """
    REPORTS.mkdir(parents=True, exist_ok=True)
    lanes = share_out(targets, LANES)
    reports = [REPORTS / f"{label}-{number}.json" for number in range(1, len(lanes) + 1)]
    with step(f"Testing {', '.join(path.stem for path in targets)}"), ExitStack() as stack:
        processes = []
        for lane, report in zip(lanes, reports, strict=True):
            report.unlink(missing_ok=True)
            log = stack.enter_context(report.with_suffix(".log").open("w", encoding="utf-8"))
            processes.append(planemo.start(_arguments(galaxy, report, lane), log))
        try:
            while any(process.poll() is None for process in processes):
                time.sleep(POLL)
                _cancel_paused(galaxy)
        finally:
            for process in processes:
                process.terminate()
                process.wait()
    outcomes = []
    for lane, report in zip(lanes, reports, strict=True):
        outcomes += read_report(report, lane)
    for outcome in outcomes:
        outcome.show()
    say(f"Reports: {shown(REPORTS)}/{label}-*")
    return outcomes


def _cancel_paused(galaxy: Galaxy) -> None:
    """Cancel our tools' paused jobs: a test would wait for them until its time is up.

    Galaxy pauses a job when an input is broken in a way that Galaxy itself noticed.
    """
    ours = {path.stem for path in tool_files()}
    for job in api.request(galaxy.url, "/api/jobs?state=paused", key=galaxy.user_key):
        if job["tool_id"] in ours:
            say(f"\n{job['tool_id']}: Galaxy paused a job because of a broken input; cancelling it")
            api.request(galaxy.url, f"/api/jobs/{job['id']}", key=galaxy.user_key, method="DELETE")


def _arguments(galaxy: Galaxy, report: Path, lane: Sequence[Path]) -> list[str]:
    return [
        "test",
        "--engine",
        "external_galaxy",
        "--galaxy_url",
        galaxy.url,
        "--galaxy_admin_key",
        galaxy.admin_key,
        "--galaxy_user_key",
        galaxy.user_key,
        "--no_shed_install",
        "--test_timeout",
        str(TEST_LIMIT),
        "--test_output_json",
        str(report),
        "--test_output",
        str(report.with_suffix(".html")),
        "--test_output_markdown",
        str(report.with_suffix(".md")),
        *(str(path) for path in lane),
    ]


def share_out(targets: Sequence[Path], lanes: int) -> list[list[Path]]:
    """Share the targets out so that each lane has about as many tests, the largest first."""
    result: list[list[Path]] = [[] for _ in range(min(lanes, len(targets)))]
    loads = [0] * len(result)
    for path in sorted(targets, key=count_tests, reverse=True):
        lane = loads.index(min(loads))
        result[lane].append(path)
        loads[lane] += count_tests(path)
    return result


def count_tests(target: Path) -> int:
    """Return the number of tests of a tool; a workflow counts as one."""
    if target.suffix != ".xml":
        return 1
    return len(ElementTree.parse(target).getroot().findall("tests/test"))  # noqa: S314 - ours


def read_report(report: Path, lane: Sequence[Path]) -> list[Outcome]:
    """Turn planemo's JSON report into outcomes; a target without a test in it has failed."""
    log = report.with_suffix(".log")
    try:
        tests = json.loads(report.read_text(encoding="utf-8"))["tests"]
    except (OSError, ValueError, KeyError):
        return [_broken(lane, log, "planemo wrote no report")]
    outcomes = [_outcome(test) for test in tests]
    expected = sum(count_tests(path) for path in lane)
    if len(outcomes) < expected:
        outcomes.append(_broken(lane, log, f"planemo ran {len(outcomes)} of {expected} tests"))
    return outcomes


def _broken(lane: Sequence[Path], log: Path, what: str) -> Outcome:
    tail = _tail(log.read_text(encoding="utf-8", errors="replace"))
    names = ", ".join(str(path.relative_to(ROOT)) for path in lane)
    return Outcome(names, False, None, f"{what}; the end of {shown(log)}:\n{tail}")


def _outcome(test: dict[str, Any]) -> Outcome:
    data = test.get("data") or {}
    passed = data.get("status") == "success"
    seconds = data.get("time_seconds")
    return Outcome(str(test["id"]), passed, seconds, "" if passed else _explain(data))


def _explain(data: dict[str, Any]) -> str:
    """Return everything that a developer needs to see why a test failed."""
    parts = [
        str(data[key]) for key in ("execution_problem", "dynamic_tool_load_error") if data.get(key)
    ]
    parts += [str(problem) for problem in data.get("output_problems") or []]
    for job in _jobs(data):
        parts.append(f"exit code {job.get('exit_code')}, state {job.get('state')}")
        if job.get("command_line"):
            parts.append(f"command: {job['command_line']}")
        parts += [
            f"--- {name}\n{_tail(job[name])}" for name in ("stdout", "stderr") if job.get(name)
        ]
    return "\n".join(parts) or json.dumps(data, indent=1)[:3000]


def _jobs(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the job of a tool test, or the failed jobs of a workflow test."""
    if data.get("job"):
        return [data["job"]]
    details = (data.get("invocation_details") or {}).get("steps") or {}
    jobs = [job for one in details.values() for job in one.get("jobs") or []]
    return [job for job in jobs if job.get("state") != "ok"]


def _tail(text: str) -> str:
    return "\n".join(text.rstrip().splitlines()[-LINES:])
