"""Installs repositories from a Tool Shed as an administrator does: by ephemeris with a list."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localgalaxy import api
from localgalaxy.environments import environment
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import CONFIG, GALAXY_VENV, REPORTS, ROOT, private_home
from localgalaxy.server import Galaxy
from localgalaxy.toolshed.galaxy import TABLES, installed_folder
from localgalaxy.toolshed.server import ToolShed

DEPLOYED = ROOT / "deploy" / "tool_list.yml"


def deployed_list(url: str) -> dict[str, Any]:
    """Return the list that an administrator copies, with another Tool Shed in it.

    Args:
        url: Address of the Tool Shed.
    """
    # Not at the top: only Galaxy's environment has this library.
    import yaml

    content: dict[str, Any] = yaml.safe_load(DEPLOYED.read_text(encoding="utf-8"))
    for tool in content["tools"]:
        tool["tool_shed_url"] = url
    return content


def tool_list(owner: str, name: str, url: str) -> dict[str, Any]:
    """Return a list of one repository, for ephemeris; what a suite depends on comes with it.

    Args:
        owner: The account that published it.
        name: The repository.
        url: Address of the Tool Shed.
    """
    return {
        "install_tool_dependencies": False,
        "install_resolver_dependencies": False,
        "install_repository_dependencies": True,
        "tools": [{"name": name, "owner": owner, "tool_shed_url": url}],
    }


def install(
    galaxy: Galaxy, shed: ToolShed, content: dict[str, Any], label: str
) -> Iterator[Outcome]:
    """Install the newest revisions, and ask Galaxy which of them it has.

    Args:
        galaxy: The Galaxy, which knows the Tool Shed.
        shed: The Tool Shed.
        content: The list for ephemeris.
        label: Names the files with the list and with what ephemeris says.
    """
    wanted = [tool["name"] for tool in content["tools"]]
    REPORTS.mkdir(exist_ok=True)
    listed = REPORTS / f"{label}.yml"
    listed.write_text(json.dumps(content, indent=1), encoding="utf-8")
    began = time.monotonic()
    said = _ephemeris(galaxy, listed)
    took = time.monotonic() - began
    installed = installed_revisions(galaxy)
    for name in wanted:
        newest = newest_revision(shed, name)
        # ephemeris ends with 0 whatever happened.
        good = installed.get((name, newest), {}).get("status") == "Installed"
        known = [revision for one, revision in installed if one == name]
        detail = f"revision {newest} is wanted, Galaxy has {known}\n{said}"
        yield Outcome(f"install {name} {newest}", good, took / len(wanted), detail)


def _ephemeris(galaxy: Galaxy, listed: Path) -> str:
    # The key goes by a variable: everybody on this machine can see a command line.
    variables = {"EPHEMERIS_API_KEY": galaxy.user_key, "HOME": str(private_home())}
    log = str(listed.with_suffix(".log"))
    done = subprocess.run(
        [
            str(GALAXY_VENV / "bin" / "shed-tools"),
            *("install", "-g", galaxy.url, "-t", str(listed), "--log-file", log),
        ],
        env=environment(GALAXY_VENV, variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def installed_revisions(galaxy: Galaxy) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what Galaxy knows of each revision of each repository.

    A repository whose tools kept their versions, like the suite, is brought to a newer revision in
    place: its `changeset_revision` is new, its `installed_changeset_revision` names the folder.
    """
    found = api.request(galaxy.url, "/api/tool_shed_repositories", key=galaxy.user_key)
    return {(one["name"], one["changeset_revision"]): one for one in found}


def folder_of(galaxy: Galaxy, shed: ToolShed, name: str, revision: str) -> Path | None:
    """Return the folder into which Galaxy cloned a repository, None when there is none."""
    known = installed_revisions(galaxy).get((name, revision))
    if known is None:
        return None
    folder = installed_folder(shed, name, known["installed_changeset_revision"])
    return folder if folder.is_dir() else None


def newest_revision(shed: ToolShed, name: str) -> str:
    """Return the newest revision of a repository that can be installed."""
    path = "/api/repositories/get_ordered_installable_revisions"
    revisions = api.request(shed.url, f"{path}?owner={shed.owner}&name={name}")
    return str(revisions[-1]) if revisions else "none"


def fill_tables(galaxy: Galaxy) -> Iterator[Outcome]:
    """Put the rows that the tests want into the tables that came with the tools.

    An administrator would edit the same files.
    """
    # Not at the top: only Galaxy's environment has this library, with which Galaxy reads them.
    from galaxy.util import parse_xml

    files = {
        table.get("name"): Path(table.find("file").get("path"))
        for table in parse_xml(str(TABLES)).getroot().iter("table")
    }
    for source in sorted((CONFIG / "tool-data").glob("*.loc")):
        name = source.stem
        if name not in files:
            yield Outcome(f"table {name}", False, None, f"no such table, only {sorted(files)}")
            continue
        rows = source.read_text(encoding="utf-8")
        files[name].write_text(rows, encoding="utf-8")
        path = f"/api/tool_data/{name}"
        api.request(galaxy.url, f"{path}/reload", key=galaxy.admin_key)
        fields = api.request(galaxy.url, path, key=galaxy.admin_key)["fields"]
        wanted = [row.split("\t") for row in rows.splitlines()]
        yield Outcome(f"table {name}", fields == wanted, None, f"Galaxy has the rows {fields}")
