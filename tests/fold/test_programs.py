"""Finding the programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpulab.fold import programs


@pytest.fixture(autouse=True)
def forget() -> None:
    programs.mmseqs.cache_clear()


def write_program(folder: Path, version: str) -> Path:
    path = folder / "mmseqs"
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)
    return path


def test_the_bundled_mmseqs_is_release_18(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert programs.mmseqs_version(programs.mmseqs()).startswith(programs.MMSEQS_COMMIT)


@pytest.mark.parametrize("version", ["18-8cc5c", "8cc5ce367b5638c4306c2d7cfc652dd099a4643f"])
def test_release_18_on_path_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    path = write_program(tmp_path, version)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert programs.mmseqs() == path


@pytest.mark.parametrize("version", ["14-7e284", "15-6f452", ""])
def test_another_release_on_path_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    path = write_program(tmp_path, version)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert programs.mmseqs() != path


def test_no_mmseqs_at_all_says_which_release_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(tmp_path, "14-7e284")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    with pytest.raises(programs.ProgramMissingError, match=r"MMseqs2 18 .* 14-7e284"):
        programs.mmseqs()


def test_programs_of_colabfold_are_beside_this_python() -> None:
    assert programs.colabfold("colabfold_batch").is_file()
    with pytest.raises(programs.ProgramMissingError):
        programs.colabfold("colabfold_nothing")
