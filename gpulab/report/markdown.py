"""The Markdown report of a tool, shown by Galaxy as `tool_markdown`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# Of a report Galaxy shows the beginning (`DatasetsService.report` of 26.1).
SHOWN_BYTES = 10 * 1024 - 2
LEFT_OUT = "*The rest does not fit into a report: see the other outputs.*"
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|<>~$&])")


def escape(text: object) -> str:
    """Return `text` so that Markdown and Galaxy show it as it is.

    Names in a report come from uploaded files: they must not be able to add links, HTML or Galaxy
    directives (three backticks or a dollar sign with braces).
    """
    one_line = " ".join(str(text).split())
    return _MARKUP.sub(r"\\\1", one_line)


class Report:
    """Collects the parts of a report in order and writes them as Markdown.

    Args:
        title: Title of the report.
    """

    def __init__(self, title: str) -> None:
        self._parts = [f"# {escape(title)}"]

    def heading(self, text: str) -> None:
        """Add a heading of the second level."""
        self._parts.append(f"## {escape(text)}")

    def text(self, markdown: str) -> None:
        """Add a paragraph of our own Markdown; escape what comes from users with `escape`."""
        self._parts.append(markdown)

    def warning(self, text: str) -> None:
        """Add a paragraph that stands out; `text` is escaped."""
        self._parts.append(f"> **Please note:** {escape(text)}")

    def items(self, values: Mapping[str, object]) -> None:
        """Add a two-column table of names and values, both escaped."""
        self.table(("", ""), values.items())

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table; every cell is escaped."""
        lines = ["| " + " | ".join(escape(cell) for cell in header) + " |"]
        lines.append("|" + " --- |" * len(header))
        lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
        self._parts.append("\n".join(lines))

    def code(self, text: str, *, most_lines: int = 40, most_columns: int = 120) -> None:
        """Add text as it is, in a block of its own; of a long one the last lines, cut at the right.

        Galaxy looks for its directives in code as well, so what begins one is written differently.
        """
        text = text.replace("`" * 3, "'" * 3).replace("${", "$ {")
        lines = [line[:most_columns] for line in text.splitlines()]
        left_out = (
            [f"[{len(lines) - most_lines} lines left out]"] if len(lines) > most_lines else []
        )
        shown = [*left_out, *lines[-most_lines:]]
        self._parts.append("\n".join(["```text", *shown, "```"]))

    def image(self, output: str) -> None:
        """Show the tool's output named `output` (its name in the XML) as a picture."""
        self._directive(f'history_dataset_as_image(output="{output}")')

    def dataset_table(self, output: str) -> None:
        """Show the tool's tabular output named `output` as a table."""
        self._directive(f'history_dataset_as_table(output="{output}", show_column_headers=true)')

    def _directive(self, call: str) -> None:
        self._parts.append(f"```galaxy\n{call}\n```")

    def write(self, path: Path) -> None:
        """Write the report as UTF-8, without the last parts if Galaxy would not show them."""
        kept, size = [], len(LEFT_OUT.encode())
        for part in self._parts:
            size += len(part.encode()) + 2
            if size > SHOWN_BYTES:
                kept.append(LEFT_OUT)
                break
            kept.append(part)
        path.write_text("\n\n".join(kept) + "\n", encoding="utf-8")
