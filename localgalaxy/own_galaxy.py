"""Runs a test that needs a Galaxy of its own, with our tools as they are published."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from localgalaxy.console import LocalGalaxyError
from localgalaxy.environments import environment
from localgalaxy.lint import export_repositories
from localgalaxy.paths import GALAXY_VENV, ROOT


def forget(state: str) -> None:
    """Remove what an earlier run left: a job that it broke would be found again.

    Raises:
        LocalGalaxyError: The Galaxy of that folder runs.
    """
    folder = ROOT / state
    if not folder.exists():
        return
    with (folder / "owner.lock").open("a", encoding="utf-8") as owner:
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalGalaxyError(f"A Galaxy runs in {state} already: wait for it.") from error
        shutil.rmtree(folder)


def run_beside(module: str, state: str, arguments: Sequence[str] = ()) -> int:
    """Run a module in Galaxy's environment, with a Galaxy beside the ordinary one.

    The module starts that Galaxy itself, with `server.running_galaxy`.

    Args:
        module: Its name.
        state: The folder of that Galaxy's files, below the checkout.
        arguments: What the module is given on its command line.

    Returns:
        The module's exit code.
    """
    published = f"{state}/published"
    shutil.rmtree(ROOT / published, ignore_errors=True)
    (ROOT / state).mkdir(parents=True, exist_ok=True)
    # Pulsar copies a tool's files and follows no links, which only our checkout has.
    export_repositories(ROOT / published)
    variables = {
        "LOCALGALAXY_TOOLS": f"{published}/tools",
        "LOCALGALAXY_DATA_MANAGERS": f"{published}/data_managers",
    }
    return run_module(module, state, variables, arguments)


def run_module(
    module: str, state: str, variables: Mapping[str, str], arguments: Sequence[str] = ()
) -> int:
    """Run a module with Galaxy's Python, because of BioBlend and the reader of YAML.

    Args:
        module: Its name.
        state: The folder of its Galaxy's files, below the checkout.
        variables: Other folders, see `localgalaxy.paths`.
        arguments: What it is given on its command line.

    Returns:
        The module's exit code.
    """
    more = {"LOCALGALAXY_STATE": state, "PYTHONWARNINGS": "ignore", **variables}
    done = subprocess.run(
        [str(GALAXY_VENV / "bin" / "python"), "-m", module, *arguments],
        cwd=ROOT,
        env=environment(GALAXY_VENV, more),
        check=False,
    )
    return done.returncode
