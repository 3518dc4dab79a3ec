"""`make test-isolation`: runs hostile notebooks in a real Galaxy whose jobs run in containers."""

from __future__ import annotations

from localgalaxy.containers.images import Image
from localgalaxy.containers.ready import alone, ensure_ready
from localgalaxy.own_galaxy import run_beside

STATE = ".galaxy/isolation"


def run_isolation() -> int:
    """Build the image, start a Galaxy beside the ordinary one, and try to break out.

    Returns:
        The exit code: 0 also where containers cannot be run, which is said.
    """
    if not ensure_ready([Image("notebook")]):
        return 0
    with alone():
        return run_beside("localgalaxy.isolation.run", STATE)
