"""The page of a notebook: nothing is loaded, nothing runs, and everything can be read."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import bleach  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from gpulab.notebook.page import WIDGET_STATE, write_page
from gpulab.notebook.page_html import clean_html
from gpulab.notebook.page_math import mathml
from gpulab.notebook.page_outputs import WIDGET_VIEW, printed

PNG = base64.b64encode(
    base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPhfDwAChAGAyIGVwwAAAABJRU5E"
        "rkJggg=="
    )
).decode()
LOADERS = {"script", "link", "img", "iframe", "audio", "video", "source", "embed", "object"}


class Links(HTMLParser):
    """Collects every element, and every address that a browser would load by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name.startswith("on") or "javascript:" in (value or "").lower():
                self.handlers.append(f"{tag} {name}={value}")
            if tag in LOADERS and name in ("src", "href", "data", "poster", "srcset"):
                self.loaded.append(value or "")
            if name == "style" and "url" in (value or ""):
                self.loaded.append(value or "")


def look(html: str) -> Links:
    links = Links()
    links.feed(html)
    return links


def page(tmp_path: Path, notebook: Any, *, hide_code: bool = False, title: str = "A run") -> str:
    path = tmp_path / "page.html"
    write_page(notebook, path, hide_code=hide_code, title=title)
    return path.read_text("utf-8")


def shown(data: dict[str, Any], **metadata: Any) -> Any:
    output = new_output("display_data", data, metadata=metadata)
    return new_code_cell("show()", outputs=[output], execution_count=1)


def widgets(states: dict[str, Any], first: str) -> Any:
    view = {WIDGET_VIEW: {"model_id": first, "version_major": 2}, "text/plain": "Plain()"}
    notebook = new_notebook(cells=[shown(view)])
    notebook.metadata["widgets"] = {WIDGET_STATE: {"state": states}}
    return notebook


def model(kind: str, **state: Any) -> dict[str, Any]:
    return {"model_name": f"{kind}Model", "model_module": "x", "state": state}


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


def test_pictures_are_inside(tmp_path: Path) -> None:
    attached = new_markdown_cell(
        "![a](attachment:a.png) ![b](attachment:gone.png)",
        attachments={"a.png": {"image/png": PNG}},
    )
    cells = [
        shown({"image/png": PNG, "text/plain": "<Figure>"}, **{"image/png": {"width": 200}}),
        shown({"text/html": f"<b>bold</b><img src='data:image/png;base64,{PNG}'>"}),
        attached,
        new_markdown_cell("![a](attachment:a.png)", attachments={"a.png": {"image/png": PNG}}),
    ]
    html = page(tmp_path, new_notebook(cells=cells))
    assert html.count(f'src="data:image/png;base64,{PNG}"') == 3
    assert 'width="200"' in html
    assert "&lt;Figure" not in html
    assert "attachment:gone.png" in html  # the text is shown as it was written


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


def test_formulas_are_mathml(tmp_path: Path) -> None:
    source = "Inline $x^2 < 3$.\n\n$$\\frac{a}{b}$$\n\n\\begin{align} a &= b \\end{align}"
    cells = [new_markdown_cell(source), shown({"text/latex": r"$\displaystyle \sqrt{2}$"})]
    html = page(tmp_path, new_notebook(cells=cells))
    assert html.count("<math") == 4
    for part in ("<msup>", "<mo>&lt;</mo>", "<mfrac>", "<mtable", "<msqrt>"):
        assert part in html
    assert "$" not in re.sub(r"(?s)<link[^>]*>", "", html)


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


def test_tables_and_their_styles_stay() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"epoch": [1, 2], "dice": [0.5, 0.75]})
    cleaned = clean_html(frame.style.background_gradient().to_html())
    assert "<style>" in cleaned.html
    assert "background-color" in cleaned.html
    assert cleaned.html.count("<td") == 4


