"""A stand-in for an MSA server that containers without network can reach.

It runs in a container of its own without network. The jobs that search join that container's
network, which has a loopback with this server and no way out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from localgalaxy.console import LocalGalaxyError, step
from localgalaxy.containers.engine import podman
from localgalaxy.containers.images import Image
from localgalaxy.folding import DATABASE
from localgalaxy.paths import CONFIG, ROOT

NAME = "gpulab-msa"
NETWORK = f"container:{NAME}"
PATIENCE = 60.0  # seconds
_ANSWERS = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"


@contextmanager
def running() -> Iterator[None]:
    """Serve at the address that the running Galaxy's table of servers names."""
    port = _port()
    with step("Starting a server for alignments in a container"):
        podman(
            *("run", "--detach", "--rm", "--name", NAME, "--net", "none", "--read-only"),
            *("--tmpfs", "/tmp", "--cap-drop", "ALL", "--env", "PYTHONPATH=/checkout"),  # noqa: S108
            *("--volume", f"{ROOT / 'gpulab'}:/checkout/gpulab:ro"),
            *("--volume", f"{DATABASE}:{DATABASE}:ro", Image("fold").name),
            *("python", "-m", "gpulab.testing.fold_server", str(DATABASE), port),
        )
        _wait(port)
    try:
        yield
    finally:
        podman("rm", "--force", "--time", "1", NAME, check=False)


def _port() -> str:
    row = (CONFIG / "tool-data" / "colabfold_servers.loc").read_text(encoding="utf-8")
    return str(urlsplit(row.split("\t")[2]).port)


def _wait(port: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            podman("exec", NAME, "python", "-c", _ANSWERS, port)
        except LocalGalaxyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return
