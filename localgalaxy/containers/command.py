"""`make test-containers`: tests every tool and the package inside the images that are shipped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from localgalaxy.console import LocalGalaxyError
from localgalaxy.containers.images import ENVIRONMENTS, REGISTRY, Image
from localgalaxy.containers.package_tests import PYTEST
from localgalaxy.containers.ready import alone, ensure_ready
from localgalaxy.own_galaxy import run_beside
from localgalaxy.paths import ROOT, data_manager_files, tool_files

STATE = ".galaxy/containers"


def run_containers(names: Sequence[str]) -> int:
    """Build the images and run what is named in them.

    Args:
        names: Ids of tools, `pytest-ENVIRONMENT` for the package's tests, and environments for all
            that runs in their image; none is everything.

    Returns:
        The exit code: 0 also where containers cannot be run, which is said.
    """
    places = {path.stem: environment_of(path) for path in [*tool_files(), *data_manager_files()]}
    places |= {PYTEST + environment: environment for environment in ENVIRONMENTS}
    if unknown := sorted({*names} - {*places} - {*ENVIRONMENTS}):
        raise LocalGalaxyError(
            f"Nothing is called {', '.join(unknown)}: TOOLS is one or more of"
            f" {', '.join([*places, *ENVIRONMENTS])}."
        )
    chosen = [name for name, place in places.items() if not names or {name, place} & {*names}]
    wanted = {places[name] for name in chosen}
    if not ensure_ready([Image(one) for one in ENVIRONMENTS if one in wanted]):
        return 0
    with alone():
        return run_beside("localgalaxy.containers.run", STATE, chosen)


def environment_of(tool: Path) -> str:
    """Return the environment of the image that a tool's XML names, itself or by the macro."""
    text = tool.read_text(encoding="utf-8")
    macros = (ROOT / "macros" / "macros.xml").read_text(encoding="utf-8")
    for source in (text, macros):
        if found := re.search(rf"{REGISTRY}/([a-z]+):@TOOL_VERSION@", source):
            return found.group(1)
    raise LocalGalaxyError(f"{tool.name} names none of our images.")
