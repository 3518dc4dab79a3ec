"""Workflows hold a value for each parameter of their tools' forms.

Galaxy takes the default for one that is missing, but refuses to run the workflow through the API
unless it is told that this is right, so `make demo` and users of BioBlend would be left standing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from localgalaxy.paths import WORKFLOWS, tool_files

FORMS = {
    root.get("id", ""): root
    for root in (ElementTree.parse(path).getroot() for path in tool_files())
}


def missing(form: ElementTree.Element, state: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yield the names of the parameters of a form for which a state has no value."""
    for element in form:
        name = element.get("name") or element.get("argument", "").lstrip("-").replace("-", "_")
        if element.tag in ("param", "repeat") and name not in state:
            yield where + name
        elif element.tag == "section":
            yield from missing(element, state.get(name, {}), f"{where}{name}|")
        elif element.tag == "conditional":
            inner = state.get(name, {})
            yield from missing(element, inner, f"{where}{name}|")
            selector = element.find("param")
            chosen = inner.get(selector.get("name", "")) if selector is not None else None
            for when in element.findall("when"):
                if when.get("value") == str(chosen):
                    yield from missing(when, inner, f"{where}{name}|")


def steps() -> Iterator[Any]:
    for path in sorted(WORKFLOWS.glob("*/*.ga")):
        for number, step in json.loads(path.read_text())["steps"].items():
            tool = (step.get("tool_id") or "").removesuffix(f"/{step.get('tool_version')}")
            tool = tool.rpartition("/")[2]
            if tool in FORMS:
                yield pytest.param(tool, json.loads(step["tool_state"]), id=f"{path.stem}-{number}")


@pytest.mark.parametrize(("tool", "state"), list(steps()))
def test_a_step_has_a_value_for_each_parameter(tool: str, state: dict[str, Any]) -> None:
    inputs = FORMS[tool].find("inputs")
    assert inputs is not None
    assert list(missing(inputs, state)) == []
