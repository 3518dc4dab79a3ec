"""Runs the tests of tools and workflows with planemo against a running Galaxy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from localgalaxy import api, planemo
from localgalaxy.console import LocalGalaxyError, Progress, say
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import REPORTS, data_manager_files, shown, tool_files
from localgalaxy.server import Galaxy
from localgalaxy.testreport import read_report

LANES = 2  # as many planemo processes as there are job workers: each runs its tests one by one
TEST_LIMIT = 900  # seconds for a single test
POLL = 2.0  # seconds


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
    counts = {path: count_tests(galaxy, path) for path in targets}
    lanes = share_out(counts, LANES)
    reports = [REPORTS / f"{label}-{number}.json" for number in range(1, len(lanes) + 1)]
    names = ", ".join(path.stem for path in targets)
    say(f"Testing {names}: {sum(counts.values())} tests")
    began = time.monotonic()
    _run_lanes(galaxy, lanes, reports)
    outcomes: list[Outcome] = []
    for lane, report in zip(lanes, reports, strict=True):
        outcomes += read_report(report, lane, sum(counts[path] for path in lane))
    again = [path for path in targets if any(_is_of(one, path) for one in outcomes if one.lost)]
    if again:
        say(f"Galaxy lost a test before its job, so once more: {', '.join(p.stem for p in again)}")
        report = REPORTS / f"{label}-again.json"
        _run_lanes(galaxy, [again], [report])
        second = {
            one.name: one for one in read_report(report, again, sum(counts[p] for p in again))
        }
        # Nothing but what was lost is judged anew: another failure must not vanish.
        outcomes = [second.get(one.name, one) if one.lost else one for one in outcomes]
    for outcome in outcomes:
        outcome.show()
    took = time.monotonic() - began
    say(f"{len(outcomes)} tests took {took:.0f} s; reports: {shown(REPORTS)}/{label}-*")
    return outcomes


def _is_of(outcome: Outcome, target: Path) -> bool:
    """Tell whether an outcome is that of a test of a tool; its name ends with the test's number."""
    return outcome.name.rpartition("-")[0] == target.stem


def _run_lanes(galaxy: Galaxy, lanes: Sequence[Sequence[Path]], reports: Sequence[Path]) -> None:
    keys = {
        # Not on the command line, which everybody on this machine can see.
        "PLANEMO_GALAXY_URL": galaxy.url,
        "PLANEMO_GALAXY_ADMIN_KEY": galaxy.admin_key,
        "PLANEMO_GALAXY_USER_KEY": galaxy.user_key,
    }
    progress = Progress(only_live=True)
    with ExitStack() as stack:
        processes = []
        for lane, report in zip(lanes, reports, strict=True):
            report.unlink(missing_ok=True)
            log = stack.enter_context(report.with_suffix(".log").open("w", encoding="utf-8"))
            processes.append(planemo.start(_arguments(report, lane), log, keys))
        try:
            while any(process.poll() is None for process in processes):
                time.sleep(POLL)
                _refuse_paused(galaxy)
                progress.show([_running(galaxy)])
        finally:
            progress.end()
            for process in processes:
                process.terminate()
                process.wait()


def _running(galaxy: Galaxy) -> str:
    """Return what runs at the moment, in words."""
    jobs = api.request(galaxy.url, "/api/jobs?state=running&state=queued", key=galaxy.user_key)
    names = sorted({job["tool_id"].strip("_").lower() for job in jobs})
    return f"running: {', '.join(names) or 'planemo'}"


def _refuse_paused(galaxy: Galaxy) -> None:
    """End when a job of our tools is paused: its test would wait until its time is up.

    Galaxy pauses a job when it could not read an input's metadata itself, so no such input can be
    tested in Galaxy; a test of the package reaches it.

    Raises:
        LocalGalaxyError: A job is paused; the message says which input.
    """
    ours = {path.stem for path in [*tool_files(), *data_manager_files()]}
    for job in api.request(galaxy.url, "/api/jobs?state=paused", key=galaxy.user_key):
        if job["tool_id"] in ours:
            path = f"/api/jobs/{job['id']}"
            output = api.request(galaxy.url, f"{path}/outputs", key=galaxy.user_key)[0]["dataset"]
            dataset = api.request(galaxy.url, f"/api/datasets/{output['id']}", key=galaxy.user_key)
            api.request(galaxy.url, path, key=galaxy.user_key, method="DELETE")
            raise LocalGalaxyError(
                f"Galaxy paused a job of a test of {job['tool_id']}, and planemo would wait for it:"
                f" {dataset['misc_info']}"
            )


def _arguments(report: Path, lane: Sequence[Path]) -> list[str]:
    return [
        "test",
        *("--engine", "external_galaxy"),
        "--no_shed_install",
        *("--test_timeout", str(TEST_LIMIT)),
        *("--test_output_json", str(report)),
        *("--test_output", str(report.with_suffix(".html"))),
        *("--test_output_markdown", str(report.with_suffix(".md"))),
        *(str(path) for path in lane),
    ]


def share_out(counts: Mapping[Path, int], lanes: int) -> list[list[Path]]:
    """Share targets out so that each lane has about as many tests.

    Args:
        counts: The number of tests of each target.
        lanes: How many lanes there are at most.
    """
    result: list[list[Path]] = [[] for _ in range(min(lanes, len(counts)))]
    loads = [0] * len(result)
    for path in sorted(counts, key=counts.__getitem__, reverse=True):
        lane = loads.index(min(loads))
        result[lane].append(path)
        loads[lane] += counts[path]
    return result


def count_tests(galaxy: Galaxy, target: Path) -> int:
    """Return the number of tests of a tool as Galaxy read it; a workflow counts as one."""
    if target.suffix != ".xml":
        return 1
    return len(api.request(galaxy.url, f"/api/tools/{target.stem}/test_data", key=galaxy.user_key))
