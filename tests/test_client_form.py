"""The filled-in form, and what a command line says about parameters."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpulab.client.form import (
    Settings,
    data_fields,
    parameter_fields,
    read_parameter,
    script_fields,
)
from gpulab.errors import InputError


@pytest.mark.parametrize(
    ("value", "kind", "sent"),
    [
        ("5", "text", "5"),
        (5, "integer", 5),
        (0.5, "float", 0.5),
        (True, "boolean", "true"),
        (False, "boolean", "false"),
        ([1, "a"], "json", '[1, "a"]'),
        ({"depth": 4}, "json", '{"depth": 4}'),
        ((1, 2), "json", "[1, 2]"),
        (None, "json", "null"),
        (np.int64(3), "integer", 3),
        (np.float32(0.5), "float", 0.5),
        (np.bool_(True), "boolean", "true"),
    ],
)
def test_types_of_values(value: Any, kind: str, sent: Any) -> None:
    fields = parameter_fields({"x": value})
    assert fields["parameters_0|typed|type"] == kind
    assert fields["parameters_0|typed|value"] == sent
    assert fields["parameters_0|name"] == "x"


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, [math.nan], object(), {1, 2}, b"x", np.zeros(3)]
)
def test_values_that_no_form_holds(value: Any) -> None:
    with pytest.raises(InputError, match="parameter 'x'"):
        parameter_fields({"x": value})


@pytest.mark.parametrize("name", ["", "a-b", "1a", "a b", "for", "x|y", "größe"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InputError, match="is no name of a Python variable"):
        parameter_fields({name: 1})


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("epochs=10", "epochs", 10),
        ("rate=0.5", "rate", 0.5),
        ("flag=true", "flag", True),
        ("layers=[16, 32]", "layers", [16, 32]),
        ("name=abc", "name", "abc"),
        ("name=", "name", ""),
        ("path=a=b", "path", "a=b"),
        ("name:text=5", "name", "5"),
        ("rate:float=1", "rate", 1.0),
        ("x=null", "x", None),
        ("x=NaN", "x", "NaN"),
        ('x="5"', "x", "5"),
        ("x:json=[1]", "x", [1]),
    ],
)
def test_parameters_of_a_command_line(text: str, name: str, value: Any) -> None:
    assert read_parameter(text) == (name, value)
    assert type(read_parameter(text)[1]) is type(value)


@pytest.mark.parametrize(
    "text", ["epochs", "=5", "x:int=5", "x:integer=a", "x:integer=true", "x:boolean=1", "x:json={"]
)
def test_parameters_that_are_wrong(text: str) -> None:
    with pytest.raises(InputError):
        read_parameter(text)


@given(st.text().filter(lambda text: text.isprintable()))
def test_forced_text_stays_as_it_is(value: str) -> None:
    assert read_parameter(f"x:text={value}") == ("x", value)
    assert parameter_fields({"x": value})["parameters_0|typed|value"] == value


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_lists_survive(value: Any) -> None:
    if isinstance(value, list):
        sent = parameter_fields({"x": value})["parameters_0|typed|value"]
        assert json.loads(sent) == value


def test_whole_form() -> None:
    fields = (
        Settings(cell_minutes=2, variables="model*, history", hide_code=True).fields()
        | script_fields("notebook", "n1")
        | data_fields([("a/b.h5", "d1"), ("c.csv", "d2")], {"c.csv": "https://x.example/c.csv"})
    )
    assert fields == {
        "limits|cell_minutes": 2,
        "limits|total_minutes": 0,
        "failure": "fail",
        "variables|which": "pattern",
        "variables|pattern": "model*, history",
        "hide_code": "true",
        "source|kind": "notebook",
        "source|notebook": {"src": "hda", "id": "n1"},
        "datasets_0|item|kind": "dataset",
        "datasets_0|item|dataset": {"src": "hda", "id": "d1"},
        "datasets_0|path": "a/b.h5",
        "datasets_1|item|kind": "dataset",
        "datasets_1|item|dataset": {"src": "hda", "id": "d2"},
        "datasets_1|path": "c.csv",
        "datasets_1|alias": "https://x.example/c.csv",
    }
