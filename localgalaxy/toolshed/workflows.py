"""Writes the workflows as they are released: with the Tool Shed's ids in place of local ones.

In this repository the workflows name tools by their short ids, so that they can be tested before
anything is published. What IWC and other servers need is the long id with the version, and the
revision of the repository that has it; both are asked of the Tool Shed, never put together here.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localgalaxy import api, planemo
from localgalaxy.console import LocalGalaxyError
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import (
    GALAXY_VENV,
    TEST_DATA,
    data_manager_files,
    shown,
    tool_files,
    workflow_files,
)

OUR_TEST_DATA = re.compile(r"(?:\.\./)+test-data/([\w./-]+)")


@dataclass(frozen=True)
class PublishedTool:
    """One version of a tool in a Tool Shed."""

    short_id: str
    version: str
    guid: str
    owner: str
    repository: str
    revision: str

    def reference(self) -> dict[str, str]:
        """Return what a workflow's step says about the repository."""
        return {
            "changeset_revision": self.revision,
            "name": self.repository,
            "owner": self.owner,
            "tool_shed": self.guid.partition("/repos/")[0],
        }


def published_tools(url: str, owner: str, names: Iterable[str]) -> Iterator[PublishedTool]:
    """Yield every version of every tool that repositories of a Tool Shed hold.

    Args:
        url: Address of the Tool Shed.
        owner: The account that published them.
        names: The repositories.

    Raises:
        LocalGalaxyError: The Tool Shed does not answer, or lacks a repository.
    """
    for name in names:
        try:
            found = api.request(url, f"/api/repositories?owner={owner}&name={name}")
            if not found:
                raise LocalGalaxyError(f"{url} has no repository {owner}/{name}: publish it first.")
            metadata = api.request(url, f"/api/repositories/{found[0]['id']}/metadata")
        except OSError as error:
            raise LocalGalaxyError(f"The Tool Shed {url} does not answer: {error}") from error
        for revision in (metadata or {}).values():
            for tool in revision.get("tools") or []:
                yield PublishedTool(
                    tool["id"],
                    tool["version"],
                    tool["guid"],
                    owner,
                    name,
                    revision["changeset_revision"],
                )


def rewrite(
    definition: Mapping[str, Any], tools: Mapping[tuple[str, str], PublishedTool], ours: set[str]
) -> dict[str, Any]:
    """Return a workflow whose steps name tools as a Tool Shed does.

    Args:
        definition: The workflow, with short ids.
        tools: What is published, by short id and version.
        ours: The short ids that must be published; others belong to Galaxy itself.

    Raises:
        LocalGalaxyError: A tool of a step is not published in the version that the step wants.
    """
    result: dict[str, Any] = copy.deepcopy(dict(definition))
    for step in result["steps"].values():
        short = step.get("tool_id")
        if short not in ours:
            continue
        tool = tools.get((short, step["tool_version"]))
        if tool is None:
            known = ", ".join(sorted(version for name, version in tools if name == short)) or "none"
            raise LocalGalaxyError(
                f"{definition['name']} wants {short} {step['tool_version']},"
                f" the Tool Shed has: {known}."
            )
        step["tool_id"] = step["content_id"] = tool.guid
        step["tool_shed_repository"] = tool.reference()
    return result


def with_version(definition: Mapping[str, Any], short: str, version: str) -> dict[str, Any]:
    """Return a workflow whose steps want another version of one tool."""
    result: dict[str, Any] = copy.deepcopy(dict(definition))
    for step in result["steps"].values():
        if step.get("tool_id") == short:
            step["tool_version"] = version
    return result


def release(target: Path, tools: Iterable[PublishedTool], ours: set[str]) -> list[Path]:
    """Write every workflow in a folder that needs nothing else of this repository.

    Args:
        target: The folder to fill; each workflow's own folder is made anew.
        tools: What is published.
        ours: See `rewrite`.

    Returns:
        The files of the workflows.
    """
    by_version = {(tool.short_id, tool.version): tool for tool in tools}
    written: list[Path] = []
    for path in workflow_files():
        folder = target / path.parent.name
        if not any(one.parent == folder for one in written):
            _copy_folder(path.parent, folder)
        definition = json.loads(path.read_text(encoding="utf-8"))
        text = json.dumps(rewrite(definition, by_version, ours), indent=4, ensure_ascii=False)
        (folder / path.name).write_text(f"{text}\n", encoding="utf-8")
        written.append(folder / path.name)
    return written


def lint(files: Iterable[Path], url: str) -> Iterator[Outcome]:
    """Run `planemo workflow_lint` with the rules of IWC, and let it ask this Tool Shed for the ids.

    Args:
        files: Released workflows.
        url: Address of the Tool Shed in place of the public one, which planemo would ask.
    """
    # The address is a constant of planemo; everything else is what a person would type.
    code = f"import planemo.workflow_lint as w; w.MAIN_TOOLSHED_URL = {url!r}"
    code += "; from planemo.cli import planemo; planemo()"
    for folder in sorted({path.parent for path in files}):
        program = [
            *(str(GALAXY_VENV / "bin" / "python"), "-c", code, "workflow_lint"),
            *("--iwc", "--report_level", "warn", "--fail_level", "warn", str(folder)),
        ]
        name = f"workflow_lint {folder.name} with the Tool Shed's ids"
        yield planemo.outcome_of(name, program)


def _copy_folder(source: Path, folder: Path) -> None:
    """Copy a workflow's folder, and beside its tests the files that they name."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    for tests in folder.glob("*-tests.yml"):
        text = tests.read_text(encoding="utf-8")
        for name in OUR_TEST_DATA.findall(text):
            if not (TEST_DATA / name).is_file():
                raise LocalGalaxyError(f"{shown(source / tests.name)} names {name}, not there.")
            (folder / "test-data" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(TEST_DATA / name, folder / "test-data" / name)
        tests.write_text(OUR_TEST_DATA.sub(r"test-data/\1", text), encoding="utf-8")


def main() -> int:
    """Write what the command line asks for, print the files, and return the exit code."""
    from planemo.shed import SHED_SHORT_NAMES

    from localgalaxy.toolshed.repositories import read_repositories

    target, address = Path(sys.argv[1]), sys.argv[2]
    repositories = read_repositories()
    owner = next(iter(repositories.values()))["owner"]
    url = SHED_SHORT_NAMES.get(address, address)
    ours = {path.stem for path in [*tool_files(), *data_manager_files()]}
    try:
        for path in release(target, published_tools(url, owner, repositories), ours):
            print(path)
    except LocalGalaxyError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
