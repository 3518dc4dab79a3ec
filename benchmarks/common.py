"""What every benchmark prints about the machine, and tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.testing.forms import split_by_fraction

ROOT = Path(__file__).parents[1]
SPLIT = "tools/h5_dataset/h5_dataset_split.py"

# The tool's own script runs in the child; a wait for it tells its processor seconds and its largest
# resident set in KiB.
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
sys.stderr.buffer.write(done.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(done.returncode)
"""

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def print_machine() -> None:
    """Print the device, the number of processors and the versions."""
    from gpulab.report.facts import versions
    from gpulab.unet.device import describe_device

    named = versions(("tensorflow-cpu", "tensorflow", "keras", "onnxruntime", "numpy"))
    print(f"{describe_device()}, {len(os.sched_getaffinity(0))} processors")
    print(", ".join(f"{name} {version}" for name, version in named.items()), "\n")


@dataclass(frozen=True)
class ToolRun:
    """What a tool's run took, by the clock and in processor seconds, and its peak memory."""

    seconds: float
    processor_seconds: float
    mib: float


def run_tool(
    folder: Path,
    script: str,
    params: Mapping[str, object],
    more: Mapping[str, object] | None = None,
) -> ToolRun:
    """Run a tool's script as a process of its own; its outputs lie in `folder`/outputs.

    Args:
        folder: A folder for parameters and outputs.
        script: Path of the script below the repository.
        params: The form.
        more: Other JSON files of the script, by the name of their option.
    """
    command = [sys.executable, str(ROOT / script), "--outputs", str(folder / "outputs")]
    for option, content in {"params": params, **(more or {})}.items():
        file = folder / f"{option}.json"
        file.write_text(json.dumps(content))
        command += [f"--{option}", str(file)]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stderr[-2000:]}")
    processor_seconds, kib = done.stdout.split()
    return ToolRun(seconds, float(processor_seconds), int(kib) / 1024)


def split_form(path: Path) -> dict[str, object]:
    """Return the form of h5_dataset_split as it is untouched, for a part."""
    return {"dataset": str(path), "seed": 42, "split": split_by_fraction()}


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
    print()
