"""Lists what is in an image, in the form of CycloneDX: Python's packages and Debian's.

`cyclonedx-py` reads Python's packages with their licences inside the image, mounted from outside;
the list of Debian's packages is added to its list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from localgalaxy.containers.engine import FOLDER, run
from localgalaxy.containers.site import ensure_site
from localgalaxy.environments import SBOM_LOCKS

# The program's own packages must not be listed: they are seen by its process alone.
_LIST = """
import runpy, sys
sys.path.insert(0, "/sbom")
python = "/opt/gpulab/bin/python"
sys.argv = ["cyclonedx-py", "environment", "--output-reproducible", "--of", "JSON", python]
runpy.run_module("cyclonedx_py", run_name="__main__")
"""
_DEBIAN = r"${Package}\t${Version}\t${Architecture}\n"


def write_sbom(program: Sequence[str], image: str, target: Path) -> int:
    """Write the list of an image's packages and return how many they are.

    Args:
        program: The command that runs images, such as `["docker"]`.
        image: Its name.
        target: The JSON file to write.
    """
    site = ensure_site("sbom", SBOM_LOCKS[0])
    bare = [*program, "run", "--rm", "--net", "none", "--read-only", "--tmpfs", "/tmp"]  # noqa: S108
    listed = run(
        [*bare, f"--volume={site}:/sbom:ro", image, "python", "-I", "-c", _LIST], cwd=FOLDER
    )
    bom = json.loads(listed)
    name, _, version = image.rpartition(":")
    bom["metadata"]["component"] = {
        "type": "container",
        "name": name,
        "version": version,
        "bom-ref": image,
    }
    version = run([*bare, image, "python", "--version"], cwd=FOLDER).split()[-1]
    bom["components"].append(_component("application", "python", version, "pkg:generic/python"))
    debian = run([*bare, image, "dpkg-query", "--show", f"--showformat={_DEBIAN}"], cwd=FOLDER)
    bom["components"] += _debian_components(debian)
    target.write_text(json.dumps(bom, indent=1) + "\n", encoding="utf-8")
    return len(bom["components"])


def _debian_components(listed: str) -> Iterator[dict[str, Any]]:
    for line in listed.splitlines():
        name, version, architecture = line.split("\t")
        component = _component("library", name, version, f"pkg:deb/debian/{quote(name)}")
        component["purl"] += f"?arch={architecture}&distro=bookworm"
        component["bom-ref"] = component["purl"]
        yield component


def _component(kind: str, name: str, version: str, address: str) -> dict[str, Any]:
    address = f"{address}@{quote(version)}"
    return {"type": kind, "name": name, "version": version, "purl": address, "bom-ref": address}
