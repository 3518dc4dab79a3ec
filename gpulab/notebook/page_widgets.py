"""Widgets as still pictures: the state in which they were left, in words and plain HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from gpulab.notebook.page_outputs import as_text, is_number

if TYPE_CHECKING:
    from gpulab.notebook.page_outputs import Renderer

MAX_DEPTH = 12

_REFERENCE = "IPY_MODEL_"
_PICTURE = re.compile(r"(png|jpeg|jpg|gif|webp)\Z")


def widget_html(renderer: Renderer, number: object, depth: int = 0) -> str | None:
    """Return a widget as HTML, None where the notebook does not hold its state.

    Args:
        renderer: What the page is rendered with; it holds the widgets' states.
        number: The widget's number (`model_id`).
        depth: How many boxes this widget lies in.
    """
    model = renderer.widgets.get(number) if isinstance(number, str) else None
    state = model.get("state") if isinstance(model, Mapping) else None
    if not isinstance(model, Mapping) or not isinstance(state, Mapping):
        return None
    # Boxes can hold each other, and one widget can be shown at many places.
    if depth > MAX_DEPTH or not renderer.budget.take_output():
        return '<span class="widget">…</span>'
    kind = as_text(model.get("model_name")).removesuffix("Model")
    if kind == "Output":
        return f'<div class="widget">{renderer.outputs(state.get("outputs"))}</div>'
    if isinstance(state.get("children"), Sequence):
        return _box(renderer, kind, state, depth)
    return _single(renderer, kind, state, model)


def _box(renderer: Renderer, kind: str, state: Mapping[str, Any], depth: int) -> str:
    titles = state.get("titles")
    titles = titles if isinstance(titles, Sequence) else ()
    parts = []
    for place, child in enumerate(state["children"]):
        if renderer.budget.outputs < 0:
            break
        number = child.removeprefix(_REFERENCE) if isinstance(child, str) else None
        title = titles[place] if place < len(titles) else None
        head = f"<b>{escape(title)}</b> " if isinstance(title, str) and title else ""
        parts.append(f"<div>{head}{widget_html(renderer, number, depth + 1) or ''}</div>")
    return f'<div class="widget {"row" if kind == "HBox" else "box"}">{"".join(parts)}</div>'


def _single(
    renderer: Renderer, kind: str, state: Mapping[str, Any], model: Mapping[str, Any]
) -> str:
    described = as_text(state.get("description")).strip()
    label = f"<b>{escape(described[:500])}</b> " if described else ""
    return f'<span class="widget">{label}{_value(renderer, kind, state, model)}</span>'


def _value(
    renderer: Renderer, kind: str, state: Mapping[str, Any], model: Mapping[str, Any]
) -> str:
    value = state.get("value")
    if kind.endswith("Progress"):
        return _progress(kind, state)
    if kind in ("HTML", "HTMLMath"):
        return renderer.markdown(as_text(value)) if kind == "HTMLMath" else _html(renderer, value)
    if kind == "Image":
        return _image(renderer, state, model)
    if kind == "Button":
        return "[button]"
    if kind == "Password":
        return "•••"
    if kind == "Textarea":
        return f"<pre>{escape(as_text(value))}</pre>"
    if kind in ("Label", "Text", "Combobox"):
        return escape(as_text(value))
    options = state.get("_options_labels")
    if isinstance(options, Sequence) and not isinstance(options, str):
        return _chosen(options, state.get("index"))
    words = _words(value)
    if words:
        return escape(words)
    return f"[{escape(re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', kind).lower()[:60])}]"


def _html(renderer: Renderer, value: object) -> str:
    return renderer.html(as_text(value))[0]


def _progress(kind: str, state: Mapping[str, Any]) -> str:
    low, high, value = (state.get(name) for name in ("min", "max", "value"))
    if not (is_number(low) and is_number(high) and is_number(value)):
        return "[progress]"
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    assert isinstance(value, int | float)
    whole = "d" if kind.startswith("Int") else "g"
    words = f"{value - low:{whole}} of {high - low:{whole}}"
    return (
        f'<progress value="{value - low:g}" max="{max(high - low, 1e-9):g}">{words}</progress> '
        f"<small>{words}</small>"
    )


def _chosen(options: Sequence[object], index: object) -> str:
    chosen = index if isinstance(index, Sequence) and not isinstance(index, str) else [index]
    names = [
        str(options[place])[:500]
        for place in chosen
        if isinstance(place, int) and 0 <= place < len(options)
    ]
    return f"{escape(', '.join(names) or 'nothing chosen')} <small>of {len(options)}</small>"


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "☑" if value else "☐"
    if isinstance(value, str):
        return value[:5_000]
    if is_number(value):
        return f"{value:g}" if isinstance(value, float) else str(value)[:100]
    if isinstance(value, Sequence):
        return " – ".join(_words(item) for item in value[:50] if not isinstance(item, list))
    return ""


def _image(renderer: Renderer, state: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    buffers = model.get("buffers")
    kind = _PICTURE.match(as_text(state.get("format")))
    for buffer in buffers if isinstance(buffers, Sequence) else ():
        if isinstance(buffer, Mapping) and buffer.get("path") == ["value"] and kind:
            sizes = {
                name: int(as_text(state.get(name)))
                for name in ("width", "height")
                if as_text(state.get(name)).isdecimal()
            }
            mime = f"image/{'jpeg' if kind[0] == 'jpg' else kind[0]}"
            return renderer.picture(mime, as_text(buffer.get("data")), sizes)
    return "[image]"
