"""Finding the tool on a server that may call it by a longer name."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from gpulab.errors import InputError

if TYPE_CHECKING:
    from gpulab.client.galaxy import Galaxy

SHOWN = 8  # ids in a message
RELATED = ("jupyter", "notebook", "papermill")
FORM = {"source", "datasets", "parameters"}  # inputs by which the tool's form is known


def find_tool(galaxy: Galaxy, name: str) -> str:
    """Return the id by which the server runs a tool.

    Args:
        galaxy: The connection.
        name: A full id (`toolshed…/repos/owner/repository/tool/version`) or the tool's own id.

    Raises:
        InputError: It is not installed (the message names the installed ids that look like it), or
            a tool of that name has another form, as the original's had.
    """
    tools = galaxy.read("tools", "listing the tools", in_panel="false")
    ids = [str(tool.get("id", "")) for tool in tools if isinstance(tool, dict)]
    # The list has the newest version of a tool alone; an older one runs all the same.
    same = [name] if name in ids else sorted(t for t in ids if short_id(t) == name)
    if not same and "/" in name:
        without_version = name.rpartition("/")[0]
        same = [name] if any(t.startswith(f"{without_version}/") for t in ids) else []
    if not same:
        raise InputError(_not_installed(galaxy.base_url, name, ids))
    for tool in same:
        if _has_form(galaxy, tool):
            return tool
    raise InputError(
        f"{', '.join(same)} on {galaxy.base_url} is another tool of this name, with another form: "
        "ask the server's administrator for the one of Galaxy GPU Lab"
    )


def short_id(tool: str) -> str:
    """Return the tool's own id of a full id of a Tool Shed."""
    match = re.fullmatch(r"[^/]+/repos/[^/]+/[^/]+/([^/]+)/[^/]+", tool)
    return match[1] if match else tool


def _has_form(galaxy: Galaxy, tool: str) -> bool:
    path = f"tools/{quote(tool, safe='/')}"
    described = galaxy.read(path, f"reading the form of {tool}", io_details="true")
    return {str(field.get("name")) for field in described.get("inputs", [])} >= FORM


def _not_installed(server: str, wanted: str, ids: list[str]) -> str:
    by_short = {short_id(tool): tool for tool in ids}
    close = difflib.get_close_matches(short_id(wanted), by_short, n=SHOWN, cutoff=0.6)
    related = [short for short in by_short if any(word in short.lower() for word in RELATED)]
    alike = [by_short[short] for short in dict.fromkeys([*close, *related])][:SHOWN]
    advice = (
        f"installed are {', '.join(alike)}"
        if alike
        else "nothing that looks like it is installed, ask the server's administrator"
    )
    return f"The tool {wanted!r} is not installed on {server}: {advice}"
