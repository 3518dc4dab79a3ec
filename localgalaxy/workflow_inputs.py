"""Puts a dataset and parameters into the places that a workflow has for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from localgalaxy.console import LocalGalaxyError


def build_inputs(
    definition: dict[str, Any], dataset: str, parameters: Mapping[str, str]
) -> dict[str, Any]:
    """Return the workflow's inputs by their labels.

    Raises:
        LocalGalaxyError: The workflow has no single dataset input, or no such parameter.
    """
    steps = list(definition["steps"].values())
    data = [one["label"] for one in steps if one["type"] == "data_input"]
    if len(data) != 1:
        raise LocalGalaxyError(f"The workflow must have one dataset as input, it has {data}.")
    kinds = {
        one["label"]: json.loads(one["tool_state"])["parameter_type"]
        for one in steps
        if one["type"] == "parameter_input"
    }
    inputs: dict[str, Any] = {data[0]: {"src": "hda", "id": dataset}}
    for label, value in parameters.items():
        if label not in kinds:
            raise LocalGalaxyError(f"The workflow has no parameter “{label}”, only {list(kinds)}.")
        convert = {"integer": int, "float": float}.get(kinds[label], str)
        try:
            inputs[label] = convert(value)
        except ValueError as error:
            raise LocalGalaxyError(f"{label} must be a number, not {value}.") from error
    return inputs
