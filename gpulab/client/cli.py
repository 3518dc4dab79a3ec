"""The command `gpulab`: submit a notebook to a Galaxy server, and come back for the results."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from gpulab.client.errors import RemoteJobError, ServerError, plain_text
from gpulab.client.form import Settings, read_parameter
from gpulab.client.job import WEEK, RemoteJob
from gpulab.client.submit import run_script_job
from gpulab.errors import InputError

T = TypeVar("T")
EPILOG = """\
Server and key come from --server and --key-file, else from the environment variables
GALAXY_SERVER and GALAXY_API_KEY, else from BioBlend's configuration file (~/.bioblend).

exit codes: 0 done; 1 the job failed, was cancelled or is paused; 2 an input cannot be used;
3 the server or the network failed, or --timeout is over: the job itself may go on
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parse(argv)
    # A warning is one sentence for the user, not a place in our code.
    warnings.showwarning = lambda message, *_others, **_more: _tell(f"Please note: {message}")
    try:
        return int(arguments.run(arguments))
    except (InputError, RemoteJobError, ServerError) as error:
        _tell(str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        _tell(f"The Python module {error.name} is missing: pip install 'galaxy-gpu-lab[client]'")
        return InputError.exit_code
    except KeyboardInterrupt:
        _tell("\nStopped here; a job that was started goes on.")
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _KeyRefused(argparse.Action):
    """Says where the key belongs, without showing it again."""

    def __call__(self, parser: argparse.ArgumentParser, *_others: object, **_more: object) -> None:
        parser.error(
            "the key has no place in a command line, which everybody on the computer can see: use "
            "GALAXY_API_KEY or --key-file, and make a new key"
        )


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="gpulab", description=__doc__, epilog=EPILOG, formatter_class=raw
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    server = argparse.ArgumentParser(add_help=False)
    server.add_argument("--server", help="address of the Galaxy server")
    server.add_argument(
        "--key-file",
        type=Path,
        help="file that holds the API key alone (- for standard input); a command line is seen by "
        "everybody on the computer, so the key has no place in it",
    )
    server.add_argument("--key", action=_KeyRefused, help=argparse.SUPPRESS)
    _add_submit(commands, server)
    for name, run, text in (
        ("status", run_status, "tell how a job goes"),
        ("log", run_log, "show what a job printed"),
        ("fetch", run_fetch, "download the outputs of a job that is done"),
        ("cancel", run_cancel, "end a job"),
    ):
        command = commands.add_parser(
            name, help=text, parents=[server], description=text, allow_abbrev=False
        )
        command.add_argument("id", help="id of the job, as submit printed it")
        if name == "fetch":
            command.add_argument("--folder", type=Path, default=Path("results"))
        command.set_defaults(run=run)
    return parser.parse_args(argv)


def _add_submit(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], server: argparse.ArgumentParser
) -> None:
    submit = commands.add_parser(
        "submit",
        help="send a notebook and its data, and start it",
        parents=[server],
        description="Send a notebook and its data, start it, and print the id of the job.",
        allow_abbrev=False,
    )
    add = submit.add_argument
    defaults = Settings()
    add("notebook", help="notebook (.ipynb) or Python script")
    add("--data", action="append", default=[], metavar="[PATH=]FILE",
        help="a file, for the notebook at the same path or at PATH; may be repeated")  # fmt: skip
    add("--alias", action="append", default=[], metavar="PATH=NAME",
        help="what else the notebook calls the file: a URL or an absolute path")  # fmt: skip
    add("--parameter", action="append", default=[], metavar="NAME[:TYPE]=VALUE",
        help="value for the cell tagged 'parameters'; may be repeated")  # fmt: skip
    add("--history", default="ml_analysis", help="name of the new history (%(default)s)")
    add("--history-id", help="an existing history instead of a new one")
    add("--tool", default="run_jupyter_job", help="id of the tool (%(default)s)")
    add("--cell-minutes", type=float, default=0, help="limit for each cell (none)")
    add("--total-minutes", type=float, default=0, help="limit for the notebook (none)")
    add("--failure", choices=("fail", "finish"), default=defaults.failure,
        help="what a failing cell does to the job (%(default)s)")  # fmt: skip
    add("--variables", default=defaults.variables, metavar="all|none|NAMES",
        help="which variables are saved, by names with wildcards (%(default)s)")  # fmt: skip
    add("--hide-code", action="store_true", help="leave the code out of the page")
    add("--max-files", type=int, help="how many files the notebook may leave behind")
    add("--max-gigabytes", type=float, help="how large they may be in all")
    add("--wait", action="store_true", help="wait until the job is done")
    add("--timeout", type=float, default=WEEK / 3600, metavar="HOURS",
        help="stop waiting after so many hours (%(default)g); the job goes on")  # fmt: skip
    add("--download", type=Path, metavar="FOLDER", help="wait, and download the outputs")
    submit.set_defaults(run=run_submit)


