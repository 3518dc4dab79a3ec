"""What can be said about a notebook and its data before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from gpulab.errors import InputError
from gpulab.notebook.inputs import check_path
from gpulab.notebook.source import PARAMETERS_TAG, assigned_names, read_source

DataPaths = Iterable[str | Path] | Mapping[str, str | Path]


@dataclass(frozen=True)
class Script:
    """A notebook or script that can be sent.

    Attributes:
        path: The file.
        kind: Which of the two.
    """

    path: Path
    kind: Literal["notebook", "script"]

    @property
    def datatype(self) -> str:
        """Galaxy's name of the file's type."""
        return "ipynb" if self.kind == "notebook" else "txt"


def check_script(path: str | Path, parameters: Iterable[str], key: str) -> Script:
    """Look at the notebook or script as the tool will.

    Args:
        path: A notebook (`.ipynb`) or a Python script (`.py`, `.txt`).
        parameters: Names of the parameters that will be given.
        key: The API key, which must not stand in the file.

    Raises:
        InputError: The file is missing or no Python notebook or script, it has no such parameter,
            or the API key stands in it.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"There is no notebook or script {str(path)!r}: check the path")
    script = Script(file, "notebook" if file.suffix.lower() == ".ipynb" else "script")
    if script.kind == "notebook":
        _check_notebook(file, sorted(set(parameters)))
    else:
        _check_text(file)
    if key.encode() in file.read_bytes():
        raise InputError(
            f"Your API key stands in {file.name}, and everybody who sees the notebook would have "
            "it: take it out of the code and clear the cell's output"
        )
    return script


def _check_notebook(file: Path, parameters: list[str]) -> None:
    notebook = read_source(file, "notebook", file.name)
    if not parameters:
        return
    tagged = [c for c in notebook.cells if PARAMETERS_TAG in c.metadata.get("tags", [])]
    if not tagged:
        raise InputError(
            f"Parameters were given, but no cell of {file.name} has the tag 'parameters': tag the "
            "cell that holds their defaults"
        )
    known = assigned_names(tagged[0].source, file.name)
    for name in parameters:
        if name not in known:
            raise InputError(
                f"{file.name} has no parameter {name!r}: its cell with the tag 'parameters' sets "
                f"{', '.join(known) or 'nothing'}"
            )


def _check_text(file: Path) -> None:
    """Look at a script; what is in it the tool knows better."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The script {file.name} cannot be read as UTF-8 text") from error
    if "\0" in text or not text.strip():
        raise InputError(f"The script {file.name} holds no Python text")


def check_data(
    data: DataPaths | None, paths: Mapping[str, str] | None, folder: Path
) -> dict[str, Path]:
    """Decide which file lies where in the notebook's folder.

    Args:
        data: Paths of files, each of which keeps its relative path; or path in the notebook → file.
        paths: For files of a list: file as it stands in the list → path in the notebook.
        folder: The notebook's folder; a relative path that is not found in the current folder is
            looked for there.

    Returns:
        Path in the notebook → existing file, in the order given.

    Raises:
        InputError: A file is missing, or a path is absolute, climbs out or collides.
    """
    if isinstance(data, str | Path):
        raise InputError(f"The data are a list of paths: write [{str(data)!r}]")
    if isinstance(data, Mapping):
        if paths:
            raise InputError("Give the places either in the dictionary or by `paths`, not by both")
        wanted = [(str(place), value) for place, value in data.items()]
    else:
        named = {str(file): place for file, place in (paths or {}).items()}
        wanted = [(named.pop(str(file), "") or own_place(file), file) for file in data or ()]
        if named:
            raise InputError(f"{next(iter(named))!r} has a place but is not among the data")
    placed: dict[str, Path] = {}
    for place, value in wanted:
        plain = check_path(place, f"the file {str(value)!r}")
        if plain in placed:
            raise InputError(f"Two files have the path {plain!r}: give each one of its own")
        placed[plain] = _find(value, folder)
    _refuse_nested(placed)
    return placed


def own_place(file: str | Path) -> str:
    """Return the path that a file has in the notebook when no other is given.

    Raises:
        InputError: It does not lie below the current folder.
    """
    path = PurePosixPath(Path(file).as_posix())
    if Path(file).is_absolute() or ".." in path.parts or str(file).startswith("~"):
        raise InputError(
            f"{str(file)!r} does not lie below the notebook's folder: say where the notebook looks "
            f"for it, as {{'data/{path.name}': {str(file)!r}}} or --data data/{path.name}={file}"
        )
    return str(path)


def _find(file: str | Path, folder: Path) -> Path:
    path = Path(file).expanduser()
    if not path.exists() and not path.is_absolute():
        path = folder / path
    if path.is_dir():
        raise InputError(f"{str(file)!r} is a folder: name its files, or pack it into one file")
    if not path.is_file():
        raise InputError(f"There is no file {str(file)!r}: check the path")
    if path.stat().st_size == 0:
        raise InputError(f"The file {str(file)!r} is empty: Galaxy takes no empty files")
    return path


def _refuse_nested(placed: Iterable[str]) -> None:
    known = set(placed)
    for place in known:
        for parent in PurePosixPath(place).parents:
            if str(parent) in known:
                raise InputError(
                    f"The path {str(parent)!r} is a file and a folder of {place!r}: choose others"
                )
