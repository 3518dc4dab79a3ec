"""The repository itself: tools, links, locks, versions, and what must not be in it."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from localgalaxy import lint
from localgalaxy.environments import LOCK_SOURCES, environment
from localgalaxy.paths import (
    DATA_MANAGERS,
    GALAXY_VENV,
    LOCKS,
    ROOT,
    TEST_DATA,
    TOOLS,
    data_manager_files,
    tool_files,
)

PROFILE = "25.0"
LARGEST = 1_000_000  # bytes of a tracked file
# Terms that say what our tools do, with the labels that we mean by them.
EDAM = {
    "operation_0227": "Indexing",
    "operation_0338": "Sequence database search",
    "operation_0474": "Protein structure prediction",
    "operation_2422": "Data retrieval",
    "operation_2409": "Data handling",
    "operation_3359": "Splitting",
    "operation_2945": "Analysis",
    "operation_3443": "Image analysis",
    "topic_3316": "Computer science",
    "topic_0080": "Sequence analysis",
    "topic_0082": "Structure prediction",
    "topic_0130": "Protein folding, stability and design",
    "topic_2814": "Protein structure analysis",
    "topic_3382": "Imaging",
    "topic_3384": "Medical imaging",
    "topic_3474": "Machine learning",
}


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    assert (GALAXY_VENV / "bin" / "python").exists(), "run `make setup` first"
    return lint.export_repositories(tmp_path_factory.mktemp("shed"))


@pytest.fixture(scope="session")
def described(published: list[Path]) -> dict[str, Any]:
    command = [GALAXY_VENV / "bin" / "python", ROOT / "tests" / "describe_tools.py", *published]
    done = subprocess.run(
        command, env=environment(GALAXY_VENV), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this copy is no git repository, so no file is tracked")
    names = done.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def pinned(lock: str) -> dict[str, str]:
    lines = (LOCKS / lock).read_text("utf-8").splitlines()
    pins = [line.split(";")[0].strip().split("==") for line in lines if "==" in line]
    return {name.split("[")[0].lower(): version for name, version in pins}


def requirement_name(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_every_tool_is_read_by_galaxy(described: dict[str, Any]) -> None:
    found = {(tool["repository"], tool["file"]) for tool in described["tools"]}
    tools = {(path.parent.name, path.name) for path in tool_files()}
    # A data manager's repository is named after its tool.
    assert found == tools | {(path.parents[1].name, path.name) for path in data_manager_files()}


def test_tool_ids_and_profiles(described: dict[str, Any]) -> None:
    for tool in described["tools"]:
        assert tool["id"] + ".xml" == tool["file"]
        assert re.fullmatch(r"[a-z0-9_]+", tool["id"])
        assert str(tool["profile"]) == PROFILE, tool["id"]
        assert tool["licence"] == "MIT", tool["id"]


def test_every_tool_is_tested_explained_and_cited(described: dict[str, Any]) -> None:
    for tool in described["tools"]:
        assert tool["tests"] > 0, tool["id"]
        assert tool["help"].strip(), tool["id"]
        assert tool["citations"] > 0, tool["id"]


def test_required_files_cover_each_script_and_the_package(
    described: dict[str, Any], published: list[Path]
) -> None:
    folders = {folder.name: folder for folder in published}
    for tool in described["tools"]:
        home = next(folders[tool["repository"]].rglob(tool["file"])).parent
        package = {str(path.relative_to(home)) for path in (home / "gpulab").rglob("*.py")}
        assert {"gpulab/__init__.py", "gpulab/errors.py"} <= package, tool["id"]
        scripts = set(re.findall(r"\$__tool_directory__/([\w./-]+)", tool["command"]))
        assert scripts, tool["id"]
        missing = (scripts | package) - set(tool["required"])
        assert not missing, f"{tool['id']} does not list {sorted(missing)}"


def test_edam_terms_mean_what_we_say(described: dict[str, Any]) -> None:
    for term, label in EDAM.items():
        assert described["edam"].get(term) == label
    for tool in described["tools"]:
        assert tool["edam"], tool["id"]
        assert set(tool["edam"]) <= EDAM.keys(), tool["id"]


def test_links_point_into_the_repository() -> None:
    for folder in sorted({path.parent for path in tool_files()}):
        assert (folder / "macros.xml").readlink() == Path("../../macros/macros.xml")
        assert (folder / "gpulab").readlink() == Path("../../gpulab")
    for folder in sorted({path.parent for path in data_manager_files()}):
        assert (folder / "macros.xml").readlink() == Path("../../../macros/macros.xml")
        assert (folder / "gpulab").readlink() == Path("../../../gpulab")
    for path in [*TOOLS.rglob("*"), *DATA_MANAGERS.rglob("*")]:
        if path.is_symlink():
            assert not path.readlink().is_absolute(), path
            assert path.resolve().is_relative_to(ROOT), path
            assert path.exists(), path


def test_published_repositories_have_no_links(published: list[Path]) -> None:
    for folder in published:
        assert not [path for path in folder.rglob("*") if path.is_symlink()]
        assert not [path for path in folder.rglob("*") if path.stat().st_size > LARGEST]


def test_published_repositories_have_the_files_of_their_tests(
    described: dict[str, Any], published: list[Path]
) -> None:
    folders = {folder.name: folder / "test-data" for folder in published}
    ours = {str(path.relative_to(TEST_DATA)) for path in TEST_DATA.rglob("*") if path.is_file()}
    wanted: dict[str, set[str]] = {}
    for tool in described["tools"]:
        names = ours & set(tool["words of tests"])
        assert names or tool["id"].startswith("data_manager"), tool["id"]
        wanted.setdefault(tool["repository"], set()).update(names)
    for repository, names in wanted.items():
        folder = folders[repository]
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert found == names, repository


def test_each_tool_folder_is_published(published: list[Path]) -> None:
    folders = {path.parent for path in tool_files()}
    folders |= {path.parents[1] for path in data_manager_files()}
    assert {folder.name for folder in folders} <= {folder.name for folder in published}


@pytest.mark.parametrize("lock", sorted(LOCK_SOURCES))
def test_lock_pins_each_direct_requirement(lock: str) -> None:
    sources = LOCK_SOURCES[lock]
    if sources[0].endswith(".in"):
        lines = (ROOT / sources[0]).read_text("utf-8").splitlines()
        wanted = [line for line in lines if line and not line.startswith("#")]
    else:
        extras = project()["optional-dependencies"]
        chosen = list(extras) if "--all-extras" in sources else [x for x in sources if x in extras]
        wanted = [*project()["dependencies"], *(item for extra in chosen for item in extras[extra])]
    missing = {requirement_name(item) for item in wanted} - pinned(lock).keys()
    assert not missing, f"locks/{lock} is older than its source: run `make locks`"


def test_test_programs_leave_the_tools_versions_alone() -> None:
    runtime, developer = pinned("unet-cpu.txt"), pinned("test.txt")
    assert {name: developer.get(name) for name in runtime} == runtime


def test_test_programs_leave_the_folding_tools_versions_alone() -> None:
    runtime, developer = pinned("fold-cpu.txt"), pinned("fold-test.txt")
    assert {name: developer.get(name) for name in runtime} == runtime


def test_data_managers_know_every_column_of_their_table() -> None:
    tables = ElementTree.parse(ROOT / "tool_data_table_conf.xml.sample")
    columns = {
        table.attrib["name"]: {name.strip() for name in str(table.findtext("columns")).split(",")}
        for table in tables.iter("table")
    }
    for name, wanted in columns.items():
        sample = (ROOT / "tool-data" / f"{name}.loc.sample").read_text("utf-8").splitlines()
        assert {len(line.split("\t")) for line in sample if "\t" in line} == {len(wanted)}, name
    for folder in {path.parents[1] for path in data_manager_files()}:
        config = ElementTree.parse(folder / "data_manager_conf.xml")
        for manager in config.iter("data_manager"):
            assert (folder / manager.attrib["tool_file"]).is_file()
        for table in config.iter("data_table"):
            found = {column.attrib["name"] for column in table.iter("column")}
            assert found == columns[table.attrib["name"]]


def test_locks_hold_no_hashes_and_no_addresses() -> None:
    for path in LOCKS.glob("*.txt"):
        assert not re.search(r"--hash|--index|--find-links|://", path.read_text("utf-8")), path


def test_no_large_file_is_tracked() -> None:
    assert not [path for path in tracked_files() if path.stat().st_size > LARGEST]


def test_no_path_of_a_machine_is_tracked() -> None:
    # Written in pieces, so that this file does not hold what it looks for.
    folders = b"|".join([b"ro" + b"ot", b"ho" + b"me/[a-z]+", b"wo" + b"rk"])
    machine = re.compile(rb"(?<![\w.-])/(?:" + folders + rb")/[\w.]")
    found = []
    for path in tracked_files():
        content = b"" if path.is_symlink() else path.read_bytes()
        if b"\0" not in content and machine.search(content):
            found.append(path)
    assert not found


def test_everything_that_is_run_is_executable() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_files_of_the_packages_stay_short() -> None:
    files = [path for name in ("gpulab", "localgalaxy") for path in (ROOT / name).rglob("*.py")]
    lengths = {str(path): len(path.read_text("utf-8").splitlines()) for path in files}
    assert not {path: lines for path, lines in lengths.items() if lines > 300}
