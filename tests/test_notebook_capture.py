"""Which of a notebook's variables are kept, each of them once, and why others are left out."""

from __future__ import annotations

import builtins
import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from capturing import rows_of, saved

from gpulab.notebook.capture import capture
from gpulab.notebook.capture.load import load_variables

# Which names are variables


def test_only_the_users_variables_are_looked_at(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {
        "__name__": "__main__",
        "_": 1,
        "_i1": "x = 1",
        "_private": 2,
        "In": ["", "x = 1"],
        "Out": {},
        "exit": object(),
        "quit": object(),
        "open": builtins.open,
        "get_ipython": len,
        "GALAXY_INPUTS": {"a.h5": "a.h5"},
        "np": np,
        "helper": saved,
        "Path": Path,
        "sin": np.sin,
        "x": 1,
    }
    capture(namespace, str(tmp_path), hidden={"stdout": sys.stdout})
    assert set(rows_of(tmp_path)) == {"x"}


def test_a_hidden_name_counts_once_the_user_binds_it_anew(tmp_path: Path) -> None:
    given_by_ipython = object()
    hidden = {"plain": given_by_ipython, "mine": given_by_ipython}
    capture({"plain": given_by_ipython, "mine": 3}, str(tmp_path), hidden=hidden)
    assert set(rows_of(tmp_path)) == {"mine"}


@pytest.mark.parametrize(
    ("which", "pattern", "expected"),
    [
        ("all", "", {"loss", "loss_val", "acc"}),
        ("none", "", set()),
        ("pattern", "loss*", {"loss", "loss_val"}),
        ("pattern", "acc, loss", {"acc", "loss"}),
        ("pattern", "acc loss_???", {"acc", "loss_val"}),
        ("pattern", "nothing", set()),
    ],
)
def test_a_pattern_chooses(tmp_path: Path, which: Any, pattern: str, expected: set[str]) -> None:
    variables = {"loss": [1.0], "loss_val": [2.0], "acc": 0.5}
    capture(variables, str(tmp_path), which=which, pattern=pattern)
    assert set(rows_of(tmp_path)) == expected


CELLS = [
    "",
    "for i, (batch, label) in enumerate(pairs):\n    total += 1\n    kept = batch",
    "for epoch in range(3):\n    pass\nepoch = epoch + 1",
    "get_ipython().run_line_magic('time', 'x')",
    "%%bash\nnot python",
    "def f():\n    global used\n    used = 1\nfor used in x: pass",
    "with open('a') as file:\n    for line in file:\n        for word in line: pass",
    "[inner for inner in x]",
]


def test_what_a_for_loop_alone_bound_is_left_out(tmp_path: Path) -> None:
    loop = {"i": 2, "batch": np.zeros(9), "label": 1, "line": "a", "word": "b"}
    others = {"total": 3, "kept": np.zeros(9), "epoch": 3, "used": 4, "inner": 5}
    capture({"In": CELLS, **loop, **others}, str(tmp_path / "all"))
    rows = rows_of(tmp_path / "all")
    assert {name for name, row in rows.items() if row["saved"] == "no"} == set(loop)
    assert "for loop" in rows["batch"]["note"]
    capture({"In": CELLS, **loop}, str(tmp_path / "one"), which="pattern", pattern="batch")
    assert rows_of(tmp_path / "one")["batch"]["saved"] == "arrays"


def test_what_is_no_value_stands_in_the_table_with_the_reason(tmp_path: Path) -> None:
    import matplotlib.figure

    with (tmp_path / "a.txt").open("w") as file, h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["x"] = np.arange(3)
        figure = matplotlib.figure.Figure()
        rows, _ = saved(
            tmp_path,
            file=file,
            text=io.StringIO("x"),
            h5=h5,
            dataset=h5["x"],
            numbers=(n for n in range(3)),
            figure=figure,
            axes=figure.subplots(2, 2),
            thing=object(),
            error=ValueError("x"),
        )
    assert {row["saved"] for row in rows.values()} == {"no"}
    marks = {
        "file": "open file",
        "text": "open file",
        "h5": "open file",
        "dataset": "open file",
        "numbers": "generator",
        "figure": "figure",
        "axes": "figure",
        "thing": "neither a model nor data",
        "error": "exception",
    }
    assert {name for name, mark in marks.items() if mark not in rows[name]["note"]} == set()


# The original went by parts of the names of classes


class Blueprint:
    """Its name holds `int`."""


class string_thing:  # noqa: N801
    """Its name holds `str`."""


def test_a_class_is_known_by_what_it_is_not_by_its_name(tmp_path: Path) -> None:
    fake = type("Sequential", (), {"__module__": "keras.src.models.sequential"})()
    estimator = type("Pipeline", (), {"__module__": "sklearn.pipeline"})()
    rows, values = saved(
        tmp_path,
        plan=Blueprint(),
        thing=string_thing(),
        now=time.gmtime(0),
        fake=fake,
        estimator=estimator,
        it=iter([1]),
    )
    not_saved = {name for name, row in rows.items() if row["saved"] == "no"}
    assert not_saved == {"plan", "thing", "fake", "estimator", "it"}
    assert values["now"] == tuple(time.gmtime(0))


# Not twice


def test_an_object_with_two_names_is_written_once(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)
    capture({"a": noise, "b": noise, "c": 1, "d": 1}, str(tmp_path))
    rows = rows_of(tmp_path)
    assert rows["b"]["note"] == "the same as a"
    assert (rows["b"]["saved"], rows["d"]["note"]) == ("arrays", "")
    assert (tmp_path / "arrays.h5").stat().st_size < 1.2 * noise.nbytes
    values = load_variables(tmp_path / "arrays.h5")
    assert np.array_equal(values["b"], noise)


def test_inputs_are_not_copied_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).normal(size=(40, 8, 8, 1)).astype(np.float32)
    data[0, 0] = np.nan
    (tmp_path / "sets").mkdir()
    with h5py.File(tmp_path / "sets" / "in.h5", "w") as file:
        file["part/X_train"] = data
        file["small"] = np.arange(3)
        file["link"] = h5py.ExternalLink("/etc/passwd", "x")
    (tmp_path / "table.csv").write_text("a,b\n")
    (tmp_path / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 99)
    monkeypatch.chdir("/")  # a notebook may change its folder
    other = data.copy()
    other[-1, -1, -1, 0] += 1
    capture(
        {"X": data, "scaled": data * 2, "other": other, "head": data[:10], "n": np.arange(3)},
        str(tmp_path / "out"),
        inputs=["sets/in.h5", "table.csv", "missing.h5", "broken.h5"],
        base=str(tmp_path),
    )
    rows = rows_of(tmp_path / "out")
    assert rows["X"]["note"] == "is part/X_train of sets/in.h5"
    assert {name for name, row in rows.items() if row["saved"] == "no"} == {"X"}


