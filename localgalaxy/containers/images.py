"""`make images`: builds the images of `containers/` with docker, podman or buildah."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localgalaxy.console import LocalGalaxyError, say, step
from localgalaxy.containers.base import ensure_base
from localgalaxy.containers.engine import FOLDER, run, write_wrapper
from localgalaxy.containers.sbom import write_sbom
from localgalaxy.environments import ensure_uv
from localgalaxy.paths import LOCKS, ROOT, shown

CONTAINERFILE = ROOT / "containers" / "Containerfile"
REGISTRY = "quay.io/galaxy-gpu-lab"
ENVIRONMENTS = ("unet", "notebook", "fold")
VARIANTS = ("cpu", "cuda")
RECORDS = FOLDER / "images"
PRUNE = {"podman": ("image", "prune", "--force"), "buildah": ("rmi", "--prune")}
MEGABYTE = 10**6
# Published without a wheel; one that is made here fits everywhere, because it is plain Python.
ONLY_SOURCE = ("pdbfixer==",)


@dataclass(frozen=True)
class Image:
    """One image of ours: an environment in one of its variants."""

    environment: str
    variant: str = "cpu"

    @property
    def tag(self) -> str:
        """The tools' version, with the variant where it is not the one that the tools name."""
        return tool_version() + ("" if self.variant == "cpu" else f"-{self.variant}")

    @property
    def name(self) -> str:
        """The full name; the tools' XML names the CPU variant by it."""
        return f"{REGISTRY}/{self.environment}:{self.tag}"

    @property
    def lock(self) -> Path:
        """The packages in it."""
        return LOCKS / f"{self.environment}-{self.variant}.txt"

    @property
    def record(self) -> Path:
        """What is written down about the image that was built here."""
        return RECORDS / f"{self.environment}-{self.tag}.json"

    @property
    def sbom(self) -> Path:
        """The list of its packages, in the form of CycloneDX."""
        return RECORDS / f"{self.environment}-{self.tag}.cdx.json"

    @property
    def sources(self) -> dict[str, str]:
        """What the image is made of: it is out of date when one of these has changed."""
        return {path.name: _digest(path) for path in (CONTAINERFILE, self.lock)}


def tool_version() -> str:
    """Return the version of all tools."""
    macros = (ROOT / "macros" / "macros.xml").read_text(encoding="utf-8")
    version = re.search(r'<token name="@TOOL_VERSION@">([^<]+)</token>', macros)
    if version is None:
        raise LocalGalaxyError("macros/macros.xml has no @TOOL_VERSION@.")
    return version.group(1)


def program() -> list[str]:
    """Return the command that builds images here: podman, docker or buildah.

    Podman and buildah keep their images in this checkout, docker where its service keeps them.
    """
    if shutil.which("podman"):
        return [str(write_wrapper("podman"))]
    if shutil.which("docker") and _answers(["docker", "info"]):
        return ["docker"]
    if shutil.which("buildah"):
        return [str(write_wrapper("buildah"))]
    raise LocalGalaxyError(
        "No podman, no buildah and no docker whose service answers: install one of them (Debian:"
        " apt-get install podman runc)."
    )


def ensure_image(image: Image, base: str = "") -> str:
    """Build an image when it is missing or out of date, and return its name.

    Args:
        image: Which one.
        base: See `containers.base.ensure_base`; empty is Debian's packages where debootstrap can
            be run, and Docker Hub elsewhere.
    """
    builder = program()
    known = _read(image.record)
    there = run([*builder, "images", "--quiet", image.name], check=False).strip()
    if there and known.get("sources") == image.sources:
        return image.name
    base = base or _usual_base(builder)
    based_on, built_in = ensure_base(builder, base)
    values = {
        "BASE": based_on,
        "BUILDER": built_in,
        "ENVIRONMENT": image.environment,
        "VARIANT": image.variant,
        "VERSION": image.tag,
        "REVISION": _revision(),
    }
    options = []
    if builder != ["docker"]:
        # Fetched out here, where the user's settings say from where; docker has no such volumes.
        wheels = _fetch_wheels(image)
        values["PIP_ARGUMENTS"] = "--no-index --find-links /wheels"
        options = ["--isolation", "chroot", "--ulimit", "nofile=1024:1024", "--layers=false"]
        options += ["--volume", f"{wheels}:/wheels:ro"]
    arguments = [word for name, value in values.items() for word in _argument(name, value)]
    with step(f"Building {image.name}"):
        run(
            [
                *(*builder, "build", "--quiet", *options, *arguments),
                *("--file", str(CONTAINERFILE), "--tag", image.name, str(ROOT)),
            ],
            cwd=FOLDER,
        )
    if options:
        # What the first stage left is larger than the image.
        run([*builder, *PRUNE[Path(builder[0]).name]])
    found = _inspect(builder, image.name) | {"base": based_on, "sources": image.sources}
    RECORDS.mkdir(parents=True, exist_ok=True)
    if Path(builder[0]).name != "buildah":  # which cannot run an image
        found["packages"] = write_sbom(builder, image.name, image.sbom)
    image.record.write_text(json.dumps({"image": image.name} | found, indent=1) + "\n", "utf-8")
    return image.name


