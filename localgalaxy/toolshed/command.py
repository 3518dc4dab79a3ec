"""`make test-toolshed`: publishes to a Tool Shed, installs from it, tests what is installed."""

from __future__ import annotations

from localgalaxy.environments import ensure_galaxy, ensure_tools, ensure_toolshed
from localgalaxy.own_galaxy import run_module

STATE = ".galaxy/toolshed"


def run_toolshed(*, every: bool) -> int:
    """Publish, install, test and upgrade, beside the ordinary local Galaxy.

    Args:
        every: Whether to run the slow tests as well.

    Returns:
        The exit code.
    """
    ensure_galaxy()
    ensure_tools()
    ensure_toolshed()
    # A folder that is not there: this Galaxy has none of our tools.
    variables = {"LOCALGALAXY_TOOLS": f"{STATE}/no-tools"}
    arguments = ["--all"] if every else []
    return run_module("localgalaxy.toolshed.run", STATE, variables, arguments)
