"""A variable that cannot be saved costs no other, whatever it does while it is looked at."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from capturing import rows_of, saved

from gpulab.notebook.capture import capture, store
from gpulab.notebook.capture.arrays import write_array
from gpulab.notebook.capture.guard import UnsaveableError
from gpulab.notebook.capture.load import load_variables


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


def test_a_disk_that_is_nearly_full_is_left_alone(tmp_path: Path) -> None:
    free = [1 << 40]
    writer = store.Writer(1 << 40, lambda: free[0], [write_array], lambda _: "none")
    with store.opened(str(tmp_path / "a.h5")) as file:
        writer.save(file, "a", np.zeros(100))
        free[0] = 64 << 20
        with pytest.raises(UnsaveableError, match="only 0 bytes are left"):
            writer.save(file, "b", np.zeros(100))
        assert list(file) == ["a"]


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
