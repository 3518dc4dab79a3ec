"""The notebooks of docs/notebooks: stored clean, and run one after the other with small data."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from gpulab.notebook.source import insert_parameters, read_source
from localgalaxy.paths import ROOT

NOTEBOOKS = ROOT / "docs" / "notebooks"
NAMES = [
    "1_fetch_data",
    "2_train_here",
    "3_predict_here",
    "4_train_remotely",
    "5_submit",
    "6_predict_remote_model",
    "7_fold",
]
LIMIT = 400  # seconds for a cell on a busy machine
# What Galaxy does after the last cell: it saves the variables.
CAPTURE = """
from gpulab.notebook.capture import capture
shell = get_ipython()
capture(shell.user_ns, "captured", which="pattern", pattern="model, history",
        hidden=shell.user_ns_hidden)
"""


def read(name: str) -> Any:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def execute(name: str, folder: Path, *, after: str = "", **parameters: Any) -> Any:
    """Run a notebook in a folder and return it with its outputs.

    Args:
        name: Its name without the ending.
        folder: Where it runs.
        after: Code of one more cell.
        parameters: What replaces the values of its tagged cell.
    """
    from nbclient import NotebookClient

    label = f"{name}.ipynb"
    notebook = read_source(NOTEBOOKS / label, "notebook", label)
    notebook = insert_parameters(notebook, parameters, label)
    if after:
        notebook.cells.append(nbformat.v4.new_code_cell(after))
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=LIMIT, kernel_name="python3", resources=resources)
    client.execute(env=os.environ | {"PYTHONPATH": str(ROOT)})
    return notebook


def pictures(notebook: Any) -> int:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def printed(notebook: Any) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in outputs)


def values(notebook: Any) -> dict[str, Any]:
    """Return what the cell with the parameters sets."""
    (source,) = [c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    found: dict[str, Any] = {}
    exec(source, {}, found)  # our own notebook
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the data lie, as notebook 1 fetches them."""
    path = tmp_path_factory.mktemp("notebooks")
    fetched = execute("1_fetch_data", path)
    assert pictures(fetched) == 1
    assert "X_train      (96, 64, 64, 1)" in printed(fetched)
    assert "there already" in printed(execute("1_fetch_data", path))
    return path


def test_train_and_predict_here(folder: Path) -> None:
    trained = execute("2_train_here", folder, epochs=2, base_filters=4)
    assert pictures(trained) == 1
    assert (folder / "onnx_trained_model" / "model.onnx").stat().st_size > 10_000
    predicted = execute("3_predict_here", folder, shown=2)
    assert pictures(predicted) == 1
    assert "12 images" in printed(predicted)


def test_train_remotely_and_predict(folder: Path) -> None:
    trained = execute("4_train_remotely", folder, after=CAPTURE, epochs=2, base_filters=4)
    assert pictures(trained) == 3
    assert re.search(r"Best epoch \d of 2", printed(trained))
    assert (folder / "outputs" / "validation.png").exists()
    saved = folder / "captured" / "models" / "model.onnx"
    place = folder / "remote_results" / "models" / "model.onnx"
    place.parent.mkdir(parents=True)
    shutil.copy(saved, place)
    predicted = execute("6_predict_remote_model", folder, rows=2)
    assert pictures(predicted) == 2
    table = (folder / "predicted" / "metrics.tabular").read_text("utf-8")
    assert "trained in Galaxy" in table


def test_the_submitted_notebook_takes_what_the_submitting_one_gives() -> None:
    submitting, submitted = values(read("5_submit")), values(read("4_train_remotely"))
    assert submitting["notebook"] == "4_train_remotely.ipynb"
    assert submitting["data"] == submitted["data"]
    assert "epochs" in submitted


def test_there_is_a_notebook_for_each_step() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == NAMES
    index = (NOTEBOOKS / "README.md").read_text("utf-8")
    for name in NAMES:
        assert f"]({name}.ipynb)" in index


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_are_stored_clean(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith(f"# {name[0]}. ")
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not set(cell.metadata) - {"tags"}
        assert not set(cell.get("metadata", {}).get("tags", ())) - {"parameters"}
    text = (NOTEBOOKS / f"{name}.ipynb").read_text("utf-8")
    assert not re.search(r"\b[0-9a-f]{32}\b", text), "this looks like a key"
    assert not re.search(r'"/[a-z]+/', text), "this looks like a path of one machine"
    assert not [line for line in text.splitlines() if len(line) > 130]
