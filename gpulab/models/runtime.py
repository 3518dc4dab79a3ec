"""How ONNX Runtime is set up here: devices, threads and its errors."""

from __future__ import annotations

import os
import subprocess
from typing import Any

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


def thread_count() -> int:
    """Return how many threads this job may use: `GALAXY_SLOTS`, else the cores that it may use."""
    slots = os.environ.get("GALAXY_SLOTS", "")
    if slots.isdigit() and int(slots) > 0:
        return int(slots)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def runtime_errors() -> tuple[type[Exception], ...]:
    """Return every kind of exception of ONNX Runtime, which has no common base class."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = (kind for kind in vars(state).values() if isinstance(kind, type))
    return (*(k for k in own if issubclass(k, Exception)), RuntimeError, ValueError)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether ONNX Runtime failed because memory ran out."""
    text = str(error)
    marks = ("Failed to allocate memory", "bad_alloc", "bad allocation", "out of memory")
    return any(mark in text for mark in marks)


def make_session(model: bytes, *, gpu: bool, threads: int) -> Any:
    """Make a session on the GPU where one is usable, else on the CPU.

    Args:
        model: The model; given as bytes, so that it can name no file beside it.
        gpu: False to stay on the CPU.
        threads: Threads on the CPU.

    Returns:
        The `onnxruntime.InferenceSession`.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = [CPU]
    if gpu and CUDA in onnxruntime.get_available_providers():
        # The libraries of NVIDIA's own wheels are found by this call alone.
        onnxruntime.preload_dlls()
        providers = [CUDA, CPU]
    return onnxruntime.InferenceSession(model, options, providers=providers)


def device_name(session: Any, threads: int) -> str:
    """Name the device that a session really uses, in words."""
    if session.get_providers()[0] != CUDA:
        return f"CPU, {threads} thread{'' if threads == 1 else 's'}"
    try:
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "GPU (CUDA)"
    return f"GPU, {answer.stdout.strip().splitlines()[0]}"
