"""Looks at a repository as Galaxy got it from the Tool Shed: is all there, and nothing else?"""

from __future__ import annotations

import filecmp
import re
import shutil
import subprocess
import tempfile
import urllib.parse
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from localgalaxy import api
from localgalaxy.environments import environment
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import ROOT, UNET_VENV
from localgalaxy.settings import TOOL_VENVS
from localgalaxy.toolshed.server import ToolShed

LARGEST_TEST_FILE = 1_000_000  # bytes
NOT_UPLOADED = {".shed.yml"}
DEPENDENCIES = "repository_dependencies.xml"  # into which the Tool Shed writes revisions
SCRIPT = re.compile(r"\$__tool_directory__/([\w./-]+\.py)")


def check_published(exported: Iterable[Path], known: Collection[str]) -> Iterator[Outcome]:
    """Look whether the Tool Shed could read every tool: it takes a broken one and lists it not.

    Args:
        exported: The folders that were given to planemo.
        known: The ids of the tools that the Tool Shed lists.
    """
    for folder in exported:
        missing = [path.stem for path in tool_sources(folder) if path.stem not in known]
        yield _outcome(f"{folder.name}: the Tool Shed reads its tools", missing)


def tool_sources(folder: Path) -> list[Path]:
    """Return the XML file of each tool in a published repository."""
    paths = sorted([*folder.glob("*.xml"), *folder.glob("data_manager/*.xml")])
    return [path for path in paths if "<tool " in path.read_text(encoding="utf-8")]


def check_readme(shed: ToolShed, name: str, revision: str) -> Outcome:
    """Look whether the Tool Shed renders a repository's README and serves its pictures.

    Args:
        shed: The Tool Shed.
        name: The repository.
        revision: One that can be installed.
    """
    found = api.request(shed.url, f"/api/repositories?owner={shed.owner}&name={name}")
    path = f"/api/repositories/{found[0]['id']}/revisions/{revision}/readmes"
    page = api.request(shed.url, path).get("README.rst", "")
    wrong = [] if "<h1>" in page else [f"it has no heading: {page[:500]}"]
    for picture in re.findall(r'<img[^>]* src="([^"]+)"', page):
        address = urllib.parse.urljoin(shed.url, picture)
        if not api.exists(address):
            wrong.append(f"{address} is not there")
    return _outcome(f"{name}: the Tool Shed renders its README", wrong)


def check_repository(exported: Path, installed: Path) -> Iterator[Outcome]:
    """Compare what was to be published with what was installed, and look at each file.

    Args:
        exported: The folder that was given to planemo.
        installed: The folder into which Galaxy cloned the repository.
    """
    name = exported.name
    yield _outcome(f"{name}: every file arrived", _differences(exported, installed))
    yield _outcome(f"{name}: fit to be published", problems(installed))
    for path in tool_sources(installed):
        yield _outcome(f"{path.stem}: its required files suffice", _runs_alone(path))


def _outcome(name: str, found: list[str]) -> Outcome:
    return Outcome(name, not found, None, "\n".join(found))


def check_suite(installed: Path, revisions: Mapping[str, str]) -> Outcome:
    """Look whether the suite that came from the Tool Shed names the newest revision of each.

    Args:
        installed: The folder into which Galaxy cloned the suite.
        revisions: The newest revision of each repository.
    """
    root = ElementTree.parse(installed / DEPENDENCIES).getroot()  # noqa: S314 - our own
    named = {one.get("name"): one.get("changeset_revision") for one in root}
    wrong = [
        f"{name}: {named.get(name)} instead of {revision}"
        for name, revision in revisions.items()
        if named.get(name) != revision
    ]
    return _outcome(f"{installed.name} names the newest revisions", wrong)


def problems(folder: Path) -> list[str]:
    """Return what must not be in a published repository: links, large files, this machine's paths.

    Args:
        folder: The repository.
    """
    found = []
    here = [str(ROOT).encode(), str(Path.home()).encode() + b"/"]
    for path in _files(folder):
        name = path.relative_to(folder)
        if path.is_symlink():
            found.append(f"{name} is a symbolic link")
            continue
        content = path.read_bytes()
        if name.parts[0] == "test-data" and len(content) > LARGEST_TEST_FILE:
            found.append(f"{name} has {len(content)} bytes")
        found += [f"{name} names {text.decode()}" for text in here if text in content]
    return found


def _files(folder: Path) -> list[Path]:
    """Return files and links, without those of Mercurial and of planemo."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or path.is_file())
        and not path.relative_to(folder).parts[0].startswith(".hg")
        and path.name not in NOT_UPLOADED
    ]


def _differences(exported: Path, installed: Path) -> list[str]:
    ours = {path.relative_to(exported) for path in _files(exported)}
    theirs = {path.relative_to(installed) for path in _files(installed)}
    found = [f"{name} did not arrive" for name in sorted(ours - theirs)]
    found += [f"{name} was not published" for name in sorted(theirs - ours)]
    for name in sorted(ours & theirs):
        if name.name != DEPENDENCIES and not filecmp.cmp(
            exported / name, installed / name, shallow=False
        ):
            found.append(f"{name} differs")
    return found


def _runs_alone(tool: Path) -> list[str]:
    """Start the tool's script with nothing beside it but its required files, as Pulsar does."""
    # Not at the top: only Galaxy's environment has this library.
    from galaxy.tool_util.parser.factory import get_tool_source

    source = get_tool_source(str(tool))
    required = source.parse_required_files()
    if required is None:
        return ["it lists no required files"]
    scripts = sorted(set(SCRIPT.findall(source.parse_command())))
    found = [] if scripts else ["its command names no script"]
    venv = TOOL_VENVS.get(source.parse_id(), UNET_VENV)
    with tempfile.TemporaryDirectory() as folder:
        for name in required.find_required_files(str(tool.parent)):
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tool.parent / name, target)
        for script in scripts:
            done = subprocess.run(
                [str(venv / "bin" / "python"), script, "--help"],
                cwd=folder,
                env=environment(venv),
                capture_output=True,
                text=True,
                check=False,
            )
            # One of them asks for its arguments first; a missing module is a traceback.
            if "usage:" not in done.stdout + done.stderr:
                found.append(f"{script} --help ended with {done.returncode}: {done.stderr}")
    return found
