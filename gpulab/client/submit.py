"""Hands a notebook and its data over to a Galaxy server."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpulab.client.check import DataPaths, check_data, check_script
from gpulab.client.form import (
    Failure,
    Settings,
    data_fields,
    parameter_fields,
    script_fields,
)
from gpulab.client.job import RemoteJob
from gpulab.client.network import again, once
from gpulab.client.server import find_server
from gpulab.client.tools import find_tool
from gpulab.errors import InputError

if TYPE_CHECKING:
    from gpulab.client.galaxy import Galaxy

MAX_HISTORY_NAME = 200  # characters


def run_script_job(
    script_path: str | Path,
    data_dict: DataPaths | None = None,
    server: str | None = None,
    key: str | None = None,
    new_history_name: str = "ml_analysis",
    tool_name: str = "run_jupyter_job",
    *,
    parameters: Mapping[str, Any] | None = None,
    paths: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
    cell_minutes: float = 0,
    total_minutes: float = 0,
    failure: Failure = "fail",
    variables: str = "all",
    hide_code: bool = False,
    max_files: int | None = None,
    max_gigabytes: float | None = None,
    history_id: str | None = None,
    progress: bool = True,
) -> RemoteJob:
    """Send a notebook with its data to a Galaxy server and start it there.

    Returns when everything is sent and the job is known to the server. From then on this computer
    is not needed: `RemoteJob.from_id` finds the job again.

    Args:
        script_path: Notebook (`.ipynb`) or Python script.
        data_dict: Paths of files, each of which lies in the job at the same relative path; or a
            dictionary of path in the notebook → local file.
        server: Address of the server; by default from GALAXY_SERVER or GALAXY_URL, or from
            BioBlend's configuration file.
        key: API key; by default from GALAXY_API_KEY or API_KEY, or from that file.
        new_history_name: Name of the new history.
        tool_name: Full id of the tool, or its own id.
        parameters: Values for the notebook's cell with the tag `parameters`.
        paths: For files of a list: file → another path in the notebook.
        aliases: Path in the notebook → what else the notebook calls it, a URL or an absolute path,
            to find it in `GALAXY_INPUTS`.
        cell_minutes: Limit for each cell in minutes, 0 for none.
        total_minutes: Limit for the whole notebook in minutes, 0 for none.
        failure: "fail": a failing cell fails the job. "finish": it stands in the report.
        variables: Which variables are saved: "all", "none", or names with wildcards.
        hide_code: Leave the code out of the page.
        max_files: How many files the notebook may leave behind.
        max_gigabytes: How large they may be in all.
        history_id: An existing history to use instead of a new one.
        progress: Show the uploads on standard error.

    Returns:
        The job.

    Raises:
        InputError: Something given cannot be used; nothing was started.
        ServerError: The network or the server failed for too long.
    """
    settings = Settings(
        cell_minutes=cell_minutes,
        total_minutes=total_minutes,
        failure=failure,
        variables=variables,
        hide_code=hide_code,
        max_files=max_files,
        max_gigabytes=max_gigabytes,
    )
    settings.check()
    fields = settings.fields() | parameter_fields(parameters or {})
    place = find_server(server, key)
    script = check_script(script_path, parameters or {}, place.key)
    data = check_data(data_dict, paths, script.path.parent)
    data_fields([(path, "") for path in data], aliases or {})
    if place.warning:
        warnings.warn(place.warning, stacklevel=2)

    from gpulab.client.galaxy import connect
    from gpulab.client.upload import Uploader

    galaxy, user = connect(place)
    tool = find_tool(galaxy, tool_name)
    history = history_id or make_history(galaxy, new_history_name)
    uploader = Uploader(galaxy, user, history, show=progress)
    sent = [(path, uploader.bring(file)) for path, file in data.items()]
    notebook = uploader.bring(script.path, script.datatype, fresh=True)
    fields |= script_fields(script.kind, notebook) | data_fields(sent, aliases or {})
    return RemoteJob(galaxy, start_job(galaxy, history, tool, fields, notebook))


def make_history(galaxy: Galaxy, name: str) -> str:
    """Make a history and return its id; one alone, also where the answer gets lost.

    Raises:
        InputError: The name is none.
    """
    name = " ".join(name.split())
    if not name or len(name) > MAX_HISTORY_NAME:
        raise InputError(f"The name of the history has 1 to {MAX_HISTORY_NAME} characters")
    # Names need not be unique, so that the new one is told from others by a mark until it is there.
    marked = f"{name} ({uuid.uuid4().hex})"

    def find() -> dict[str, Any] | None:
        found = galaxy.read("histories", "looking for the history", q="name", qv=marked)
        return dict(found[0]) if found else None

    made = once(lambda: galaxy.histories.create_history(marked), find, "making a history")
    again(lambda: galaxy.histories.update_history(made["id"], name=name), "naming the history")
    return str(made["id"])


def start_job(
    galaxy: Galaxy, history: str, tool: str, fields: Mapping[str, Any], notebook: str
) -> str:
    """Start the job and return its id; one alone, also where the answer gets lost.

    Args:
        galaxy: The connection.
        history: Id of the history.
        tool: Full id of the tool.
        fields: The filled-in form.
        notebook: Id of the notebook's dataset: no other job has it as its input.
    """

    def find() -> dict[str, Any] | None:
        for job in galaxy.read(
            "jobs", "looking for the job", history_id=history, tool_id=tool, limit=50
        ):
            details = galaxy.read(f"jobs/{job['id']}", "looking for the job", full="true")
            inputs = (details.get("inputs") or {}).values()
            if any(reference.get("id") == notebook for reference in inputs):
                return {"jobs": [job]}
        return None

    answer = once(
        lambda: galaxy.tools.run_tool(history, tool, dict(fields)), find, "starting the job"
    )
    jobs = answer.get("jobs") or []
    if not jobs:
        raise InputError(f"The server started no job: {str(answer.get('errors') or answer)[:300]}")
    return str(jobs[0]["id"])
