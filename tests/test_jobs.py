"""Outputs appear whole or not at all, and a tool ends as it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpulab.errors import InputError
from gpulab.jobs import OutputFolder, run_tool


def write_two(params: dict[str, Any], outputs: OutputFolder) -> None:
    """Write a file and a folder, and fail as told."""
    outputs.file("a.txt").write_text(str(params["text"]))
    (outputs.folder("many") / "b.txt").write_text("b")
    if params.get("fail") == "input":
        raise InputError("The\ninput is \x1b[31mbad")
    if params.get("fail") == "memory":
        raise MemoryError
    if params.get("fail") == "defect":
        raise ZeroDivisionError


def run(folder: Path, **params: Any) -> int:
    file = folder / "params.json"
    file.write_text(json.dumps({"text": "new", **params}))
    with pytest.raises(SystemExit) as exit_:
        run_tool(write_two, ["--params", str(file), "--outputs", str(folder / "out")])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def test_outputs_appear_and_replace_earlier_ones(tmp_path: Path) -> None:
    for text in ("old", "new"):
        assert run(tmp_path, text=text) == 0
    out = tmp_path / "out"
    assert (out / "a.txt").read_text() == "new"
    assert sorted(path.name for path in out.rglob("*")) == ["a.txt", "b.txt", "many"]


def test_bad_input_is_one_printable_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, fail="input") == 2
    assert capsys.readouterr().err == "The input is [31mbad\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_no_memory_is_the_exit_code_that_galaxy_knows(tmp_path: Path) -> None:
    assert run(tmp_path, fail="memory") == 137
    assert list((tmp_path / "out").iterdir()) == []


def test_a_defect_of_ours_keeps_its_traceback_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "params.json"
    file.write_text(json.dumps({"text": "x", "fail": "defect"}))
    with pytest.raises(ZeroDivisionError):
        run_tool(write_two, ["--params", str(file), "--outputs", str(tmp_path / "out")])
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_parameters_that_are_none_are_told(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "params.json"
    file.write_text(text)
    with pytest.raises(SystemExit) as exit_:
        run_tool(write_two, ["--params", str(file), "--outputs", str(tmp_path / "out")])
    assert exit_.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_further_files_come_by_the_names_of_their_options(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text('{"text": "x"}')
    (tmp_path / "more.json").write_text('{"inside": 1}')
    seen: dict[str, Any] = {}

    def look(params: dict[str, Any], outputs: OutputFolder) -> None:
        seen.update(params)

    command = ["--params", str(tmp_path / "params.json"), "--outputs", str(tmp_path / "out")]
    given = ["--wanted", str(tmp_path / "more.json")]
    with pytest.raises(SystemExit) as exit_:
        run_tool(look, command + given, more={"wanted": True, "free": False})
    assert exit_.value.code == 0
    assert seen == {"text": "x", "wanted": {"inside": 1}}
    with pytest.raises(SystemExit) as exit_:
        run_tool(look, command, more={"wanted": True, "free": False})
    assert exit_.value.code == 2
