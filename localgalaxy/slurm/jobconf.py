"""The environments of `deploy/job_conf.yml` that run through Slurm, for a small machine."""

from __future__ import annotations

from typing import Any

from localgalaxy.console import LocalGalaxyError
from localgalaxy.jobconf import deployed, without_container

CPU, LARGE, GPU = "slurm_cpu", "slurm_cpu_large", "slurm_gpu"
# What one job asks for here; 24 h and 16 GB would be accepted as well, but not twice at once.
PROCESSORS = 2
# Folding says before it starts that it has too little where there are less than three.
MEMORY_MB = {CPU: 3500, LARGE: 7000, GPU: 3500}
CARD_TOOL = "unet_predict"


def adapt(config: dict[str, Any], processors: int = PROCESSORS, threads: int = 1) -> dict[str, Any]:
    """Let every job of our tools go through Slurm; what Galaxy does itself stays where it was.

    Args:
        config: The local Galaxy's job configuration.
        processors: For how many each job asks.
        threads: Of the runner. With several it may end a job before its metadata are read, where
            that is not the job's own work (see `small`).
    """
    config["runners"]["slurm"] = {**deployed()["runners"]["slurm"], "workers": threads}
    environments = config["execution"]["environments"]
    for name in [one for one in environments if one != "galaxy"]:
        environments[name] = small(CPU, environments[name], processors)
    environments[LARGE] = small(LARGE, environments["tools"], processors)
    environments[GPU] = small(GPU, environments["tools"], processors)
    config["tools"].append({"id": CARD_TOOL, "environment": GPU})
    return config


def small(name: str, local: dict[str, Any], processors: int) -> dict[str, Any]:
    """Return an environment of the deployed file with less memory, and with local libraries.

    Args:
        name: In the deployed file.
        local: The local Galaxy's environment, which activates a tool's libraries.
        processors: For how many a job asks.
    """
    found = without_container(name)
    for option in ("job_ncpus", "job_--mem", "job_time"):
        if option not in found:
            raise LocalGalaxyError(f"deploy/job_conf.yml asks Slurm in another way: no {option}.")
    found["job_ncpus"] = processors
    found["job_--mem"] = f"{MEMORY_MB[name]}M"
    # The local Galaxy's worker reads the outputs' metadata; in the job it takes ten seconds more.
    found["embed_metadata_in_job"] = False
    first = [one for one in local["env"] if one not in found["env"]]
    found["env"] = first + found["env"]
    return found