def test_errors_have_their_colours(tmp_path: Path) -> None:
    traceback = ["\x1b[31mValueError\x1b[0m: <b>bad</b>", "line 2"]
    error = new_output("error", ename="ValueError", evalue="<b>bad</b>", traceback=traceback)
    cells = [
        new_code_cell("", outputs=[]),
        new_code_cell("f()", outputs=[error], execution_count=3),
    ]
    html = page(tmp_path, new_notebook(cells=cells))
    assert '<span class="ansi-red-fg">ValueError</span>: &lt;b&gt;bad&lt;/b&gt;' in html
    link = re.search(r'href="#([^"]*)">code cell 2</a>', html)
    assert link
    assert f'id="{link[1]}"' in html


def test_code_can_be_hidden(tmp_path: Path) -> None:
    cells = [
        new_markdown_cell("# Words"),
        new_code_cell("secret = 1", execution_count=1),
        new_code_cell(
            "print('x')", outputs=[new_output("stream", text="output here")], execution_count=2
        ),
    ]
    hidden = page(tmp_path, new_notebook(cells=cells), hide_code=True)
    assert "secret" not in hidden
    assert "In\xa0[" not in hidden
    assert "output here" in hidden
    assert "Words" in hidden
    open_page = page(tmp_path, new_notebook(cells=cells))
    assert "secret" in open_page
    assert "In\xa0[1]" in open_page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\rb\rc\nd", "c\nd"),
        ("1/3\b\b\b\r2/3\b\b\b\r3/3\n", "3/3\n"),
        ("line\r\nnext", "line\nnext"),
        ("plain", "plain"),
    ],
)
def test_progress_bars_show_their_last_state(text: str, expected: str) -> None:
    assert printed(text) == expected


def test_pieces_of_one_stream_are_joined(tmp_path: Path) -> None:
    outputs = [new_output("stream", text=f"\rstep {n}") for n in range(2000)]
    cell = new_code_cell("x", outputs=[*outputs, new_output("stream", name="stderr", text="warn")])
    html = page(tmp_path, new_notebook(cells=[cell]))
    assert "step 1999" in html
    assert "step 1998" not in html
    assert '<div class="stderr"><pre>warn</pre></div>' in html


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


def test_interactive_parts_are_named(tmp_path: Path) -> None:
    plotly = {
        "application/vnd.plotly.v1+json": {"data": []},
        "text/html": "<div><script src='https://example.org/p.js'></script></div>",
    }
    html = page(tmp_path, new_notebook(cells=[shown(plotly)]))
    assert "An interactive part is not shown here" in html
    html = page(tmp_path, new_notebook(cells=[shown(plotly | {"image/png": PNG})]))
    assert PNG in html


def test_a_page_reads_well_without_scripts_and_styles(tmp_path: Path) -> None:
    """Galaxy strips tags like this unless an administrator trusts the tool."""
    cells = [
        new_markdown_cell("# First\n\n$x^2$"),
        new_code_cell("y = 2", outputs=[new_output("stream", text="printed")], execution_count=1),
        shown({"text/html": "<table><tr><td>cell</td></tr></table>"}),
    ]
    html = page(tmp_path, new_notebook(cells=cells))
    tags = {"h1", "p", "div", "pre", "table", "tr", "td", "th", "header", "main", "a", "span"}
    stripped = bleach.clean(html, tags=tags, attributes=["href"], strip=True)
    assert "font" not in stripped
    words = re.sub(r"<[^>]+>|\s+", " ", stripped)
    order = [
        words.index(word) for word in ("A run", "Code cells", "First", "y", "printed", "cell ")
    ]
    assert order == sorted(order)


def test_long_texts_are_shortened_and_say_so(tmp_path: Path) -> None:
    cells = [
        new_code_cell("x", outputs=[new_output("stream", text="é" * 3_000_000)]),
        shown({"text/html": "<b>y</b>" * 1_000_000}),
        new_code_cell("z = '" + "z" * 1_000_000 + "'", outputs=[]),
    ]
    begin = time.monotonic()
    html = page(tmp_path, new_notebook(cells=cells))
    assert time.monotonic() - begin < 20
    assert len(html) < 2_000_000
    words = re.sub(r"<[^>]+>", "", html)
    assert words.count("the executed notebook holds it") == 3


@pytest.mark.parametrize(
    "text", ["<a " * 300_000, "<!--" * 300_000, "<" * 1_000_000, "<div>" * 300_000, "<![" * 300_000]
)
def test_html_that_is_made_to_be_slow_is_not(text: str) -> None:
    begin = time.monotonic()
    clean_html(text)
    assert time.monotonic() - begin < 20


