"""What a notebook's variables become: kept exactly, or left out with a reason that is true."""

from __future__ import annotations

import builtins
import contextlib
import datetime
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gpulab.notebook.capture import capture, store
from gpulab.notebook.capture.arrays import write_array
from gpulab.notebook.capture.guard import UnsaveableError
from gpulab.notebook.capture.load import load_variables

Rows = dict[str, dict[str, Any]]
QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def rows_of(folder: Path) -> Rows:
    """Return the rows of the table by name."""
    lines = (folder / "variables.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["name"]: row for row in rows if "name" in row}


def saved(tmp_path: Path, **variables: Any) -> tuple[Rows, dict[str, Any]]:
    """Capture variables; return the rows and the values read back."""
    folder = tmp_path / f"captured-{time.monotonic_ns()}"
    capture(variables, str(folder))
    arrays = folder / "arrays.h5"
    return rows_of(folder), load_variables(arrays) if arrays.exists() else {}


def same(a: Any, b: Any) -> bool:
    """Tell whether two values are equal, their types and NaN included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        # A NaN as key is equal to nothing, but the order is kept.
        return len(a) == len(b) and all(
            same(list(x), list(y)) for x, y in zip(a.items(), b.items(), strict=True)
        )
    if isinstance(a, list | tuple | deque):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        if a.shape != b.shape or (a.dtype != b.dtype):
            return False
        return same(a.ravel().tolist(), b.ravel().tolist())
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or a == b
    return bool(a == b)


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


# Round trips

TEXTS = st.text(st.characters(), max_size=8)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-5, 5),
    st.floats(),
    st.complex_numbers(),
    TEXTS,
    st.binary(max_size=8),
)
KEYS = st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.tuples(TEXTS, st.integers()))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
        st.frozensets(st.integers(), max_size=3),
        st.sets(TEXTS, max_size=3),
    ),
    max_leaves=12,
)


@given(VALUES)
@QUICK
def test_python_values_come_back_as_they_were(tmp_path: Path, value: Any) -> None:
    rows, values = saved(tmp_path, value=value)
    assert rows["value"]["saved"] == "arrays", rows
    assert same(values["value"], value)


@given(npst.arrays(npst.array_dtypes() | npst.scalar_dtypes(), npst.array_shapes(min_side=0)))
@QUICK
def test_arrays_of_every_type_come_back_as_they_were(tmp_path: Path, value: Any) -> None:
    rows, values = saved(tmp_path, value=value)
    if rows["value"]["saved"] == "no":
        assert "0 bytes" in rows["value"]["note"]
        return
    read = values["value"]
    assert read.shape == value.shape
    if value.dtype.names is None:
        assert read.dtype.newbyteorder("=") == value.dtype.newbyteorder("=")
    assert read.dtype.names == value.dtype.names
    assert same(read.tolist(), value.tolist())


EXAMPLES: dict[str, Any] = {
    "half": np.float16(1.5),
    "scalar": np.datetime64("2024-02-29", "D"),
    "zero_d": np.array(3.0),
    "dates": np.array(["2024-02-29", "NaT"], "datetime64[D]"),
    "spans": np.array([1, 2], "timedelta64[h]"),
    "texts": np.array([["a", "größe"], ["", "x\0y"]]),
    "objects": np.array([["a", None], ["b", float("nan")]], dtype=object),
    "ragged_objects": np.array([[1, 2], [3]], dtype=object),
    "records": np.array([(1, "a", "2020-01-01")], [("n", "i4"), ("t", "U3"), ("d", "M8[D]")]),
    "long_double": np.array([1.5], np.longdouble),
    "ragged": [[1, 2], [3], []],
    "tokens": [["a", "b"], ["c"]],
    "rows": [np.arange(2), np.arange(3)],
    "matrix": [[1.0, 2.0], [3.0, 4.0]],
    "pairs": [(1, 2), (3, 4)],
    "mixed": [1, 2.5, "a", None, True, math.inf] * 300,
    "np_list": [np.float32(1), np.float32(2)],
    "dates_list": ["a", None, float("nan")],
    "deque": deque([1, 2]),
    "range": range(3, 9, 2),
    "big": 10**40,
    "keys": {1: "a", "1": "b", (1, "x"): "c", None: "d", "a/b": "e", "": "f", ".": "g", 2.5: "h"},
    "words": {f"w{number}": number for number in range(30_000)},
    "nested": {"history": {"loss": [1.0, 0.5]}, "best": {"epoch": 3}},
    "deep": [[[[["x", 1]]]]],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    rows, values = saved(tmp_path, value=EXAMPLES[name])
    assert rows["value"]["saved"] == "arrays", rows
    assert same(values["value"], EXAMPLES[name]), values


def test_subclasses_and_what_is_kept_as_text(tmp_path: Path) -> None:
    _, values = saved(
        tmp_path,
        ordered=OrderedDict(b=1, a=2),
        day=datetime.date(2024, 2, 29),
        path=Path("a/b"),
        masked=np.ma.MaskedArray([1, 2], mask=[False, True]),
        matrix=np.matrix([[1, 2]]),
        view=memoryview(b"ab"),
    )
    assert list(values["ordered"]) == ["b", "a"]
    assert (values["day"], values["path"]) == ("2024-02-29", "a/b")
    assert values["masked"].mask.tolist() == [False, True]
    assert values["matrix"].tolist() == [[1, 2]]
    assert values["view"] == b"ab"


FRAMES: dict[str, Callable[[], Any]] = {
    "types": lambda: pd.DataFrame(
        {
            "whole": [1, 2, 3],
            "maybe": pd.array([1, None, 3], dtype="Int64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "real": [0.5, float("nan"), math.inf],
            "text": ["a", None, float("nan")],
            "string": pd.array(["a", None, "ü"], dtype="string"),
            "kind": pd.Categorical(["a", None, "b"], categories=["b", "a"], ordered=True),
            "when": pd.to_datetime(["2024-02-29", None, "2024-03-01"]),
            "zoned": pd.to_datetime(["2024-02-29", None, "2024-03-01"]).tz_localize("Asia/Tokyo"),
            "span": pd.to_timedelta(["1h", None, "2h"]),
            "month": pd.array(["2024-01", None, "2024-03"], dtype="period[M]"),
            "bin": pd.cut([1, 2, 3], 2),
            "lists": [[1], [2, 3], []],
            "mixed": [1, "a", 2.5],
        }
    ),
    "levels": lambda: pd.DataFrame(
        np.arange(8).reshape(4, 2),
        index=pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["k", None]),
        columns=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)]),
    ),
    "same names": lambda: pd.DataFrame([[1, "a"], [2, "b"]], columns=["x", "x"]),
    "odd names": lambda: pd.DataFrame([[1, 2, 3, 4]], columns=["a/b", "", 7, "index"]),
    "dates": lambda: pd.DataFrame(
        {"v": [1.0, 2.0]}, index=pd.date_range("2024-01-01", periods=2, freq="D", name="day")
    ),
    "no rows": lambda: pd.DataFrame({"a": pd.Series([], dtype="float64")}),
    "no columns": lambda: pd.DataFrame(index=[1, 2]),
    "many texts": lambda: pd.DataFrame({"t": ["a", 1, None] * 10_000}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_tables_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    frame = FRAMES[name]()
    rows, values = saved(tmp_path, frame=frame)
    assert rows["frame"]["saved"] == "arrays", rows
    assert rows["frame"]["note"] == ""
    pd.testing.assert_frame_equal(values["frame"], frame, check_freq=True)


def test_series_and_indexes_come_back_as_they_were(tmp_path: Path) -> None:
    series = pd.Series([1.5, None], index=["a", "b"], name="s")
    index = pd.Index([3, 1], name="i")
    stamp = pd.Timestamp("2024-02-29", tz="Europe/Berlin")
    _, values = saved(tmp_path, series=series, index=index, stamp=stamp, gap=pd.NaT)
    pd.testing.assert_series_equal(values["series"], series)
    pd.testing.assert_index_equal(values["index"], index)
    assert values["stamp"] == stamp
    assert values["gap"] is pd.NaT


def test_a_column_that_cannot_be_saved_costs_only_itself(tmp_path: Path) -> None:
    frame = pd.DataFrame({"good": [1, 2], "bad": [object(), object()]})
    rows, values = saved(tmp_path, frame=frame)
    assert "bad" in rows["frame"]["note"]
    assert values["frame"]["good"].tolist() == [1, 2]
    assert values["frame"]["bad"].tolist() == [None, None]


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_sparse_matrices_come_back_as_they_were(tmp_path: Path, form: str, kind: str) -> None:
    dense = np.diag([1.0, 2.0, 0.0])
    sparse = getattr(scipy.sparse, f"{form}_{kind}")(dense)
    _, values = saved(tmp_path, sparse=sparse)
    assert type(values["sparse"]) is type(sparse)
    assert values["sparse"].toarray().tolist() == dense.tolist()


class Columns:
    """A stranger's array-like."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.arange(6).reshape(2, 3)


def test_other_array_likes_are_saved_as_arrays(tmp_path: Path) -> None:
    import jax.numpy
    from PIL import Image

    picture = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    half = jax.numpy.ones(2, dtype="bfloat16")
    rows, values = saved(tmp_path, columns=Columns(), picture=picture, half=half)
    assert values["columns"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert values["picture"].shape == (3, 4)
    assert values["half"].tolist() == [1.0, 1.0]
    assert rows["half"]["shape"] == "(2)"


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


# Nothing spoils another


class Stubborn:
    """Swallows what it can and never ends."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        while True:
            with contextlib.suppress(Exception):
                time.sleep(60)


class Leaving:
    """Ends the program that looks at it."""

    @property
    def shape(self) -> Any:
        raise SystemExit(3)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise KeyboardInterrupt


class Liar:
    """Claims to be what it is not, in code."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no class")

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __len__(self) -> int:
        raise RuntimeError("no length")


class Angry(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError("not even a text")


class Raising:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise Angry


class Endless(list[int]):
    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1


def test_one_bad_variable_costs_no_other(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append([loop])
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    bad = {
        "stubborn": Stubborn(),
        "leaving": Leaving(),
        "liar": Liar(),
        "raising": Raising(),
        "loop": loop,
        "deep": deep,
        "huge": np.zeros(3 << 20),
        "mine": {"key": object()},
    }
    good = {f"good_{name}": np.arange(3) for name in bad}
    namespace: dict[str, Any] = {}
    for name, value in bad.items():
        namespace |= {name: value, f"good_{name}": good[f"good_{name}"]}
    begin = time.monotonic()
    capture(
        {**namespace, "endless": Endless([1, 2]), "a/b": 1, "\ud800": 2, "": 3, 7: 4},  # type: ignore[dict-item]
        str(tmp_path),
        value_seconds=1.0,
        max_bytes=20 << 20,
    )
    assert time.monotonic() - begin < 20
    rows = rows_of(tmp_path)
    values = load_variables(tmp_path / "arrays.h5")
    assert set(values) == {*good, "endless"}, "no trace of what was given up"
    assert values["endless"] == [1, 2]
    marks = {
        "stubborn": "longer than 1 second",
        "leaving": "KeyboardInterrupt|SystemExit",
        "liar": "",
        "raising": "^Angry$",
        "loop": "contains itself",
        "deep": "deep",
        "huge": "space",
        "mine": "none of its items",
        "a/b": "name",
    }
    assert {n: rows[n] for n, mark in marks.items() if not re.search(mark, rows[n]["note"])} == {}
    assert {rows[name]["saved"] for name in marks} == {"no"}
    assert signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, None)


def test_what_needs_too_many_objects_is_left_out_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_OBJECTS", 500)
    wide = [["a", 1]] * 1000
    rows, values = saved(tmp_path, wide=wide, table=pd.DataFrame({"w": wide, "n": 1}), n=1)
    assert "more than 500" in rows["wide"]["note"]
    assert "w: more than 500" in rows["table"]["note"]
    assert values["table"]["n"].sum() == len(wide)
    assert set(values) == {"table", "n"}


def test_items_that_cannot_be_saved_are_named(tmp_path: Path) -> None:
    rows, values = saved(tmp_path, results={"best": 0.9, "figure": object()}, row=[1, object()])
    assert values == {"results": {"best": 0.9}, "row": [1, None]}
    assert rows["results"]["note"].startswith("1 left out: ['figure']")
    assert rows["row"]["note"].startswith("1 left out: [1]")


def test_warnings_that_are_errors_and_chatter_do_no_harm(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    class Chatter:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            import warnings

            print("x" * 100_000)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            return np.arange(2)

    rows, _ = saved(tmp_path, chatter=Chatter())
    assert rows["chatter"]["saved"] == "arrays"
    assert capsys.readouterr().out == ""


def test_large_arrays_are_compressed_where_it_pays(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 3 << 20, np.uint8)
    capture({"zeros": np.zeros((600, 700)), "noise": noise, "turned": noise[::-2]}, str(tmp_path))
    with h5py.File(tmp_path / "arrays.h5") as file:
        assert file["zeros"].compression == "gzip"
        assert file["noise"].compression is None
        assert np.array_equal(file["turned"], noise[::-2])
    assert rows_of(tmp_path)["zeros"]["size"] == 600 * 700 * 8


def test_a_disk_that_is_nearly_full_is_left_alone(tmp_path: Path) -> None:
    free = [1 << 40]
    writer = store.Writer(1 << 40, lambda: free[0], [write_array], lambda _: "none")
    with store.opened(str(tmp_path / "a.h5")) as file:
        writer.save(file, "a", np.zeros(100))
        free[0] = 64 << 20
        with pytest.raises(UnsaveableError, match="only 0 bytes are left"):
            writer.save(file, "b", np.zeros(100))
        assert list(file) == ["a"]


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


KILLED = """
import sys, numpy as np
from gpulab.notebook.capture import capture, store
from gpulab.notebook.capture.arrays import write_array
from gpulab.notebook.capture.guard import UnsaveableError
noise = np.random.default_rng(0).bytes(250 << 20)
capture({"first": [1, 2, 3], "table": {"a": 1}, "noise": np.frombuffer(noise, np.uint8),
         "last": 4}, sys.argv[1])
"""


def test_a_kernel_that_is_killed_while_it_writes_leaves_what_was_written(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], env=environment)
    arrays = tmp_path / "arrays.h5"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if arrays.exists() and arrays.stat().st_size > 20 << 20:
            break
        time.sleep(0.001)
    child.kill()
    child.wait()
    assert "noise" not in rows_of(tmp_path), "it was killed in time"
    # Small ones come before large ones, whatever their order.
    assert load_variables(arrays) == {"first": [1, 2, 3], "table": {"a": 1}, "last": 4}
