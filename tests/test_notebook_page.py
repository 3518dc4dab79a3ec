"""The page of a notebook: everything can be read."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path

import bleach
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_pages import PNG, page, shown

from gpulab.notebook.page_html import clean_html
from gpulab.notebook.page_outputs import printed


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


def test_formulas_are_mathml(tmp_path: Path) -> None:
    source = "Inline $x^2 < 3$.\n\n$$\\frac{a}{b}$$\n\n\\begin{align} a &= b \\end{align}"
    cells = [new_markdown_cell(source), shown({"text/latex": r"$\displaystyle \sqrt{2}$"})]
    html = page(tmp_path, new_notebook(cells=cells))
    assert html.count("<math") == 4
    for part in ("<msup>", "<mo>&lt;</mo>", "<mfrac>", "<mtable", "<msqrt>"):
        assert part in html
    assert "$" not in re.sub(r"(?s)<link[^>]*>", "", html)


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
