"""What a fold costs, before it starts: memory and time by length, and refusing what cannot work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpulab.errors import InputError
from gpulab.fold.options import MAX_STRUCTURES, FoldOptions
from gpulab.fold.run_input import Job

# Fitted to `benchmarks.folding lengths` for 50 to 300 residues, see docs/performance_folding.md:
# memory of ColabFold on a CPU is a constant, and bytes for each pair of residues.
CPU_BASE_MIB = 3150
CPU_PAIR_BYTES = 8000
# Seconds of a pass on two free cores, without an alignment, are this times residues to a power.
CPU_PASS_SECONDS = 7.6e-5
CPU_PASS_POWER = 2.4
# ColabFold's README: about 2000 residues on a GPU of 16 GB.
GPU_PAIR_BYTES = 4000
MIB = 1 << 20
GIB_IN_MIB = 1024
WORTH_TELLING_HOURS = 2.0
DEFAULT_RECYCLES = 3
MULTIMER_RECYCLES = 20  # at most: the structure mostly settles earlier


@dataclass(frozen=True)
class Machine:
    """What the job has.

    Attributes:
        memory: Memory in MiB.
        gpu_memory: Memory of the GPU in MiB; 0 without a GPU.
    """

    memory: float
    gpu_memory: float = 0

    @classmethod
    def here(cls) -> Machine:
        """Return this machine: Galaxy's promise of memory, else what there is."""
        promised = os.environ.get("GALAXY_MEMORY_MB", "")
        if promised.isdigit() and int(promised) > 0:
            return cls(float(promised), gpu_memory())
        import psutil

        return cls(psutil.virtual_memory().total / MIB, gpu_memory())


def gpu_memory() -> float:
    """Return the memory in MiB of the smallest NVIDIA GPU that the job may use; 0 without one."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "unset") in ("", "-1"):
        return 0
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return min(float(line) for line in done.stdout.split())
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def memory_needed(length: int) -> float:
    """Return the memory in MiB that folding `length` residues takes on a CPU."""
    return CPU_BASE_MIB + CPU_PAIR_BYTES * length**2 / MIB


def gpu_memory_needed(length: int) -> float:
    """Return the memory in MiB that folding `length` residues takes on a GPU."""
    return GPU_PAIR_BYTES * length**2 / MIB


def cpu_hours(jobs: Sequence[Job], options: FoldOptions) -> float:
    """Return the hours that the fold takes on two cores, at least: alignments take more."""
    seconds = 0.0
    for job in jobs:
        default = DEFAULT_RECYCLES
        if "multimer_v3" in options.model_type_of(is_complex=job.is_complex):
            default = MULTIMER_RECYCLES
        recycles = default if options.recycles is None else options.recycles
        passes = options.models * options.seeds * (1 + recycles)
        seconds += passes * CPU_PASS_SECONDS * job.length**CPU_PASS_POWER
    return seconds / 3600


def check_size(
    jobs: Sequence[Job], options: FoldOptions, machine: Machine | None = None
) -> tuple[list[Job], list[str]]:
    """Mark the queries that cannot fit into memory, and tell what will be slow.

    Args:
        jobs: The queries.
        options: What the user chose.
        machine: What the job has; by default this machine.

    Returns:
        The queries, some with a problem now, and sentences for the log and the report.

    Raises:
        InputError: More structures are asked for than one job may make, or no query fits.
    """
    machine = machine or Machine.here()
    structures = options.models * options.seeds * sum(not job.problem for job in jobs)
    if structures > MAX_STRUCTURES:
        raise InputError(
            f"{structures} structures are asked for (queries × models × seeds), choose fewer seeds "
            f"or queries: a job makes at most {MAX_STRUCTURES}"
        )
    checked = [replace(job, problem=job.problem or _memory_problem(job, machine)) for job in jobs]
    good = [job for job in checked if not job.problem]
    if not good:
        raise InputError(checked[0].problem)
    notes = []
    for job in good:
        needed = gpu_memory_needed(job.length)
        if machine.gpu_memory and needed > machine.gpu_memory:
            notes.append(
                f"The query {job.label[:80]!r} needs about {needed / GIB_IN_MIB:.0f} GiB and the "
                f"GPU has {machine.gpu_memory / GIB_IN_MIB:.0f}: the rest goes into the machine's "
                "memory, which is slow"
            )
    hours = cpu_hours(good, options)
    if not machine.gpu_memory and hours > WORTH_TELLING_HOURS:
        notes.append(
            f"Without a GPU this takes about {hours:.0f} hours on two cores, or more with deep "
            "alignments: ask for a GPU, or choose fewer models or recycles"
        )
    return checked, notes


def _memory_problem(job: Job, machine: Machine) -> str:
    # A GPU that is too small borrows the machine's memory.
    needed = gpu_memory_needed(job.length) if machine.gpu_memory else memory_needed(job.length)
    available = machine.memory + machine.gpu_memory
    if needed <= available:
        return ""
    return (
        f"The query {job.label[:80]!r} with {job.length} residues needs about "
        f"{needed / GIB_IN_MIB:.0f} GiB of memory and the job has {available / GIB_IN_MIB:.0f}, "
        "cut it into domains or ask the administrator for more memory"
    )
