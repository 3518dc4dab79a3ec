"""Reads `deploy/job_conf.yml`, so that a test runs what an administrator copies."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from localgalaxy.paths import ROOT

JOB_CONF = ROOT / "deploy" / "job_conf.yml"


# Where a test has the tools' libraries in environments, as the images may not be there.
_OF_CONTAINERS = ("docker_", "singularity_", "require_container")


def without_container(name: str) -> dict[str, Any]:
    """Return a copy of an environment of `deploy/job_conf.yml` without what is about containers."""
    found: dict[str, Any] = copy.deepcopy(deployed()["execution"]["environments"][name])
    return {
        option: value for option, value in found.items() if not option.startswith(_OF_CONTAINERS)
    }


def deployed() -> dict[str, Any]:
    """Return what is in `deploy/job_conf.yml`."""
    content: dict[str, Any] = yaml.safe_load(JOB_CONF.read_text(encoding="utf-8"))
    return content
