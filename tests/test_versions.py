"""Everything that says a version says the same one."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import gpulab
from localgalaxy.containers import images
from localgalaxy.paths import ROOT, WORKFLOWS, data_manager_files, tool_files, workflow_files

MACROS = ROOT / "macros" / "macros.xml"
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
HEADING = re.compile(r"(?m)^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$")
# The kinds of change that Keep a Changelog knows.
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
CHANGELOGS = [ROOT / "CHANGELOG.md", *sorted(WORKFLOWS.glob("*/CHANGELOG.md"))]
TOOLS = [*tool_files(), *data_manager_files()]


def token(name: str) -> str:
    root = ElementTree.parse(MACROS).getroot()
    return str(root.findtext(f"token[@name='@{name}@']"))


def releases(changelog: Path) -> list[str]:
    return [name for name, _ in HEADING.findall(changelog.read_text("utf-8"))]


def test_package_and_tools_agree() -> None:
    assert token("TOOL_VERSION") == VERSION
    assert token("VERSION_SUFFIX").isdigit()
    assert gpulab.__version__ == VERSION


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.stem)
def test_every_tool_takes_its_version_from_the_macros(path: Path) -> None:
    text = path.read_text("utf-8")
    assert 'version="@TOOL_VERSION@+galaxy@VERSION_SUFFIX@"' in text
    # Its own token would hide that of the macros.
    assert '<token name="@TOOL_VERSION@"' not in text
    assert '<token name="@VERSION_SUFFIX@"' not in text


def test_images_are_tagged_with_the_version_of_the_tools() -> None:
    assert images.tool_version() == VERSION
    found = 0
    for path in [MACROS, *TOOLS]:
        for name in re.findall(r"<container [^>]*>([^<]+)</container>", path.read_text("utf-8")):
            assert name.endswith(":@TOOL_VERSION@"), f"{path}: {name}"
            found += 1
    assert found


def test_citation_says_the_version() -> None:
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.search(rf'(?m)^version: "?{re.escape(VERSION)}"?$', text)


def test_changelog_has_the_version_as_its_newest_release() -> None:
    newest = next(name for name in releases(ROOT / "CHANGELOG.md") if name != "Unreleased")
    assert newest == VERSION


@pytest.mark.parametrize("path", CHANGELOGS, ids=lambda path: path.parent.name)
def test_changelogs_keep_their_form(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith("# Changelog\n")
    headings = re.findall(r"(?m)^## .*$", text)
    found = HEADING.findall(text)
    assert len(headings) == len(found) > 0, headings
    for number, (name, date) in enumerate(found):
        # Only what is to come has no date, and stands first.
        assert bool(date) == (name != "Unreleased")
        assert name != "Unreleased" or number == 0
    dates = [date for _, date in found if date]
    assert dates == sorted(dates, reverse=True)
    assert set(re.findall(r"(?m)^### (.*)$", text)) <= KINDS


@pytest.mark.parametrize("path", workflow_files(), ids=lambda path: path.stem)
def test_workflows_want_the_tools_of_this_version(path: Path) -> None:
    definition: dict[str, Any] = json.loads(path.read_text("utf-8"))
    assert definition["release"] == releases(path.parent / "CHANGELOG.md")[0]
    ours = {tool.stem for tool in TOOLS}
    wanted = {
        step["tool_version"] for step in definition["steps"].values() if step.get("tool_id") in ours
    }
    assert wanted == {f"{VERSION}+galaxy{token('VERSION_SUFFIX')}"}
