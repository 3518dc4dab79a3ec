"""The variables with which ColabFold runs: threads, and where compiled networks are kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path

from gpulab.models.runtime import thread_count

CACHE_VARIABLE = "GPULAB_JAX_CACHE"


def environment(folder: Path) -> dict[str, str]:
    """Return the variables for ColabFold: few threads, caches of the job or the administrator."""
    threads = str(thread_count())
    result = dict(os.environ)
    result.update(
        {
            "MPLBACKEND": "agg",
            "PYTHONUNBUFFERED": "1",
            "NPROC": threads,
            "OMP_NUM_THREADS": threads,
            "OPENMM_CPU_THREADS": threads,
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
    )
    result["JAX_COMPILATION_CACHE_DIR"] = str(cache_folder(folder))
    return result


def cache_folder(folder: Path) -> Path:
    """Return where JAX keeps compiled networks: the administrator's folder, else one of the job."""
    own = folder.parent / "jax_cache"
    shared = os.environ.get(CACHE_VARIABLE) or os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if not shared:
        return own
    target = Path(shared) / machine_name()
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError:
        return own
    return target if os.access(target, os.W_OK) else own


def machine_name() -> str:
    """Return a name for this processor and these versions, which alone can use compiled code."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.is_file() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    versions = [importlib.metadata.version(name) for name in ("jaxlib", "colabfold")]
    digest = hashlib.sha256("\n".join([platform.machine(), flags, *versions]).encode())
    return f"{platform.machine()}-{digest.hexdigest()[:12]}"
