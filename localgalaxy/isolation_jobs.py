"""Submits scripts to `run_jupyter_job` and fetches what came back, in Galaxy's environment."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioblend.galaxy import GalaxyInstance

from localgalaxy.console import LocalGalaxyError

PATIENCE = 300.0  # seconds for one job
DONE = {"ok", "error", "deleted", "failed", "stopped", "paused"}


@dataclass(frozen=True)
class Job:
    """A job that has ended."""

    galaxy: GalaxyInstance
    details: dict[str, Any]

    @property
    def state(self) -> str:
        """Galaxy's word for how it ended."""
        return str(self.details["state"])

    @property
    def stdout(self) -> str:
        """What the tool printed."""
        return str(self.details.get("tool_stdout") or "")

    @property
    def stderr(self) -> str:
        """What the tool complained about."""
        return str(self.details.get("tool_stderr") or "")

    def explain(self) -> str:
        """Return what a developer needs to see why it failed."""
        told = [f"state {self.state}, exit code {self.details.get('exit_code')}"]
        told += [str(message) for message in self.details.get("job_messages") or []]
        told += [self.stdout[-3000:], self.stderr[-3000:]]
        return "\n".join(part for part in told if part)

    def output(self, name: str) -> str:
        """Return the text of an output."""
        dataset = self.details["outputs"].get(name)
        return self._text(dataset["id"]) if dataset else ""

    def elements(self, name: str) -> dict[str, str]:
        """Return the texts of a list collection by their names."""
        collection = self.details["output_collections"].get(name)
        if collection is None:
            return {}
        shown = self.galaxy.dataset_collections.show_dataset_collection(collection["id"])
        return {
            one["element_identifier"]: self._text(one["object"]["id"]) for one in shown["elements"]
        }

    def _text(self, dataset: str) -> str:
        answer = self.galaxy.make_get_request(
            f"{self.galaxy.url}/datasets/{dataset}/display", params={"raw": "true"}
        )
        return str(answer.text) if answer.ok else ""


class Lab:
    """A user of Galaxy with a history."""

    def __init__(self, galaxy: GalaxyInstance) -> None:
        self.galaxy = galaxy
        self._history = galaxy.histories.create_history("Isolation")["id"]

    def upload(self, name: str, text: str) -> str:
        """Upload a text and return the dataset's id."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            found = self.galaxy.tools.upload_file(
                str(path), self._history, file_type="txt", to_posix_lines=False
            )
        dataset = str(found["outputs"][0]["id"])
        self.galaxy.datasets.wait_for_dataset(dataset, maxwait=PATIENCE, interval=0.5)
        return dataset

    def start(self, script: str, inputs: Mapping[str, str]) -> tuple[dict[str, Any], str]:
        """Submit a script with datasets at paths, and return Galaxy's answer and the job's id."""
        values: dict[str, Any] = {
            "source|kind": "script",
            "source|script": {"src": "hda", "id": self.upload("script.py", script)},
        }
        for number, (path, dataset) in enumerate(inputs.items()):
            values[f"datasets_{number}|item|kind"] = "dataset"
            values[f"datasets_{number}|item|dataset"] = {"src": "hda", "id": dataset}
            values[f"datasets_{number}|path"] = path
        answer = self.galaxy.tools.run_tool(self._history, "run_jupyter_job", values)
        return answer, str(answer["jobs"][0]["id"])

    def run(self, script: str, inputs: Mapping[str, str]) -> Job:
        """Run a script and return the job when it has ended and its outputs are there.

        Raises:
            LocalGalaxyError: It did not end in time.
        """
        answer, job = self.start(script, inputs)
        deadline = time.monotonic() + PATIENCE
        while True:
            details = self.galaxy.jobs.show_job(job, full_details=True)
            if details["state"] in DONE:
                break
            if time.monotonic() > deadline:
                self.galaxy.jobs.cancel_job(job)
                raise LocalGalaxyError(f"The job did not end within {PATIENCE:.0f} s.")
            time.sleep(1)
        details["output_collections"] = {
            one["output_name"]: one for one in answer["output_collections"]
        }
        return Job(self.galaxy, details)
