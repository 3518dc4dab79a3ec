"""Runs the tests of installed tools, with the files that were published with them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from galaxy.tool_util.verify import script
from galaxy.tool_util.verify.interactor import GalaxyInteractorApi

from localgalaxy.console import say
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import REPORTS
from localgalaxy.server import Galaxy
from localgalaxy.settings import JOB_WORKERS
from localgalaxy.testreport import read_report
from localgalaxy.toolshed.workflows import PublishedTool

# Of tools whose tests are slow these alone, by their place in the tool's file; ALL=1 runs all.
CHOSEN = {
    "unet_train": (0,),
    "run_jupyter_job": (0,),
    "colabfold_search": (0,),
    "colabfold_batch": (0,),
}


@dataclass(frozen=True)
class Plan:
    """Which tests to run."""

    references: list[script.TestReference]
    left_out: int


def plan(interactor: GalaxyInteractorApi, tools: Mapping[str, PublishedTool], every: bool) -> Plan:
    """Choose the tests.

    Args:
        interactor: The connection to Galaxy.
        tools: The installed tools by their short ids.
        every: Whether to run those too that take long.
    """
    chosen: list[script.TestReference] = []
    total = 0
    for short, tool in sorted(tools.items()):
        found = script.build_case_references(interactor, tool.guid, tool_version=tool.version)
        total += len(found)
        wanted = CHOSEN.get(short)
        # Galaxy finds a data manager by its full id only, from which a version would be cut off.
        chosen += [
            script.TestReference(tool.guid, None, one.test_index)
            for one in found
            if every or wanted is None or one.test_index in wanted
        ]
    return Plan(chosen, total - len(chosen))


def run_tests(
    galaxy: Galaxy, tools: Mapping[str, PublishedTool], *, every: bool
) -> Iterator[Outcome]:
    """Run the tests with Galaxy's own library and yield the outcome of each.

    Args:
        galaxy: The running Galaxy.
        tools: The installed tools by their short ids.
        every: See `plan`.
    """
    interactor = GalaxyInteractorApi(
        galaxy_url=galaxy.url, master_api_key=galaxy.admin_key, api_key=galaxy.user_key
    )
    planned = plan(interactor, tools, every)
    for short, tool in sorted(tools.items()):
        if not any(one.tool_id == tool.guid for one in planned.references):
            yield Outcome(f"tests of {short}", False, None, f"Galaxy knows no test of {tool.guid}")
    say(f"Testing installed tools: {len(planned.references)} tests, {planned.left_out} left out")
    REPORTS.mkdir(exist_ok=True)
    report = REPORTS / "installed.json"
    report.unlink(missing_ok=True)
    log = logging.getLogger("localgalaxy.toolshed")
    handler = logging.FileHandler(report.with_suffix(".log"), mode="w", encoding="utf-8")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    began = time.monotonic()
    script.test_tools(
        interactor,
        planned.references,
        script.Results("installed tools", str(report), galaxy_url=galaxy.url),
        log=log,
        parallel_tests=JOB_WORKERS,
        verify_kwds={"skip_with_reference_data": False, "quiet": True},
    )
    handler.close()
    yield from read_report(report, [report], len(planned.references))
    say(f"These tests took {time.monotonic() - began:.0f} s")
