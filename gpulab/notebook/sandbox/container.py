"""Whether this job has a container of its own, and how closed that is: measured, not believed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpulab.notebook.sandbox.processes import all_processes

# Made by the container's engine at the top of the file system, where no user can write.
MARKERS = (
    "/run/.containerenv",
    "/.dockerenv",
    "/.singularity.d",
    "/run/systemd/container",
    "/run/secrets/kubernetes.io",
)
_HARMLESS = frozenset(
    {"proc", "sysfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "tmpfs", "ramfs"}
)
_MANY_CAPABILITIES = 21  # the number of CAP_SYS_ADMIN


@dataclass(frozen=True)
class Container:
    """What holds in the container in which this process runs.

    Attributes:
        alone: No process is seen but those of this job.
        interfaces: Network interfaces that are up, besides the loopback one.
        root_writable: Whether anything could be written at the top of the file system.
        writable: Folders of the outside that are mounted so that they can be written.
        capabilities: The mask of capabilities that a program can ever get.
        privileges_locked: Whether programs with the setuid bit gain nothing.
    """

    alone: bool
    interfaces: tuple[str, ...]
    root_writable: bool
    writable: tuple[str, ...]
    capabilities: int
    privileges_locked: bool

    @property
    def closed(self) -> bool:
        """Whether it isolates at least as well as bubblewrap would."""
        return (
            self.alone
            and not self.interfaces
            and not self.root_writable
            and not self.capabilities >> _MANY_CAPABILITIES & 1
        )


def find_container() -> Container | None:
    """Return what holds in this container, None outside of any."""
    if not (any(Path(marker).exists() for marker in MARKERS) or _engine_says_so()):
        return None
    status = _status()
    return Container(
        alone=_alone(),
        interfaces=_interfaces(),
        root_writable=not os.statvfs("/").f_flag & os.ST_RDONLY and os.access("/", os.W_OK),
        writable=_writable_mounts(),
        capabilities=int(status.get("CapBnd", "0"), 16),
        privileges_locked=status.get("NoNewPrivs") == "1",
    )


def _engine_says_so() -> bool:
    """Tell whether the first process was told by its starter that it is in a container.

    Podman puts its marker below /run, which is not there in a container with a read-only root.
    """
    try:
        variables = Path("/proc/1/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(variable.startswith(b"container=") for variable in variables)


def _status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _alone() -> bool:
    """Tell whether every process that is seen belongs to this job.

    Galaxy itself may run in a container, and its jobs beside it: that container isolates nothing
    of Galaxy from a notebook.
    """
    parents = {one.pid: one.parent for one in all_processes()}
    above = set(_way_up(os.getpid(), parents))
    job = {os.getpid(), os.getppid()}
    # Where a system hides other users' processes, nobody can tell.
    return 1 in parents and all(
        process in above or not job.isdisjoint(_way_up(process, parents)) for process in parents
    )


def _way_up(process: int, parents: dict[int, int]) -> Iterator[int]:
    """Yield a process, its parent, and so on."""
    for _ in range(len(parents) + 1):
        yield process
        if process not in parents:
            return
        process = parents[process]


def _interfaces() -> tuple[str, ...]:
    import psutil

    up = (name for name, state in psutil.net_if_stats().items() if state.isup)
    return tuple(sorted(name for name in up if name != "lo"))


def _writable_mounts() -> tuple[str, ...]:
    found: list[str] = []
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        # A place with a blank in its name stands there with \040.
        place = before.split()[4].replace("\\040", " ")
        options = before.split()[5].split(",")
        kind, _, file_system = after.partition(" ")
        read_only = "ro" in options or "ro" in file_system.rpartition(" ")[2].split(",")
        if kind not in _HARMLESS and not read_only and place != "/" and os.access(place, os.W_OK):
            found.append(place)
    return tuple(sorted(set(found)))
