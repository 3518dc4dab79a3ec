"""Choosing how an output is shown on the page, and making it safe."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gpulab.notebook.page_html import clean_html
from gpulab.notebook.page_math import mathml
from gpulab.notebook.page_pieces import LEFT_OUT, MAX_HTML, Budget, Pieces, shorten

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")

_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*\Z")
_NAMELESS = re.compile(r"<IPython\.core\.display\.\w+ object>\Z")
_INTERACTIVE = re.compile(r"application/vnd\.|application/javascript|text/vnd\.")
_NEEDS_SCRIPT = (
    "An interactive part is not shown here: this page runs no script. "
    "Save a picture of it as well, such as PNG, to see it on the page."
)


class Renderer:
    """Turns what a notebook shows into safe HTML.

    Args:
        pieces: Where finished parts are set aside.
        budget: What the page may still take.
        widgets: State of each widget by its number, as the notebook's metadata holds it.
    """

    def __init__(self, pieces: Pieces, budget: Budget, widgets: Mapping[str, Any]) -> None:
        self.pieces = pieces
        self.budget = budget
        self.widgets = widgets

    def bundle(self, data: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
        """Return the best of an output's representations as HTML."""
        view = data.get(WIDGET_VIEW)
        if isinstance(view, Mapping):
            from gpulab.notebook.page_widgets import widget_html

            shown = widget_html(self, view.get("model_id"))
            if shown:
                return shown
        note = ""
        if "text/html" in data:
            shown, active = self.html(as_text(data["text/html"]))
            if shown:
                return shown
            note = _note(_NEEDS_SCRIPT) if active else ""
        if "text/markdown" in data:
            return note + self.markdown(as_text(data["text/markdown"]))
        if "image/svg+xml" in data:
            return note + self._svg(as_text(data["image/svg+xml"]), metadata)
        if "text/latex" in data:
            return note + self.markdown(as_text(data["text/latex"]))
        for kind in PICTURES:
            if kind in data:
                return note + self.picture(kind, as_text(data[kind]), _of(metadata, kind))
        words = as_text(data.get("text/plain", ""))
        if not note and any(_INTERACTIVE.match(kind) for kind in data if kind != WIDGET_VIEW):
            note = _note(_NEEDS_SCRIPT)
        return note + ("" if _NAMELESS.match(words) else self.text(words))

    def outputs(self, outputs: object) -> str:
        """Return a list of outputs (nbformat 4) as HTML; whatever is malformed is passed over."""
        parts = []
        for output in merge_streams(outputs):
            if not self.budget.take_output():
                parts.append(_note(f"The rest of the outputs was {LEFT_OUT}."))
                break
            parts.append(self._output(output))
        return "".join(parts)

    def html(self, text: str) -> tuple[str, bool]:
        """Return untrusted HTML as safe HTML, and whether an active part was taken out of it."""
        text = self.pieces.keep_data(text)
        if len(text) > MAX_HTML or not self.budget.take_text(len(text)):
            return _note(f"An HTML output of {len(text):,} characters was {LEFT_OUT}."), False
        cleaned = clean_html(text)
        if not cleaned.visible:
            return "", cleaned.active
        return self.pieces.keep(cleaned.html), cleaned.active

    def markdown(self, source: str, attachments: Mapping[str, Any] | None = None) -> str:
        """Return untrusted Markdown, with its formulas, as safe HTML."""
        from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

        source = shorten(self.pieces.keep_data(source))
        if not self.budget.take_text(len(source)):
            return _note(f"A text was {LEFT_OUT}.")
        renderer = IPythonRenderer(
            escape=False, exclude_anchor_links=True, attachments=self._attached(attachments or {})
        )
        renderer.block_math = lambda body: self._formula(body, block=True)
        renderer.inline_math = lambda body: self._formula(body, block=False)
        renderer.latex_environment = lambda name, body: self._formula(
            f"\\begin{{{name}}}{body}\\end{{{name}}}", block=True
        )
        try:
            html = MarkdownWithMath(renderer=renderer).render(source)
        # A missing attachment, text nested too deeply, or whatever else a stranger's text does.
        except Exception:  # noqa: BLE001
            return self.text(source)
        return self.pieces.keep(clean_html(html).html)

    def picture(self, kind: str, data: str, metadata: Mapping[str, Any]) -> str:
        """Return a picture in Base64 as an `img` element that holds it."""
        if not _BASE64.match(data):
            return _note(f"A picture ({kind}) is damaged.")
        if not self.budget.take_picture(len(data)):
            return _note(f"A picture was {LEFT_OUT}.")
        sizes = "".join(
            f' {name}="{int(metadata[name])}"'
            for name in ("width", "height")
            if is_number(metadata.get(name)) and 1 <= metadata[name] <= 20_000
        )
        words = metadata.get("alt")
        alt = escape(words[:500]) if isinstance(words, str) else "picture made by this cell"
        return f'<img alt="{alt}"{sizes} src="data:{kind};base64,{self.pieces.keep(data)}">'

    def text(self, text: str) -> str:
        """Return printed text as HTML with the colours of a terminal."""
        from nbconvert.filters.ansi import ansi2html

        text = shorten(printed(text))
        if not self.budget.take_text(len(text)):
            return _note(f"A text was {LEFT_OUT}.")
        return self.pieces.keep(f"<pre>{ansi2html(text)}</pre>") if text.strip() else ""

    def _output(self, output: Mapping[str, Any]) -> str:
        kind = output.get("output_type")
        if kind == "stream":
            name = "stderr" if output.get("name") == "stderr" else "stdout"
            return f'<div class="{name}">{self.text(as_text(output.get("text")))}</div>'
        if kind == "error":
            lines = as_text(output.get("traceback"), "\n")
            last = f"{as_text(output.get('ename'))}: {as_text(output.get('evalue'))}"
            return f'<div class="error">{self.text(lines or last)}</div>'
        if kind in ("display_data", "execute_result"):
            shown = self.bundle(_of(output, "data"), _of(output, "metadata"))
            return f'<div class="shown">{shown}</div>' if shown else ""
        return ""

    def _svg(self, text: str, metadata: Mapping[str, Any]) -> str:
        import base64

        # In an img element a drawing runs no script and loads nothing.
        data = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
        return self.picture("image/svg+xml", data, _of(metadata, "image/svg+xml"))

    def _formula(self, body: str, *, block: bool) -> str:
        return self.pieces.keep(mathml(body, block=block))

    def _attached(self, attachments: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        return {
            name: {
                kind: self.pieces.keep(as_text(data))
                for kind, data in bundle.items()
                if kind in PICTURES and _BASE64.match(as_text(data))
            }
            for name, bundle in attachments.items()
            if isinstance(bundle, Mapping)
        }


def as_text(value: object, between: str = "") -> str:
    """Return a text of nbformat, which may be stored as a list of lines; else an empty text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return between.join(line for line in value if isinstance(line, str))
    return ""


def is_number(value: object) -> bool:
    """Return whether a value of JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def merge_streams(outputs: object) -> list[Mapping[str, Any]]:
    """Return the outputs with consecutive pieces of one stream joined."""
    merged: list[dict[str, Any]] = []
    texts: list[str] = []
    for output in outputs if isinstance(outputs, Sequence) else ():
        if not isinstance(output, Mapping):
            continue
        stream = output.get("output_type") == "stream"
        text = as_text(output.get("text"))
        last = merged[-1] if merged else {}
        if stream and texts and last.get("name") == output.get("name"):
            texts.append(text)
            continue
        if texts:
            last["text"] = "".join(texts)
        texts = [text] if stream else []
        merged.append(dict(output))
    if texts:
        merged[-1]["text"] = "".join(texts)
    return list(merged)


def printed(text: str) -> str:
    """Return what a terminal shows of a text in the end: a return starts its line again."""
    if "\r" not in text and "\b" not in text:
        return text
    return "\n".join(_last_state(line) for line in text.split("\n"))


def _last_state(line: str) -> str:
    states = [state.replace("\b", "") for state in line.split("\r")]
    return next((state for state in reversed(states) if state.strip()), "")


def _note(sentence: str) -> str:
    return f'<p class="note">{escape(sentence)}</p>'


def _of(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}