# What is written, also from a real kernel


def test_large_arrays_are_compressed_where_it_pays(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 3 << 20, np.uint8)
    capture({"zeros": np.zeros((600, 700)), "noise": noise, "turned": noise[::-2]}, str(tmp_path))
    with h5py.File(tmp_path / "arrays.h5") as file:
        assert file["zeros"].compression == "gzip"
        assert file["noise"].compression is None
        assert np.array_equal(file["turned"], noise[::-2])
    assert rows_of(tmp_path)["zeros"]["size"] == 600 * 700 * 8


IN_A_KERNEL = [
    "import time, numpy as np\ntotal = 0",
    "for i, row in enumerate(np.eye(3)):\n    total += i",
    "%%bash\necho x > written.txt",
    "class Slow:\n    def __array__(self, *a, **k):\n        time.sleep(100)\nslow = Slow()",
    """from gpulab.notebook.capture import capture
shell = get_ipython()
capture(shell.user_ns, "out", hidden=shell.user_ns_hidden, value_seconds=1)""",
]


def test_in_a_real_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    cells = [nbformat.v4.new_code_cell(source) for source in IN_A_KERNEL]
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=60, resources=resources).execute()
    rows = rows_of(tmp_path / "out")
    states = {name: row["saved"] for name, row in rows.items()}
    assert states == {"total": "arrays", "i": "no", "row": "no", "slow": "no", "shell": "no"}
    assert "longer than 1 second" in rows["slow"]["note"]
    assert load_variables(tmp_path / "out" / "arrays.h5") == {"total": 3}


# No heavy library is imported for a notebook that did not

LIGHT = """
import sys
from gpulab.notebook.capture import capture
capture({"x": 1, "rows": [1, "a"], "word": "b"}, sys.argv[1])
heavy = {"tensorflow", "keras", "torch", "sklearn", "pandas", "scipy", "jax", "matplotlib", "onnx"}
print(sorted(heavy & set(sys.modules)))
"""


def test_capturing_imports_nothing_heavy(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIGHT, str(tmp_path)]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": root}
    )
    assert done.stdout.strip() == "[]"
