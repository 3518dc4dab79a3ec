"""The form of run_jupyter_job: places of the datasets, and typed parameters."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.notebook.inputs import check_path, lay_out
from gpulab.notebook.options import read_options, read_parameters


def dataset(path: str = "", alias: str = "", name: str = "scan") -> dict[str, Any]:
    real = {"element_identifier": name, "ext": "h5", "source_path": "/data/1.dat"}
    return {"item": {"kind": "dataset", "dataset": real}, "path": path, "alias": alias}


def collection(path: str, *staging: str) -> dict[str, Any]:
    elements = [{"staging_path": s, "ext": "png", "source_path": f"/data/{s}"} for s in staging]
    return {"item": {"kind": "collection", "collection": elements}, "path": path, "alias": ""}


def test_the_path_of_the_notebook_is_used_as_it_is() -> None:
    layout = lay_out([dataset("h5_datasets/combined_CT_datasets.h5")])
    assert layout.files == {"h5_datasets/combined_CT_datasets.h5": Path("/data/1.dat")}


def test_no_path_means_the_dataset_s_name() -> None:
    assert list(lay_out([dataset("")]).files) == ["scan.h5"]
    assert list(lay_out([dataset("data/", name="a/b.h5")]).files) == ["data/a_b.h5"]


def test_names_with_commas_and_names_within_names_do_not_disturb_each_other() -> None:
    paths = ["data.h5", "mydata.h5.bak", "a.h5,data.h5", "a b;c.h5"]
    assert list(lay_out([dataset(path) for path in paths]).files) == paths


def test_an_alias_is_a_key_and_no_path() -> None:
    url = "https://example.org/x.h5"
    layout = lay_out([dataset("x.h5", alias=url)])
    assert layout.names == {"x.h5": "x.h5", url: "x.h5"}
    assert list(layout.files) == ["x.h5"]


def test_collections_become_folders() -> None:
    layout = lay_out([collection("scans", "patient 1/slice.1.png", "patient 1/b.png.png")])
    assert set(layout.files) == {"scans/patient 1/slice.1", "scans/patient 1/b.png"}
    assert layout.names["scans"]["patient 1/b.png"] == "scans/patient 1/b.png"


def test_the_true_paths_of_elements_count() -> None:
    entries = [dataset("a.h5"), collection("scans", "a.png", "b.png")]
    layout = lay_out(entries, [[], ["/staged/1.dat", "/staged/2.dat"]])
    assert layout.files["scans/a.png"] == Path("/staged/1.dat")
    assert layout.files["scans/b.png"] == Path("/staged/2.dat")
    with pytest.raises(ValueError, match="zip"):
        lay_out(entries, [[], ["/staged/1.dat"]])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([dataset("/etc/passwd")], "is absolute or a URL"),
        ([dataset("https://example.org/x.h5")], "is absolute or a URL"),
        ([dataset("C:/x.h5")], "is absolute or a URL"),
        ([dataset("~/x.h5")], "is absolute or a URL"),
        ([dataset("a/../../x.h5")], "leaves the folder"),
        ([dataset("a\nb")], "unusual characters"),
        ([dataset("a\0b")], "unusual characters"),
        ([dataset("a\\b")], "unusual characters"),
        ([dataset("x" * 300)], "too long"),
        ([dataset("galaxy_inputs.json")], "is reserved"),
        ([dataset("outputs")], "is reserved"),
        ([dataset("a.h5"), dataset("./a.h5")], "Two datasets have the path 'a.h5'"),
        ([dataset("a"), dataset("a/b")], "is a dataset and a folder"),
        ([dataset("a", alias="z"), dataset("b", alias="z")], "Two datasets have the name 'z'"),
        ([dataset("a"), dataset("b", alias="a")], "Two datasets have the name 'a'"),
        ([collection("c")], "collection of dataset 1 is empty"),
        ([collection("c", "../x.png")], "leaves the folder"),
    ],
)
def test_places_that_are_refused(entries: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        lay_out(entries)


@given(st.text(max_size=60))
def test_a_checked_path_stays_below_the_folder(path: str) -> None:
    try:
        plain = check_path(path, "dataset 1")
    except InputError:
        return
    assert plain == str(PurePosixPath(plain))
    folder = Path("/nowhere/at/all")
    assert (folder / plain).resolve().is_relative_to(folder)
    assert (folder / plain).resolve() != folder


def parameter(name: str, kind: str, value: Any) -> dict[str, Any]:
    return {"name": name, "typed": {"type": kind, "value": value}}


def test_parameters_have_the_types_that_were_chosen() -> None:
    entries = [
        parameter("epochs", "integer", 10),
        parameter("rate", "float", 1),
        parameter("label", "text", "10"),
        parameter("flip", "boolean", True),
        parameter("sizes", "json", '[1, {"a": null}]'),
    ]
    values = read_parameters(entries)
    assert values == {
        "epochs": 10,
        "rate": 1.0,
        "label": "10",
        "flip": True,
        "sizes": [1, {"a": None}],
    }
    assert isinstance(values["rate"], float)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([parameter("a b", "text", "x")], "no name of a Python variable"),
        ([parameter("a", "text", "x"), parameter("a", "text", "y")], "given twice"),
        ([parameter("a", "json", "{1}")], "not valid JSON"),
        ([parameter("a", "json", "[" * 100_000)], "not valid JSON"),
        ([parameter("a", "integer", None)], "has no value"),
        ([parameter("a", "float", "nan")], "not a finite number"),
    ],
)
def test_parameters_that_are_refused(entries: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_parameters(entries)


def test_limits_of_zero_are_none() -> None:
    source = {"source_path": "/data/1.dat", "element_identifier": "a.ipynb", "ext": "ipynb"}
    form: dict[str, Any] = {
        "source": {"kind": "notebook", "notebook": source},
        "datasets": [],
        "parameters": [],
        "limits": {"cell_minutes": 0, "total_minutes": 2, "max_files": 10, "max_gigabytes": 0.5},
        "failure": "finish",
        "variables": {"which": "pattern", "pattern": "model*"},
        "hide_code": False,
    }
    options = read_options(form)
    assert (options.time.cell, options.time.total) == (None, 120.0)
    assert (options.max_files, options.max_bytes) == (10, 500_000_000)
    assert not options.fail
    form["variables"]["pattern"] = " , "
    with pytest.raises(InputError, match="pattern of the variables to save is empty"):
        read_options(form)
