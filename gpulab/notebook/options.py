"""The form of run_jupyter_job as typed values."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from gpulab.errors import InputError
from gpulab.notebook.inputs import InputLayout, lay_out
from gpulab.notebook.source import SourceKind

WhichVariables = Literal["all", "none", "pattern"]
MAX_PARAMETERS = 200


@dataclass(frozen=True)
class TimeLimits:
    """Limits in seconds; None is none."""

    cell: float | None
    total: float | None


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Attributes:
        source: The notebook or script.
        kind: Which of the two.
        label: What the user calls it.
        inputs: The datasets and their places.
        parameters: Values of the notebook's parameters by name.
        time: Time limits.
        fail: Whether a failing notebook makes the job fail.
        which: Which variables are saved.
        pattern: Names with wildcards, for `which="pattern"`.
        hide_code: Whether the page leaves the code out.
        max_files: How many files the notebook may leave behind.
        max_bytes: How large they may be in all.
    """

    source: Path
    kind: SourceKind
    label: str
    inputs: InputLayout
    parameters: dict[str, Any]
    time: TimeLimits
    fail: bool
    which: WhichVariables
    pattern: str
    hide_code: bool
    max_files: int
    max_bytes: int


def read_options(params: dict[str, Any]) -> Options:
    """Check the JSON parameters of the tool.

    Raises:
        InputError: A value cannot be used; the message says which.
    """
    kind = cast("SourceKind", params["source"]["kind"])
    source = params["source"][kind]
    limits = params["limits"]
    variables = params["variables"]
    pattern = str(variables.get("pattern") or "")
    if variables["which"] == "pattern" and not pattern.strip(" ,"):
        raise InputError("The pattern of the variables to save is empty: write for instance model*")
    return Options(
        source=Path(source["source_path"]),
        kind=kind,
        label=str(source["element_identifier"]),
        inputs=lay_out(params["datasets"], params.get("elements", {}).get("paths")),
        parameters=read_parameters(params["parameters"]),
        time=TimeLimits(_seconds(limits["cell_minutes"]), _seconds(limits["total_minutes"])),
        fail=params["failure"] == "fail",
        which=cast("WhichVariables", variables["which"]),
        pattern=pattern,
        hide_code=bool(params["hide_code"]),
        max_files=int(limits["max_files"]),
        max_bytes=int(float(limits["max_gigabytes"]) * 1e9),
    )


def _seconds(minutes: Any) -> float | None:
    value = float(minutes or 0)
    return value * 60 if value > 0 else None


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_parameters(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the notebook's parameters with values of their types.

    Raises:
        InputError: A name is no Python name or stands twice, or a value does not fit its type.
    """
    if len(entries) > MAX_PARAMETERS:
        raise InputError(f"{len(entries)} parameters are more than {MAX_PARAMETERS}: give fewer")
    values: dict[str, Any] = {}
    for entry in entries:
        name = str(entry["name"]).strip()
        if not _NAME.fullmatch(name):
            raise InputError(
                f"The parameter {name[:60]!r} is no name of a Python variable: use letters, digits"
                f" and underscores"
            )
        if name in values:
            raise InputError(f"The parameter {name!r} was given twice: remove one of them")
        values[name] = _typed(name, entry["typed"]["type"], entry["typed"]["value"])
    return values


def _typed(name: str, kind: str, value: Any) -> Any:
    if kind == "integer" and value is not None:
        return int(value)
    if kind == "float" and value is not None:
        number = float(value)
        if not math.isfinite(number):
            raise InputError(f"The parameter {name!r} is not a finite number: write one")
        return number
    if kind == "boolean":
        return value in (True, "true")
    if kind == "json":
        try:
            return json.loads(str(value))
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"The parameter {name!r} is not valid JSON: write for instance [1, 2] or"
                f' {{"depth": 4}}'
            ) from error
    if value is None:
        raise InputError(f"The parameter {name!r} has no value: write one or remove the parameter")
    return str(value)
