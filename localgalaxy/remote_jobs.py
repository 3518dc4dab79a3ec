"""The jobs of our tools with which the tests of Slurm and of Pulsar try a place of work."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bioblend.galaxy import GalaxyInstance

from localgalaxy import api
from localgalaxy.console import LocalGalaxyError
from localgalaxy.lab import DONE, Job, Lab
from localgalaxy.paths import TEST_DATA, tool_files
from localgalaxy.server import Galaxy

MOST_JOBS = 1000
NETWORK = {"network|base_filters": 4, "network|depth": 3}


class Patient(Lab):
    """A user of Galaxy who trains and predicts with the small test data."""

    def __init__(self, galaxy: Galaxy, name: str) -> None:
        super().__init__(GalaxyInstance(galaxy.url, galaxy.user_key), name)
        self._uploaded: dict[str, str] = {}

    def data(self, name: str) -> dict[str, str]:
        """Return a file of `test-data/` as an input, uploaded once."""
        if name not in self._uploaded:
            kind = name.rpartition(".")[2]
            self._uploaded[name] = self.upload_file(TEST_DATA / name, kind)
        return {"src": "hda", "id": self._uploaded[name]}

    def collection(self, name: str, size: int) -> dict[str, str]:
        """Return a list of copies of a file of `test-data/` as an input."""
        dataset = self.data(name)
        elements = [{"name": f"{number:03}", **dataset} for number in range(size)]
        description = {"collection_type": "list", "name": name, "element_identifiers": elements}
        made = self.galaxy.histories.create_dataset_collection(self.history, description)
        return {"src": "hdca", "id": str(made["id"])}

    def finish_all(self, answers: Sequence[dict[str, Any]], patience: float) -> list[str]:
        """Return the states of all jobs of answers when they have ended, with one look at all.

        Raises:
            LocalGalaxyError: Not all ended in time.
        """
        wanted = [str(job["id"]) for answer in answers for job in answer["jobs"]]
        deadline = time.monotonic() + patience
        while True:
            listed = self.galaxy.jobs.get_jobs(history_id=self.history, limit=MOST_JOBS)
            states = {str(one["id"]): str(one["state"]) for one in listed}
            found = [states.get(job, "unknown") for job in wanted]
            if set(found) <= DONE:
                return found
            if time.monotonic() > deadline:
                for job in wanted:
                    self.galaxy.jobs.cancel_job(job)
                counts = dict(Counter(found))
                raise LocalGalaxyError(f"Not all ended after {patience:.0f} s: {counts}")
            time.sleep(1)

    def train(self, epochs: int) -> dict[str, Any]:
        """Submit the training of a tiny network and return Galaxy's answer."""
        values = {
            "training": self.data("part_train.h5"),
            "validation": self.data("part_valid.h5"),
            "optimiser|epochs": epochs,
            **NETWORK,
        }
        return self.submit("unet_train", values)

    def predict(self, images: dict[str, str]) -> dict[str, Any]:
        """Submit a prediction with a tiny model and return Galaxy's answer.

        Args:
            images: A dataset, or a collection over which the tool is mapped.
        """
        values = {
            "models": self.data("predict/model_bce.onnx"),
            "images|kind": "h5",
            "images|image_file": (
                {"batch": True, "values": [images]} if images["src"] == "hdca" else images
            ),
        }
        return self.submit("unet_predict", values)

    def fold(self, sequence: str) -> dict[str, Any]:
        """Submit the folding of a protein with one stand-in network and return Galaxy's answer."""
        values = {
            "input|kind": "text",
            "input|sequences": f">chain\n{sequence}\n",
            "weights": "stand_in",
            "model|num_models": 1,
            "model|num_recycle": 0,
        }
        return self.submit("colabfold_batch", values)


def job_id(answer: dict[str, Any]) -> str:
    """Return the id of the only job of an answer."""
    (job,) = answer["jobs"]
    return str(job["id"])


def trained(job: Job, epochs: int) -> str:
    """Return what is wrong with a job that should have trained a network."""
    if job.state != "ok":
        return job.explain()
    lines = len(job.output("history").splitlines())
    if lines != epochs + 1:
        return f"the learning history should have {epochs + 1} lines, it has {lines}"
    return ""


def now() -> str:
    """Return the time as Galaxy writes it."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


def our_jobs(galaxy: Galaxy, since: str) -> list[dict[str, Any]]:
    """Return what an administrator sees of each job of our tools, the newest first.

    Args:
        galaxy: The running Galaxy, whose database may know jobs of an earlier run.
        since: The time, as `now` gives it, before which no job counts.
    """
    ours = {path.stem for path in tool_files()}
    listed = api.request(galaxy.url, f"/api/jobs?limit={MOST_JOBS}", key=galaxy.user_key)
    return [
        api.request(galaxy.url, f"/api/jobs/{one['id']}?full=true", key=galaxy.admin_key)
        for one in listed
        if one["tool_id"] in ours and one["create_time"] >= since
    ]


def metrics(galaxy: Galaxy, job: str) -> dict[str, str]:
    """Return what Galaxy measured of a job, by the metrics' names."""
    found = api.request(galaxy.url, f"/api/jobs/{job}/metrics", key=galaxy.admin_key)
    return {one["name"]: str(one["raw_value"]) for one in found}


def tool_process(script: str, variables: Mapping[str, str]) -> int:
    """Return the process id of the Python that runs a tool's script.

    Args:
        script: A part of its command line.
        variables: Some of its environment, which tell this job's process from others'.

    Raises:
        LocalGalaxyError: There is no such process within a minute.
    """
    wanted = {f"{name}={value}" for name, value in variables.items()}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_text().split("\0")
                seen = set((folder / "environ").read_text(errors="replace").split("\0"))
            except OSError:
                continue
            is_python = Path(command[0]).name.startswith("python")
            if is_python and any(script in word for word in command) and wanted <= seen:
                return int(folder.name)
        time.sleep(0.2)
    raise LocalGalaxyError(f"No process runs {script} with {dict(variables)}.")
