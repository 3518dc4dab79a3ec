"""What every Galaxy tool script does: read the parameters, call one function, tell how it ended."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from gpulab.errors import InputError

OUT_OF_MEMORY_EXIT_CODE = 137  # what a shell reports for a process killed by SIGKILL


class OutputFolder:
    """A folder of outputs that appears whole or not at all.

    Files are written below `path` (a hidden folder beside the final place, so that moving them is a
    rename) and moved to `final` when the `with` block ends without an exception.

    Args:
        final: Folder in which the finished files shall lie; made when missing.
    """

    def __init__(self, final: Path) -> None:
        self.final = final
        final.mkdir(parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=final))

    def file(self, name: str) -> Path:
        """Return the path at which to write the output `name` (may hold folders)."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def folder(self, name: str) -> Path:
        """Return the path of a new folder among the outputs."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                for item in self.path.iterdir():
                    target = self.final / item.name
                    if target.is_dir():
                        shutil.rmtree(target)
                    item.replace(target)
        finally:
            shutil.rmtree(self.path, ignore_errors=True)


# What it returns is the exit code of a job that failed and still has outputs; None is success.
ToolFunction = Callable[[dict[str, Any], OutputFolder], int | None]


def read_params(path: Path) -> dict[str, Any]:
    """Read the JSON parameters that Galaxy wrote.

    Raises:
        InputError: The file is missing or holds no JSON object.
    """
    try:
        params = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The parameter file {path.name} cannot be read: {error}") from error
    if not isinstance(params, dict):
        raise InputError(f"The parameter file {path.name} must hold a JSON object")
    return params


def run_tool(
    function: ToolFunction,
    argv: Sequence[str] | None = None,
    *,
    more: Mapping[str, bool] | None = None,
) -> None:
    """Run a tool's function with the parameters given by `--params` and exit.

    Args:
        function: What the tool does.
        argv: The command line, that of this process when None.
        more: Names of options for further JSON files, for what Galaxy's own parameter file leaves
            out, and whether each must be given. The function finds the object of such a file among
            its parameters, by the option's name.

    Exit codes: 0 success, or what the function returned; 2 unusable input, told in one line; 137
    out of memory (Galaxy's `fatal_oom`); 1 with a traceback for a defect of ours.
    """
    parser = argparse.ArgumentParser(description=(function.__doc__ or "").partition("\n")[0])
    parser.add_argument("--params", type=Path, required=True, help="JSON file of parameters")
    for name, required in (more or {}).items():
        parser.add_argument(f"--{name}", type=Path, required=required, help=f"JSON file of {name}")
    parser.add_argument(
        "--outputs", type=Path, default=Path(), help="folder for the outputs (default: current)"
    )
    arguments = parser.parse_args(argv)
    given = {name: getattr(arguments, name) for name in more or {}}
    files = {name: path for name, path in given.items() if path is not None}
    sys.exit(_run(function, arguments.params, files, arguments.outputs))


def _run(function: ToolFunction, params: Path, more: Mapping[str, Path], outputs: Path) -> int:
    # A job's log is watched live, so lines must not wait in a buffer.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        values = read_params(params)
        values |= {name: read_params(path) for name, path in more.items()}
        with OutputFolder(outputs) as folder:
            return function(values, folder) or 0
    except InputError as error:
        print(error, file=sys.stderr)
        return InputError.exit_code
    except MemoryError:
        print(
            "The job ran out of memory: choose a smaller batch or give the job more memory",
            file=sys.stderr,
        )
        return OUT_OF_MEMORY_EXIT_CODE
