"""`make test-slurm`: runs our tools through a real Slurm cluster on this machine."""

from __future__ import annotations

from localgalaxy.console import say
from localgalaxy.environments import ensure_galaxy, ensure_tools
from localgalaxy.own_galaxy import forget, run_beside
from localgalaxy.slurm import cluster

STATE = ".galaxy/slurm"


def run_slurm() -> int:
    """Start a cluster and a Galaxy of its own, and let jobs run, break and run again.

    Returns:
        The exit code: 0 also where Slurm is not installed, which is said.
    """
    lacking = cluster.missing()
    if lacking:
        say(f"Skipped, nothing was tested: {lacking}.")
        return 0
    ensure_galaxy()
    ensure_tools()
    forget(STATE)
    return run_beside("localgalaxy.slurm.run", STATE)
