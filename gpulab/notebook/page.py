"""The page of an executed notebook: one HTML file that needs no network and runs no script."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpulab.notebook.page_outputs import Renderer, as_text, is_number, merge_streams, printed
from gpulab.notebook.page_pieces import Budget, Pieces, shorten
from gpulab.notebook.page_style import STYLE

if TYPE_CHECKING:
    from nbformat import NotebookNode

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
MAX_STATE = 5_000_000  # characters of the widgets' states that are kept in the page
# The browser itself then refuses every script and every address, whatever was overlooked.
POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline' data:; "
    "form-action 'none'; base-uri 'none'"
)


def write_page(notebook: NotebookNode, path: Path, *, hide_code: bool, title: str) -> None:
    """Write an executed notebook as one HTML file that can be read without a network.

    Pictures are inside, formulas are MathML, widgets are shown in the state in which they were
    left. Scripts, frames and whatever would be loaded from elsewhere are taken out, since the
    notebook is a stranger's; links stay. What is too long is shortened and says so.

    Args:
        notebook: The notebook (nbformat 4), untrusted, is not changed.
        path: Where to write.
        hide_code: Leave the code out and show the text and the outputs alone.
        title: Title of the page.
    """
    pieces = Pieces()
    renderer = Renderer(pieces, Budget(), _widgets(notebook))
    cells = list(_cells(notebook, renderer, hide_code))
    body = _convert(cells, pieces, hide_code)
    head = _head(title, _summary(notebook))
    with path.open("w", encoding="utf-8", errors="replace") as stream:
        stream.write(head)
        pieces.write(body, stream)
        stream.write(f"</main>\n{_state(notebook)}</body>\n</html>\n")


def _cells(notebook: NotebookNode, renderer: Renderer, hide_code: bool) -> Iterator[Any]:
    """Yield the cells anew, each with one safe HTML output, and without any of its metadata."""
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

    number = 0
    for cell in notebook.cells:
        source = shorten(as_text(cell.get("source")))
        kind = cell.get("cell_type")
        if kind == "code":
            number += 1
            html = renderer.outputs(cell.get("outputs"))
            shown = new_output("display_data", {"text/html": renderer.pieces.keep(html)})
            outputs = [shown] if html else []
            count = cell.get("execution_count")
            if outputs or (source.strip() and not hide_code):
                yield new_code_cell(
                    source,
                    id=f"code-{number}",
                    outputs=outputs,
                    execution_count=count if isinstance(count, int) else None,
                )
        elif kind == "markdown" and source.strip():
            yield new_markdown_cell(renderer.markdown(source, cell.get("attachments")))
        elif source.strip():
            yield new_markdown_cell(renderer.text(source))


def _convert(cells: list[Any], pieces: Pieces, hide_code: bool) -> str:
    from nbconvert import HTMLExporter
    from nbconvert.filters.highlight import Highlight2HTML
    from nbformat.v4 import new_notebook

    highlight = Highlight2HTML(pygments_lexer="ipython3")

    def coloured(source: str, metadata: Mapping[str, Any]) -> str:
        return pieces.keep(highlight(source, metadata=metadata))

    exporter = HTMLExporter(
        template_name="basic",
        exclude_input=hide_code,
        exclude_input_prompt=hide_code,
        exclude_output_prompt=True,
        # Text is finished already, and coloured code is safe: nothing need look at it again.
        filters={"markdown2html": lambda text: text, "highlight_code": coloured},
    )
    language = {"name": "ipython", "pygments_lexer": "ipython3"}
    notebook = new_notebook(cells=cells, metadata={"language_info": language})
    return str(exporter.from_notebook_node(notebook)[0])


def _head(title: str, rows: list[tuple[str, str]]) -> str:
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

    style = STYLE + HtmlFormatter(style="default").get_style_defs(".highlight")
    # A link, since the words of a style element would stay as text where tags are stripped.
    link = f"data:text/css;base64,{b64encode(style.encode()).decode('ascii')}"
    table = "".join(f"<tr><th>{escape(name)}</th><td>{text}</td></tr>" for name, text in rows)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="stylesheet" href="{link}">\n</head>\n<body>\n'
        f"<header><h1>{escape(title)}</h1>\n<table>{table}</table></header>\n<main>\n"
    )


def _summary(notebook: NotebookNode) -> list[tuple[str, str]]:
    """Return what stands at the top of the page: name, and text as HTML."""
    codes = [cell for cell in notebook.cells if cell.get("cell_type") == "code"]
    filled = [cell for cell in codes if as_text(cell.get("source")).strip()]
    ran = sum(isinstance(cell.get("execution_count"), int) for cell in filled)
    rows = [("Code cells", f"{len(filled)}, of which {ran} ran")]
    papermill = notebook.metadata.get("papermill")
    if isinstance(papermill, Mapping):
        begin, seconds = papermill.get("start_time"), papermill.get("duration")
        if isinstance(begin, str):
            rows.append(("Begin", escape(begin[:19].replace("T", " "))))
        if is_number(seconds):
            rows.append(("Duration", f"{seconds:.1f} s"))
    for number, cell in enumerate(codes, 1):
        for output in merge_streams(cell.get("outputs")):
            if output.get("output_type") == "error":
                words = f"{as_text(output.get('ename'))}: {as_text(output.get('evalue'))}"
                text = escape(" ".join(printed(words).split())[:300])
                link = f'<a href="#cell-id=code-{number}">code cell {number}</a>'
                rows.append(("Error", f"in {link}: {text}"))
    return rows[:20]


def _widgets(notebook: NotebookNode) -> Mapping[str, Any]:
    found: object = notebook.metadata
    for name in ("widgets", WIDGET_STATE, "state"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _state(notebook: NotebookNode) -> str:
    """Return the widgets' states as JSON for programs that read pages; nothing here uses them."""
    state = {
        number: model
        for number, model in _widgets(notebook).items()
        if isinstance(model, Mapping) and model.get("model_name") != "PasswordModel"
    }
    text = json.dumps({"version_major": 2, "version_minor": 0, "state": state})
    if not state or len(text) > MAX_STATE:
        return ""
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="{WIDGET_STATE}">{safe}</script>\n'