def test_malformed_notebooks_are_shown(tmp_path: Path) -> None:
    notebook = new_notebook(cells=[shown({"text/plain": "x"})])
    notebook.cells[0].outputs += [
        {"output_type": "display_data"},
        {"output_type": "error"},
        {"output_type": "stream", "name": 7, "text": ["a", "b", 3]},
        {"output_type": "execute_result", "data": {"text/html": ["<b>", "joined</b>"]}},
        "no output",
        {},
    ]
    notebook.metadata["papermill"] = {"duration": "long", "start_time": 5}
    html = page(tmp_path, notebook)
    assert "<b>joined</b>" in html
    assert "ab" in html


def test_the_top_tells_time_and_cells(tmp_path: Path) -> None:
    notebook = new_notebook(cells=[new_code_cell("a", execution_count=1), new_code_cell("b")])
    notebook.metadata["papermill"] = {"duration": 12.3, "start_time": "2026-01-02T03:04:05.6"}
    html = page(tmp_path, notebook)
    assert "2, of which 1 ran" in html
    assert "12.3 s" in html
    assert "2026-01-02 03:04:05" in html


def test_the_notebook_is_not_changed(tmp_path: Path) -> None:
    notebook = new_notebook(cells=[shown({"image/png": PNG}), new_markdown_cell("$x$")])
    before = str(notebook)
    page(tmp_path, notebook)
    assert str(notebook) == before


LARGE = """
import base64, os, resource, sys, time
from pathlib import Path
import nbconvert
from nbformat.v4 import new_code_cell, new_notebook, new_output
from gpulab.notebook.page import write_page
pictures = [base64.b64encode(os.urandom(1_000_000)).decode() for _ in range(50)]
outputs = [new_output("display_data", {"image/png": picture}) for picture in pictures]
cells = [new_code_cell("x", outputs=[output]) for output in outputs]
notebook = new_notebook(cells=cells)
write_page(new_notebook(), Path(sys.argv[1]), hide_code=False, title="t")  # loads the libraries
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.monotonic()
write_page(notebook, Path(sys.argv[1]), hide_code=False, title="t")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.monotonic() - begin)
"""


def test_fifty_megabytes_of_pictures(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    command = [sys.executable, "-c", LARGE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kibibytes, seconds = map(float, done.stdout.split())
    assert path.stat().st_size > 66_000_000
    assert kibibytes < 60_000, "the pictures were copied in memory"
    assert seconds < 10


def test_a_browser_draws_the_page(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    if not browser:
        pytest.skip("no Chromium is installed, so the page was not drawn")
    blue = base64.b64encode(_picture((0, 0, 255))).decode()
    cells = [
        new_markdown_cell("# Title\n\n$$\\frac{a}{b}$$"),
        shown({"image/png": blue}),
        shown({"text/html": "<script>document.body.style.background='red'</script>text"}),
    ]
    page(tmp_path, new_notebook(cells=cells))
    shot = tmp_path / "shot.png"
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=800,900"),
        *(f"--screenshot={shot}", (tmp_path / "page.html").as_uri()),
    ]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    from PIL import Image

    colours = Image.open(shot).convert("RGB").getcolors(1 << 24)
    counts = {colour: count for count, colour in colours}
    assert counts.get((0, 0, 255), 0) >= 90 * 90  # the picture of 100 × 100 pixels is there
    assert counts.get((255, 0, 0), 0) == 0  # and the script did not run
    assert max(counts, key=lambda colour: counts[colour]) == (255, 255, 255)


def _picture(colour: tuple[int, int, int]) -> bytes:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (100, 100), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_very_long_cell_is_coloured_in_time(tmp_path: Path) -> None:
    source = "\n".join(f"value_{n} = function({n}, 'text')  # words" for n in range(5_000))
    begin = time.process_time()
    html = page(tmp_path, new_notebook(cells=[new_code_cell(source, execution_count=1)]))
    assert time.process_time() - begin < 15
    assert '<span class="n">value_4999</span>' in html
