"""Publishes a new version of a repository, and runs an old and a new workflow beside each other."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from localgalaxy import api, tooltests
from localgalaxy.console import LocalGalaxyError
from localgalaxy.outcomes import Outcome
from localgalaxy.server import Galaxy

REPOSITORY = "h5_dataset"
TOOL = "h5_dataset_split"
Rewrite = Callable[[Mapping[str, Any]], dict[str, Any]]
SUFFIX = '<token name="@VERSION_SUFFIX@">{}</token>'


def raise_suffix(exported: Path, target: Path) -> Path:
    """Write a copy of a repository with the next version suffix.

    Args:
        exported: The repository as it was published.
        target: The folder below which the copy is written; its path ends as the original's.

    Returns:
        The copy.
    """
    folder = target / exported.parent.name / exported.name
    shutil.copytree(exported, folder)
    macros = folder / "macros.xml"
    text = macros.read_text(encoding="utf-8")
    for number in range(100):
        if SUFFIX.format(number) in text:
            changed = text.replace(SUFFIX.format(number), SUFFIX.format(number + 1))
            macros.write_text(changed, encoding="utf-8")
            return folder
    raise LocalGalaxyError(f"{macros} has no line like {SUFFIX.format(0)}.")


def first_step_alone(definition: Mapping[str, Any], tool: str) -> dict[str, Any]:
    """Return a workflow of the inputs and the one step with this tool.

    Args:
        definition: The workflow, with short ids; nothing before the step may be a tool's output.
        tool: The short id.
    """
    result: dict[str, Any] = copy.deepcopy(dict(definition))
    steps = result["steps"]
    kept = next(key for key, step in steps.items() if step.get("tool_id") == tool)
    sources = [
        str(one["id"])
        for given in steps[kept]["input_connections"].values()
        for one in (given if isinstance(given, list) else [given])
    ]
    result["steps"] = {key: step for key, step in steps.items() if key in {kept, *sources}}
    result["name"] = f"{result['name']}: {tool} alone"
    result.pop("report", None)
    return result


def write_small_workflow(source: Path, folder: Path, rewrite: Rewrite) -> Path:
    """Write the workflow of one step, with tests for what that step makes.

    Args:
        source: A workflow of this repository, whose tests stand beside it in `folder`.
        folder: A released workflow's folder, in which its test data are.
        rewrite: Gives it the Tool Shed's ids.

    Returns:
        The workflow's file.
    """
    import yaml

    small = first_step_alone(json.loads(source.read_text(encoding="utf-8")), TOOL)
    step = next(one for one in small["steps"].values() if one.get("tool_id") == TOOL)
    labels = {one["label"] for one in step["workflow_outputs"]}
    inputs = {one["label"] for one in small["steps"].values() if one["type"] != "tool"}
    tests = yaml.safe_load((folder / f"{source.stem}-tests.yml").read_text(encoding="utf-8"))
    for test in tests:
        test["job"] = {key: value for key, value in test["job"].items() if key in inputs}
        test["outputs"] = {key: one for key, one in test["outputs"].items() if key in labels}
    path = folder / f"{TOOL}_alone.ga"
    path.write_text(json.dumps(rewrite(small), indent=4), encoding="utf-8")
    tests_path = path.with_name(f"{path.stem}-tests.yml")
    tests_path.write_text(yaml.safe_dump(tests, sort_keys=False), encoding="utf-8")
    return path


def run_and_look(galaxy: Galaxy, workflow: Path, version: str, label: str) -> list[Outcome]:
    """Run a workflow's test, look which version of the tool its jobs ran, and show both.

    Args:
        galaxy: The Galaxy, which has both versions.
        workflow: The workflow with tests beside it.
        version: The version that must run.
        label: Names the reports.
    """
    before = {job["id"] for job in _jobs(galaxy)}
    tested = tooltests.run_tests(galaxy, [workflow], label)
    ran = [job["tool_id"].rpartition("/")[2] for job in _jobs(galaxy) if job["id"] not in before]
    looked = Outcome(
        f"{workflow.stem} ran {TOOL} {version}",
        bool(ran) and set(ran) == {version},
        None,
        f"the jobs ran the versions {ran}",
    )
    looked.show()
    return [*tested, looked]


def _jobs(galaxy: Galaxy) -> list[dict[str, Any]]:
    jobs = api.request(galaxy.url, "/api/jobs?state=ok&limit=500", key=galaxy.user_key)
    return [job for job in jobs if f"/{TOOL}/" in job["tool_id"]]
