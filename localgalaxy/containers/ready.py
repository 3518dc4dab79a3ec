"""What the tests in containers share: whether this machine can run them, and one at a time."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.containers.engine import FOLDER, missing, podman, write_wrapper
from localgalaxy.containers.images import Image, ensure_image
from localgalaxy.environments import ensure_galaxy, ensure_tools
from localgalaxy.paths import ROOT

# A variable that says: test the images that were loaded, and build none.
GIVEN = "GIVEN_IMAGES"


def ensure_ready(images: Sequence[Image]) -> bool:
    """Make the environments and images of a test, or say why this machine cannot run it.

    Raises:
        LocalGalaxyError: It should be able to, because it is a machine for tests (CI is set) that
            has the programs.
    """
    lacking = missing()
    if lacking:
        say(f"Skipped, nothing was tested: {lacking}.")
        return False
    ensure_galaxy()
    ensure_tools()
    try:
        names = [_given(image) or ensure_image(image) for image in images]
        podman("run", "--rm", "--net", "none", names[0], "true")
    except LocalGalaxyError as error:
        if os.environ.get("CI"):
            raise
        say(f"Skipped, nothing was tested: this machine cannot run containers.\n{error}")
        return False
    return True


def load_image() -> int:
    """Take an image to test from standard input, as `docker save` writes it; give the exit code."""
    return subprocess.run([str(write_wrapper()), "load"], cwd=ROOT, check=False).returncode


def _given(image: Image) -> str:
    """Return the name of an image that was built elsewhere and is to be tested as it is."""
    if not os.environ.get(GIVEN):
        return ""
    write_wrapper()
    if not podman("images", "--quiet", image.name).strip():
        raise LocalGalaxyError(f"{GIVEN} is set, but {image.name} was not loaded.")
    return image.name


@contextmanager
def alone() -> Iterator[None]:
    """Let no other test of this checkout run containers, and leave none of them behind."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "test.lock").open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another test runs containers: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        podman("rm", "--all", "--force")
        try:
            yield
        finally:
            podman("rm", "--all", "--force", check=False)
