"""Keeping somebody's code away from everything but its own job.

The kernel alone is untrusted. It runs in a container of its own (the administrator's work, see
`deploy/`), or under bubblewrap, or, where a server's administrator allows it, in the open.
"""

from gpulab.notebook.sandbox.command import kernel_command, place_inputs
from gpulab.notebook.sandbox.ends import End, EndKind, describe_end
from gpulab.notebook.sandbox.environment import kernel_environment
from gpulab.notebook.sandbox.isolation import Isolation, choose_isolation
from gpulab.notebook.sandbox.processes import become_reaper, end_all

__all__ = [
    "End",
    "EndKind",
    "Isolation",
    "become_reaper",
    "choose_isolation",
    "describe_end",
    "end_all",
    "kernel_command",
    "kernel_environment",
    "place_inputs",
]
