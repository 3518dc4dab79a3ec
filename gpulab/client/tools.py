"""Finding the tool on a server that may call it by a longer name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
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
    described = _describe(galaxy, name)
    if _has_form(described):
        return str(described["id"])
    tools = galaxy.read("tools", "listing the tools", in_panel="false")
    ids = [str(tool.get("id", "")) for tool in tools if isinstance(tool, dict)]
    same = sorted(tool for tool in ids if short_id(tool) == name)
    for tool in same:
        if _has_form(_describe(galaxy, tool)):
            return tool
    if described or same:
        raise InputError(
            f"{', '.join(same) or name} on {galaxy.base_url} is another tool of this name, with "
            "another form: ask the server's administrator for the one of Galaxy GPU Lab"
        )
    raise InputError(_not_installed(galaxy.base_url, name, ids))


def short_id(tool: str) -> str:
    """Return the tool's own id of a full id of a Tool Shed."""
    match = re.fullmatch(r"[^/]+/repos/[^/]+/[^/]+/([^/]+)/[^/]+", tool)
    return match[1] if match else tool


def _describe(galaxy: Galaxy, tool: str) -> dict[str, Any]:
    """Return what the server says about a tool, nothing where it has none of this name."""
    try:
        path = f"tools/{quote(tool, safe='/')}"
        return dict(galaxy.read(path, f"reading the form of {tool}", io_details="true"))
    except InputError:
        return {}  # a key that is not accepted was told when connecting


def _has_form(described: Mapping[str, Any]) -> bool:
    return {str(field.get("name")) for field in described.get("inputs") or ()} >= FORM


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
