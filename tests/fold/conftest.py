"""Settings and shared inputs of the folding tools' tests; they run in `.venvs/fold`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from file_host import Host, hosting

if TYPE_CHECKING:
    from gpulab.fold.databases import Databases

ROOT = Path(__file__).resolve().parents[2]
# What takes long to make is kept between runs, beside the local Galaxy's state, which uses it too.
CACHE = ROOT / ".galaxy" / "fold"

# Set before JAX is imported: short sequences fold faster when they are compiled with less care.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "jax"))
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture(scope="session")
def weights() -> Path:
    """A folder for ColabFold's `--data`: every model type, with known answers."""
    from gpulab.testing.fold_weights import stand_in_weights

    return stand_in_weights(CACHE / "weights")


@pytest.fixture(scope="session")
def database() -> Databases:
    """The tiny database: three families in twelve species, environmental ones, one template."""
    from gpulab.testing.fold_database import tiny_database

    return tiny_database(CACHE / "database")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A server on loopback that offers one file."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with hosting(Host()) as result:
        yield result
