"""Runs one workflow through Galaxy's API, shows how it goes, and fetches its outputs.

Runs in Galaxy's environment, where BioBlend is. Address and key come by the variables
LOCALGALAXY_URL and LOCALGALAXY_KEY.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioblend.galaxy import GalaxyInstance

from localgalaxy.console import LocalGalaxyError, Progress, say, step
from localgalaxy.paths import shown
from localgalaxy.scores import pooled_table
from localgalaxy.workflow_inputs import build_inputs

POLL = 1.0  # seconds
BROKEN = {"error", "failed", "deleted", "deleting", "stopped", "paused"}
LINES = 30  # of a failed job's output
# Galaxy keeps what a job has printed so far; positions count characters.
OUTPUT_LIMIT = 1 << 20


class Watcher:
    """Follows an invocation: tells each change of a job's state and the last line it printed."""

    def __init__(self, galaxy: GalaxyInstance, invocation: str, labels: Mapping[int, str]) -> None:
        self._galaxy = galaxy
        self._invocation = invocation
        self._labels = labels
        self._states: dict[str, str] = {}
        self._progress = Progress()
        self._began = time.monotonic()

    def wait(self) -> dict[str, Any]:
        """Return the invocation when all its jobs are done.

        Raises:
            LocalGalaxyError: A job or the scheduling failed; the message says why.
        """
        while True:
            invocation = self._get(f"invocations/{self._invocation}", step_details=True)
            jobs = self._jobs(invocation)
            for label, job in jobs:
                self._tell(label, job)
            if invocation["state"] in ("failed", "cancelled"):
                reasons = json.dumps(invocation.get("messages"), indent=1)
                raise LocalGalaxyError(f"The workflow could not be scheduled: {reasons}")
            planned = invocation["state"] in ("scheduled", "completed")
            if planned and all(job["state"] in ("ok", "skipped") for _, job in jobs):
                self._progress.end()
                return invocation
            running = [(label, job) for label, job in jobs if job["state"] == "running"]
            lines = [f"{label}: {self._last_line(job['id'])}" for label, job in running]
            if lines:
                self._progress.show(lines)
            time.sleep(POLL)

    def _get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = self._galaxy.make_get_request(f"{self._galaxy.url}/{path}", params=params)
        answer.raise_for_status()
        result: dict[str, Any] = answer.json()
        return result

    def _jobs(self, invocation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        steps = sorted(invocation["steps"], key=lambda one: int(one["order_index"]))
        return [
            (self._labels.get(int(one["order_index"]), "step"), job)
            for one in steps
            for job in one.get("jobs") or []
        ]

    def _tell(self, label: str, job: dict[str, Any]) -> None:
        if self._states.get(job["id"]) == job["state"]:
            return
        self._states[job["id"]] = job["state"]
        self._progress.end()
        say(f"{time.monotonic() - self._began:6.0f} s  {label}: {job['state']}")
        if job["state"] in BROKEN:
            raise LocalGalaxyError(self._explain(label, job["id"]))

    def _explain(self, label: str, job_id: str) -> str:
        job = self._galaxy.jobs.show_job(job_id, full_details=True)
        parts = [f"{label} failed with exit code {job.get('exit_code')}."]
        for name in ("stdout", "stderr"):
            if job.get(name):
                parts.append("\n".join(job[name].rstrip().splitlines()[-LINES:]))
        return "\n".join(parts)

    def _last_line(self, job_id: str) -> str:
        output = self._get(
            f"jobs/{job_id}/console_output",
            stdout_position=0,
            stdout_length=OUTPUT_LIMIT,
            stderr_position=0,
            stderr_length=0,
        )
        # A progress bar rewrites its line with carriage returns.
        lines = (output.get("stdout") or "").replace("\r", "\n").rstrip().splitlines()
        return lines[-1].strip() if lines else "running"


def run(workflow: Path, data: Path, results: Path, parameters: Mapping[str, str]) -> None:
    """Upload the data, run the workflow, and write its outputs into `results`."""
    galaxy = GalaxyInstance(os.environ["LOCALGALAXY_URL"], os.environ["LOCALGALAXY_KEY"])
    definition = json.loads(workflow.read_text(encoding="utf-8"))
    name = definition["name"] = f"Demo of {definition['name']}"
    _forget_earlier(galaxy, name)
    history = galaxy.histories.create_history(name)["id"]
    with step(f"Uploading {data.name} ({data.stat().st_size / 1e6:.0f} MB)"):
        uploaded = galaxy.tools.upload_file(str(data), history, file_type="h5")["outputs"][0]["id"]
        galaxy.datasets.wait_for_dataset(uploaded, maxwait=3600, interval=POLL)
    imported = galaxy.workflows.import_workflow_dict(definition)["id"]
    began = time.monotonic()
    invocation = galaxy.workflows.invoke_workflow(
        imported,
        inputs=build_inputs(definition, uploaded, parameters),
        inputs_by="name",
        history_id=history,
        require_exact_tool_versions=False,
    )
    labels = {
        int(one["id"]): one.get("label") or one["name"] for one in definition["steps"].values()
    }
    try:
        finished = Watcher(galaxy, invocation["id"], labels).wait()
    except BaseException:
        galaxy.invocations.cancel_invocation(invocation["id"])
        raise
    say(f"The workflow took {time.monotonic() - began:.0f} s")
    files = fetch_outputs(galaxy, finished, results)
    _show(files)


def _forget_earlier(galaxy: GalaxyInstance, name: str) -> None:
    """Remove what earlier runs of the same demo left in Galaxy: it takes gigabytes otherwise."""
    for history in galaxy.histories.get_histories(name=name):
        galaxy.histories.delete_history(history["id"], purge=True)
    for known in galaxy.workflows.get_workflows():
        if known["name"].startswith(name):
            galaxy.workflows.delete_workflow(known["id"])


def fetch_outputs(
    galaxy: GalaxyInstance, invocation: dict[str, Any], results: Path
) -> dict[str, Path]:
    """Download every labelled output and return the files and folders by label."""
    if results.exists():
        shutil.rmtree(results)
    results.mkdir(parents=True)
    found: dict[str, Path] = {}
    with step("Fetching the outputs"):
        for label, output in sorted(invocation["outputs"].items()):
            found[label] = _fetch(galaxy, output["id"], results, label)
        for label, output in sorted(invocation["output_collections"].items()):
            folder = results / _file_name(label)
            folder.mkdir()
            elements = galaxy.dataset_collections.show_dataset_collection(output["id"])["elements"]
            for element in elements:
                _fetch(galaxy, element["object"]["id"], folder, element["element_identifier"])
            found[label] = folder
    return found


def _fetch(galaxy: GalaxyInstance, dataset: str, folder: Path, label: str) -> Path:
    extension = galaxy.datasets.show_dataset(dataset)["extension"]
    ending = {"tool_markdown": "md", "tabular": "tsv"}.get(extension, extension)
    path = folder / f"{_file_name(label)}.{ending}"
    if extension == "tool_markdown":
        # A download would be a zipped HTML page that only Galaxy can show.
        text = galaxy.make_get_request(
            f"{galaxy.url}/datasets/{dataset}/display", params={"raw": "true"}
        )
        text.raise_for_status()
        path.write_bytes(text.content)
        return path
    galaxy.datasets.download_dataset(
        dataset, str(path), use_default_filename=False, require_ok_state=True
    )
    return path


def _file_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", label).strip("_.") or "output"


def _show(files: Mapping[str, Path]) -> None:
    for path in files.values():
        table = pooled_table(path) if path.suffix == ".tsv" else ""
        if table:
            say(f"\n{table}")
    say("\nResults:")
    width = max((len(label) for label in files), default=0)
    for label, path in files.items():
        say(f"  {label:<{width}}  {shown(path)}")


def main() -> int:
    """Run the workflow named on the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", default=[], metavar="LABEL=VALUE")
    parser.add_argument("workflow", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("results", type=Path)
    arguments = parser.parse_args()
    parameters = dict(item.split("=", 1) for item in arguments.set)
    try:
        run(arguments.workflow, arguments.data, arguments.results, parameters)
    except LocalGalaxyError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
