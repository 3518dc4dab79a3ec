"""What of the machine a notebook can see under bubblewrap: what Python needs, and no more."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gpulab.errors import InputError
from gpulab.notebook.sandbox.environment import package_parent

# Not all of /usr: servers keep their software, with its settings, in /usr/local/NAME.
USR_FOLDERS = (
    *("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec", "share", "include"),
    *("local/bin", "local/lib", "local/lib64", "local/libexec", "local/share", "local/include"),
)
TOP_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
ETC = (
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone"),
    *("fonts", "mime.types", "magic", "protocols", "services", "OpenCL", "vulkan"),
    *("ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust"),
)
# The processors' number and layout, which numeric libraries ask for.
SYSTEM = ("/sys/devices/system/cpu", "/sys/devices/system/node")
GPU_SYSTEM = ("/sys/bus/pci", "/sys/class/drm", "/sys/module/nvidia", "/sys/module/nvidia_uvm")
GPU_DEVICES = ("nvidia*", "dri", "kfd")
READABLE_VARIABLE = "GPULAB_NOTEBOOK_READABLE"


def system_arguments() -> list[str]:
    """Return bubblewrap's arguments that show the operating system, read-only."""
    arguments: list[str] = []
    for name in USR_FOLDERS:
        arguments += ["--ro-bind-try", f"/usr/{name}", f"/usr/{name}"]
    for cuda in sorted(Path("/usr/local").glob("cuda*")):
        arguments += ["--ro-bind-try", str(cuda), str(cuda)]
    for name in TOP_FOLDERS:
        path = Path("/", name)
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    for name in ETC:
        arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in SYSTEM:
        arguments += ["--ro-bind-try", name, name]
    return arguments


def gpu_arguments() -> list[str]:
    """Return bubblewrap's arguments that show the graphics cards, if there are any."""
    devices = [path for pattern in GPU_DEVICES for path in sorted(Path("/dev").glob(pattern))]
    if not devices:
        return []
    arguments: list[str] = []
    for path in devices:
        arguments += ["--dev-bind-try", str(path), str(path)]
    # The cards' entries in /sys/bus/pci are links to these.
    buses = (str(path) for path in sorted(Path("/sys/devices").glob("pci*")))
    for name in (*GPU_SYSTEM, *buses):
        arguments += ["--ro-bind-try", name, name]
    return arguments


def python_arguments(readable: str = "") -> list[str]:
    """Return bubblewrap's arguments that show this Python, its packages and our own package.

    Args:
        readable: More folders, separated by colons, that the server's administrator shows to
            notebooks, such as CUDA below /opt.

    Raises:
        InputError: Python, or a named folder, is of a kind that would show the whole machine.
    """
    folders = _python_folders()
    folders += [Path(name) for name in readable.split(":") if name]
    arguments: list[str] = []
    for folder in folders:
        if not folder.is_absolute() or len(folder.parts) < 2:
            raise InputError(
                f"Notebooks cannot be isolated because {folder} would be shown to them: the "
                f"administrator should check {READABLE_VARIABLE} and where Python is installed"
            )
        arguments += ["--ro-bind-try", str(folder), str(folder)]
    for link, target in _links(Path(sys.executable), folders):
        arguments += ["--symlink", target, link]
    package = package_parent() / "gpulab"
    return [*arguments, "--ro-bind", str(package.resolve()), str(package)]


def _python_folders() -> list[Path]:
    prefixes = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]
    found: list[Path] = []
    for prefix in prefixes:
        for path in (Path(prefix), Path(prefix).resolve()):
            # What of these Python needs is shown already.
            if path not in (Path("/usr"), Path("/usr/local"), *found):
                found.append(path)
    return found


def _links(path: Path, shown: list[Path]) -> list[tuple[str, str]]:
    """Return the links between a program's name and its file that lie in no folder shown."""
    found: list[tuple[str, str]] = []
    while path.is_symlink() and len(found) < 16:
        target = path.readlink()
        inside = any(path.is_relative_to(folder) for folder in (*shown, Path("/usr")))
        if not inside and path.parts[1] not in TOP_FOLDERS:
            found.append((str(path), str(target)))
        path = Path(os.path.normpath(path.parent / target))
    return found
