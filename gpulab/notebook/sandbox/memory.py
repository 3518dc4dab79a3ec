"""How much memory processes take that the system cannot get back by itself.

That is anonymous memory and files in memory. Pages of ordinary files that are mapped, such as a
large input read with `numpy.memmap`, are not counted: the system drops them when it needs memory.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024
_FIELD = re.compile(rb"^(RssAnon|RssShmem|Pss_Anon|Pss_Shmem):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Use:
    """Memory in bytes: private to processes (anonymous), and mapped files that lie in memory."""

    anonymous: int
    shared: int


def quick_use(processes: Sequence[int]) -> Use:
    """Return an upper bound: what several processes share is counted for each."""
    return _sum(processes, "status", ("RssAnon", "RssShmem"))


def exact_use(processes: Sequence[int]) -> Use:
    """Return the memory with what is shared counted once; slower, the larger the processes are."""
    return _sum(processes, "smaps_rollup", ("Pss_Anon", "Pss_Shmem"))


def _sum(processes: Sequence[int], file: str, names: tuple[str, str]) -> Use:
    anonymous = shared = 0
    for process in processes:
        try:
            text = Path(f"/proc/{process}/{file}").read_bytes()
        except OSError:  # it has ended
            continue
        fields = {name.decode(): int(size) * _KIB for name, size in _FIELD.findall(text)}
        anonymous += fields.get(names[0], 0)
        shared += fields.get(names[1], 0)
    return Use(anonymous, shared)


def unmapped_use(processes: Sequence[int]) -> int:
    """Return the bytes of files in memory that no process need have mapped.

    That is /dev/shm of a sandbox, and files without a name (memfd).
    """
    return _shared_memory(processes) + _nameless(processes)


def _shared_memory(processes: Sequence[int]) -> int:
    with suppress(OSError):
        ours = Path("/dev/shm").stat().st_dev  # noqa: S108
        for process in reversed(processes):
            with suppress(OSError):
                place = Path("/proc", str(process), "root", "dev", "shm")
                if place.stat().st_dev != ours:
                    state = os.statvfs(place)
                    return (state.f_blocks - state.f_bfree) * state.f_frsize
    return 0


def _nameless(processes: Sequence[int]) -> int:
    sizes: dict[tuple[int, int], int] = {}
    for process in processes:
        with suppress(OSError):
            for entry in os.scandir(f"/proc/{process}/fd"):
                with suppress(OSError):
                    if not str(Path(entry.path).readlink()).startswith("/memfd:"):
                        continue
                    status = Path(entry.path).stat()
                    if stat.S_ISREG(status.st_mode):
                        sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())
