"""`make test-isolation`: runs hostile notebooks in a real Galaxy whose jobs run in containers."""

from __future__ import annotations

import os

from localgalaxy import images
from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.environments import ensure_galaxy, ensure_tools
from localgalaxy.own_galaxy import run_beside

STATE = ".galaxy/isolation"


def run_isolation() -> int:
    """Build the image, start a Galaxy beside the ordinary one, and try to break out.

    Returns:
        The exit code: 0 also where containers cannot be run, which is said.
    """
    lacking = images.missing()
    if lacking:
        say(f"Skipped, nothing was tested: {lacking}.")
        return 0
    ensure_galaxy()
    ensure_tools()
    try:
        image = images.ensure_image()
        images.podman("run", "--rm", "--net", "none", image, "true")
    except LocalGalaxyError as error:
        if os.environ.get("CI"):
            raise
        say(f"Skipped, nothing was tested: this machine cannot run containers.\n{error}")
        return 0
    return run_beside("localgalaxy.isolation_run", STATE)
