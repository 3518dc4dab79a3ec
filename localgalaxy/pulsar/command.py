"""`make test-pulsar`: runs our tools on a remote Pulsar that shares no file with Galaxy."""

from __future__ import annotations

from localgalaxy.console import say
from localgalaxy.environments import ensure_galaxy, ensure_pulsar, ensure_tools
from localgalaxy.own_galaxy import forget, run_beside
from localgalaxy.pulsar.server import hides_files

STATE = ".galaxy/pulsar"


def run_pulsar() -> int:
    """Start a Pulsar and a Galaxy of its own, and let jobs run, break and run again.

    Returns:
        The exit code.
    """
    ensure_galaxy()
    ensure_tools()
    ensure_pulsar()
    if not hides_files():
        say("bwrap does not run here: Galaxy's files are not hidden, the jobs' paths are checked.")
    forget(STATE)
    return run_beside("localgalaxy.pulsar.run", STATE)
