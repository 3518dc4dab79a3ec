"""The environment of `deploy/job_conf.yml` that runs on a remote Pulsar, for this machine's one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from localgalaxy.jobconf import deployed, without_container
from localgalaxy.paths import UNET_VENV
from localgalaxy.pulsar.server import Pulsar
from localgalaxy.settings import TOOL_VENVS, Adapt

REMOTE = "pulsar_remote"


def adapt_to(pulsar: Pulsar) -> Adapt:
    """Return what sends every job of our tools to this Pulsar."""

    def adapt(config: dict[str, Any]) -> dict[str, Any]:
        given = deployed()
        runner = given["execution"]["environments"][REMOTE]["runner"]
        config["runners"][runner] = given["runners"][runner]
        venvs = {"tools": UNET_VENV, **{venv.name: venv for venv in TOOL_VENVS.values()}}
        for name, venv in venvs.items():
            config["execution"]["environments"][name] = _remote(pulsar, venv)
        return config

    return adapt


def _remote(pulsar: Pulsar, venv: Path) -> dict[str, Any]:
    """Return the deployed environment with this server's address and a tool's libraries."""
    found = without_container(REMOTE)
    found["url"] = pulsar.url
    found["private_token"] = pulsar.token
    activate = shlex.quote(str(venv / "bin" / "activate"))
    found["env"] = [{"execute": f". {activate}"}]
    return found
