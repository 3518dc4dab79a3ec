"""A user of Galaxy with a history: uploads, submits jobs, waits, and reads what came back.

Runs in Galaxy's environment, where BioBlend is.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioblend.galaxy import GalaxyInstance

from localgalaxy.console import LocalGalaxyError

PATIENCE = 300.0  # seconds for one job
POLL = 0.5  # seconds
DONE = frozenset({"ok", "error", "deleted", "failed", "stopped", "paused"})


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

    @property
    def messages(self) -> str:
        """What a user reads about the failure: Galaxy's messages, and what the place of work said.

        A job that failed before or after its tool ran has them at its outputs alone.
        """
        told = [str(one.get("desc", one)) for one in self.details.get("job_messages") or []]
        told.append(str(self.details.get("job_stderr") or ""))
        for output in self.details["outputs"].values():
            told.append(str(self.galaxy.datasets.show_dataset(output["id"]).get("misc_info") or ""))
        return "\n".join(dict.fromkeys(text.strip() for text in told if text.strip()))

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
    """A user of Galaxy with a history.

    Args:
        galaxy: Galaxy's client with the user's key.
        name: Of the history.
    """

    def __init__(self, galaxy: GalaxyInstance, name: str) -> None:
        self.galaxy = galaxy
        self.history = str(galaxy.histories.create_history(name)["id"])

    def upload(self, name: str, text: str) -> str:
        """Upload a text and return the dataset's id."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            return self.upload_file(path, "txt")

    def upload_file(self, path: Path, kind: str) -> str:
        """Upload a file of a Galaxy datatype as it is, and return the dataset's id."""
        found = self.galaxy.tools.upload_file(
            str(path), self.history, file_type=kind, to_posix_lines=False
        )
        dataset = str(found["outputs"][0]["id"])
        self.galaxy.datasets.wait_for_dataset(dataset, maxwait=PATIENCE, interval=POLL)
        return dataset

    def submit(self, tool: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Run a tool and return Galaxy's answer, which names the job and its outputs."""
        answer: dict[str, Any] = self.galaxy.tools.run_tool(self.history, tool, dict(values))
        return answer

    def wait(
        self,
        job: str,
        states: Collection[str] = DONE,
        *,
        patience: float = PATIENCE,
    ) -> dict[str, Any]:
        """Wait until a job is in one of the states, and return what Galaxy says about it.

        Args:
            job: Its id.
            states: Galaxy's words.
            patience: In seconds.

        Raises:
            LocalGalaxyError: It ended in another state, or did not get there in time.
        """
        deadline = time.monotonic() + patience
        while True:
            details: dict[str, Any] = self.galaxy.jobs.show_job(job, full_details=True)
            if details["state"] in states:
                return details
            if details["state"] in DONE - set(states):
                raise LocalGalaxyError(f"The job ended: {Job(self.galaxy, details).explain()}")
            if time.monotonic() > deadline:
                self.galaxy.jobs.cancel_job(job)
                wanted = " or ".join(sorted(states))
                raise LocalGalaxyError(
                    f"The job was not {wanted} after {patience:.0f} s: it is {details['state']}."
                )
            time.sleep(POLL)

    def finish(self, answer: Mapping[str, Any], patience: float = PATIENCE) -> Job:
        """Return the job of an answer to `submit` when it has ended.

        Raises:
            LocalGalaxyError: It did not end in time.
        """
        details = self.wait(str(answer["jobs"][0]["id"]), patience=patience)
        details["output_collections"] = {
            one["output_name"]: one for one in answer["output_collections"]
        }
        return Job(self.galaxy, details)

    def run_again(self, job: str) -> dict[str, Any]:
        """Press “Run job again” of a job and return the answer, as `submit` does."""
        url = f"{self.galaxy.url}/jobs/{job}/build_for_rerun"
        form = self.galaxy.make_get_request(url)
        form.raise_for_status()
        again = form.json()
        body = {
            "history_id": self.history,
            "tool_id": again["id"],
            "tool_version": again["version"],
            # Sections and conditionals are nested in it, which the older form would pass over.
            "input_format": "21.01",
            "inputs": {**again["state_inputs"], "rerun_remap_job_id": job},
        }
        answer: dict[str, Any] = self.galaxy.make_post_request(
            f"{self.galaxy.url}/tools", payload=body
        )
        return answer
