"""Widgets on the page of a notebook: the state in which they were left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_notebook
from notebook_pages import PNG, page, shown

from gpulab.notebook.page import WIDGET_STATE
from gpulab.notebook.page_outputs import WIDGET_VIEW


def widgets(states: dict[str, Any], first: str) -> Any:
    view = {WIDGET_VIEW: {"model_id": first, "version_major": 2}, "text/plain": "Plain()"}
    notebook = new_notebook(cells=[shown(view)])
    notebook.metadata["widgets"] = {WIDGET_STATE: {"state": states}}
    return notebook


def model(kind: str, **state: Any) -> dict[str, Any]:
    return {"model_name": f"{kind}Model", "model_module": "x", "state": state}


def test_widgets_show_the_state_in_which_they_were_left(tmp_path: Path) -> None:
    inside = [{"output_type": "stream", "name": "stdout", "text": "printed inside"}]
    buffers = [{"data": PNG, "path": ["value"], "encoding": "base64"}]
    states = {
        "a": model("VBox", children=[f"IPY_MODEL_{name}" for name in "bcdefghi"]),
        "b": model("IntSlider", description="Slices", value=7, min=0, max=20),
        "c": model("HBox", children=["IPY_MODEL_d", "IPY_MODEL_e"]),
        "d": model("FloatProgress", description="Epochs", value=30.0, min=0.0, max=40.0),
        "e": model("HTML", value="<b>bold</b><script>alert(1)</script>"),
        "f": model("Output", outputs=inside),
        "g": model("Dropdown", description="Loss", _options_labels=["bce", "dice"], index=1),
        "h": model("Password", value="secret"),
        "i": model("Image", format="png", width="60") | {"buffers": buffers},
    }
    html = page(tmp_path, widgets(states, "a"))
    body, _, kept = html.partition("</main>")
    assert "<b>Slices</b> 7" in body
    assert '<progress value="30" max="40">30 of 40</progress>' in body
    assert "<b>bold</b>" in body
    assert "printed inside" in body
    assert "<b>Loss</b> dice" in body
    assert f'width="60" src="data:image/png;base64,{PNG}"' in body
    assert "Plain()" not in body
    assert "secret" not in html
    assert "alert(1)" not in body
    assert f'<script type="{WIDGET_STATE}">' in kept
    assert kept.count("<script") == 1


def test_widgets_that_lie_in_each_other_end(tmp_path: Path) -> None:
    states = {
        "a": model("VBox", children=["IPY_MODEL_b"] * 20, titles=[1, None]),
        "b": model("VBox", children=["IPY_MODEL_a"] * 20),
    }
    begin = time.monotonic()
    page(tmp_path, widgets(states, "a"))
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    "states",
    [
        {},
        {"a": None},
        {"a": {"state": 7}},
        {"a": model("IntProgress", value="x", min=None, max=float("nan"))},
        {"a": model("Dropdown", _options_labels=[1, 2], index=99)},
        {"a": model("Output", outputs="text")},
        {"a": model("Output", outputs=[None, {"output_type": "display_data"}])},
        {"a": {"model_name": 7, "state": {"children": [None, 5, "IPY_MODEL_zz"]}}},
        {"a": model("Image", format="../x") | {"buffers": [{"path": ["value"], "data": 5}]}},
    ],
)
def test_forged_widgets_cost_nothing_else(tmp_path: Path, states: dict[str, Any]) -> None:
    html = page(tmp_path, widgets(states, "a"))
    assert "show()" in html or "show" in html
    if not states:
        assert "Plain()" in html
