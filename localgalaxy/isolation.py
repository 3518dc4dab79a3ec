"""`make test-isolation`: runs hostile notebooks in a real Galaxy whose jobs run in containers."""

from __future__ import annotations

import os
import shutil
import subprocess

from localgalaxy import images
from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.environments import ensure_galaxy, ensure_tools, environment
from localgalaxy.lint import export_repositories
from localgalaxy.paths import GALAXY_VENV, ROOT

STATE = ".galaxy/isolation"
PUBLISHED = f"{STATE}/published"


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
    shutil.rmtree(ROOT / PUBLISHED, ignore_errors=True)
    (ROOT / STATE).mkdir(parents=True, exist_ok=True)
    # Pulsar copies a tool's files and follows no links, which only our checkout has.
    export_repositories(ROOT / PUBLISHED)
    variables = {
        "LOCALGALAXY_STATE": STATE,
        "LOCALGALAXY_TOOLS": f"{PUBLISHED}/tools",
        "PYTHONWARNINGS": "ignore",
    }
    # With Galaxy's Python, because of its client library and its reader of YAML.
    done = subprocess.run(
        [str(GALAXY_VENV / "bin" / "python"), "-m", "localgalaxy.isolation_run"],
        cwd=ROOT,
        env=environment(GALAXY_VENV, variables),
        check=False,
    )
    return done.returncode