def run_submit(arguments: argparse.Namespace) -> int:
    """Start a job; wait for it and fetch its outputs where that is asked for."""
    job = run_script_job(
        arguments.notebook,
        read_data(arguments.data),
        arguments.server,
        read_key(arguments.key_file),
        arguments.history,
        arguments.tool,
        parameters=_pairs([read_parameter(text) for text in arguments.parameter], "parameter"),
        aliases=_pairs([_split(text, "--alias") for text in arguments.alias], "path"),
        cell_minutes=arguments.cell_minutes,
        total_minutes=arguments.total_minutes,
        failure=arguments.failure,
        variables=arguments.variables,
        hide_code=arguments.hide_code,
        max_files=arguments.max_files,
        max_gigabytes=arguments.max_gigabytes,
        history_id=arguments.history_id,
    )
    print(job.id, flush=True)
    _tell(f"History: {job.history_url}")
    if not arguments.wait and arguments.download is None:
        _tell(f"Come back with: gpulab status {job.id}")
        return 0
    try:
        _tell(str(job.wait(timeout=arguments.timeout * 3600)))
    except RemoteJobError as error:
        # What a failed job left behind is fetched before its failure is told.
        if arguments.download is not None and error.state != "paused":
            _fetch(job, arguments.download)
        raise
    if arguments.download is not None:
        _fetch(job, arguments.download)
    return 0


def run_status(arguments: argparse.Namespace) -> int:
    """Tell how a job goes."""
    job = _find(arguments)
    status = job.status()
    print(f"{status.state}: {plain_text(str(status))}")
    _tell(f"History: {job.history_url}")
    return 1 if status.kind in ("failed", "paused", "cancelled") else 0


def run_log(arguments: argparse.Namespace) -> int:
    """Show what a job printed."""
    print(plain_text(_find(arguments).log()))
    return 0


def run_fetch(arguments: argparse.Namespace) -> int:
    """Download the outputs of a job that is done."""
    _fetch(_find(arguments), arguments.folder)
    return 0


def run_cancel(arguments: argparse.Namespace) -> int:
    """End a job."""
    job = _find(arguments)
    print("cancelled" if job.cancel() else f"nothing to cancel: {job.status()}")
    return 0


def _find(arguments: argparse.Namespace) -> RemoteJob:
    return RemoteJob.from_id(arguments.id, arguments.server, read_key(arguments.key_file))


def _fetch(job: RemoteJob, folder: Path) -> None:
    files = job.download(folder)
    for name, path in files.items():
        _tell(f"  {name:<10} {path}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_key(path: Path | None) -> str | None:
    """Read the API key from a file; None without one.

    Raises:
        InputError: The file cannot be read or is empty.
    """
    if path is None:
        return None
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        # The path is not shown: it may be the key itself, given by mistake.
        raise InputError("The file that --key-file names cannot be read: check it") from error
    if not text.strip():
        raise InputError("The file that --key-file names is empty: put the API key into it")
    return text.strip()


def read_data(texts: Sequence[str]) -> dict[str, str]:
    """Read `[PATH=]FILE` arguments as path in the notebook → file.

    A file whose own name holds `=` is taken as it is where it exists.

    Raises:
        InputError: A path stands twice, or is absolute without a place in the notebook.
    """
    from gpulab.client.check import own_place

    pairs = []
    for text in texts:
        place, equals, file = text.partition("=")
        if not equals or Path(text).exists():
            place, file = own_place(text), text
        pairs.append((place, file))
    return _pairs(pairs, "path")


def _split(text: str, option: str) -> tuple[str, str]:
    left, equals, right = text.partition("=")
    if not equals or not left or not right:
        raise InputError(f"{option} is written PATH=NAME, not {text!r}")
    return left, right


def _pairs(pairs: Sequence[tuple[str, T]], what: str) -> dict[str, T]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1)
        raise InputError(f"The {what} {twice!r} stands twice: give it once")
    return result
