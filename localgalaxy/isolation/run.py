"""Tries to break out of the destination of `deploy/job_conf.yml`, in a real Galaxy.

Runs in Galaxy's environment, started by `localgalaxy.isolation.command`.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bioblend.galaxy import GalaxyInstance

from localgalaxy import api, server
from localgalaxy.checks import check
from localgalaxy.containers import jobs
from localgalaxy.containers.engine import podman
from localgalaxy.containers.images import Image
from localgalaxy.isolation.jobs import Lab
from localgalaxy.outcomes import Outcome, conclude, shown_one_by_one
from localgalaxy.paths import CONFIG, LOGIN, ROOT, RUNNING, SECRETS, STATE

SCRIPTS = ROOT / "tests" / "isolation"
TOOLS = {jobs.NOTEBOOK_TOOL: jobs.NOTEBOOK}
# As in the file, but so that a bomb does not take a small machine's memory.
MEMORY_MB = 3072
TOOL_MEMORY_MB = 2500
OTHER = "stranger@localgalaxy.example"
OTHER_TEXT = "what another user measured"


def adapt(config: dict[str, Any]) -> dict[str, Any]:
    """Put the deployed destination into the local Galaxy's job configuration."""
    notebooks = jobs.isolated_environment(MEMORY_MB, TOOL_MEMORY_MB)
    return jobs.put_in(config, {jobs.NOTEBOOK: notebooks}, TOOLS)


def main() -> int:
    """Run every check and return the exit code."""
    outcomes = list(shown_one_by_one(_bare_checks()))
    with server.running_galaxy(adapt) as galaxy:
        lab = Lab(GalaxyInstance(galaxy.url, galaxy.user_key))
        outcomes += shown_one_by_one(_galaxy_checks(galaxy, lab))
    return conclude(outcomes)


def _bare_checks() -> Iterator[Outcome]:
    """The container alone: its limits hold whatever the tool in it does."""
    arguments = shlex.split(jobs.hardened(MEMORY_MB))
    bare = ("run", "--rm", "--net", "none", *arguments, Image("notebook").name, "python", "-c")

    def run(code: str) -> str:
        return podman(*bare, code, check=False)

    def memory() -> str:
        said = run(
            "print('began', flush=True)\nheld = []\n"
            "for _ in range(600): held.append(b'x' * 10**7)\nprint('took it')"
        )
        return "" if said.strip() == "began" else f"it should begin and be killed, it said: {said}"

    def processes() -> str:
        said = run(
            "import os, time\n"
            "for count in range(4000):\n"
            "    try:\n"
            "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
            "    except OSError: break\n"
            "print(count, flush=True); os._exit(0)"
        ).strip()
        return "" if said.isdigit() and 100 < int(said) < 3000 else f"processes started: {said}"

    yield check("container: memory is limited", memory)
    yield check("container: processes are limited", processes)


def _galaxy_checks(galaxy: server.Galaxy, lab: Lab) -> Iterator[Outcome]:
    yield check("a good notebook brings its outputs back", lambda: _good(lab))
    yield from _attempts(galaxy, lab)
    yield check("a memory bomb ends its job", lambda: _bomb(lab, "memory_bomb", "memory"))
    yield check("a fork bomb ends its job", lambda: _bomb(lab, "fork_bomb", "processes"))
    yield check("a cancelled job's container ends", lambda: _cancelled(lab))
    yield check("Galaxy and the next notebook go on", lambda: _good(lab))


def _good(lab: Lab) -> str:
    data = lab.upload("numbers.txt", "1\n2\n3\n")
    job = lab.run(_script("good"), {"data/numbers.txt": data})
    if job.state != "ok":
        return job.explain()
    report = job.output("report")
    files = job.elements("files")
    for text, where in (
        ("container of its own", report),
        ("no network", report),
        ("a read-only root file system", report),
        ("no capabilities", report),
        ("6", files.get("sum.csv", "")),
        ("the sum is 6", job.output("executed")),
    ):
        if text not in where:
            return f"“{text}” is missing in: {where[:2000]} (files: {sorted(files)})"
    return _containers_left()


def _attempts(galaxy: server.Galaxy, lab: Lab) -> Iterator[Outcome]:
    """Let a notebook try everything at once, and look at each attempt."""
    began = time.monotonic()
    targets = _targets(galaxy)
    job = lab.run(_script("break_out"), {"targets.json": lab.upload("t.json", json.dumps(targets))})
    if job.state != "ok":
        yield Outcome("break-out attempts", False, time.monotonic() - began, job.explain())
        return
    text = job.elements("files").get("attempts.json", "{}")
    for name, (state, said) in json.loads(text).items():
        yield Outcome(f"cannot {name}", state == "failed", None, said)
    if len(json.loads(text)) < 20:
        yield Outcome("break-out attempts", False, None, f"too few: {text}")
    changed = [name for name in targets["write"] if (Path(name) / "was-here").exists()]
    intact = Path(targets["other_dataset"]).read_text(encoding="utf-8") == OTHER_TEXT
    yield Outcome(
        "nothing outside was written",
        not changed and intact,
        time.monotonic() - began,
        str(changed),
    )


def _targets(galaxy: server.Galaxy) -> dict[str, Any]:
    """Return what there is to steal here; secrets backwards, so that they are not found in this."""
    secret = json.loads(SECRETS.read_text(encoding="utf-8"))
    key = api.ensure_user(
        galaxy.url, galaxy.admin_key, email=OTHER, name="stranger", password=secret["password"]
    )
    stranger = Lab(GalaxyInstance(galaxy.url, key))
    other = stranger.upload("private.txt", OTHER_TEXT)
    admin = GalaxyInstance(galaxy.url, galaxy.admin_key)
    path = admin.datasets.show_dataset(other)["file_name"]
    return {
        "port": int(galaxy.url.rpartition(":")[2]),
        "other_dataset": path,
        "read": {
            "Galaxy's configuration": str(CONFIG / "galaxy.yml"),
            "Galaxy's job configuration": str(CONFIG / "job_conf.yml"),
            "Galaxy's database": str(STATE / "database.sqlite"),
            "another user's dataset": path,
            "the secrets": str(SECRETS),
            "the login": str(LOGIN),
            "the keys": str(RUNNING),
        },
        "write": [str(ROOT), str(STATE), str(CONFIG), str(Path(path).parent)],
        "backwards": [
            text[::-1] for text in (secret["id_secret"], secret["admin_key"], galaxy.user_key, key)
        ],
    }


def _bomb(lab: Lab, name: str, word: str) -> str:
    job = lab.run(_script(name), {})
    if job.state != "error":
        return f"the job ended in the state {job.state}: {job.explain()}"
    said = job.stdout + job.stderr
    if word not in said:
        return f"the job does not say why it ended: {job.explain()}"
    # Never lose results: what the cells before it printed is there.
    if "before the bomb" not in job.output("executed"):
        return "the executed notebook did not come back"
    return _containers_left()


def _cancelled(lab: Lab) -> str:
    _, job = lab.start(_script("sleep"), {})
    deadline = time.monotonic() + 120
    while not podman("ps", "--quiet").strip():
        if time.monotonic() > deadline:
            return "no container was started"
        time.sleep(0.5)
    time.sleep(5)
    lab.galaxy.jobs.cancel_job(job)
    return _containers_left()


def _containers_left() -> str:
    """Return the containers that are still there, after a moment."""
    deadline = time.monotonic() + 60
    while left := podman("ps", "--all", "--quiet").strip():
        if time.monotonic() > deadline:
            return f"containers are left: {left}"
        time.sleep(1)
    return ""


def _script(name: str) -> str:
    return (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
