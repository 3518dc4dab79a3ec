"""Throughput of many jobs through Slurm against the number of workers.

`python3 -m benchmarks.scale [--datasets 200] [--workers 1 2 4]`: a Slurm cluster whose nodes have
one processor each, all of them on this machine, and a real Galaxy that sends it a prediction for
each dataset of a collection, and trainings and foldings at once.
"""

from __future__ import annotations

import argparse
import sys

from localgalaxy.console import say
from localgalaxy.environments import ensure_galaxy, ensure_tools
from localgalaxy.own_galaxy import forget, run_beside
from localgalaxy.slurm import cluster

STATE = ".galaxy/scale"


def parse(text: str | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--datasets", type=int, default=200, help="of the mapped collection")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--several", type=int, default=4, help="trainings and foldings at once")
    parser.add_argument("--threads", type=int, default=1, help="of Galaxy's runner")
    return parser.parse_args()


def main() -> int:
    """Start the measurement where Slurm and Galaxy's libraries are."""
    parse(__doc__)
    lacking = cluster.missing()
    if lacking:
        say(f"Nothing was measured: {lacking}.")
        return 1
    ensure_galaxy()
    ensure_tools()
    forget(STATE)
    return run_beside("benchmarks.scale_run", STATE, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
