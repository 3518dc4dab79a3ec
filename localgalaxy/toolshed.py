"""`make test-toolshed`: publishes to a Tool Shed, installs from it, tests what is installed."""

from __future__ import annotations

import subprocess

from localgalaxy.environments import ensure_galaxy, ensure_tools, ensure_toolshed, environment
from localgalaxy.paths import GALAXY_VENV, ROOT

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
    variables = {
        "LOCALGALAXY_STATE": STATE,
        # A folder that is not there: this Galaxy has none of our tools.
        "LOCALGALAXY_TOOLS": f"{STATE}/no-tools",
        "PYTHONWARNINGS": "ignore",
    }
    # With Galaxy's Python, because of its library for tests and its reader of YAML.
    done = subprocess.run(
        [
            str(GALAXY_VENV / "bin" / "python"),
            *("-m", "localgalaxy.toolshed_run"),
            *(["--all"] if every else []),
        ],
        cwd=ROOT,
        env=environment(GALAXY_VENV, variables),
        check=False,
    )
    return done.returncode
