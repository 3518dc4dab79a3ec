"""Sends jobs into containers as `deploy/job_conf.yml` does; runs in Galaxy's environment."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from localgalaxy.console import LocalGalaxyError
from localgalaxy.containers.engine import PODMAN
from localgalaxy.folding import COMPILED, VARIABLES
from localgalaxy.jobconf import deployed
from localgalaxy.paths import FOLD

NOTEBOOK_TOOL = "run_jupyter_job"
NOTEBOOK = "notebook_isolated"
OTHERS = "docker_gpu"
GPU = "--gpus all"
# Galaxy's own folders, and what the data tables name; jobs may share what JAX compiled.
VOLUMES = f"$defaults,{FOLD}:ro,{COMPILED}:rw"


def isolated_environment(memory_mb: int, tool_memory_mb: int) -> dict[str, Any]:
    """Return the environment `notebook_isolated` with podman, and less memory.

    Args:
        memory_mb: What a container may take, in MiB.
        tool_memory_mb: What the tool lets a notebook take, in MiB.
    """
    found = _environment(NOTEBOOK)
    found["docker_run_extra_arguments"] = hardened(memory_mb)
    found["env"] = [{"name": "GALAXY_MEMORY_MB", "value": str(tool_memory_mb)}]
    return found


def other_environment(memory_mb: int, slots: int) -> dict[str, Any]:
    """Return the environment `docker_gpu`, without a card and as locked up as the notebooks'.

    Args:
        memory_mb: What a container may take, in MiB.
        slots: The processors of a job.
    """
    found = _environment(OTHERS)
    if GPU not in found["docker_run_extra_arguments"]:
        raise LocalGalaxyError(f"deploy/job_conf.yml asks for a card without “{GPU}”.")
    found["docker_run_extra_arguments"] = hardened(memory_mb)
    found["docker_volumes"] = VOLUMES
    found["local_slots"] = slots
    found |= {f"docker_env_{name}": value for name, value in VARIABLES.items()}
    return found


def put_in(
    config: dict[str, Any], environments: Mapping[str, dict[str, Any]], tools: Mapping[str, str]
) -> dict[str, Any]:
    """Put environments into the local Galaxy's job configuration, and send tools there.

    Args:
        config: The configuration, which is changed and returned.
        environments: What to add.
        tools: The environment of each tool that does not stay where it was, by its id.
    """
    config["runners"]["pulsar_embedded"] = deployed()["runners"]["pulsar_embedded"]
    config["execution"]["environments"] |= environments
    config["tools"] = [one for one in config["tools"] if one.get("id") not in tools]
    config["tools"] += [{"id": tool, "environment": where} for tool, where in tools.items()]
    return config


def _environment(name: str) -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(deployed()["execution"]["environments"][name])
    found["docker_cmd"] = str(PODMAN)
    return found


def hardened(memory_mb: int) -> str:
    """Return the arguments with which a container runs, with its own limit of memory in MiB."""
    arguments: str = _environment(NOTEBOOK)["docker_run_extra_arguments"]
    memory = f"--memory {memory_mb}m --memory-swap {memory_mb}m"
    limited = arguments.replace("--memory 16g --memory-swap 16g", memory)
    if limited == arguments:
        raise LocalGalaxyError("deploy/job_conf.yml sets its limit of memory in another way.")
    # Beside other limits podman sets this one to its most, which not everybody may do.
    return f"{limited} --ulimit nproc=8192:8192"
