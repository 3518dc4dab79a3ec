"""A Pulsar server that shares no file with Galaxy: own process, own folder, own environment."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localgalaxy import programs
from localgalaxy.environments import environment
from localgalaxy.keeper import descendants
from localgalaxy.paths import PULSAR_VENV, ROOT, VENVS
from localgalaxy.settings import write_private

CONCURRENT_JOBS = 2
BEFORE_START = ROOT / "deploy" / "pulsar_before_start.sh"


@dataclass(frozen=True)
class Pulsar:
    """A Pulsar server that may be started, killed and started again."""

    folder: Path
    log: Path
    port: int
    token: str

    @property
    def url(self) -> str:
        """Where Galaxy finds it."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def staging(self) -> Path:
        """The folder below which each job has its own."""
        return self.folder / "staging"

    @contextmanager
    def running(self) -> Iterator[int]:
        """Keep the server running and give its keeper's process id."""
        server = [
            str(PULSAR_VENV / "bin" / "gunicorn"),
            f"pulsar.web.wsgi:init_webapp(app_conf_path='{self.folder / 'app.yml'}')",
            *("--bind", f"127.0.0.1:{self.port}"),
            # Several processes would each look after all jobs.
            *("--workers", "1", "--worker-class", "gthread", "--threads", "8"),
            # Galaxy sends a job's command line and environment as a part of the address.
            *("--limit-request-line", "0"),
            *("--timeout", "600", "--no-control-socket"),
        ]
        subprocess.run([str(BEFORE_START), str(self.staging)], check=True)
        variables = environment(PULSAR_VENV, {"HOME": str(self.folder / "home")})
        with programs.running(
            "Pulsar",
            [self._alone() + server],
            self._answers,
            log=self.log,
            cwd=self.folder,
            env=variables,
        ) as keeper:
            yield keeper

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _alone(self) -> list[str]:
        """Return the words that hide this checkout from Pulsar and its jobs, where that works."""
        if not hides_files():
            return []
        return [
            *("bwrap", "--die-with-parent", "--bind", "/", "/", "--dev-bind", "/dev", "/dev"),
            *("--tmpfs", str(ROOT), "--ro-bind", str(VENVS), str(VENVS)),
            *("--bind", str(self.folder), str(self.folder)),
        ]


def hides_files() -> bool:
    """Tell whether Pulsar can be kept from seeing Galaxy's files."""
    if shutil.which("bwrap") is None:
        return False
    command = ["bwrap", "--bind", "/", "/", "--tmpfs", str(ROOT), "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def crash(keeper: int) -> None:
    """End a server and its jobs at once, as a power cut does."""
    # Parents first: none of them shall record how its child ended.
    for process in descendants(keeper):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


@contextmanager
def new_pulsar(log: Path) -> Iterator[Pulsar]:
    """Give a Pulsar that is not running yet, in a folder that ends with this block.

    Args:
        log: The file that gets what it prints.
    """
    with tempfile.TemporaryDirectory(prefix="gpulab-pulsar-") as name:
        folder = Path(name)
        (port,) = programs.free_ports(1)
        pulsar = Pulsar(folder, log, port, secrets.token_hex(24))
        (folder / "home").mkdir()
        settings = {
            "private_token": pulsar.token,
            "staging_directory": str(pulsar.staging),
            "persistence_directory": str(folder / "persisted"),
            "managers": {
                "_default_": {"type": "queued_python", "num_concurrent_jobs": CONCURRENT_JOBS}
            },
            "conda_auto_init": False,
            "conda_auto_install": False,
            "tool_dependency_dir": "none",
        }
        write_private(folder / "app.yml", json.dumps(settings))
        yield pulsar
