"""The device that trains, and the number format that is fast on it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from gpulab.unet.parallel import device_count

CPU_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
AMPERE = (8, 0)  # first NVIDIA generation with bfloat16 tensor cores
VOLTA = (7, 0)  # first with float16 tensor cores

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def describe_device() -> str:
    """Return the device in words, such as "cuda (NVIDIA A100) × 2" or "cpu (AMD EPYC)"."""
    count = device_count()
    return _describe_first() + (f" × {count}" if count > 1 else "")


def _describe_first() -> str:
    gpu = _tensorflow_gpu()
    if gpu is not None:
        return f"cuda ({gpu.get('device_name', 'unknown GPU')})"
    import keras

    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            return f"{device.platform} ({device.device_kind})"
    return f"cpu ({_cpu_fact('model name') or 'unknown processor'})"


def has_gpu() -> bool:
    """Return whether something faster than the processor trains."""
    return not describe_device().startswith("cpu")


def choose_precision(wanted: str) -> str:
    """Return the Keras dtype policy for the wanted precision.

    "auto" is bfloat16 where the processor or GPU computes in it, float16 on older GPUs that have
    only that, else float32: on processors without such instructions half precision is many times
    slower.
    """
    if wanted != "auto":
        return POLICIES[wanted]
    gpu = _tensorflow_gpu()
    if gpu is not None:
        capability = gpu.get("compute_capability", (0, 0))
        if capability >= AMPERE:
            return POLICIES["bfloat16"]
        return POLICIES["float16" if capability >= VOLTA else "float32"]
    if has_gpu():
        return POLICIES["bfloat16"]
    flags = set((_cpu_fact("flags") or "").split())
    return POLICIES["bfloat16" if flags & CPU_BFLOAT16_FLAGS else "float32"]


def limit_threads(threads: int) -> None:
    """Let TensorFlow compute with no more threads than the job was given.

    It must be called before TensorFlow computes anything; later it changes nothing.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    # TensorFlow refuses the change once it has started, as in a notebook that trains again.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def make_deterministic() -> None:
    """Let this process compute everything in one order, so that the same input gives the same bits.

    It cannot be taken back. JAX takes notice only before it is used for the first time; on
    processors it computes so anyway.
    """
    import keras

    if keras.backend.backend() == "jax":
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
        return
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _tensorflow_gpu() -> dict[str, Any] | None:
    import keras

    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return dict(tf.config.experimental.get_device_details(gpus[0])) if gpus else None


def _cpu_fact(name: str) -> str | None:
    """Return a line of Linux' description of the first processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
