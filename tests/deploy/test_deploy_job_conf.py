"""Galaxy's own reader loads deploy/job_conf.yml, and every option is one that Galaxy knows."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import galaxy.jobs
import galaxy.tool_util.deps
import pulsar.client
import pytest
import yaml
from deployed import JOB_CONF
from galaxy.jobs import JobConfiguration
from tpv.commands.test import mock_galaxy

WANTED = {
    "local", "docker_gpu", "singularity_gpu", "slurm_cpu", "slurm_gpu", "pulsar_remote",
    "htcondor_gpu", "kubernetes_pulsar", "notebook_isolated", "tpv_dispatcher",
}  # fmt: skip
# What Galaxy itself takes out of an environment before it comes to parameters.
OF_EVERY_ENVIRONMENT = {"runner", "env", "resubmit", "tags", "id"}
# Galaxy reads it and passes it to nobody.
WITHOUT_EFFECT = {"docker_memory"}
# Clients that come with a cluster and not with Galaxy: a runner may lack these, and no others.
CLIENTS = {"drmaa", "htcondor2", "pykube"}


def load(path: Path) -> JobConfiguration:
    """Return what Galaxy makes of a file; the application around it is TPV's, for dry runs."""
    return mock_galaxy.App(job_conf=str(path), create_model=True).job_config


def raw(path: Path = JOB_CONF) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def problems(configuration: JobConfiguration) -> list[str]:
    """Return what Galaxy would find out when it starts its runners, or with the first job."""
    found = []
    runners = {plugin["id"]: plugin["load"] for plugin in configuration.runner_plugins}
    for name, load_from in runners.items():
        module, _, kind = load_from.partition(":")
        try:
            getattr(importlib.import_module(module), kind)
        except ModuleNotFoundError as error:
            if error.name not in CLIENTS:
                found.append(f"runner {name}: {error}")
        except AttributeError as error:
            found.append(f"runner {name}: {error}")
    known = {*runners, "dynamic"}
    for names in configuration.destinations.values():
        for one in names:
            if one.runner not in known:
                found.append(f"environment {one.id}: unknown runner {one.runner}")
            for again in one.resubmit or []:
                target = again.get("environment")
                if target and target not in configuration.destinations:
                    found.append(f"environment {one.id}: resubmits to unknown {target}")
    return found


def test_galaxy_loads_every_environment():
    configuration = load(JOB_CONF)
    names = set(raw()["execution"]["environments"])
    assert names >= WANTED
    for name in names:
        assert configuration.get_destination(name).id == name
    assert configuration.get_destination(None).id == "local"
    assert problems(configuration) == []


def test_the_notebook_tool_is_sent_to_its_container():
    configuration = load(JOB_CONF)
    (tool,) = configuration.tools["run_jupyter_job"]
    assert tool.destination == "notebook_isolated"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("runner: pulsar_rest", "runner: pulsar_mistyped", "unknown runner pulsar_mistyped"),
        ("runners.htcondor:HTCondorJobRunner", "runners.htcondor:Wrong", "has no attribute"),
        ("runners.htcondor:HTCondorJobRunner", "runners.nothing:Wrong", "No module named"),
    ],
)
def test_what_is_wrong_is_found(tmp_path, old, new, said):
    broken = tmp_path / "job_conf.yml"
    broken.write_text(JOB_CONF.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert any(said in problem for problem in problems(load(broken)))


@cache
def _source() -> str:
    """Return the source of all that reads an environment's parameters."""
    folders = [
        Path(module.__file__ or "").parent
        for module in (galaxy.jobs, galaxy.tool_util.deps, pulsar.client)
    ]
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _spellings(key: str) -> list[str]:
    """Return how code can look for a parameter, as regular expressions."""
    quoted = "[\"']{}[\"']"
    found = [quoted.format(re.escape(key)), rf"\b{re.escape(key)}="]
    for kind in ("docker_", "singularity_"):
        if key.startswith(kind):
            # prop("cmd", …) of a container looks for docker_cmd and singularity_cmd.
            rest = re.escape(key.removeprefix(kind))
            found += [rf'prop\("{rest}"', rf"{{container_type}}_{rest}\b"]
    for kind in ("shell_", "job_"):
        if key.startswith(kind):
            found.append(quoted.format(re.escape(key.removeprefix(kind))))
    return found


def is_known(key: str) -> bool:
    """Tell whether Galaxy or Pulsar looks for this parameter."""
    # What begins with dashes goes to sbatch as it is.
    if key.startswith("job_--"):
        return True
    return any(re.search(spelling, _source()) for spelling in _spellings(key))


def test_every_option_is_known_to_galaxy():
    unknown = []
    for name, environment in raw()["execution"]["environments"].items():
        for key in environment.keys() - OF_EVERY_ENVIRONMENT:
            of_condor = environment["runner"] == "htcondor" and key in _CONDOR
            of_tpv = environment["runner"] == "dynamic" and key in _OF_TPV
            if key in WITHOUT_EFFECT or not (of_condor or of_tpv or is_known(key)):
                unknown.append(f"{name}: {key}")
    assert unknown == []


# Galaxy's runner for HTCondor hands on what it does not know itself; these are HTCondor's commands.
_CONDOR = {"request_cpus", "request_memory", "request_gpus"}
# Galaxy hands parameters of a dynamic environment to the function by their names.
_OF_TPV = {"tpv_config_files"}


@pytest.mark.parametrize("key", ["docker_gpus", "singularity_nv", "k8s_gpus", "job_gres", "nvidia"])
def test_an_invented_option_is_found(key):
    assert not is_known(key)
