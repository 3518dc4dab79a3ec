"""The environment variables that a notebook sees."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import gpulab

# Everything else of the server stays outside: addresses, keys, passwords, paths.
ALLOWED = frozenset(
    {
        "PATH",
        "LD_LIBRARY_PATH",
        "LANG",
        "LANGUAGE",
        "TZ",
        "GALAXY_SLOTS",
        "GALAXY_MEMORY_MB",
        "GALAXY_MEMORY_MB_PER_SLOT",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMEXPR_MAX_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "KERAS_BACKEND",
        "XLA_FLAGS",
        "TF_CPP_MIN_LOG_LEVEL",
        "TF_DETERMINISTIC_OPS",
        "TF_ENABLE_ONEDNN_OPTS",
        "TF_FORCE_GPU_ALLOW_GROWTH",
        "TF_GPU_ALLOCATOR",
        "TF_NUM_INTEROP_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_XLA_FLAGS",
    }
)
ALLOWED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "XLA_PYTHON_CLIENT_")
_SUSPICIOUS = ("KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL", "AUTH")

# Programs write there what they want to keep, and nothing of it shall outlive the job.
_FOLDERS = {
    "HOME": "home",
    "TMPDIR": "tmp",
    "IPYTHONDIR": "home/.ipython",
    "JUPYTER_CONFIG_DIR": "home/.jupyter",
    "JUPYTER_DATA_DIR": "home/.local/share/jupyter",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "XDG_RUNTIME_DIR": "runtime",
    "XDG_CONFIG_HOME": "home/.config",
    "XDG_DATA_HOME": "home/.local/share",
    "XDG_STATE_HOME": "home/.local/state",
    "XDG_CACHE_HOME": "cache",
    "MPLCONFIGDIR": "cache/matplotlib",
    "NUMBA_CACHE_DIR": "cache/numba",
    "CUDA_CACHE_PATH": "cache/cuda",
    "KERAS_HOME": "cache/keras",
    "TORCH_HOME": "cache/torch",
    "HF_HOME": "cache/huggingface",
    "PYTHONPYCACHEPREFIX": "cache/pycache",
}


def package_parent() -> Path:
    """Return the folder that holds the package gpulab."""
    return Path(gpulab.__file__).parent.parent.absolute()


def kernel_environment(environ: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Return the variables of the kernel, and make the folders that they name.

    Args:
        environ: The variables of the job; only what stands on a short list is taken over.
        scratch: The job's folder for temporary files.
    """
    result = {name: value for name, value in environ.items() if _allowed(name)}
    for name, folder in _FOLDERS.items():
        path = scratch / folder
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        result[name] = str(path)
    # `!python` and `%%bash` shall find the kernel's own Python first.
    path_folders = [str(Path(sys.executable).parent), result.get("PATH") or os.defpath]
    result["PATH"] = os.pathsep.join(path_folders)
    result["PYTHONPATH"] = str(package_parent())
    result["PYTHONNOUSERSITE"] = "1"
    # Libraries ask for the user's name, which the system may not know in a container.
    result["USER"] = result["LOGNAME"] = "notebook"
    result.setdefault("LANG", "C.UTF-8")
    return result


def _allowed(name: str) -> bool:
    if any(word in name.upper() for word in _SUSPICIOUS):
        return False
    return name in ALLOWED or name.startswith(ALLOWED_PREFIXES)
