"""Writes each Tool Shed repository as it would be published; runs in Galaxy's environment.

planemo can read a `.shed.yml` that describes several repositories, but it then expects each
`remote_repository_url` to end with the folder of that file, and it copies links to folders as empty
folders. So each repository is written into a folder of its own, links turned into files, with a
`.shed.yml` that describes it alone. planemo's shed commands work on those folders.
"""

from __future__ import annotations

import copy
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import yaml

from localgalaxy.paths import PACKAGE, ROOT, TEST_DATA

SHED_FILE = ROOT / ".shed.yml"
PART = re.compile(rf"\b{PACKAGE.name}(?:\.| import )(\w+)")
NOT_PUBLISHED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "tool_test_output.*")


def read_repositories(path: Path = SHED_FILE) -> dict[str, dict[str, Any]]:
    """Return the full description of each repository, the suite included, by its name."""
    shared = yaml.safe_load(path.read_text(encoding="utf-8"))
    repositories = shared.pop("repositories")
    suite = shared.pop("suite")
    result = {}
    for name, own in repositories.items():
        result[name] = copy.deepcopy(shared) | own | {"name": name}
    result[suite["name"]] = copy.deepcopy(shared) | suite | {"type": "repository_suite_definition"}
    return result


def export(target: Path) -> Iterator[Path]:
    """Write all repositories below `target` and yield the folder of each."""
    repositories = read_repositories()
    for name, config in repositories.items():
        # planemo wants the folder's path to end as the repository's address does.
        folder = target / config["remote_repository_url"].partition("/tree/main/")[2]
        if config.get("type") == "repository_suite_definition":
            folder.mkdir(parents=True)
            _write_dependencies(folder, config, [n for n in repositories if n != name])
        else:
            _copy_repository(folder, ROOT / config.pop("folder"))
        (folder / ".shed.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        yield folder


def _copy_repository(folder: Path, source: Path) -> None:
    shutil.copytree(source, folder, symlinks=False, ignore=NOT_PUBLISHED)
    for package in folder.rglob(PACKAGE.name):
        drop_unused(package)
    for path in sorted(folder.rglob("*.xml")):
        for name in _test_files(path):
            (folder / "test-data" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(TEST_DATA / name, folder / "test-data" / name)


def drop_unused(package: Path) -> None:
    """Remove the parts of our package that nothing beside it names, directly or by other parts."""
    parts = {path.name for path in package.iterdir() if (path / "__init__.py").is_file()}
    waiting = [*package.parent.glob("*.py"), *package.glob("*.py")]
    needed: set[str] = set()
    while waiting:
        # Any mention counts: a part may also be started by its name.
        text = waiting.pop().read_text(encoding="utf-8")
        new = parts & set(PART.findall(text)) - needed
        needed |= new
        waiting += [path for part in new for path in (package / part).rglob("*.py")]
    for part in parts - needed:
        shutil.rmtree(package / part)


def _test_files(tool: Path) -> set[str]:
    """Return the names of the test files that a tool's tests name, macros expanded."""
    # Not at the top: only Galaxy's environment has this library.
    from galaxy.util.xml_macros import load

    tests = load(str(tool)).getroot().find("tests")
    values = [] if tests is None else [v for one in tests.iter() for v in one.attrib.values()]
    names = {name.strip() for value in values for name in value.split(",")}
    # A test may also name a file of the system, as what must not be read.
    known = {str(path.relative_to(TEST_DATA)) for path in TEST_DATA.rglob("*") if path.is_file()}
    return names & known


def _write_dependencies(folder: Path, config: dict[str, Any], names: list[str]) -> None:
    lines = [f"<repositories description={quoteattr(config['description'])}>"]
    owner = quoteattr(config["owner"])
    lines += [f"    <repository owner={owner} name={quoteattr(name)}/>" for name in names]
    lines += ["</repositories>", ""]
    (folder / "repository_dependencies.xml").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    for repository in export(Path(sys.argv[1])):
        print(repository)
