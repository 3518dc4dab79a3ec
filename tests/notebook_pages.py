"""Writes pages of notebooks and looks into them, for the tests of the page."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from nbformat.v4 import new_code_cell, new_output

from gpulab.notebook.page import write_page

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
