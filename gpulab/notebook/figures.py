"""The pictures that a notebook showed, as files."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpulab.notebook.page_outputs import WIDGET_VIEW, as_text

if TYPE_CHECKING:
    from nbformat import NotebookNode

MAX_FIGURES = 300
MAX_BYTES = 50_000_000  # of one picture
MAX_ALL_BYTES = 500_000_000
MAX_PIXELS = 80_000_000

_WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
_KINDS = {"image/png": "PNG", "image/jpeg": "JPEG"}


@dataclass(frozen=True)
class FigureFile:
    """A picture that was written.

    Attributes:
        cell: Number of the code cell that showed it, from 1.
        name: Name of the file, such as `cell_007_1.png`.
        path: Where it lies.
    """

    cell: int
    name: str
    path: Path


def write_figures(
    notebook: NotebookNode, folder: Path, notes: list[str] | None = None
) -> list[FigureFile]:
    """Write every picture in a notebook's outputs as PNG, also those inside widgets.

    A PNG is written as it is once it was found whole, a JPEG is converted. Drawings (SVG) are not
    written: they would have to be drawn by a program that reads a stranger's file; the page and the
    notebook hold them.

    Args:
        notebook: The executed notebook (nbformat 4), untrusted.
        folder: Where to write; made when missing.
        notes: Receives a sentence about what was left out.

    Returns:
        The pictures in the notebook's order; at most 300 of at most 500 MB in all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[FigureFile] = []
    damaged = left = total = 0
    for cell, place, kind, data in _pictures(notebook):
        # Three bytes are four characters, so this is known before anything is unpacked.
        size = len(data) * 3 // 4
        if len(written) >= MAX_FIGURES or size > MAX_BYTES or total + size > MAX_ALL_BYTES:
            left += 1
            continue
        picture = _as_png(kind, data)
        if picture is None:
            damaged += 1
            continue
        total += len(picture)
        name = f"cell_{cell:03d}_{place}.png"
        (folder / name).write_bytes(picture)
        written.append(FigureFile(cell, name, folder / name))
    if notes is not None and damaged:
        notes.append(f"{damaged} damaged or too large pictures are not among the figures.")
    if notes is not None and left:
        notes.append(
            f"{left} pictures are not among the figures, which hold at most {MAX_FIGURES} of "
            f"{MAX_ALL_BYTES // 1_000_000} MB in all; the executed notebook holds every one."
        )
    return written


def _pictures(notebook: NotebookNode) -> Iterator[tuple[int, int, str, str]]:
    """Yield code cell, number within it, MIME type and Base64 of each picture."""
    found: Any = notebook.metadata
    for name in ("widgets", _WIDGET_STATE, "state"):
        found = found.get(name) if isinstance(found, Mapping) else None
    widgets = found if isinstance(found, Mapping) else {}
    codes = (cell for cell in notebook.cells if cell.get("cell_type") == "code")
    for number, cell in enumerate(codes, 1):
        shown = _shown(cell.get("outputs"), widgets, set())
        for place, (kind, data) in enumerate(shown, 1):
            yield number, place, kind, data


def _shown(
    outputs: object, widgets: Mapping[str, Any], seen: set[str]
) -> Iterator[tuple[str, str]]:
    for output in outputs if isinstance(outputs, Sequence) else ():
        data = output.get("data") if isinstance(output, Mapping) else None
        if not isinstance(data, Mapping):
            continue
        view = data.get(WIDGET_VIEW)
        number = view.get("model_id") if isinstance(view, Mapping) else None
        if isinstance(number, str) and number in widgets:
            yield from _in_widget(number, widgets, seen)
            continue
        kind = next((kind for kind in _KINDS if as_text(data.get(kind))), None)
        if kind:
            yield kind, as_text(data[kind])


def _in_widget(first: str, widgets: Mapping[str, Any], seen: set[str]) -> Iterator[tuple[str, str]]:
    waiting = [first]
    while waiting:
        number = waiting.pop()
        model = widgets.get(number)
        state = model.get("state") if isinstance(model, Mapping) else None
        # Widgets can lie in each other, so each is looked at once in a cell.
        if number in seen or not isinstance(state, Mapping):
            continue
        seen.add(number)
        yield from _shown(state.get("outputs"), widgets, seen)
        children = state.get("children")
        names = children if isinstance(children, Sequence) else ()
        waiting += [
            name.removeprefix("IPY_MODEL_") for name in reversed(names) if isinstance(name, str)
        ]


def _as_png(kind: str, data: str) -> bytes | None:
    """Return a picture as PNG, None where it is damaged or unpacks to too much."""
    from PIL import Image

    try:
        packed = base64.b64decode("".join(data.split()), validate=True)
        with Image.open(BytesIO(packed), formats=[_KINDS[kind]]) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            if kind == "image/png":
                image.verify()
                return packed
            buffer = BytesIO()
            image.convert("RGB").save(buffer, "PNG")
            return buffer.getvalue()
    # All of these are what Pillow raises on damaged pictures.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, binascii.Error):
        return None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
