"""The pictures that a notebook showed."""

from __future__ import annotations

import base64
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from gpulab.notebook import figures
from gpulab.notebook.figures import write_figures
from gpulab.notebook.page import WIDGET_STATE
from gpulab.notebook.page_outputs import WIDGET_VIEW


def picture(kind: str = "PNG", size: tuple[int, int] = (30, 20), colour: str = "teal") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def shown(packed: bytes, kind: str = "image/png", type_: str = "display_data") -> Any:
    data = {kind: base64.encodebytes(packed).decode(), "text/plain": "<Figure>"}
    return new_output(type_, data)


def bomb() -> bytes:
    """A small PNG that declares 60,000 × 60,000 pixels."""
    head = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    body = b"IDAT" + zlib.compress(bytes(1000))
    parts = (head, body, b"IEND")
    packed = b"".join(
        (len(part) - 4).to_bytes(4, "big") + part + zlib.crc32(part).to_bytes(4, "big")
        for part in parts
    )
    return b"\x89PNG\r\n\x1a\n" + packed


def test_each_picture_is_written_under_its_cell(tmp_path: Path) -> None:
    cells = [
        new_markdown_cell("words"),
        new_code_cell("1", outputs=[new_output("stream", text="x")]),
        new_code_cell(
            "2",
            outputs=[
                shown(picture(colour="red")),
                shown(picture(colour="blue"), type_="execute_result"),
            ],
        ),
        new_code_cell("3", outputs=[shown(picture("JPEG"), "image/jpeg")]),
    ]
    written = write_figures(new_notebook(cells=cells), tmp_path / "figures")
    assert [(f.cell, f.name) for f in written] == [
        (2, "cell_002_1.png"),
        (2, "cell_002_2.png"),
        (3, "cell_003_1.png"),
    ]
    assert [f.path.name for f in written] == sorted(
        p.name for p in written[0].path.parent.iterdir()
    )
    assert written[0].path.read_bytes() == picture(colour="red")
    assert Image.open(written[1].path).getpixel((0, 0)) == (0, 0, 255)
    assert Image.open(written[2].path).format == "PNG"


def test_pictures_inside_widgets_are_found_once(tmp_path: Path) -> None:
    def model(**state: Any) -> dict[str, Any]:
        return {"model_name": "x", "state": state}

    view = new_output("display_data", {WIDGET_VIEW: {"model_id": "a"}})
    notebook = new_notebook(cells=[new_code_cell("interact(f)", outputs=[view])])
    states = {
        "a": model(children=["IPY_MODEL_b", "IPY_MODEL_c", "IPY_MODEL_a", 5]),
        "b": model(value=3),
        "c": model(outputs=[shown(picture()), "x", {"data": 1}]),
    }
    notebook.metadata["widgets"] = {WIDGET_STATE: {"state": states}}
    assert [f.name for f in write_figures(notebook, tmp_path)] == ["cell_001_1.png"]


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        picture("JPEG"),
        picture()[:-20],
        picture()[:40] + b"\0" + picture()[41:],
        bomb(),
        b"<svg onload=alert(1)>",
    ],
)
def test_a_damaged_picture_costs_nothing_else(tmp_path: Path, packed: bytes) -> None:
    notes: list[str] = []
    outputs = [shown(packed), shown(picture())]
    notebook = new_notebook(cells=[new_code_cell("1", outputs=outputs)])
    written = write_figures(notebook, tmp_path, notes)
    assert [f.path.read_bytes() for f in written] == [picture()]
    assert len(notes) == (1 if packed else 0)


def test_a_picture_that_is_no_base64(tmp_path: Path) -> None:
    cell = new_code_cell("1")
    for data in ("%%%", ["a", 1], {"a": 1}, None, 7):
        output = new_output("display_data", {})
        output["data"] = {"image/png": data}
        cell.outputs.append(output)
    notebook = new_notebook()
    notebook.cells.append(cell)  # unchecked, as a kernel's messages are
    assert write_figures(notebook, tmp_path) == []


def test_drawings_are_not_written(tmp_path: Path) -> None:
    output = new_output("display_data", {"image/svg+xml": "<svg/>"})
    assert write_figures(new_notebook(cells=[new_code_cell("1", outputs=[output])]), tmp_path) == []


def test_number_and_bytes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = new_code_cell("1", outputs=[shown(picture()) for _ in range(5)])
    notebook = new_notebook(cells=[cell])
    notes: list[str] = []
    monkeypatch.setattr(figures, "MAX_FIGURES", 3)
    assert len(write_figures(notebook, tmp_path / "a", notes)) == 3
    assert notes[0].startswith("2 pictures are not among the figures")
    monkeypatch.setattr(figures, "MAX_ALL_BYTES", len(picture()) * 2 + 10)
    assert len(write_figures(notebook, tmp_path / "b")) == 2
    monkeypatch.setattr(figures, "MAX_BYTES", 10)
    assert write_figures(notebook, tmp_path / "c") == []
