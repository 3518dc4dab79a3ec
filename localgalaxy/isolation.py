"""`make test-isolation`: runs hostile notebooks in a real Galaxy whose jobs run in containers."""

from __future__ import annotations

import os
import subprocess

from localgalaxy import images
from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.environments import ensure_galaxy, ensure_tools, environment
from localgalaxy.paths import GALAXY_VENV, ROOT

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
    (ROOT / STATE).mkdir(parents=True, exist_ok=True)
    # With Galaxy's Python, because of its client library and its reader of YAML.
    done = subprocess.run(
        [str(GALAXY_VENV / "bin" / "python"), "-m", "localgalaxy.isolation_run"],
        cwd=ROOT,
        env=environment(GALAXY_VENV, {"LOCALGALAXY_STATE": STATE, "PYTHONWARNINGS": "ignore"}),
        check=False,
    )
    return done.returncode
