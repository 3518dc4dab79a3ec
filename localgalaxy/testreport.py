"""Reads planemo's JSON report, and explains each failure so that no other file must be opened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localgalaxy.outcomes import Outcome
from localgalaxy.paths import ROOT, shown

LOST = "History not found"  # as Galaxy says it
LINES = 30  # of a failed job's output


def read_report(report: Path, lane: Sequence[Path], expected: int) -> list[Outcome]:
    """Turn planemo's JSON report into outcomes.

    Args:
        report: The JSON file; planemo's own output lies beside it as `.log`.
        lane: What was tested.
        expected: How many tests there should be; a test that did not run has failed.
    """
    log = report.with_suffix(".log")
    try:
        tests = json.loads(report.read_text(encoding="utf-8"))["tests"]
    except (OSError, ValueError, KeyError):
        return [_broken(lane, log, "planemo wrote no report")]
    outcomes = [_outcome(test) for test in tests]
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
    # A history that was made a moment ago was not found, in one of a dozen runs: no job began.
    lost = data.get("execution_problem") == LOST and not data.get("job")
    return Outcome(str(test["id"]), passed, seconds, "" if passed else _explain(data), lost)


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
