"""Publishes every repository to a Tool Shed on loopback and uses them from there.

Runs in Galaxy's environment, started by `localgalaxy.toolshed.command`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from localgalaxy import lint, managertests, server, tooltests
from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.outcomes import Outcome, conclude, shown_one_by_one
from localgalaxy.paths import STATE, WORKFLOWS
from localgalaxy.toolshed import checks, install, tool_tests, upgrade, workflows
from localgalaxy.toolshed.galaxy import configure
from localgalaxy.toolshed.repositories import read_repositories
from localgalaxy.toolshed.server import ToolShed, running_tool_shed
from localgalaxy.toolshed.workflows import PublishedTool

SHED = STATE / "shed"
PUBLISHED = STATE / "published"
CHANGED = STATE / "changed"
RELEASED = STATE / "workflows"
# The others take longer; ALL=1 runs them.
CHOSEN_WORKFLOWS = ("ct_segmentation",)
MAIN_WORKFLOW = WORKFLOWS / "ct_segmentation" / "ct_segmentation.ga"


class Trial:
    """The Tool Shed, the Galaxy, and what is known of the repositories."""

    def __init__(self, tool_shed: ToolShed, galaxy: server.Galaxy, folders: list[Path]) -> None:
        self.shed = tool_shed
        self.galaxy = galaxy
        self.folders = folders

    def names(self) -> list[str]:
        """Return the names of the repositories, the suite last."""
        return list(read_repositories())

    def tools(self) -> list[PublishedTool]:
        """Return every version of every tool that is published now."""
        return list(workflows.published_tools(self.shed.url, self.shed.owner, self.names()))

    def install(self) -> Iterator[Outcome]:
        """Install everything, and look at what came."""
        known = [tool.short_id for tool in self.tools()]
        yield from checks.check_published(self.folders, known)
        deployed = install.deployed_list(self.shed.url)
        yield from install.install(self.galaxy, self.shed, deployed, "install")
        yield from self._install_suite()
        for folder in self.folders:
            name = shed_name(folder)
            revision = install.newest_revision(self.shed, name)
            where = install.folder_of(self.galaxy, self.shed, name, revision)
            if where:
                yield from checks.check_repository(folder, where)
            # Of the suite planemo uploads the dependencies alone.
            if name != self.names()[-1]:
                yield checks.check_readme(self.shed, name, revision)
        yield from install.fill_tables(self.galaxy)
        yield from managertests.run_tests(self.galaxy)

    def _install_suite(self) -> Iterator[Outcome]:
        *names, suite = self.names()
        listed = install.tool_list(self.shed.owner, suite, self.shed.url)
        yield from install.install(self.galaxy, self.shed, listed, "suite")
        revision = install.newest_revision(self.shed, suite)
        newest = {name: install.newest_revision(self.shed, name) for name in names}
        where = install.folder_of(self.galaxy, self.shed, suite, revision)
        # Where it is not installed, that was said a moment ago.
        if where:
            yield checks.check_suite(where, newest)

    def test_tools(self, every: bool) -> Iterator[Outcome]:
        """Run the tests of the installed tools."""
        tools = {tool.short_id: tool for tool in self.tools()}
        yield from tool_tests.run_tests(self.galaxy, tools, every=every)

    def test_workflows(self, every: bool) -> list[Outcome]:
        """Run workflows that name the tools as the Tool Shed does, on an upgraded Galaxy."""
        old = self.tools()
        ours = {tool.short_id for tool in old}
        files = workflows.release(RELEASED, old, ours)
        outcomes = list(shown_one_by_one(workflows.lint(files, self.shed.url)))
        outcomes += shown_one_by_one(self._upgrade())
        version = next(tool.version for tool in old if tool.short_id == upgrade.TOOL)
        folder = RELEASED / MAIN_WORKFLOW.parent.name
        outcomes += upgrade.run_and_look(
            self.galaxy, folder / MAIN_WORKFLOW.name, version, "old-workflow"
        )
        newest = [tool for tool in self.tools() if tool not in old]
        if not newest:
            raise LocalGalaxyError("The Tool Shed lists no new version of the upgraded repository.")
        by_version = {(tool.short_id, tool.version): tool for tool in newest}
        new_version = newest[0].version

        def rewrite(definition: Mapping[str, Any]) -> dict[str, Any]:
            raised = workflows.with_version(definition, upgrade.TOOL, new_version)
            return workflows.rewrite(raised, by_version, ours)

        small = upgrade.write_small_workflow(MAIN_WORKFLOW, folder, rewrite)
        outcomes += upgrade.run_and_look(self.galaxy, small, new_version, "new-workflow")
        more = [path for path in files if path.name != MAIN_WORKFLOW.name]
        if every and more:
            outcomes += tooltests.run_tests(self.galaxy, more, "workflows")
        return outcomes

    def _upgrade(self) -> Iterator[Outcome]:
        """Publish a new version of one repository and the suite, and install both."""
        name = upgrade.REPOSITORY
        before = install.newest_revision(self.shed, name)
        original = next(folder for folder in self.folders if shed_name(folder) == name)
        upgrade.raise_suffix(original, CHANGED)
        suite = next(folder for folder in self.folders if shed_name(folder) == self.names()[-1])
        shutil.copytree(suite, CHANGED / suite.relative_to(PUBLISHED))
        yield from lint.publish_repositories(CHANGED, self.shed.url, self.shed.key)
        one = install.tool_list(self.shed.owner, name, self.shed.url)
        yield from install.install(self.galaxy, self.shed, one, "upgrade")
        states = install.installed_revisions(self.galaxy)
        after = install.newest_revision(self.shed, name)
        both = [states.get((name, revision), {}).get("status") for revision in (before, after)]
        yield Outcome(
            f"{name}: both revisions are installed",
            before != after and both == ["Installed", "Installed"],
            None,
            f"{before} and {after}: {both}",
        )
        yield from self._install_suite()


def shed_name(folder: Path) -> str:
    """Return the name of the repository that was written into a folder."""
    import yaml

    text = (folder / ".shed.yml").read_text(encoding="utf-8")
    return str(yaml.safe_load(text)["name"])


def run(*, every: bool) -> list[Outcome]:
    """Run every check and return the outcomes."""
    for folder in (SHED, PUBLISHED, CHANGED, RELEASED):
        shutil.rmtree(folder, ignore_errors=True)
    STATE.mkdir(parents=True, exist_ok=True)
    server.remove_state()
    described = read_repositories().values()
    folders = lint.export_repositories(PUBLISHED)
    owner = next(iter(described))["owner"]
    categories = [name for one in described for name in one["categories"]]
    with running_tool_shed(SHED, owner, categories) as tool_shed:
        outcomes = list(
            shown_one_by_one(lint.publish_repositories(PUBLISHED, tool_shed.url, tool_shed.key))
        )
        if not all(outcome.passed for outcome in outcomes):
            return outcomes
        with server.running_galaxy(configure=configure(tool_shed.url)) as galaxy:
            trial = Trial(tool_shed, galaxy, folders)
            outcomes += shown_one_by_one(trial.install())
            outcomes += shown_one_by_one(trial.test_tools(every))
            outcomes += trial.test_workflows(every)
    return outcomes


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="the slow tests as well")
    arguments = parser.parse_args()
    try:
        return conclude(run(every=arguments.all))
    except LocalGalaxyError as error:
        say(f"\n{error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
