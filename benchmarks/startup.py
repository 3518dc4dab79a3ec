"""What starting the tools costs: imports, the first line of the log, and a whole tiny job.

Each tool's own script runs in a process of its own. The best of the repeats counts. On a machine
with other work look at the processor seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import ROOT, SPLIT, print_machine, print_table, split_form
from benchmarks.resources import BUILD, PREDICT, TRAIN, pictures, predict_form
from gpulab.testing.files import TEST_FILES
from gpulab.testing.forms import build_form

IMPORTED = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
OF_ONE_TOOL = 5  # packages that a row names
HEADER = (
    "tool",
    "--help, s",
    "first line, s",
    "whole job, s",
    "processor seconds",
    "imports, processor or waiting s",
    "most of it",
)


@dataclass(frozen=True)
class Run:
    """Seconds until the first line of the log and until the end, and processor seconds."""

    first_line: float
    whole: float
    processor: float

    def best(self, other: Run) -> Run:
        """Return the smaller of each."""
        return Run(
            min(self.first_line, other.first_line),
            min(self.whole, other.whole),
            min(self.processor, other.processor),
        )


def main() -> None:
    """Print one row for each tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", nargs="+", default=["build", "split", "predict", "train"])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as name:
        jobs = _jobs(Path(name))
        rows = (_row(*jobs[tool], arguments.repeats) for tool in arguments.tools)
        print_table(HEADER, rows)


def _jobs(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Write a tiny job for each tool and return its script and arguments."""
    import gpulab.testing.datasets
    import gpulab.testing.onnx_models  # noqa: F401

    for file in ("part_train.h5", "part_valid.h5", "predict/model_bce.onnx"):
        TEST_FILES[file](folder / Path(file).name)
    train, valid = folder / "part_train.h5", folder / "part_valid.h5"
    training = {
        "training": str(train),
        "validation": str(valid),
        "network": {"base_filters": 2, "depth": 1},
        "optimiser": {"epochs": 1, "batch_size": 8},
    }
    files = {**pictures(folder, 4, 64), "group_table": None}
    predict = predict_form(folder / "model_bce.onnx", valid, 8)
    return {
        "build": (BUILD, _options(folder / "build", {"params": build_form(), "files": files})),
        "split": (SPLIT, _options(folder / "split", {"params": split_form(train)})),
        "predict": (PREDICT, _options(folder / "predict", {"params": predict})),
        "train": (TRAIN, _options(folder / "train", {"params": training})),
    }


def _options(folder: Path, contents: Mapping[str, object]) -> list[str]:
    folder.mkdir()
    options = ["--outputs", str(folder)]
    for option, content in contents.items():
        file = folder / f"{option}.json"
        file.write_text(json.dumps(content))
        options += [f"--{option}", str(file)]
    return options


def _row(script: str, options: list[str], repeats: int) -> tuple[object, ...]:
    help_run, job = _run(script, ["--help"]), _run(script, options)
    for _ in range(repeats - 1):
        help_run, job = help_run.best(_run(script, ["--help"])), job.best(_run(script, options))
    packages = imported_packages(script, options)
    most = (f"{name} {us / 1e6:.2f}" for name, us in packages.most_common(OF_ONE_TOOL))
    return (
        Path(script).stem,
        f"{help_run.whole:.2f}",
        f"{job.first_line:.2f}",
        f"{job.whole:.2f}",
        f"{job.processor:.2f}",
        f"{packages.total() / 1e6:.2f}",
        ", ".join(most),
    )


def _run(script: str, options: list[str]) -> Run:
    command = [sys.executable, str(ROOT / script), *options]
    before, start = os.times(), time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        first = time.perf_counter() - start
        process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{script} failed")
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return Run(first, time.perf_counter() - start, used)


def imported_packages(script: str, options: list[str]) -> Counter[str]:
    """Return the microseconds of a job's imports by package, without those that one drags in.

    Args:
        script: Path of the tool's script below the repository.
        options: Its command line.
    """
    command = [sys.executable, "-X", "importtime", str(ROOT / script), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    total: Counter[str] = Counter()
    for microseconds, module in IMPORTED.findall(done.stderr):
        total[module.partition(".")[0]] += int(microseconds)
    return total


if __name__ == "__main__":
    main()
