"""Where things lie. Everything that is made at run time is below `.venvs/` and `.galaxy/`."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "locks"
PACKAGE = ROOT / "gpulab"
# A test that needs the tools as they are published, or a Galaxy of its own, names other folders.
TOOLS = ROOT / os.environ.get("LOCALGALAXY_TOOLS", "tools")
DATA_MANAGERS = ROOT / os.environ.get("LOCALGALAXY_DATA_MANAGERS", "data_managers")
WORKFLOWS = ROOT / "workflows"
TEST_DATA = ROOT / "test-data"
GALAXY_TESTS = ROOT / "tests" / "galaxy"

VENVS = ROOT / ".venvs"
GALAXY_VENV = VENVS / "galaxy"
UNET_VENV = VENVS / "unet"
NOTEBOOK_VENV = VENVS / "notebook"
FOLD_VENV = VENVS / "fold"
PULSAR_VENV = VENVS / "pulsar"
DEPLOY_VENV = VENVS / "deploy"
TOOLSHED_VENV = VENVS / "toolshed"

BUILD = ROOT / "build"

STATE = ROOT / os.environ.get("LOCALGALAXY_STATE", ".galaxy")
CONFIG = STATE / "config"
LOG = STATE / "galaxy.log"
RUNNING = STATE / "running.json"
SECRETS = STATE / "secrets.json"
LOGIN = STATE / "login.txt"
REPORTS = STATE / "reports"
KEEPER = ROOT / "localgalaxy" / "keeper.py"
DOWNLOADS = STATE / "downloads"
# One for all states: it takes a minute to make and is never changed.
FOLD = ROOT / ".galaxy" / "fold"


def private_home() -> Path:
    """Return a home folder for Galaxy and planemo, so that they leave the user's alone."""
    home = STATE / "home"
    home.mkdir(parents=True, exist_ok=True)
    return home


def tool_files() -> list[Path]:
    """Return the XML file of every tool of this repository, macros left out."""
    return [
        path
        for path in sorted(TOOLS.glob("*/*.xml"))
        if "<tool " in path.read_text(encoding="utf-8")
    ]


def data_manager_files() -> list[Path]:
    """Return the XML file of every data manager's tool."""
    return sorted(DATA_MANAGERS.glob("*/data_manager/data_manager_*.xml"))


def workflow_files() -> list[Path]:
    """Return every workflow that has tests beside it."""
    found = [*WORKFLOWS.glob("*/*.ga"), *WORKFLOWS.glob("*/*.gxwf.yml")]
    return sorted(path for path in found if workflow_tests(path) is not None)


def workflow_tests(workflow: Path) -> Path | None:
    """Return the file of tests that belongs to a workflow, None when there is none."""
    stem = workflow.name.removesuffix(".ga").removesuffix(".yml")
    for ending in ("-tests.yml", "-test.yml"):
        path = workflow.with_name(stem + ending)
        if path.is_file():
            return path
    return None


def shown(path: Path) -> str:
    """Return a path as a person in the current folder would type it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
