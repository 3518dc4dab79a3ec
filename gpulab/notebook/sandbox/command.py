"""The command line of an isolated kernel, and its input files."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from gpulab.errors import InputError
from gpulab.notebook.sandbox.bubblewrap import Folders, bubblewrap_command
from gpulab.notebook.sandbox.isolation import Isolation

ENTER = Path(__file__).with_name("enter.py")
LOG_NAME = "kernel.log"


def kernel_command(
    isolation: Isolation,
    argv: list[str],
    *,
    work: Path,
    scratch: Path,
    sockets: Path,
    inputs: Mapping[str, Path],
    environment: Mapping[str, str],
    largest_file: int | None = None,
) -> list[str]:
    """Return the command line that runs `argv` isolated.

    It ends with this process, dumps no core, is the first that the system kills when memory ends,
    reads nothing and writes its output into `scratch/kernel.log`. The variables of this process do
    not reach it. Call `place_inputs` before.

    Args:
        isolation: From `choose_isolation`.
        argv: Program and arguments; the program by its absolute path.
        work: Current folder, writable.
        scratch: Folder for temporary files, writable.
        sockets: Folder of the connection file and the sockets, writable.
        inputs: Relative path in `work` → the file that is there, read-only.
        environment: From `kernel_environment`.
        largest_file: Bytes that no single file may exceed, None for no limit.

    Raises:
        InputError: An input is no regular file.
    """
    folders = Folders(work.resolve(), scratch.resolve(), sockets.resolve())
    variables = dict(environment)
    command = argv
    if isolation.bubblewrap is not None:
        wrap = bubblewrap_command(isolation.bubblewrap, folders, _checked(inputs), variables)
        # Whoever is inside can read the variables of bubblewrap's own first process.
        command, variables = [*wrap, *argv], {}
    settings = {
        "environment": variables,
        "folder": str(folders.work),
        "log": str(folders.scratch / LOG_NAME),
        "parent": os.getpid(),
        "file_bytes": largest_file,
        # Bubblewrap does it itself; before it, one with the setuid bit could not start.
        "lock_privileges": isolation.bubblewrap is None,
    }
    return [sys.executable, "-I", "-S", str(ENTER), json.dumps(settings), *command]


def place_inputs(isolation: Isolation, work: Path, inputs: Mapping[str, Path]) -> None:
    """Put each input at its relative path in `work`.

    Under bubblewrap an empty file stands there, over which the input will be mounted; else a link
    where the notebook cannot write the input, and a read-only copy where it could.

    Raises:
        InputError: An input is no regular file, or its place is taken.
    """
    for relative, path in _checked(inputs).items():
        target = work / relative
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if isolation.bubblewrap is not None:
                target.touch(mode=0o444, exist_ok=False)
            elif _out_of_reach(path):
                target.symlink_to(path)
            else:
                with target.open("xb") as copy, path.open("rb") as original:
                    shutil.copyfileobj(original, copy, 1 << 22)
                target.chmod(0o444)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(
                f"The path {relative} of an input is taken by another one, choose another path"
            ) from error


def _checked(inputs: Mapping[str, Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for relative, path in inputs.items():
        pure = PurePosixPath(relative)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in relative:
            raise InputError(f"The path {relative} of an input leaves the notebook's folder")
        real = path.resolve()
        if not real.is_file():
            raise InputError(f"The input for {relative} is not a regular file, upload it again")
        found[str(pure)] = real
    return found


def _out_of_reach(path: Path) -> bool:
    """Tell whether this user can neither write a file nor make it writable nor replace it."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return True
    if os.geteuid() in (0, path.stat().st_uid):
        return False
    return not os.access(path, os.W_OK) and not os.access(path.parent, os.W_OK)
