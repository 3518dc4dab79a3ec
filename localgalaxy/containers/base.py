"""The two images on which ours are built: from Docker Hub, or made of Debian's packages.

The images of Debian's packages stand in where Docker Hub cannot be reached: the same Debian with
the same Python, 3.11, from another maker.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from localgalaxy.console import LocalGalaxyError, step
from localgalaxy.containers.engine import FOLDER, run

HUB = ("docker.io/library/python:3.11-slim-bookworm", "docker.io/library/python:3.11-bookworm")
_ONLY_BUILDING = ("python3-venv", "binutils")
# What these brought along: debootstrap marks every package as wanted.
_BROUGHT = (
    *("binutils-*", "libbinutils", "libctf*", "libgprofng*", "libjansson4"),
    *("python3.11-venv", "python3-*-whl", "python3-distutils", "python3-lib2to3"),
)
# Nothing reads these in a container; licences, below /usr/share/doc, stay.
_LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "usr/share/man", "var/log")
# Made anew when what is in them changes.
_RECIPE = hashlib.sha256(repr((_ONLY_BUILDING, _BROUGHT, _LEFT_OUT)).encode()).hexdigest()[:8]
DEBIAN = tuple(f"localhost/gpulab-{name}:bookworm-{_RECIPE}" for name in ("base", "builder"))


def ensure_base(program: Sequence[str], base: str) -> tuple[str, str]:
    """Return the images to build from and to build in, made first where they have to be.

    Args:
        program: The command that builds, such as `["docker"]`.
        base: `debian`, `hub`, or the name of an image of Python with pip and binutils.
    """
    if base == "hub":
        return HUB
    if base != "debian":
        return base, base
    for name in DEBIAN:
        if not run([*program, "images", "--quiet", name], check=False).strip():
            _make(program)
            break
    return DEBIAN[0], DEBIAN[1]


def _make(program: Sequence[str]) -> None:
    if shutil.which("debootstrap") is None:
        raise LocalGalaxyError(
            "debootstrap not found, which makes the base image (Debian: apt-get install"
            " debootstrap). With the internet, `make images BASE=hub` does without."
        )
    tree = FOLDER / "base"
    shutil.rmtree(tree, ignore_errors=True)
    try:
        with step("Making the base image with debootstrap"):
            packages = ",".join(("python3", *_ONLY_BUILDING))
            run(
                ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(tree)]
            )
            _import(program, tree, DEBIAN[1])
            remove = ["apt-get", "purge", "--yes", "--quiet", *_ONLY_BUILDING, *_BROUGHT]
            run(["chroot", str(tree), *remove])
            _import(program, tree, DEBIAN[0])
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def _import(program: Sequence[str], tree: Path, name: str) -> None:
    """Make an image of a folder, in the one way that docker, podman and buildah share."""
    context = FOLDER / "context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    try:
        left_out = [f"--exclude=./{path}/*" for path in _LEFT_OUT]
        archive = str(context / "base.tar")
        run(["tar", "-C", str(tree), *left_out, "-cf", archive, "."])
        (context / "Containerfile").write_text("FROM scratch\nADD base.tar /\n", encoding="utf-8")
        file = str(context / "Containerfile")
        run([*program, "build", "--quiet", "--tag", name, "--file", file, str(context)])
    finally:
        shutil.rmtree(context, ignore_errors=True)
