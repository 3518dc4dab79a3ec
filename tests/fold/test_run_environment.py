"""Where compiled networks are kept, and how many threads ColabFold gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpulab.fold.run_environment import CACHE_VARIABLE, cache_folder, environment, machine_name


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)


def test_without_the_administrators_folder_it_is_the_jobs(tmp_path: Path) -> None:
    # Both batches of a job share it.
    assert cache_folder(tmp_path / "job" / "chains") == tmp_path / "job" / "jax_cache"


def test_each_machine_has_a_folder_in_the_shared_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "shared"))
    assert cache_folder(tmp_path / "job") == tmp_path / "shared" / machine_name()
    assert environment(tmp_path / "job")["JAX_COMPILATION_CACHE_DIR"] == str(
        tmp_path / "shared" / machine_name()
    )


def test_a_folder_that_cannot_be_made_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(blocked / "shared"))
    assert cache_folder(tmp_path / "job" / "chains") == tmp_path / "job" / "jax_cache"


def test_threads_are_those_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALAXY_SLOTS", "3")
    variables = environment(tmp_path / "job")
    assert {variables[name] for name in ("NPROC", "OMP_NUM_THREADS", "OPENMM_CPU_THREADS")} == {"3"}
