"""Starts the local Galaxy, or joins one that another command of ours has started."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO

from localgalaxy import api, folding, programs, settings
from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.environments import environment
from localgalaxy.paths import (
    DOWNLOADS,
    FOLD,
    GALAXY_VENV,
    LOG,
    LOGIN,
    RUNNING,
    SECRETS,
    STATE,
    private_home,
    shown,
)


@dataclass(frozen=True)
class Galaxy:
    """A running Galaxy of ours."""

    url: str
    admin_key: str
    user_key: str
    pid: int

    def reload_tools(self) -> None:
        """Let Galaxy read the list of tools and every changed tool file again."""
        settings.write_tool_conf()
        api.request(self.url, "/api/configuration/toolbox", key=self.admin_key, method="PUT")


@contextmanager
def running_galaxy(
    adapt: settings.Adapt | None = None, configure: settings.Adapt | None = None
) -> Iterator[Galaxy]:
    """Give a running Galaxy: the one that runs already, or one that ends with this block.

    Args:
        adapt: Changes where a Galaxy that is started runs its jobs.
        configure: Changes the settings of a Galaxy that is started.

    Two locks on files keep commands that run at the same time apart: `owner` is held by the command
    that started Galaxy (and by its keeper), `users` is shared by all that joined, so that the owner
    waits for them before it stops.
    """
    STATE.mkdir(mode=0o700, exist_ok=True)
    deadline = time.monotonic() + programs.START_LIMIT
    with _lock_file("users.lock") as users, _lock_file("owner.lock") as owner:
        while time.monotonic() < deadline:
            if _try_lock(owner, fcntl.LOCK_EX):
                with _own(owner, adapt, configure) as galaxy:
                    yield galaxy
                    _wait_for_others(users)
                return
            running = _read_running()
            if running and api.answers(running.url) and _try_lock(users, fcntl.LOCK_SH):
                running.reload_tools()
                say(f"Using the Galaxy that runs at {running.url}")
                yield running
                return
            time.sleep(1)
    raise LocalGalaxyError(f"Another command's Galaxy neither answers nor ends: see {shown(LOG)}.")


def remove_state() -> None:
    """Remove the database, the datasets and the logs; downloads and stand-in weights stay.

    Raises:
        LocalGalaxyError: Galaxy runs.
    """
    if not STATE.exists():
        return
    with _lock_file("owner.lock") as owner:
        if not _try_lock(owner, fcntl.LOCK_EX):
            raise LocalGalaxyError("Galaxy runs: stop it first.")
        for path in STATE.iterdir():
            if path.is_dir() and path not in (DOWNLOADS, FOLD):
                shutil.rmtree(path)
            elif path.is_file() and path.suffix != ".lock":
                path.unlink()


@contextmanager
def _lock_file(name: str) -> Iterator[IO[str]]:
    with (STATE / name).open("a", encoding="utf-8") as file:
        yield file


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_others(users: IO[str]) -> None:
    """Wait until nobody uses this Galaxy, and let nobody join any more."""
    RUNNING.unlink(missing_ok=True)
    if _try_lock(users, fcntl.LOCK_EX):
        return
    say("Another command still uses this Galaxy: waiting for it (Ctrl-C stops Galaxy at once)")
    fcntl.flock(users, fcntl.LOCK_EX)


def _read_running() -> Galaxy | None:
    try:
        return Galaxy(**json.loads(RUNNING.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def _own(
    owner: IO[str], adapt: settings.Adapt | None, configure: settings.Adapt | None
) -> Iterator[Galaxy]:
    RUNNING.unlink(missing_ok=True)
    port, msa_port = programs.free_ports(2)
    url = f"http://127.0.0.1:{port}"
    folding.prepare()
    config = settings.write_all(url, f"http://127.0.0.1:{msa_port}", adapt, configure)
    variables = environment(
        GALAXY_VENV,
        {
            "GALAXY_CONFIG_FILE": str(config),
            "HOME": str(private_home()),
            # A tracing plugin that comes along would slow down every start of a job.
            "PYDANTIC_DISABLE_PLUGINS": "__all__",
        },
    )
    commands = [
        settings.server_command(port),
        settings.worker_command(),
        folding.server_command(msa_port),
    ]
    with programs.running(
        "Galaxy",
        commands,
        lambda: api.answers(url),
        log=LOG,
        cwd=STATE,
        env=variables,
        # The lock stays held until the last job has ended.
        keep_open=[owner.fileno()],
    ) as pid:
        try:
            yield _introduce(url, pid)
        finally:
            RUNNING.unlink(missing_ok=True)


def _introduce(url: str, pid: int) -> Galaxy:
    secret = json.loads(SECRETS.read_text(encoding="utf-8"))
    key = api.ensure_user(
        url,
        secret["admin_key"],
        email=settings.USER_EMAIL,
        name=settings.USER_NAME,
        password=secret["password"],
    )
    galaxy = Galaxy(url=url, admin_key=secret["admin_key"], user_key=key, pid=pid)
    settings.write_private(RUNNING, json.dumps(asdict(galaxy)))
    login = {
        "address": url,
        "email": settings.USER_EMAIL,
        "password": secret["password"],
        "API key": key,
    }
    settings.write_private(LOGIN, "".join(f"{name}: {value}\n" for name, value in login.items()))
    return galaxy
