"""The reading side believes nothing: links, forged and damaged files are left out with a note."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gpulab.notebook import captured as reading
from gpulab.notebook.capture import capture
from gpulab.notebook.captured import read_captured, write_variables


def model(external: bool = False, operator: str = "Identity") -> onnx.ModelProto:
    """Make a tiny model, at wish with weights in another file or an operator of its own."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    constant = numpy_helper.from_array(np.zeros(1, np.float32), "c")
    if external:
        constant.data_location = TensorProto.EXTERNAL
        constant.external_data.add(key="location", value="/etc/passwd")
    node = helper.make_node(operator, ["x"], ["y"], domain="" if operator == "Identity" else "own")
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return what an honest notebook leaves: two values, a model, one thing that is none."""
    folder = tmp_path / "captured"
    capture({"x": np.arange(5), "y": {"a": 1}, "thing": object()}, str(folder))
    onnx.save(model(), folder / "models" / "net.onnx")
    add_row(folder, name="net", saved="model", where="net.onnx", difference=1e-7)
    return folder


def add_row(folder: Path, **row: Any) -> None:
    with (folder / "variables.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def states(captured: reading.Captured) -> dict[str, str]:
    return {row.name: row.saved for row in captured.rows}


def test_what_an_honest_notebook_left_is_all_there(folder: Path, tmp_path: Path) -> None:
    captured = read_captured(folder)
    assert captured.notes == []
    assert states(captured) == {"x": "arrays", "y": "arrays", "thing": "no", "net": "model"}
    assert captured.arrays == folder / "arrays.h5"
    assert captured.models == {"net": folder / "models" / "net.onnx"}
    write_variables(captured, tmp_path / "variables.tsv")
    with (tmp_path / "variables.tsv").open() as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    assert [row["name"] for row in table] == ["x", "y", "thing", "net"]
    assert (table[0]["shape"], table[0]["size"], table[0]["where"]) == ("(5)", "40", "/x")
    assert table[3]["difference"] == "1e-07"


@pytest.mark.parametrize("kind", ["missing", "file", "link"])
def test_a_folder_that_is_none_is_told(folder: Path, tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    if kind == "file":
        other.write_text("x")
    elif kind == "link":
        other.symlink_to(folder)
    captured = read_captured(other)
    assert captured.rows == []
    assert captured.models == {}
    assert len(captured.notes) == 1


def test_nothing_to_save_is_no_fault(tmp_path: Path) -> None:
    capture({"x": 1}, str(tmp_path / "c"), which="none")
    captured = read_captured(tmp_path / "c")
    assert (captured.rows, captured.arrays, captured.models, captured.notes) == ([], None, {}, [])


def linked(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def hard_linked(path: Path) -> None:
    os.link(path, path.parents[1] / "second name")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def noise(path: Path) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 8)


def sparse(path: Path) -> None:
    os.truncate(path, 1 << 42)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


BREAKAGES: list[Callable[[Path], None]] = [
    linked,
    hard_linked,
    fifo,
    emptied,
    cut,
    noise,
    sparse,
    directory,
]


@pytest.mark.parametrize("damage", BREAKAGES)
def test_a_bad_file_of_values_costs_only_itself(
    folder: Path, damage: Callable[[Path], None]
) -> None:
    damage(folder / "arrays.h5")
    begin = time.monotonic()
    captured = read_captured(folder)
    assert time.monotonic() - begin < 30
    assert captured.arrays is None
    assert states(captured) == {"x": "no", "y": "no", "thing": "no", "net": "model"}
    assert "arrays.h5 was left out" in captured.notes[0]
    assert "missing or was refused" in captured.rows[0].note


@pytest.mark.parametrize("damage", BREAKAGES)
def test_a_bad_model_costs_only_itself(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder / "models" / "net.onnx")
    captured = read_captured(folder)
    assert captured.models == {}
    assert captured.arrays is not None
    assert states(captured)["net"] == "no"
    assert captured.rows[-1].difference is None
    assert "net.onnx was left out" in captured.notes[0]


@pytest.mark.parametrize("damage", BREAKAGES)
def test_a_bad_table_names_nothing(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder / "variables.jsonl")
    captured = read_captured(folder)
    assert "net" not in states(captured) or damage is cut
    assert captured.notes
    assert captured.models == {}, "no row vouches for the model"


def external_link(file: h5py.File) -> None:
    file["out"] = h5py.ExternalLink("/etc/hosts.h5", "/x")


def soft_link(file: h5py.File) -> None:
    file["out"] = h5py.SoftLink("/x")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("y/out", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4,))
    file.create_virtual_dataset("out", layout)


def bomb(file: h5py.File) -> None:
    file.create_dataset("out", (1 << 40,), "f8", chunks=(1 << 20,), compression="gzip")


def references(file: h5py.File) -> None:
    file["out"] = np.asarray([file["x"].ref], dtype=h5py.ref_dtype)


def named_type(file: h5py.File) -> None:
    file["out"] = np.dtype("f8")


@pytest.mark.parametrize(
    "forge",
    [external_link, soft_link, external_storage, virtual, bomb, references, named_type],
)
def test_values_that_lead_out_of_their_file_are_refused(
    folder: Path, forge: Callable[[h5py.File], None]
) -> None:
    with h5py.File(folder / "arrays.h5", "a") as file:
        forge(file)
    captured = read_captured(folder)
    assert captured.arrays is None, captured.notes
    assert "out" in captured.notes[0]


def test_a_group_that_holds_itself_is_no_endless_walk(folder: Path) -> None:
    with h5py.File(folder / "arrays.h5", "a") as file:
        file["y/self"] = file["y"]
    assert read_captured(folder).arrays is not None


@pytest.mark.parametrize("made", [model(external=True), model(operator="Shell")])
def test_models_that_need_more_than_their_file_are_refused(
    folder: Path, made: onnx.ModelProto
) -> None:
    (folder / "models" / "net.onnx").write_bytes(made.SerializeToString())
    captured = read_captured(folder)
    assert captured.models == {}
    assert "net.onnx was left out" in captured.notes[0]


def test_names_of_models_stay_in_the_folder(folder: Path) -> None:
    bad = ["../up.onnx", "a b.onnx", ".hidden.onnx", "x.onnx.exe", "-rf.onnx", "n\n.onnx"]
    for name in bad:
        (folder / "models" / name).write_bytes(model().SerializeToString())
        add_row(folder, name=name, saved="model", where=name)
    onnx.save(model(), folder / "models" / "forged.onnx")
    add_row(folder, name="etc", saved="model", where="/etc/passwd")
    add_row(folder, name="none", saved="arrays", where="/missing")
    captured = read_captured(folder)
    assert set(captured.models) == {"net"}, "nothing that no row names, or with an odd name"
    promised = {name for name, state in states(captured).items() if state != "no"}
    assert promised == {"x", "y", "net"}
    assert any("forged" in note for note in captured.notes)


def test_a_linked_folder_of_models_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "models").rename(tmp_path / "elsewhere")
    (folder / "models").symlink_to(tmp_path / "elsewhere")
    assert read_captured(folder).models == {}


LINES = [
    b"not json\n",
    b"[1, 2]\n",
    b'{"name": 3}\n',
    b'{"name": ""}\n',
    b"[" * 100_000 + b"\n",
    b'{"name": "big", "size": ' + b"9" * 5000 + b"}\n",
    b'{"planned": {"a": 1}}\n',
    b"\xff\xfe\0\n",
    b'{"name": "' + b"n" * 200_000 + b'"}\n',
]


def test_a_forged_table_is_read_as_far_as_it_makes_sense(folder: Path, tmp_path: Path) -> None:
    with (folder / "variables.jsonl").open("ab") as file:
        file.writelines(LINES)
    add_row(folder, name="tab\there\nrow\x1b[31m", type=["x"], size=-1, saved="root", note={"a": 1})
    add_row(folder, name="odd", size=True, difference="x", note='"' * 10 + "\t")
    captured = read_captured(folder)
    write_variables(captured, tmp_path / "t.tsv")
    lines = (tmp_path / "t.tsv").read_text().splitlines()
    assert len(lines) == 1 + len(captured.rows)
    assert {line.count("\t") for line in lines} == {7}
    odd = captured.rows[-2:]
    assert odd[0].name == "tab here row [31m"
    assert (odd[0].type, odd[0].size, odd[0].saved, odd[0].note) == ("", None, "no", "")
    assert (odd[1].size, odd[1].difference) == (None, None)


def test_a_table_without_end_is_cut(folder: Path) -> None:
    with (folder / "variables.jsonl").open("a") as file:
        file.writelines(f'{{"name": "v{number}"}}\n' for number in range(reading.MAX_ROWS + 50))
    captured = read_captured(folder)
    assert len(captured.rows) == reading.MAX_ROWS
    assert any("Only the first" in note for note in captured.notes)


def test_variables_that_were_not_reached_are_told(folder: Path) -> None:
    path = folder / "variables.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]))
    captured = read_captured(folder)
    assert states(captured)["thing"] == "no"
    assert "not reached" in captured.rows[-1].note
    assert any("2 of 3 variables were not reached" in note for note in captured.notes)


def test_a_check_that_dies_or_hangs_costs_one_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Deep nesting ends the parser of models in some versions: here the check itself is ended.
    for name in ("a", "b"):
        onnx.save(model(), folder / "models" / f"{name}.onnx")
        add_row(folder, name=name, saved="model", where=f"{name}.onnx")
    script = (
        "import json,os,sys,time\n"
        "for kind, path in json.load(sys.stdin):\n"
        "    if 'a.onnx' in path: os.abort()\n"
        "    if 'net' in path: time.sleep(60)\n"
        "    names = ['x', 'y'] if kind == 'arrays' else []\n"
        "    print(json.dumps({'problem': '', 'names': names}), flush=True)\n"
    )
    package = folder.parent / "fake" / "gpulab"
    (package / "notebook" / "capture").mkdir(parents=True)
    for place in (package, package / "notebook", package / "notebook" / "capture"):
        (place / "__init__.py").write_text("")
    (package / "notebook" / "capture" / "verify.py").write_text(script)
    monkeypatch.setattr(reading.gpulab, "__file__", str(package / "__init__.py"))
    monkeypatch.setattr(reading, "_CHECK_SECONDS", 3.0)
    captured = read_captured(folder)
    assert set(captured.models) == {"b"}
    assert states(captured)["x"] == "arrays"
    assert "code -6" in captured.notes[0]
    assert "more than 3 s" in captured.notes[1]
