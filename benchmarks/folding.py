"""Folding: time and memory by length, the tool against ColabFold alone, a warm compilation cache.

`.venvs/fold/bin/python -m benchmarks.folding lengths|tool|cache`, with stand-in weights, which cost
what real ones cost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpulab.fold.programs import colabfold
from gpulab.fold.queries import RESIDUES
from gpulab.testing.fold_weights import stand_in_weights

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / ".galaxy" / "fold" / "weights"
TOOL = ROOT / "tools" / "colabfold" / "colabfold_batch.py"
TOOK = re.compile(r"took ([\d.]+)s")


@dataclass
class Run:
    """One program: seconds by the clock, seconds of processor time, memory in MiB, its output."""

    wall: float
    cpu: float
    memory: float
    output: str


def sequence(length: int) -> str:
    """Return a random protein; the same length gives the same one."""
    return "".join(random.Random(length).choices(RESIDUES, k=length))


def run(command: list[str], cache: Path | None, folder: Path) -> Run:
    """Run a program to its end; `cache` is where JAX keeps what it compiled."""
    env = dict(os.environ, MPLBACKEND="agg")
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_DISABLE_MOST_OPTIMIZATIONS"):
        env.pop(name, None)
    if cache is not None:
        env["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    log = folder / "output.txt"
    began = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    text = log.read_text(errors="replace")
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{text[-2000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def bare(fasta: Path, results: Path, models: int, recycles: int) -> list[str]:
    """Return the command of ColabFold alone."""
    command = [sys.executable, str(colabfold("colabfold_batch")), str(fasta), str(results)]
    command += ["--data", str(WEIGHTS), "--msa-mode", "single_sequence"]
    return [*command, "--num-models", str(models), "--num-recycle", str(recycles)]


def form(fasta: Path, models: int, recycles: int) -> dict[str, Any]:
    """Return the tool's parameters, the form untouched but for models and recycles."""
    return {
        "input": {
            "kind": "fasta",
            "fasta_file": {"element_identifier": fasta.name, "source_path": str(fasta)},
        },
        "weights": {
            "name": "Stand-in", "version": "1", "path": str(WEIGHTS), "licence": "none",
        },
        "templates": {"kind": "none"},
        "model": {
            "model_type": "auto", "num_models": models, "num_recycle": recycles,
            "recycle_early_stop_tolerance": None, "num_seeds": 1, "random_seed": 0,
            "num_ensemble": 1, "rank": "auto", "stop_at_score": 100, "calc_extra_ptm": False,
        },
        "sampling": {"max_msa": "", "use_dropout": False, "disable_cluster_profile": False},
        "relaxation": {"relax": {"kind": "none"}},
        "speed": {"use_fast_kernels": False, "recompile_padding": 10},
        "outputs": ["report", "view", "pictures", "residues", "pae"],
        "save": [],
    }  # fmt: skip


def write_fasta(folder: Path, length: int) -> Path:
    """Write a sequence of a length and return the file."""
    path = folder / f"random_{length}.fasta"
    path.write_text(f">random_{length}\n{sequence(length)}\n")
    return path


def lengths(values: list[int]) -> None:
    """Print seconds and memory of one pass of one network by length."""
    print("| residues | seconds of a pass | processor seconds of the job | MiB |")
    print("| --- | --- | --- | --- |")
    for length in values:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            command = bare(write_fasta(folder, length), folder / "results", 2, 0)
            done = run(command, None, folder)
            # The first network's time holds the compilation, the second's does not.
            seconds = float(TOOK.findall(done.output)[1])
            print(f"| {length} | {seconds:.1f} | {done.cpu:.0f} | {done.memory:.0f} |", flush=True)


def tool(length: int, repeats: int) -> None:
    """Print the tool's time against ColabFold's, in turns, both with a warm cache."""
    rows: dict[str, list[Run]] = {"ColabFold alone": [], "the tool": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fasta, cache = write_fasta(folder, length), folder / "jax"
        params = folder / "params.json"
        params.write_text(json.dumps(form(fasta, 5, 3)))
        shared = dict(os.environ)
        for turn in range(repeats + 1):
            os.environ["GPULAB_JAX_CACHE"] = str(cache)
            ours = [sys.executable, str(TOOL), "--params", str(params)]
            ours += ["--outputs", str(folder / f"ours_{turn}")]
            done = [run(bare(fasta, folder / f"bare_{turn}", 5, 3), cache, folder)]
            done.append(run(ours, None, folder))
            for title, one in zip(rows, done, strict=True):
                # The first turn fills the cache.
                rows[title] += [one] if turn else []
        os.environ.clear()
        os.environ.update(shared)
    print("| program | seconds | processor seconds | MiB |\n| --- | --- | --- | --- |")
    for title, runs in rows.items():
        best = min(runs, key=lambda one: one.cpu)
        print(f"| {title} | {best.wall:.1f} | {best.cpu:.1f} | {best.memory:.0f} |")


def cache(length: int) -> None:
    """Print the first and the second job of one length with a shared compilation cache."""
    print("| job | seconds | processor seconds |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        params = folder / "params.json"
        params.write_text(json.dumps(form(write_fasta(folder, length), 1, 0)))
        os.environ["GPULAB_JAX_CACHE"] = str(folder / "jax")
        for title in ("first", "second"):
            command = [sys.executable, str(TOOL), "--params", str(params)]
            done = run([*command, "--outputs", str(folder / title)], None, folder)
            print(f"| {title} | {done.wall:.1f} | {done.cpu:.1f} |", flush=True)


def main() -> None:
    """Run the part that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("lengths", "tool", "cache"))
    parser.add_argument("--lengths", type=int, nargs="+", default=[50, 100, 200, 400])
    parser.add_argument("--length", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    stand_in_weights(WEIGHTS)
    if arguments.part == "lengths":
        lengths(arguments.lengths)
    elif arguments.part == "tool":
        tool(arguments.length, arguments.repeats)
    else:
        cache(arguments.length)


if __name__ == "__main__":
    main()
