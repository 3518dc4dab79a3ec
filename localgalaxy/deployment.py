"""Lets ephemeris read the files of `deploy/` and fill a real Galaxy with what they name."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from typing import Any

from localgalaxy import api, folding, planemo
from localgalaxy.checks import check
from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import GALAXY_VENV, ROOT, STATE, TEST_DATA
from localgalaxy.server import Galaxy

DEPLOY = ROOT / "deploy"
LIBRARY = "Galaxy GPU Lab"
DATABASE = "UniRef30 2302 and environmental sequences"
LIMIT = 300.0  # seconds for one command
# What stands for the files at Zenodo.
SMALL = {"h5": TEST_DATA / "part_test.h5", "onnx": TEST_DATA / "predict" / "model_exact.onnx"}


def run_tests(galaxy: Galaxy) -> Iterator[Outcome]:
    """Run each test and yield its outcome."""
    say("Filling Galaxy with deploy/'s files, as an administrator does with ephemeris")
    yield check("run-data-managers with deploy/data_managers.yml", lambda: _databases(galaxy))
    yield check("run-data-managers once more", lambda: _databases(galaxy, again=True))
    yield check("setup-data-libraries with deploy/data_library.yml", lambda: _library(galaxy))


def _databases(galaxy: Galaxy, *, again: bool = False) -> str:
    """Register the tiny databases; the weights cannot be fetched everywhere and are left out."""
    text = (DEPLOY / "data_managers.yml").read_text(encoding="utf-8")
    text = _changed(r"  - id: \S+_weights/\S+\n.*?(?=\n  # Databases)", "", text)
    # Here the tools have no Tool Shed's ids.
    text = _changed(r"id: toolshed\S+/(\w+)/[^/\s]+\n", r"id: \1\n", text)
    text = _changed("/data/colabfold", str(folding.DATABASE), text)
    # Without a history Galaxy refuses an administrator who has none yet.
    said = _ephemeris(galaxy, "run-data-managers", text, "--history-name", "Data", "--config")
    rows = api.request(galaxy.url, "/api/tool_data/colabfold_databases", key=galaxy.admin_key)
    found = [row for row in rows["fields"] if DATABASE in row]
    if len(found) != 1 or str(folding.DATABASE) not in found[0]:
        return f"the table has {found}\n{said}"
    if again != ("Skipping" in said):
        return said
    return ""


def _library(galaxy: Galaxy) -> str:
    """Make the library with small files in place of the large ones."""
    text = (DEPLOY / "data_library.yml").read_text(encoding="utf-8")
    for ending, small in SMALL.items():
        content = base64.b64encode(small.read_bytes()).decode()
        text = _changed(rf"https://zenodo\S+\.{ending}\?download=1", f"base64://{content}", text)
    # One of an earlier run of this Galaxy would be filled again.
    for identifier in _libraries(galaxy):
        path = f"/api/libraries/{identifier}"
        api.request(galaxy.url, path, key=galaxy.admin_key, method="DELETE")
    said = _ephemeris(galaxy, "setup-data-libraries", text, "--infile")
    identifiers = _libraries(galaxy)
    if len(identifiers) != 1:
        return f"there are {len(identifiers)} libraries of this name\n{said}"
    found: dict[str, Any] = {}
    path = f"/api/libraries/{identifiers[0]}/contents"
    for item in api.request(galaxy.url, path, key=galaxy.admin_key):
        if item["type"] == "file":
            dataset = api.request(galaxy.url, f"{path}/{item['id']}", key=galaxy.admin_key)
            found[dataset["name"]] = (dataset["file_ext"], dataset["state"])
    wanted = {"combined_CT_datasets.h5": ("h5", "ok"), "ct_seg_model.onnx": ("onnx", "ok")}
    return "" if found == wanted else f"the library has {found}\n{said}"


def _libraries(galaxy: Galaxy) -> list[str]:
    every = api.request(galaxy.url, "/api/libraries?deleted=false", key=galaxy.admin_key)
    return [one["id"] for one in every if one["name"] == LIBRARY]


def _changed(pattern: str, replacement: str, text: str) -> str:
    changed, count = re.subn(pattern, replacement, text, flags=re.DOTALL)
    if not count:
        raise LocalGalaxyError(f"“{pattern}” is not in the file of deploy/ any more.")
    return changed


def _ephemeris(galaxy: Galaxy, program: str, text: str, *options: str) -> str:
    """Run one of ephemeris' programs on a file with this text and return what it printed."""
    file = STATE / "deployment.yml"
    file.write_text(text, encoding="utf-8")
    command = [str(GALAXY_VENV / "bin" / program), *options, str(file)]
    command += ["-g", galaxy.url, "-a", galaxy.user_key, "-v"]
    try:
        done = subprocess.run(
            command,
            env=planemo.variables(),
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalGalaxyError(f"{program} did not end in {LIMIT:.0f} s.") from error
    said = done.stdout + done.stderr
    if done.returncode:
        raise LocalGalaxyError(f"{program} failed:\n{said[-2000:]}")
    return said
