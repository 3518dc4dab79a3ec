"""Prints what Galaxy's own library reads from the tools, as JSON; runs in Galaxy's environment.

Usage: python describe_tools.py FOLDER..., each folder a Tool Shed repository as it is published.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import edam_ontology
from galaxy.tool_util.parser.factory import get_tool_source


def describe(folder: Path, path: Path) -> dict[str, Any]:
    source = get_tool_source(str(path))
    required = source.parse_required_files()
    return {
        # Of a data manager's repository the tool lies in a folder of its own.
        "repository": folder.name,
        "file": path.name,
        "id": source.parse_id(),
        "version": source.parse_version(),
        "profile": source.parse_profile(),
        "licence": source.parse_license(),
        "command": source.parse_command(),
        "edam": [*source.parse_edam_topics(), *source.parse_edam_operations()],
        "required": sorted(required.find_required_files(str(path.parent))) if required else [],
        "tests": len(source.parse_tests_to_dict()["tests"]),
        "words of tests": sorted(set(words(source.parse_tests_to_dict()["tests"]))),
        "help": (source.parse_help().content if source.parse_help() else ""),
        "citations": len(source.parse_citations()),
    }


def words(value: Any) -> Iterator[str]:
    """Yield every text in nested lists and dictionaries; a comma may part several."""
    if isinstance(value, str):
        yield from value.split(",")
    elif isinstance(value, dict):
        yield from words(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from words(one)
    elif hasattr(value, "to_dict"):
        yield from words(value.to_dict())


def edam_labels() -> dict[str, str]:
    """Return the label of every term that is not obsolete."""
    lines = (Path(edam_ontology.__file__).parent / "EDAM.tsv").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    columns = {name: number for number, name in enumerate(rows[0])}
    return {
        row[0].rsplit("/", 1)[-1]: row[columns["Preferred Label"]].strip('"')
        for row in rows[1:]
        if len(row) > columns["Obsolete"] and row[columns["Obsolete"]] == "FALSE"
    }


if __name__ == "__main__":
    tools = [
        describe(folder, path)
        for folder in map(Path, sys.argv[1:])
        for path in sorted([*folder.glob("*.xml"), *folder.glob("data_manager/*.xml")])
        if "<tool " in path.read_text("utf-8")
    ]
    print(json.dumps({"tools": tools, "edam": edam_labels()}))
