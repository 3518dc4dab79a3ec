"""`python3 -m localgalaxy COMMAND`: set up, run and test with a real Galaxy on this machine."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from localgalaxy import environments, server
from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.paths import LOG, LOGIN, shown


def _terminate(number: int, frame: FrameType | None) -> None:
    """Turn a request to end into an exception, so that every `finally` runs."""
    del frame
    raise SystemExit(128 + number)


def run_setup(arguments: argparse.Namespace) -> int:
    """Make the virtual environments."""
    environments.ensure_galaxy()
    environments.ensure_unet(with_tests=arguments.tests)
    return 0


def run_galaxy(arguments: argparse.Namespace) -> int:
    """Keep a Galaxy running until Ctrl-C."""
    del arguments
    environments.ensure_galaxy()
    environments.ensure_unet()
    with server.running_galaxy() as galaxy:
        say(f"Galaxy runs at {galaxy.url}")
        say(f"Address, e-mail, password and API key: {shown(LOGIN)}")
        say(f"Log: {shown(LOG)}")
        say("Ctrl-C stops it.")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            say()
    return 0


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m localgalaxy", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    setup = commands.add_parser("setup", help="make the virtual environments")
    setup.add_argument("--tests", action="store_true", help="with the developers' programs")
    setup.set_defaults(run=run_setup)

    galaxy = commands.add_parser("galaxy", help="run Galaxy with our tools until Ctrl-C")
    galaxy.set_defaults(run=run_galaxy)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parse(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    try:
        return int(arguments.run(arguments))
    except LocalGalaxyError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
