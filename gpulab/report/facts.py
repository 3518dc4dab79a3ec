"""What every report says about the run: seed, device, versions, wall time, peak memory."""

from __future__ import annotations

import importlib.metadata
import platform
import resource
import sys
import time
from collections.abc import Iterable

from gpulab import __version__

KIBIBYTE = 1024
MEBIBYTE = 1024**2


def peak_memory_bytes() -> int:
    """Return the largest resident set of this process so far, in bytes (getrusage(2))."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else peak * KIBIBYTE


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each installed package among `packages`, and our own."""
    found = {"gpulab": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


class RunClock:
    """Measures a run from its creation on."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def facts(
        self, *, device: str, packages: Iterable[str], seed: int | None = None
    ) -> dict[str, str]:
        """Return the facts of the run so far, in the order in which a report shows them."""
        facts = {} if seed is None else {"Seed": str(seed)}
        facts["Device"] = device
        facts["Wall time"] = f"{time.perf_counter() - self._start:.1f} s"
        facts["Peak memory"] = f"{peak_memory_bytes() / MEBIBYTE:.0f} MiB"
        named = (f"{name} {version}" for name, version in versions(packages).items())
        facts["Versions"] = ", ".join(named)
        return facts
