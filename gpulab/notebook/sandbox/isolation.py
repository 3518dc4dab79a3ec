"""Choosing how a notebook is kept apart, and saying it in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gpulab.errors import InputError
from gpulab.notebook.sandbox.bubblewrap import Bubblewrap, find_bubblewrap
from gpulab.notebook.sandbox.container import Container, find_container
from gpulab.notebook.sandbox.visible import READABLE_VARIABLE

ALLOW_VARIABLE = "GPULAB_ALLOW_UNISOLATED"


@dataclass(frozen=True)
class Isolation:
    """How a notebook is kept away from everything but its own job.

    Attributes:
        kind: `bubblewrap`, `container` (the job's own), or `open` (not at all).
        bubblewrap: The sandbox, for the kind `bubblewrap`.
        container: What was measured, for the kind `container`.
        reason: Why there is no sandbox, for the kind `open`.
    """

    kind: Literal["bubblewrap", "container", "open"]
    bubblewrap: Bubblewrap | None = None
    container: Container | None = None
    reason: str = ""

    def sentences(self) -> list[str]:
        """Return, as Markdown for the report, what holds and what does not."""
        if self.bubblewrap is not None:
            return _of_bubblewrap(self.bubblewrap)
        if self.container is not None:
            return _of_container(self.container)
        danger = (
            "**The notebook was not isolated: its code had the network and every file that the"
            " server's job user can read.**"
        )
        allowed = f"The administrator of this server allowed it (`{ALLOW_VARIABLE}`)"
        return [f"{danger} {allowed}, because {self.reason}."]


def choose_isolation(environ: Mapping[str, str]) -> Isolation:
    """Return the strongest isolation that works here.

    A container that is the job's own and closed, else bubblewrap that was tried, else a container
    that is the job's own, else nothing if the administrator allows that.

    Args:
        environ: The variables of the *job*, which users of Galaxy cannot set.

    Raises:
        InputError: A notebook cannot be isolated; the sentence is for the administrator.
    """
    container = find_container()
    if container is not None and container.closed:
        return Isolation("container", container=container)
    found = find_bubblewrap(environ, environ.get(READABLE_VARIABLE, ""))
    if isinstance(found, Bubblewrap):
        return Isolation("bubblewrap", bubblewrap=found)
    if container is not None and container.alone:
        return Isolation("container", container=container)
    if environ.get(ALLOW_VARIABLE) == "1":
        return Isolation("open", reason=found)
    raise InputError(
        "This server cannot run a notebook because it cannot isolate it: the job has no container "
        f"of its own, and {found}; the administrator should send run_jupyter_job to containers as "
        "in deploy/job_conf.yml, or install bubblewrap and allow user namespaces"
    )


def _of_bubblewrap(found: Bubblewrap) -> list[str]:
    held = (
        "without network, with a read-only view of Python and the system's programs alone, and with"
        " nothing to write but its own job's folders"
    )
    sentences = [
        f"The notebook ran under {found.version}: {held}.",
        "The kernel of the operating system is shared with the server.",
    ]
    if not found.forbids_namespaces:
        sentences.append("User namespaces could not be forbidden inside.")
    return sentences


def _of_container(found: Container) -> list[str]:
    good: list[str] = []
    bad: list[str] = []
    if found.interfaces:
        names = ", ".join(found.interfaces)
        bad.append(f"**The container has a network** (interfaces: {names}).")
    else:
        good.append("no network")
    if found.root_writable:
        bad.append("**The container's root file system can be written.**")
    else:
        good.append("a read-only root file system")
    if found.capabilities:
        bad.append(f"Programs in the container can get capabilities (mask {found.capabilities:x}).")
    else:
        good.append("no capabilities")
    if found.privileges_locked:
        good.append("no way to gain privileges")
    held = f" with {', '.join(good)}" if good else ""
    sentences = [f"The notebook ran in a container of its own{held}, as measured inside."]
    if found.writable:
        places = ", ".join(f"`{place}`" for place in found.writable)
        sentences.append(f"Mounted so that the job can write: {places}.")
    return [*sentences, *bad]
