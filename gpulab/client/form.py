"""The form of `run_jupyter_job`, filled in."""

from __future__ import annotations

import json
import keyword
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gpulab.errors import InputError

ParameterType = Literal["text", "integer", "float", "boolean", "json"]
PARAMETER_TYPES: tuple[ParameterType, ...] = ("text", "integer", "float", "boolean", "json")
Failure = Literal["fail", "finish"]


@dataclass(frozen=True)
class Settings:
    """What is chosen beside the notebook and its data; the defaults are those of the tool.

    Attributes:
        cell_minutes: Limit for each cell in minutes, 0 for none.
        total_minutes: Limit for the whole notebook in minutes, 0 for none.
        failure: Whether a failing cell fails the job ("fail") or stands in the report ("finish").
        variables: Which variables are saved: "all", "none", or names with wildcards, separated by
            commas.
        hide_code: Leave the code out of the page.
        max_files: How many files the notebook may leave behind; None for the tool's default.
        max_gigabytes: How large they may be in all; None for the tool's default.
    """

    cell_minutes: float = 0
    total_minutes: float = 0
    failure: Failure = "fail"
    variables: str = "all"
    hide_code: bool = False
    max_files: int | None = None
    max_gigabytes: float | None = None

    def check(self) -> None:
        """Refuse what the form does not take.

        Raises:
            InputError: A limit is negative or not a number, or a choice is none.
        """
        for name in ("cell_minutes", "total_minutes"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise InputError(f"{name} is a number of minutes, or 0 for no limit, not {value!r}")
        if self.failure not in ("fail", "finish"):
            raise InputError(f"failure is 'fail' or 'finish', not {self.failure!r}")
        if not self.variables.strip(" ,"):
            raise InputError("variables is 'all', 'none' or names such as 'model*, history'")

    def fields(self) -> dict[str, Any]:
        """Return the fields of the form."""
        which = self.variables if self.variables in ("all", "none") else "pattern"
        fields: dict[str, Any] = {
            "limits|cell_minutes": self.cell_minutes,
            "limits|total_minutes": self.total_minutes,
            "failure": self.failure,
            "variables|which": which,
            "hide_code": "true" if self.hide_code else "false",
        }
        if which == "pattern":
            fields["variables|pattern"] = self.variables
        if self.max_files is not None:
            fields["limits|max_files"] = self.max_files
        if self.max_gigabytes is not None:
            fields["limits|max_gigabytes"] = self.max_gigabytes
        return fields


def script_fields(kind: str, dataset: str) -> dict[str, Any]:
    """Return the fields that name the notebook or script, a dataset's id."""
    return {"source|kind": kind, f"source|{kind}": {"src": "hda", "id": dataset}}


def data_fields(datasets: Sequence[tuple[str, str]], aliases: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of the datasets.

    Args:
        datasets: Pairs of path in the notebook and the dataset's id.
        aliases: Path in the notebook → what else the notebook calls it, for `GALAXY_INPUTS`.

    Raises:
        InputError: An alias is for a path that no dataset has.
    """
    unknown = sorted(aliases.keys() - {place for place, _ in datasets})
    if unknown:
        raise InputError(f"No data has the path {unknown[0]!r}, which has an alias: check it")
    fields: dict[str, Any] = {}
    for number, (place, dataset) in enumerate(datasets):
        fields[f"datasets_{number}|item|kind"] = "dataset"
        fields[f"datasets_{number}|item|dataset"] = {"src": "hda", "id": dataset}
        fields[f"datasets_{number}|path"] = place
        if place in aliases:
            fields[f"datasets_{number}|alias"] = aliases[place]
    return fields


def parameter_fields(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the notebook's parameters, each with the type of its value.

    Args:
        parameters: Name → text, number, truth value, or what JSON can hold.

    Raises:
        InputError: A name is none of Python, or a value is nothing that JSON can hold.
    """
    fields: dict[str, Any] = {}
    for number, (name, value) in enumerate(parameters.items()):
        plain = str(name).isascii() and str(name).isidentifier()
        if not plain or keyword.iskeyword(str(name)):
            raise InputError(f"The parameter {str(name)!r} is no name of a Python variable")
        kind, text = _typed(str(name), value)
        fields[f"parameters_{number}|name"] = name
        fields[f"parameters_{number}|typed|type"] = kind
        fields[f"parameters_{number}|typed|value"] = text
    return fields


def _typed(name: str, value: Any) -> tuple[ParameterType, Any]:
    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:
        value = value.item()  # a NumPy number is a number
    if isinstance(value, bool):
        return "boolean", "true" if value else "false"
    if isinstance(value, str):
        return "text", value
    if isinstance(value, int):
        return "integer", value
    if isinstance(value, float) and math.isfinite(value):
        return "float", value
    try:
        return "json", json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"The value of the parameter {name!r} is no text, finite number, truth value, list or "
            f"dictionary of these: {type(value).__name__}"
        ) from error


def read_parameter(text: str) -> tuple[str, Any]:
    """Read `name=value` or `name:type=value` of a command line.

    Without a type the value is what it is in JSON (`10`, `0.5`, `true`, `[1, 2]`), else a text.

    Raises:
        InputError: There is no `=`, the type is unknown, or the value is not of that type.
    """
    left, equals, value = text.partition("=")
    name, _, kind = left.partition(":")
    name, kind = name.strip(), kind.strip()
    if not equals or not name:
        raise InputError(f"A parameter is written name=value, not {text!r}")
    if kind not in ("", *PARAMETER_TYPES):
        raise InputError(
            f"The type of a parameter is one of {', '.join(PARAMETER_TYPES)}: {text!r}"
        )
    if kind == "text":
        return name, value
    try:
        parsed = json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        if kind:
            raise InputError(f"{value!r} is no {kind}, in the parameter {text!r}") from None
        return name, value
    expected: dict[str, tuple[type, ...]] = {
        "integer": (int,),
        "float": (int, float),
        "boolean": (bool,),
    }
    is_truth = isinstance(parsed, bool)
    fits = isinstance(parsed, expected.get(kind, (object,)))
    if not fits or (is_truth and kind in ("integer", "float")):
        raise InputError(f"{value!r} is no {kind}, in the parameter {text!r}")
    if kind == "float":
        return name, float(parsed)
    return name, parsed


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
