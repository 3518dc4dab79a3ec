"""The parts of publishing and installing that can be tested without a Tool Shed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from localgalaxy.console import LocalGalaxyError
from localgalaxy.paths import ROOT, WORKFLOWS, data_manager_files, tool_files, workflow_files
from localgalaxy.toolshed import repositories, upgrade
from localgalaxy.toolshed import workflows as released
from localgalaxy.toolshed.checks import LARGEST_TEST_FILE, problems

OURS = {path.stem for path in [*tool_files(), *data_manager_files()]}
SEGMENTATION = WORKFLOWS / "ct_segmentation" / "ct_segmentation.ga"


def published(version: str, *, leave_out: str = "") -> list[released.PublishedTool]:
    return [
        released.PublishedTool(
            short, version, f"shed.example/repos/lab/r/{short}/{version}", "lab", "r", "0123abcd"
        )
        for short in sorted(OURS - {leave_out})
    ]


def by_version(version: str) -> dict[tuple[str, str], released.PublishedTool]:
    return {(tool.short_id, tool.version): tool for tool in published(version)}


@pytest.fixture
def definition() -> dict[str, Any]:
    return json.loads(SEGMENTATION.read_text("utf-8"))


def version_of(definition: dict[str, Any]) -> str:
    return next(
        step["tool_version"] for step in definition["steps"].values() if step.get("tool_id") in OURS
    )


def test_steps_get_the_ids_of_the_tool_shed(definition: dict[str, Any]) -> None:
    before = copy.deepcopy(definition)
    version = version_of(definition)
    result = released.rewrite(definition, by_version(version), OURS)
    assert definition == before
    for key, step in result["steps"].items():
        short = before["steps"][key]["tool_id"]
        if short not in OURS:
            assert step == before["steps"][key]
            continue
        assert step["tool_id"] == f"shed.example/repos/lab/r/{short}/{version}"
        assert step["content_id"] == step["tool_id"]
        assert step["tool_shed_repository"] == {
            "changeset_revision": "0123abcd",
            "name": "r",
            "owner": "lab",
            "tool_shed": "shed.example",
        }
        unchanged = {"tool_id", "content_id", "tool_shed_repository"}
        assert {name: value for name, value in step.items() if name not in unchanged} == {
            name: value for name, value in before["steps"][key].items() if name not in unchanged
        }


def test_a_version_that_is_not_published_is_refused(definition: dict[str, Any]) -> None:
    with pytest.raises(LocalGalaxyError, match=r"wants \w+ .*the Tool Shed has: 9\.9\.9"):
        released.rewrite(definition, by_version("9.9.9"), OURS)
    with pytest.raises(LocalGalaxyError, match="has: none"):
        released.rewrite(definition, {}, OURS)


def test_released_workflows_need_nothing_of_this_repository(tmp_path: Path) -> None:
    version = version_of(json.loads(SEGMENTATION.read_text("utf-8")))
    files = released.release(tmp_path, published(version), OURS)
    assert [path.name for path in files] == [path.name for path in workflow_files()]
    for folder in {path.parent for path in files}:
        names = {path.name for path in folder.iterdir()}
        assert {"README.md", "CHANGELOG.md", ".dockstore.yml", "test-data"} <= names
        for tests in folder.glob("*-tests.yml"):
            text = tests.read_text("utf-8")
            assert "../" not in text
            named = set(released.OUR_TEST_DATA.findall(text.replace("test-data/", "../test-data/")))
            assert named
            assert all((folder / "test-data" / name).is_file() for name in named)
    for path in files:
        steps = json.loads(path.read_text("utf-8"))["steps"].values()
        assert not OURS & {step.get("tool_id") for step in steps}


def test_a_small_workflow_keeps_one_tool_and_its_inputs(definition: dict[str, Any]) -> None:
    small = upgrade.first_step_alone(definition, upgrade.TOOL)
    kinds = sorted(step["type"] for step in small["steps"].values())
    assert kinds.count("tool") == 1
    assert set(kinds) <= {"tool", "data_input", "parameter_input"}
    raised = released.with_version(small, upgrade.TOOL, "9.9.9")
    assert version_of(raised) == "9.9.9"
    assert version_of(small) == version_of(definition)


def test_the_suffix_is_raised_in_a_copy(tmp_path: Path) -> None:
    folder = tmp_path / "tools" / "one"
    folder.mkdir(parents=True)
    (folder / "macros.xml").write_text(upgrade.SUFFIX.format(3), "utf-8")
    changed = upgrade.raise_suffix(folder, tmp_path / "changed")
    assert changed == tmp_path / "changed" / "tools" / "one"
    assert upgrade.SUFFIX.format(4) in (changed / "macros.xml").read_text("utf-8")
    assert upgrade.SUFFIX.format(3) in (folder / "macros.xml").read_text("utf-8")


def test_what_must_not_be_published_is_found(tmp_path: Path) -> None:
    (tmp_path / "test-data").mkdir()
    (tmp_path / "tool.xml").write_text("<tool/>", "utf-8")
    (tmp_path / ".hg").mkdir()
    (tmp_path / ".hg" / "hgrc").write_text(str(ROOT), "utf-8")
    assert problems(tmp_path) == []
    (tmp_path / "link").symlink_to("tool.xml")
    (tmp_path / "test-data" / "large.bin").write_bytes(b"x" * (LARGEST_TEST_FILE + 1))
    (tmp_path / "notes.txt").write_text(f"made in {ROOT}/tools", "utf-8")
    assert sorted(problems(tmp_path)) == [
        "link is a symbolic link",
        f"notes.txt names {ROOT}",
        f"test-data/large.bin has {LARGEST_TEST_FILE + 1} bytes",
    ]


def test_only_the_parts_that_are_used_are_published(tmp_path: Path) -> None:
    for part, text in (
        ("used", "from gpulab.deeper.x import y"),
        ("deeper", "COMMAND = ['-m', 'gpulab.started']"),
        ("started", "import json"),
        ("idle", "from gpulab.used import z"),
    ):
        folder = tmp_path / "gpulab" / part
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(text, "utf-8")
    (tmp_path / "gpulab" / "__init__.py").touch()
    (tmp_path / "tool.py").write_text("from gpulab.used import x", "utf-8")
    repositories.drop_unused(tmp_path / "gpulab")
    assert {path.name for path in (tmp_path / "gpulab").iterdir()} == {
        "__init__.py",
        "used",
        "deeper",
        "started",
    }
