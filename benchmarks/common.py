"""What every benchmark prints about the machine, and tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def print_machine() -> None:
    """Print the device, the number of processors and the versions."""
    from gpulab.report.facts import versions
    from gpulab.unet.device import describe_device

    named = versions(("tensorflow-cpu", "tensorflow", "keras", "onnxruntime", "numpy"))
    print(f"{describe_device()}, {len(os.sched_getaffinity(0))} processors")
    print(", ".join(f"{name} {version}" for name, version in named.items()), "\n")


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
    print()
