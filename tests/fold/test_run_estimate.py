"""Memory and time before the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from inputs import form, text

from gpulab.errors import InputError
from gpulab.fold import run_estimate
from gpulab.fold.options import FoldOptions, options_of
from gpulab.fold.run_estimate import Machine, check_size
from gpulab.fold.run_input import Job


def options(folder: Path, **model: object) -> FoldOptions:
    return options_of(form(folder, text("PIAQ"), model=model), folder)


def jobs(*lengths: int) -> list[Job]:
    return [Job(f"p{length}", f"p{length}", ("A" * length,)) for length in lengths]


def test_what_does_not_fit_is_left_out_with_a_sentence(tmp_path: Path) -> None:
    checked, _ = check_size(jobs(50, 1500), options(tmp_path), Machine(8000))
    assert not checked[0].problem
    assert "'p1500' with 1500 residues needs about" in checked[1].problem
    assert "the job has 8" in checked[1].problem
    with pytest.raises(InputError, match="needs about"):
        check_size(jobs(1500), options(tmp_path), Machine(8000))


def test_a_small_gpu_borrows_memory_and_the_user_is_told(tmp_path: Path) -> None:
    checked, notes = check_size(jobs(2500), options(tmp_path), Machine(64000, 16000))
    assert not checked[0].problem
    assert len(notes) == 1
    assert "the GPU has 16" in notes[0]


def test_slow_folds_are_told_on_a_cpu_alone(tmp_path: Path) -> None:
    chosen = options(tmp_path, num_models=5, num_recycle=3)
    _, notes = check_size(jobs(800), chosen, Machine(64000))
    assert "hours on two cores" in notes[0]
    assert check_size(jobs(800), chosen, Machine(64000, 80000))[1] == []
    assert check_size(jobs(100), chosen, Machine(64000))[1] == []


def test_too_many_structures_are_refused(tmp_path: Path) -> None:
    chosen = options(tmp_path, num_models=5, num_seeds=200)
    with pytest.raises(InputError, match="3000 structures are asked for"):
        check_size(jobs(5, 6, 7), chosen, Machine(64000))


def test_galaxy_says_how_much_memory_a_job_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("GALAXY_MEMORY_MB", "12345")
    assert Machine.here() == Machine(12345)
    monkeypatch.setenv("GALAXY_MEMORY_MB", "")
    assert Machine.here().memory > 1000


def test_no_program_of_the_gpu_is_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_estimate.gpu_memory() == 0
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '81559\\n40960\\n'\n")
    program.chmod(0o755)
    assert run_estimate.gpu_memory() == 40960
