"""`make system`: installs the Debian packages that the tests of containers and Slurm run.

Nothing of the tools needs them. A test that misses one says so and passes, so a machine where they
cannot be installed tests less and does not fail.
"""

from __future__ import annotations

import os
import shutil

from localgalaxy.console import say, step
from localgalaxy.environments import environment, run_quietly

# The program by which a package is known to be there, and the package.
PACKAGES = {
    "podman": "podman",
    "runc": "runc",
    "debootstrap": "debootstrap",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
}
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")  # where an ordinary user's PATH does not look


def missing_packages() -> list[str]:
    """Return the packages whose programs are not there."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    return [package for name, package in PACKAGES.items() if shutil.which(name, path=path) is None]


def install_packages() -> int:
    """Install what is missing where that is possible; else say in a sentence what is missing.

    Raises:
        LocalGalaxyError: apt-get failed.
    """
    wanted = missing_packages()
    if not wanted:
        say("Everything that the tests of containers and Slurm run is there.")
        return 0
    command = f"apt-get install {' '.join(wanted)}"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        say(f"Not installed, tests that need it will say so: {command} (as root, on Debian).")
        return 0
    variables = environment(extra={"DEBIAN_FRONTEND": "noninteractive"})
    with step(f"Installing {', '.join(wanted)}"):
        run_quietly(["apt-get", "update", "-qq"], variables)
        options = ["--yes", "-qq", "--no-install-recommends"]
        run_quietly(["apt-get", "install", *options, *wanted], variables)
    return 0
