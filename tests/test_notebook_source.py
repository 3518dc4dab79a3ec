"""Reading notebooks and scripts, and putting parameters into them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.notebook.seeds import seed_advice
from gpulab.notebook.source import (
    KERNEL_NAME,
    assigned_names,
    code_cells,
    insert_parameters,
    read_source,
)
from gpulab.testing.notebooks import make_notebook

SHIPPED = Path(__file__).resolve().parent.parent / "test-data" / "notebook"


def test_our_own_kernel_is_used_whatever_the_notebook_says() -> None:
    notebook = read_source(SHIPPED / "analysis.ipynb", "notebook", "a")
    assert notebook.metadata.kernelspec.name == KERNEL_NAME
    nbformat.validate(notebook)


def test_earlier_outputs_and_widgets_are_dropped(tmp_path: Path) -> None:
    notebook = make_notebook("1 + 1")
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="old")]
    notebook.cells[0].execution_count = 7
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    nbformat.write(notebook, tmp_path / "a.ipynb")
    read = read_source(tmp_path / "a.ipynb", "notebook", "a")
    assert read.cells[0].outputs == []
    assert read.cells[0].execution_count is None
    assert "widgets" not in read.metadata


def test_version_3_is_read() -> None:
    notebook = read_source(SHIPPED / "version3.ipynb", "notebook", "old")
    assert [cell.source for cell in code_cells(notebook)] == ["print('an old notebook')", "old = 3"]
    nbformat.validate(notebook)


def test_a_plain_script_keeps_its_blocks_together() -> None:
    cells = list(code_cells(read_source(SHIPPED / "script.txt", "script", "s")))
    whole = [cell.source for cell in cells if "__main__" in cell.source]
    assert len(whole) == 1
    assert "print('total', total)" in whole[0]
    for cell in cells:
        compile(cell.source, "cell", "exec")


def test_percent_script_keeps_tags() -> None:
    notebook = read_source(SHIPPED / "percent.txt", "script", "s")
    assert notebook.cells[0].metadata.tags == ["parameters"]
    assert [cell.cell_type for cell in notebook.cells] == ["code", "markdown", "code"]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("r.ipynb", "notebook", "written in 'R', and this tool runs Python alone"),
        ("damaged.ipynb", "notebook", "open it in Jupyter and save it again"),
        ("script.txt", "notebook", "is no Jupyter notebook"),
        ("analysis.ipynb", "script", "is a Jupyter notebook: choose notebook instead"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_sentence(name: str, kind: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_source(SHIPPED / name, kind, name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no Jupyter notebook"),
        (b"[1, 2]", "no Jupyter notebook"),
        (b'{"nbformat": 99, "cells": []}', "no Jupyter notebook|damaged"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": 3}', "damaged|no Jupyter"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"{" * 100_000, "no Jupyter notebook"),
        (b"[" * 100_000, "no Jupyter notebook"),
        (b'{"nbformat": 3, "nbformat_minor": 0, "worksheets": 1}', "no Jupyter notebook|damaged"),
    ],
)
def test_hostile_notebooks_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.ipynb"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_source(path, "notebook", "bad.ipynb")


def test_no_code_is_refused(tmp_path: Path) -> None:
    nbformat.write(make_notebook(("markdown", "only text"), "  \n"), tmp_path / "a.ipynb")
    with pytest.raises(InputError, match="holds no code"):
        read_source(tmp_path / "a.ipynb", "notebook", "a")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(content=_JSON, cells=_JSON)
def test_any_json_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: Any, cells: Any
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.ipynb"
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": content, "cells": cells}
    for value in (content, whole):
        path.write_text(json.dumps(value))
        with pytest.raises(InputError):
            read_source(path, "notebook", "a")


@given(text=st.text(max_size=200))
def test_any_text_is_a_script_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("script") / "a.txt"
    path.write_text(text, encoding="utf-8")
    try:
        notebook = read_source(path, "script", "a")
    except InputError:
        return
    nbformat.validate(notebook)


def test_parameters_follow_their_defaults() -> None:
    notebook = read_source(SHIPPED / "analysis.ipynb", "notebook", "a")
    changed = insert_parameters(notebook, {"scale": 2.5, "sizes": [1, None, "x"]}, "a")
    tags = [cell.metadata.get("tags") for cell in changed.cells]
    place = tags.index(["injected-parameters"])
    assert tags[place - 1] == ["parameters"]
    values: dict[str, Any] = {}
    exec(changed.cells[place].source, values)
    assert (values["scale"], values["sizes"]) == (2.5, [1, None, "x"])


@given(text=st.text(), number=st.floats(allow_nan=False), whole=st.integers())
def test_a_parameter_s_text_is_never_code(text: str, number: float, whole: int) -> None:
    notebook = read_source(SHIPPED / "percent.txt", "script", "s")
    changed = insert_parameters(notebook, {"epochs": [text, number, whole]}, "s")
    values: dict[str, Any] = {}
    exec(changed.cells[1].source, values)
    assert values["epochs"] == [text, number, whole]


def test_unknown_parameter_and_missing_tag() -> None:
    notebook = read_source(SHIPPED / "analysis.ipynb", "notebook", "a")
    with pytest.raises(InputError, match=r"no 'epochs': it sets scale, label, sizes"):
        insert_parameters(notebook, {"epochs": 1}, "a")
    untagged = read_source(SHIPPED / "failing.ipynb", "notebook", "b")
    with pytest.raises(InputError, match="no cell of 'b' has the tag 'parameters'"):
        insert_parameters(untagged, {"epochs": 1}, "b")


def test_assigned_names() -> None:
    source = "%matplotlib inline\na = 1\nb: int = 2\n(c, [d]) = 1, [2]\nif a:\n    e = 3\nf == 4"
    assert assigned_names(source, "x") == ["a", "b", "c", "d"]
    with pytest.raises(InputError, match="not valid Python"):
        assigned_names("a = = 1", "x")


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("import math", ""),
        ("import numpy as np\nx = np.random.rand()", "No seed was found.*numpy.random.seed"),
        ("import torch\ntorch.manual_seed(3)", "sets a seed"),
        ("from numpy.random import default_rng\nr = default_rng()", "No seed was found"),
        ("from sklearn.svm import SVC\nm = SVC(random_state=1)", "sets a seed"),
        ("%%bash\nimport nothing", ""),
    ],
)
def test_seed_advice(source: str, advice: str) -> None:
    import re

    found = seed_advice(make_notebook(source))
    assert re.search(advice, found) if advice else found == ""
