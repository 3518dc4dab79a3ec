"""The kernel as Jupyter sees it: our own kernel specification, and sockets that need no network."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpulab.notebook.inputs import OUTPUTS_FOLDER
from gpulab.notebook.sandbox import (
    Isolation,
    kernel_command,
    kernel_environment,
    place_inputs,
)
from gpulab.notebook.source import KERNEL_NAME

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

# The path of a socket has at most 107 bytes (unix(7)), and Galaxy's folders may be deep.
LONGEST_FOLDER = 60
KERNEL = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
# What is typed is nobody's business after the job, and SQLite's file would lie in the folder.
KERNEL_OPTIONS = ["--HistoryManager.enabled=False"]


@dataclass(frozen=True)
class Folders:
    """Where a job works.

    Attributes:
        parent: Holds the two others.
    """

    parent: Path

    @property
    def work(self) -> Path:
        """The notebook's folder."""
        return self.parent / "notebook"

    @property
    def scratch(self) -> Path:
        """Home, temporary files and caches of the kernel."""
        return self.parent / "scratch"

    @property
    def captured(self) -> Path:
        """Where the kernel writes variables and models."""
        return self.scratch / "captured"


def make_folders(parent: Path) -> Folders:
    """Make new, empty folders below `parent`, which is emptied."""
    folders = Folders(parent.resolve())
    shutil.rmtree(parent, ignore_errors=True)
    folders.scratch.mkdir(parents=True)
    (folders.work / OUTPUTS_FOLDER).mkdir(parents=True)
    return folders


@contextmanager
def kernel_manager(
    isolation: Isolation,
    folders: Folders,
    inputs: Mapping[str, Path],
    environ: Mapping[str, str],
) -> Iterator[tuple[AsyncKernelManager, dict[str, str]]]:
    """Give the manager of a kernel that has not been started, and the kernel's environment.

    Args:
        isolation: How the kernel is kept apart.
        folders: Where it works.
        inputs: Path in the notebook's folder → dataset.
        environ: The job's environment, of which the kernel gets what is allowed.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    place_inputs(isolation, folders.work, inputs)
    environment = kernel_environment(environ, folders.scratch)
    with tempfile.TemporaryDirectory(prefix="gpulab-", dir=_short_folder()) as private:
        # The specification says how the kernel is isolated: it must not be within its reach.
        sockets, specs = Path(private) / "s", Path(private) / "specs"
        sockets.mkdir()
        (specs / KERNEL_NAME).mkdir(parents=True)
        argv = kernel_command(
            isolation,
            [*KERNEL, *KERNEL_OPTIONS],
            work=folders.work,
            scratch=folders.scratch,
            sockets=sockets,
            inputs=inputs,
            environment=environment,
        )
        spec = {
            "argv": argv,
            "display_name": "Python 3",
            "language": "python",
            # A signal would reach the sandbox's own process instead of the kernel.
            "interrupt_mode": "message",
        }
        (specs / KERNEL_NAME / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        manager = AsyncKernelManager(
            kernel_name=KERNEL_NAME,
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(specs)]),
            connection_file=str(sockets / "kernel.json"),
            transport="ipc",
            ip=str(sockets / "k"),
        )
        yield manager, environment


def _short_folder() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) <= LONGEST_FOLDER else "/tmp"  # noqa: S108
