"""Local searches: how ColabFold's program is called, and what happens when MMseqs2 fails."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from gpulab.fold import search_local as module
from gpulab.fold.databases import Databases
from gpulab.fold.programs import mmseqs
from gpulab.fold.queries import Limits, parse_queries
from gpulab.fold.search_local import _command, search_local
from gpulab.fold.search_options import LocalSearch, Pairing
from gpulab.testing.fold_database import queries

A, B = queries()["A"], queries()["B"]
QUERIES = parse_queries(f">mono\n{A}\n>cplx\n{A}:{B}\n", "input", Limits())


def options(command: list[str]) -> dict[str, str]:
    """Return the values of a command's options."""
    return {name: value for name, value in pairwise(command) if name.startswith("-")}


def test_arguments_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALAXY_SLOTS", "3")
    search = LocalSearch("x", tmp_path, "uniref30_2302_db", "env_db")
    command = _command(search, Pairing(), tmp_path, with_af3=False)
    assert command[-3:] == [f"{tmp_path}/queries.fasta", str(tmp_path), f"{tmp_path}/found"]
    assert options(command[:-3]) == {
        "--mmseqs": str(mmseqs()),
        "--threads": "3",
        "--db1": "uniref30_2302_db",
        "--db3": "env_db",
        "--db-load-mode": "0",
        "--filter": "1",
        "--pair-mode": "unpaired_paired",
        "--pairing_strategy": "0",
        "--prefilter-mode": "0",
        "--use-env": "1",
        "--use-templates": "0",
    }


def test_arguments_of_users_and_administrators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLABFOLD_DB_LOAD_MODE", "2")
    monkeypatch.setenv("COLABFOLD_GPU_SERVER", "1")
    search = LocalSearch(
        "x", tmp_path, "u", templates="t", prefilter=1, sensitivity=5.5, gpu=True, filtered=False
    )
    command = _command(search, Pairing("paired", "complete"), tmp_path, with_af3=True)
    given = options(command)
    expected = {"--gpu": "1", "--gpu-server": "1", "--db-load-mode": "2", "-s": "5.5"}
    expected |= {"--filter": "0", "--use-env": "0", "--use-templates": "1", "--db2": "t"}
    expected |= {"--pair-mode": "paired", "--pairing_strategy": "1", "--prefilter-mode": "1"}
    assert {name: given[name] for name in expected} == expected
    assert "--db3" not in given
    assert "--af3-json" in command


@pytest.mark.parametrize("line", ["ulimit -v 600000", "kill -9 $$"])
def test_too_little_memory(
    tmp_path: Path, database: Databases, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    program = tmp_path / "mmseqs"
    program.write_text(f'#!/bin/bash\n{line}\nexec {mmseqs()} "$@"\n')
    program.chmod(0o700)
    monkeypatch.setattr(module, "mmseqs", lambda: program)
    search = LocalSearch("tiny", database.path, database.uniref)
    with pytest.raises(MemoryError):
        list(search_local(QUERIES[:1], search, Pairing(), tmp_path, with_af3=False))


def test_complexes_that_fail_leave_monomers_alone(tmp_path: Path, database: Databases) -> None:
    """Without taxonomy MMseqs2 searches chains but ends when it pairs them."""
    folder = tmp_path / "database"
    shutil.copytree(database.path, folder)
    for path in folder.glob("*_taxonomy"):
        path.unlink()
    search = LocalSearch("tiny", folder, database.uniref, prefilter=1)
    work = tmp_path / "work"
    work.mkdir()
    mono, cplx = search_local(QUERIES, search, Pairing(), work, with_af3=False)
    assert mono.alignment is not None
    assert mono.alignment.chains[0].depth == 13
    assert cplx.problem.startswith("The query 'cplx' has no alignment: MMseqs2 could not search")
    assert "taxonomy database" in cplx.problem
    assert str(folder) not in cplx.problem
    assert cplx.problem.endswith("tell the administrator")
