"""`make demo`: prepares the data, and lets the workflow run in a real Galaxy."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from localgalaxy import environments, server
from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.download import HDF5_SIGNATURE, ZENODO_NAME
from localgalaxy.environments import environment
from localgalaxy.paths import (
    DOWNLOADS,
    GALAXY_VENV,
    ROOT,
    TEST_DATA,
    UNET_VENV,
    WORKFLOWS,
    private_home,
    shown,
)
from localgalaxy.workflow_inputs import build_inputs

DEFAULT_DATA = TEST_DATA / "combined.h5"
DEFAULT_WORKFLOW = WORKFLOWS / "ct_segmentation" / "ct_segmentation.ga"
RESULTS = ROOT / "demo-results"


def run_demo(data: str, workflow: Path, results: Path, parameters: Mapping[str, str]) -> int:
    """Run the workflow on the data and write the labelled outputs into `results`.

    Args:
        data: Path of an HDF5 file, `zenodo` for the tutorial's file, empty for the small one.
        workflow: The `.ga` file.
        results: Folder for the outputs.
        parameters: Workflow parameters by their label; the others keep the workflow's defaults.
    """
    if not workflow.is_file():
        raise LocalGalaxyError(f"The workflow {shown(workflow)} does not exist.")
    parameters = {name: value for name, value in parameters.items() if value}
    # Before anything slow: a wrong parameter would otherwise be noticed minutes later.
    build_inputs(json.loads(workflow.read_text(encoding="utf-8")), "", parameters)
    environments.ensure_galaxy()
    environments.ensure_tools()
    path = find_data(data)
    say(f"Workflow {workflow.stem} on {shown(path)}")
    with server.running_galaxy() as galaxy:
        given = [f"--set={name}={value}" for name, value in parameters.items()]
        done = subprocess.run(
            [
                str(GALAXY_VENV / "bin" / "python"),
                "-m",
                "localgalaxy.workflow_run",
                *given,
                str(workflow),
                str(path),
                str(results),
            ],
            cwd=ROOT,
            # The address and key go by environment: a command line is seen by everybody.
            env=environment(
                GALAXY_VENV,
                {
                    "LOCALGALAXY_URL": galaxy.url,
                    "LOCALGALAXY_KEY": galaxy.user_key,
                    "HOME": str(private_home()),
                    "PYTHONWARNINGS": "ignore",
                },
            ),
            check=False,
        )
    return done.returncode


def find_data(data: str) -> Path:
    """Return the path of the HDF5 file that `data` names, downloaded if need be."""
    if data == "zenodo":
        done = subprocess.run(
            [str(UNET_VENV / "bin" / "python"), "-m", "localgalaxy.download", str(DOWNLOADS)],
            cwd=ROOT,
            env=environment(UNET_VENV),
            check=False,
        )
        if done.returncode:
            raise LocalGalaxyError("There is no demo without data.")
        return DOWNLOADS / ZENODO_NAME
    path = Path(data).expanduser().resolve() if data else DEFAULT_DATA
    if not path.is_file():
        raise LocalGalaxyError(
            f"DATA={data} is no file; give the path of an HDF5 file or `zenodo`."
        )
    with path.open("rb") as file:
        if file.read(len(HDF5_SIGNATURE)) != HDF5_SIGNATURE:
            raise LocalGalaxyError(f"{shown(path)} is not an HDF5 file.")
    return path
