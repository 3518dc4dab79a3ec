"""Submits scripts to `run_jupyter_job` and fetches what came back, in Galaxy's environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bioblend.galaxy import GalaxyInstance

from localgalaxy import lab
from localgalaxy.lab import Job


class Lab(lab.Lab):
    """A user of Galaxy who runs scripts."""

    def __init__(self, galaxy: GalaxyInstance) -> None:
        super().__init__(galaxy, "Isolation")

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
        answer = self.submit("run_jupyter_job", values)
        return answer, str(answer["jobs"][0]["id"])

    def run(self, script: str, inputs: Mapping[str, str]) -> Job:
        """Run a script and return the job when it has ended and its outputs are there.

        Raises:
            LocalGalaxyError: It did not end in time.
        """
        answer, _ = self.start(script, inputs)
        return self.finish(answer)