def run_images(names: Sequence[str], variant: str, base: str) -> int:
    """Build what is named, and print a table of sizes.

    Args:
        names: Environments; none is all of them.
        variant: `cpu` or `cuda`.
        base: See `ensure_image`.

    Returns:
        The exit code.
    """
    images = _selected(names, variant)
    for image in images:
        ensure_image(image, base)
    say(f"{'image':40} {'MB':>6} {'packages':>8}  digest of what was built here")
    for image in images:
        found = _read(image.record)
        count = found.get("packages", "")
        size = found["size"] / MEGABYTE
        say(f"{image.name:40} {size:6.0f} {count:>8}  {found['digest']}")
    say(f"Lists of the packages (CycloneDX): {shown(RECORDS)}/*.cdx.json")
    return 0


def show_names(names: Sequence[str], variant: str) -> int:
    """Print the full name of each image and return the exit code."""
    for image in _selected(names, variant):
        say(image.name)
    return 0


def _selected(names: Sequence[str], variant: str) -> list[Image]:
    unknown = sorted({*names} - {*ENVIRONMENTS})
    if unknown or variant not in VARIANTS:
        raise LocalGalaxyError(
            f"There is no image {', '.join(unknown) or variant}: IMAGES is one or more of"
            f" {', '.join(ENVIRONMENTS)}, VARIANT is {' or '.join(VARIANTS)}."
        )
    return [Image(name, variant) for name in names or ENVIRONMENTS]


def _usual_base(builder: Sequence[str]) -> str:
    made_here = builder != ["docker"] and shutil.which("debootstrap") and os.geteuid() == 0
    return "debian" if made_here else "hub"


def _inspect(builder: Sequence[str], name: str) -> dict[str, object]:
    """Return size in bytes and digest of an image."""
    if Path(builder[0]).name == "buildah":
        text = run([*builder, "images", "--json", name])
        found = json.loads(text)[0]
        return {"size": found.get("sizeraw", 0), "digest": found["id"]}
    found = json.loads(run([*builder, "image", "inspect", name]))[0]
    return {"size": found["Size"], "digest": found.get("Digest") or found["Id"]}


def _fetch_wheels(image: Image) -> Path:
    """Fetch the packages out here, where the user's settings say from where."""
    wheels = FOLDER / "wheels"
    with step(f"Fetching the packages of {image.lock.name}"):
        pip = [str(ensure_uv().with_name("python")), "-m", "pip"]
        lines = image.lock.read_text(encoding="utf-8").splitlines()
        sources = [line for line in lines if line.startswith(ONLY_SOURCE)]
        wanted = FOLDER / image.lock.name
        wanted.write_text("\n".join(one for one in lines if one not in sources), encoding="utf-8")
        # Wheels for Debian 12, whatever this machine is.
        platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)]
        platforms += ["--platform=manylinux2014_x86_64", "--python-version", "3.11"]
        options = ["--quiet", "--disable-pip-version-check", "--no-deps"]
        only = ["--only-binary", ":all:", "--dest", str(wheels), "--requirement", str(wanted)]
        run([*pip, "download", *options, *platforms, *only])
        if sources:
            # Debian's pip would take the old way, which wants a package that it may not have.
            build = ["--use-pep517", "--wheel-dir", str(wheels)]
            run([*pip, "wheel", *options, *build, *sources])
    return wheels


def _argument(name: str, value: str) -> tuple[str, str]:
    return "--build-arg", f"{name}={value}"


def _revision() -> str:
    """Return the commit, with a mark when files differ from it; nothing where there is no git."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        return "unknown"
    return run(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"]).strip()


def _answers(command: Sequence[str]) -> bool:
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def _digest(path: Path) -> str:
    if not path.is_file():
        raise LocalGalaxyError(f"{path.relative_to(ROOT)} is missing.")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
