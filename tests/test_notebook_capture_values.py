"""What is kept of a notebook's variables comes back as it was."""

from __future__ import annotations

import datetime
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from capturing import saved
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


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
