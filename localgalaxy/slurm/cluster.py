"""A Slurm cluster on this machine: its own key, folders and ports, and nothing left afterwards."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localgalaxy import programs
from localgalaxy.console import LocalGalaxyError
from localgalaxy.environments import environment

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
# An ordinary user's PATH lacks the folders of the servers.
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
MEMORY_MB = 8000  # of each node; nothing enforces it

# Nodes are servers of one machine, which Debian's Slurm can run. Control groups are often out of
# reach in a container, so a job's processes are found by their parents, and no memory is enforced.
# Without the options of the communication each server would listen on every address.
SETTINGS = """\
ClusterName=gpulab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
SlurmdParameters=config_overrides
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
ReturnToService=2
KillWait=5
MinJobAge=3600
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/finished.txt
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
    " CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN\n"
)
PARTITION = "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
# Slurm counts cards and asks nothing of the file, so a request is accepted without a card.
CARD = "NodeName={name} Name=gpu File=/dev/null\n"


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """The variables with which Slurm's programs find this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(self, *command: str) -> str:
        """Run one of Slurm's programs and return what it printed.

        Raises:
            LocalGalaxyError: It failed.
        """
        done = subprocess.run(
            command,
            env=environment(extra=self.variables),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LocalGalaxyError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
        return done.stdout

    def show(self, job: str) -> dict[str, str]:
        """Return what Slurm says about a job that it still remembers."""
        return _pairs(self.run("scontrol", "--oneliner", "show", "job", job))

    def finished(self) -> dict[str, dict[str, str]]:
        """Return what Slurm recorded about each job that has ended, by the job's number."""
        path = self.folder / "finished.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return {pairs["JobId"]: pairs for pairs in map(_pairs, lines)}


def missing() -> str:
    """Return what this machine lacks to run a cluster, nothing when it has all."""
    lacking = [name for name in NEEDED if _program(name) is None]
    if not lacking:
        return ""
    return f"{', '.join(lacking)} is not here; `apt-get install slurm-wlm munge` brings it"


@contextmanager
def running_cluster(logs: Path, *, nodes: int = 2, cpus: int = 2) -> Iterator[Cluster]:
    """Give a cluster that ends with this block, and its jobs with it.

    Args:
        logs: An existing folder for the servers' logs.
        nodes: How many; all are this machine.
        cpus: What each says to have; more than there are is allowed.
    """
    # Sockets have short names at the most, so their folder cannot be below the checkout.
    with tempfile.TemporaryDirectory(prefix="gpulab-slurm-") as name:
        folder = Path(name)
        names = [f"n{number}" for number in range(1, nodes + 1)]
        _write_settings(folder, names, cpus)
        cluster = Cluster(folder)
        variables = environment(extra={**cluster.variables, "PATH": SEARCH})
        munge = [["munged", "--foreground", "--force", *_munge_files(folder, logs)]]
        socket_file = folder / "munge.sock"
        servers = [["slurmctld", "-D"], *(["slurmd", "-D", "-N", node] for node in names)]
        with (
            programs.running(
                "munge",
                munge,
                socket_file.exists,
                log=logs / "munged.out",
                cwd=folder,
                env=variables,
            ),
            programs.running(
                f"Slurm with {nodes} nodes of {cpus} processors",
                servers,
                lambda: _ready(cluster, nodes),
                log=logs / "slurm.out",
                cwd=folder,
                env=variables,
            ),
        ):
            yield cluster


def _program(name: str) -> str | None:
    return shutil.which(name, path=SEARCH)


def _ready(cluster: Cluster, nodes: int) -> bool:
    try:
        states = cluster.run("sinfo", "--noheader", "--Node", "--format=%T").split()
    except LocalGalaxyError:
        return False
    return states == ["idle"] * nodes


def _write_settings(folder: Path, names: list[str], cpus: int) -> None:
    host = socket.gethostname().partition(".")[0]
    controller, *ports = programs.free_ports(len(names) + 1)
    text = SETTINGS.format(
        host=host, controller_port=controller, user=getpass.getuser(), folder=folder
    )
    for name, port in zip(names, ports, strict=True):
        text += NODE.format(name=name, host=host, port=port, cpus=cpus, memory=MEMORY_MB)
        (folder / name).mkdir()
    (folder / "state").mkdir()
    (folder / "slurm.conf").write_text(text + PARTITION, encoding="utf-8")
    cards = "".join(CARD.format(name=name) for name in names)
    (folder / "gres.conf").write_text(cards, encoding="utf-8")


def _munge_files(folder: Path, logs: Path) -> list[str]:
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    return [
        f"--key-file={key}",
        f"--socket={folder / 'munge.sock'}",
        f"--pid-file={folder / 'munge.pid'}",
        f"--seed-file={folder / 'munge.seed'}",
        f"--log-file={logs / 'munged.log'}",
    ]


def _pairs(line: str) -> dict[str, str]:
    """Return the `name=value` parts of a line."""
    return dict(part.split("=", 1) for part in line.split() if "=" in part)
