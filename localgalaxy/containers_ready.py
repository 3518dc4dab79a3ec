"""What the tests in containers share: whether this machine can run them, and one at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.containers_engine import FOLDER, missing, podman
from localgalaxy.environments import ensure_galaxy, ensure_tools
from localgalaxy.images import Image, ensure_image


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
        names = [ensure_image(image) for image in images]
        podman("run", "--rm", "--net", "none", names[0], "true")
    except LocalGalaxyError as error:
        if os.environ.get("CI"):
            raise
        say(f"Skipped, nothing was tested: this machine cannot run containers.\n{error}")
        return False
    return True


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
