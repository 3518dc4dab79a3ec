"""What of the isolation test can be tested without Galaxy and podman."""

from __future__ import annotations

import yaml
from bare_machine import said_on_a_bare_machine

from localgalaxy.paths import ROOT

JOB_CONF = yaml.safe_load((ROOT / "deploy" / "job_conf.yml").read_text())


def test_says_that_nothing_was_tested() -> None:
    said = said_on_a_bare_machine("isolation")
    assert said.startswith("Skipped, nothing was tested: podman and runc and debootstrap")
    assert said.count("\n") == 1


def test_only_the_notebook_tool_goes_to_containers() -> None:
    assert JOB_CONF["tools"] == [{"id": "run_jupyter_job", "environment": "notebook_isolated"}]
    assert JOB_CONF["execution"]["default"] == "local"
    environments = JOB_CONF["execution"]["environments"]
    runners = {one["runner"] for one in environments.values()}
    # Galaxy has the runner of rules without being told.
    assert runners - {"dynamic"} == set(JOB_CONF["runners"])


def test_the_tool_speaks_before_the_container_kills() -> None:
    environment = JOB_CONF["execution"]["environments"]["notebook_isolated"]
    words = environment["docker_run_extra_arguments"].split()
    most = int(words[words.index("--memory") + 1].removesuffix("g")) * 1024
    said = {one["name"]: int(one["value"]) for one in environment["env"]}
    assert 0.9 * most < said["GALAXY_MEMORY_MB"] < 0.98 * most
    assert words[words.index("--memory-swap") + 1] == words[words.index("--memory") + 1]
