"""Runs the package's tests and, in a real Galaxy, the tools' tests inside their images.

Runs in Galaxy's environment, started by `localgalaxy.containers.command`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from localgalaxy import server, tooltests
from localgalaxy.containers import jobs, msa, package_tests
from localgalaxy.containers.engine import podman
from localgalaxy.containers.package_tests import PYTEST
from localgalaxy.outcomes import Outcome, conclude, shown_one_by_one
from localgalaxy.paths import data_manager_files, tool_files

# Enough for every test, and little enough that two jobs leave Galaxy its own.
MEMORY_MB = 6144
TOOL_MEMORY_MB = 5800
PYTEST_MEMORY_MB = 12288  # one container alone, whose /tmp is memory and holds all that tests write
SEARCH_TOOL = "colabfold_search"  # may ask a server, and so needs one


def tools() -> dict[str, Path]:
    """Return the published XML file of each tool and data manager by its id."""
    return {path.stem: path for path in [*tool_files(), *data_manager_files()]}


def adapt(config: dict[str, Any]) -> dict[str, Any]:
    """Send every tool of ours into its image."""
    notebooks = jobs.isolated_environment(MEMORY_MB, TOOL_MEMORY_MB)
    slots = config["execution"]["environments"]["tools"]["local_slots"]
    others = jobs.other_environment(MEMORY_MB, slots)
    searches = others | {"docker_net": msa.NETWORK}
    environments = {
        jobs.NOTEBOOK: notebooks,
        jobs.OTHERS: others,
        SEARCH_TOOL: searches,
    }
    places = dict.fromkeys(tools(), jobs.OTHERS)
    places[jobs.NOTEBOOK_TOOL] = jobs.NOTEBOOK
    places[SEARCH_TOOL] = SEARCH_TOOL
    return jobs.put_in(config, environments, places)


def main(names: Sequence[str]) -> int:
    """Run what is named and return the exit code.

    Args:
        names: Ids of tools, and `pytest-ENVIRONMENT` for the package's tests.
    """
    every = tools()
    outcomes: list[Outcome] = []
    inside = [name.removeprefix(PYTEST) for name in names if name.startswith(PYTEST)]
    if inside:
        limits = jobs.hardened(PYTEST_MEMORY_MB)
        outcomes += shown_one_by_one(package_tests.run_tests(inside, limits))
    if chosen := [every[name] for name in names if name in every]:
        with server.running_galaxy(adapt) as galaxy, ExitStack() as stack:
            if every[SEARCH_TOOL] in chosen:
                stack.enter_context(msa.running())
            outcomes += tooltests.run_tests(galaxy, chosen, "tools")
        outcomes += shown_one_by_one(_after())
    return conclude(outcomes)


def _after() -> Iterator[Outcome]:
    """Nothing is left over: Galaxy removes each container when its job ends."""
    deadline = time.monotonic() + 60
    while (left := podman("ps", "--all", "--quiet").strip()) and time.monotonic() < deadline:
        time.sleep(1)
    yield Outcome("no container is left", not left, None, left)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
