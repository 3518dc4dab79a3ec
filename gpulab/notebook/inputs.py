"""Where the user's datasets stand in the notebook's folder, and by which names it finds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gpulab.errors import InputError

INPUTS_FILE = "galaxy_inputs.json"
OUTPUTS_FOLDER = "outputs"
MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255
MAX_DEPTH = 20


@dataclass(frozen=True)
class InputLayout:
    """The datasets of a job.

    Attributes:
        files: Path in the notebook's folder → the real file; no path is the folder of another.
        names: What `GALAXY_INPUTS` holds: path or alias → path, or a dictionary of paths by element
            for a collection.
    """

    files: dict[str, Path]
    names: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write the names as `galaxy_inputs.json` into the notebook's folder."""
        text = json.dumps(self.names, indent=1, ensure_ascii=False)
        (folder / INPUTS_FILE).write_text(text + "\n", encoding="utf-8")


def lay_out(
    entries: Sequence[dict[str, Any]], elements: Sequence[Sequence[str]] | None = None
) -> InputLayout:
    """Decide where each dataset stands.

    Args:
        entries: The form's repeat: each has `item` (with `kind` and the dataset or the list of a
            collection's elements, as Galaxy describes them), `path` and `alias`.
        elements: For each entry the true paths of its collection's elements, in their order. Galaxy
            26.1 describes elements with the paths of its own machine, also where Pulsar has
            brought them to another place. None takes the paths of the description.

    Raises:
        InputError: A path is absolute, climbs out of the folder, or collides with another.
    """
    files: dict[str, Path] = {}
    names: dict[str, Any] = {}
    for number, entry in enumerate(entries, start=1):
        if entry["item"]["kind"] == "collection":
            true_paths = None if elements is None else elements[number - 1]
            value: Any = _place_collection(files, entry, number, true_paths)
        else:
            value = _place_dataset(files, entry, number)
        key = value if isinstance(value, str) else _folder_of(entry, number)
        _add_name(names, key, value)
        alias = str(entry.get("alias") or "").strip()
        if alias and alias != key:
            _add_name(names, alias, value)
    _refuse_nested(files)
    return InputLayout(files, names)


def _place_dataset(files: dict[str, Path], entry: dict[str, Any], number: int) -> str:
    dataset = entry["item"]["dataset"]
    if not dataset:
        raise InputError(f"Dataset {number} was not chosen: choose one or remove the entry")
    wanted = str(entry.get("path") or "").strip()
    if not wanted or wanted.endswith("/"):
        wanted += _own_name(dataset)
    path = check_path(wanted, f"dataset {number}")
    _add_file(files, path, Path(dataset["source_path"]))
    return path


def _place_collection(
    files: dict[str, Path], entry: dict[str, Any], number: int, true_paths: Sequence[str] | None
) -> dict[str, str]:
    folder = _folder_of(entry, number)
    elements = entry["item"]["collection"]
    if not elements:
        raise InputError(f"The collection of dataset {number} is empty: give one with elements")
    if true_paths is None:
        true_paths = [element["source_path"] for element in elements]
    placed = {}
    # Strict: a path for each element, or Galaxy counted them in two ways and none can be trusted.
    for element, true_path in zip(elements, true_paths, strict=True):
        # Galaxy gives the names of nested lists joined by slashes, with the datatype at the end.
        own = element["staging_path"]
        extension = "." + element["ext"]
        stem = own.removesuffix(extension)
        name = stem if PurePosixPath(stem).suffix else own
        path = check_path(f"{folder}/{name}", f"dataset {number}")
        _add_file(files, path, Path(true_path))
        placed[stem] = path
    return placed


def _folder_of(entry: dict[str, Any], number: int) -> str:
    wanted = str(entry.get("path") or "").strip()
    return check_path(wanted or f"collection_{number}", f"dataset {number}")


def _own_name(dataset: dict[str, Any]) -> str:
    name = str(dataset["element_identifier"]).replace("/", "_").strip(" .") or "dataset"
    return name if PurePosixPath(name).suffix else f"{name}.{dataset['ext']}"


def check_path(path: str, label: str) -> str:
    """Return a relative path in its plain form.

    Raises:
        InputError: It is absolute, a URL, climbs out, or holds what no file name should hold.
    """
    advice = "write a path relative to the notebook's folder, such as data/scans.h5"
    if "://" in path or path.startswith(("/", "~")) or path[1:2] == ":":
        raise InputError(
            f"The path {path[:100]!r} of {label} is absolute or a URL: {advice}, and put the"
            f" original text into the field for other names"
        )
    if not path.isprintable() or "\\" in path:
        raise InputError(f"The path of {label} holds unusual characters: {advice}")
    parts = PurePosixPath(path).parts
    if ".." in parts:
        raise InputError(f"The path {path[:100]!r} of {label} leaves the folder: {advice}")
    too_long = len(path.encode()) > MAX_PATH_BYTES or len(parts) > MAX_DEPTH
    if not parts or too_long or any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        raise InputError(f"The path {path[:100]!r} of {label} is empty or too long: {advice}")
    plain = "/".join(parts)
    if plain in (INPUTS_FILE, OUTPUTS_FOLDER):
        raise InputError(f"The path {plain!r} of {label} is reserved: choose another one")
    return plain


def _add_file(files: dict[str, Path], path: str, real: Path) -> None:
    if path in files:
        raise InputError(f"Two datasets have the path {path!r}: give each a path of its own")
    files[path] = real


def _add_name(names: dict[str, Any], name: str, value: Any) -> None:
    if name in names:
        raise InputError(f"Two datasets have the name {name[:100]!r}: give each one of its own")
    names[name] = value


def _refuse_nested(files: dict[str, Path]) -> None:
    for path in files:
        for parent in PurePosixPath(path).parents:
            if str(parent) in files:
                raise InputError(
                    f"The path {str(parent)!r} is a dataset and a folder of {path!r}: choose other"
                    f" paths"
                )
