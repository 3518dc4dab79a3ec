"""The page of a hostile notebook: nothing is loaded, and nothing runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from notebook_pages import look, page, shown

from gpulab.notebook.page_html import clean_html
from gpulab.notebook.page_math import mathml

FRAGMENTS = (
    """
<b|<p>|</p>|<script>|</script>|<img src=|'|"|>|<|x| |<style>|</style>|<!--|-->|<![CDATA[|<![x|]]>
<table><td>|&lt;|<a href='java|script:x'|<math><mtext>|</div></div>|<svg/onload=x>|/|<br>|=
""".strip()
    .replace("\n", "|")
    .split("|")
)

HOSTILE = """
<script>alert(1)</script><script src="https://example.org/a.js"></script>
<link rel="stylesheet" href="https://example.org/a.css">
<style>@import url(https://example.org)</style>
<style>p{background:u\\72l(https://example.org/b)}</style>
<div style="background:url(//example.org)">d</div>
<img src="https://example.org/a.png" onerror="alert(2)"><img src=x onerror=alert(3)>
<iframe src="https://example.org"></iframe><object data="https://example.org"></object>
<embed src="https://example.org"><svg onload=alert(4)><image href="https://example.org"/></svg>
<video poster="https://example.org" src="https://example.org/v.mp4"></video>
<a href="javascript:alert(5)">bad</a><a href=" java\tscript:alert(6)">bad</a>
<a href="https://example.org/page">good</a><form action="https://example.org"><input name=q></form>
<meta http-equiv="refresh" content="0;url=https://example.org"><base href="https://example.org">
<math><mtext><table><mglyph><style><!--</style>
<img title="--&gt;&lt;img src=1 onerror=alert(7)&gt;">
</div></div></body></html><p onclick=alert(8)>text
"""


def test_nothing_is_loaded_and_nothing_runs(tmp_path: Path) -> None:
    cells = [
        new_markdown_cell(HOSTILE),
        shown({"text/html": HOSTILE}),
        shown({"text/markdown": HOSTILE}),
        shown({"text/latex": HOSTILE}),
        shown({"text/plain": HOSTILE}),
        shown({"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'>{HOSTILE}</svg>"}),
        shown({"application/javascript": "alert(1)"}),
        new_raw_cell(HOSTILE, metadata={"raw_mimetype": "text/html"}),
        new_code_cell(HOSTILE, metadata={"tags": ['"><script>alert(9)</script>']}),
    ]
    links = look(page(tmp_path, new_notebook(cells=cells), title=HOSTILE))
    assert not links.handlers
    assert not [address for address in links.loaded if not address.startswith("data:")]
    assert not {"script", "iframe", "object", "embed", "form", "base", "svg"} & set(links.tags)


def test_the_browser_is_told_to_load_nothing(tmp_path: Path) -> None:
    html = page(tmp_path, new_notebook())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "http" not in policy[1]
    assert "script-src" not in policy[1]


def test_links_of_the_text_stay(tmp_path: Path) -> None:
    html = page(tmp_path, new_notebook(cells=[new_markdown_cell("[there](https://example.org)")]))
    assert '<a href="https://example.org" rel="noopener noreferrer">there</a>' in html


def test_a_picture_from_elsewhere_is_named(tmp_path: Path) -> None:
    html = page(
        tmp_path, new_notebook(cells=[new_markdown_cell("![x](https://example.org/a.png)")])
    )
    assert "[not in this page: x]" in html


@pytest.mark.parametrize("data", ["<script>", 'x" onerror="alert(1)', "", {"a": 1}, 7, None])
def test_a_damaged_picture_costs_nothing_else(tmp_path: Path, data: Any) -> None:
    notebook = new_notebook(cells=[new_markdown_cell("before")])
    cell = shown({"text/plain": "x"})
    cell.outputs[0]["data"] = {"image/png": data}
    notebook.cells += [cell, new_markdown_cell("after")]
    html = page(tmp_path, notebook)
    assert "before" in html
    assert "after" in html
    assert not look(html).handlers


@pytest.mark.parametrize(
    "formula",
    [
        r"\text{<script>alert(1)</script>}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{background:url(https://example.org)}{x}",
        r"\class{x}{y}",
        "a & b",
        "<img src=x onerror=alert(1)>",
    ],
)
def test_formulas_are_safe(formula: str) -> None:
    links = look(mathml(formula, block=True))
    assert not links.handlers
    assert not {"script", "img"} & set(links.tags)


@pytest.mark.parametrize("formula", ["{" * 3000, "^" * 50, r"\frac", "x" * 100_000, "\x00"])
def test_a_formula_that_cannot_be_read_is_shown_as_it_is(formula: str) -> None:
    html = mathml(formula, block=False)
    assert html.startswith(("<code>", "<math"))


@given(st.text(alphabet="\\{}^_&<>$abfrctexhlinsp()[] \"'", max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_formula_is_well_formed(formula: str) -> None:
    ElementTree.fromstring(mathml(formula, block=True))


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join))
@settings(max_examples=400, deadline=None)
def test_any_html_becomes_balanced_and_tame(text: str) -> None:
    html = clean_html(text).html
    links = look(html)
    assert not links.handlers
    assert not [address for address in links.loaded if not address.startswith("data:")]
    assert not {"script", "svg", "math", "iframe"} & set(links.tags)
    opened = [tag for tag in links.tags if tag not in ("br", "img", "hr", "input", "wbr", "col")]
    assert len(opened) == html.count("</")
    assert clean_html(html).html == html  # what is clean stays as it is
