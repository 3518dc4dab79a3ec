"""Reading an uploaded notebook or script, and putting the user's parameters into it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gpulab.errors import InputError

if TYPE_CHECKING:
    from nbformat import NotebookNode

MIB = 1 << 20
MAX_NOTEBOOK_BYTES = 100 * MIB  # with the outputs that it may hold; they are dropped
MAX_SCRIPT_BYTES = 10 * MIB
MAX_CELLS = 10_000

KERNEL_NAME = "gpulab"
PARAMETERS_TAG = "parameters"
PYTHON_NAMES = frozenset({"python", "python2", "python3", "ipython", "ipython3"})

SourceKind = Literal["notebook", "script"]


def read_source(path: Path, kind: SourceKind, label: str) -> NotebookNode:
    """Read an uploaded notebook or script as a notebook that has not run.

    Args:
        path: The file.
        kind: "notebook": JSON of nbformat 3 or 4. "script": Python; where it has cell markers
            (`# %%` or `# +`) they are kept, a plain script is divided at its top-level paragraphs.
            Jupytext does this.
        label: What the user calls the file, for messages.

    Returns:
        A valid notebook of nbformat 4, its outputs removed, whose kernel is ours.

    Raises:
        InputError: The file is no notebook or script, is too large, or is not for Python.
    """
    text = _read_text(path, kind, label)
    notebook = _parse_notebook(text, label) if kind == "notebook" else _parse_script(text, label)
    _check_language(notebook, label)
    _check_cells(notebook, label)
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    notebook.metadata.pop("widgets", None)  # state of an earlier run
    notebook.metadata["papermill"] = {}
    notebook.metadata["kernelspec"] = {
        "name": KERNEL_NAME,
        "display_name": "Python 3",
        "language": "python",
    }
    return notebook


def _read_text(path: Path, kind: SourceKind, label: str) -> str:
    limit = MAX_NOTEBOOK_BYTES if kind == "notebook" else MAX_SCRIPT_BYTES
    try:
        size = path.stat().st_size
        if size > limit:
            raise InputError(
                f"The {kind} {label!r} has {size / MIB:.0f} MiB, more than the {limit // MIB} MiB "
                f"that are read: remove its outputs and data"
            )
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"The {kind} {label!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"The {kind} {label!r} is not UTF-8 text: save it in this encoding"
        ) from error


def _parse_notebook(text: str, label: str) -> NotebookNode:
    import nbformat

    refusal = (
        f"The file {label!r} is no Jupyter notebook: give a file that Jupyter saved (.ipynb),"
        f" or choose script for Python text"
    )
    try:
        notebook = nbformat.reads(text, as_version=4)
        # Adds what newer versions demand and older programs left out, such as the cells' names.
        _, notebook = nbformat.validator.normalize(notebook)
        nbformat.validate(notebook)
    except (json.JSONDecodeError, nbformat.reader.NotJSONError) as error:
        raise InputError(refusal) from error
    except nbformat.ValidationError as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise InputError(
            f"The notebook {label!r} is damaged ({reason}): open it in Jupyter and save it again"
        ) from error
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # nbformat looks into what it upgrades before it validates.
        raise InputError(refusal) from error
    return notebook


def _parse_script(text: str, label: str) -> NotebookNode:
    import jupytext

    if "\0" in text:
        raise InputError(f"The script {label!r} holds bytes that are no text: give Python source")
    if text.lstrip().startswith("{") and '"cells"' in text:
        raise InputError(f"The script {label!r} is a Jupyter notebook: choose notebook instead")
    try:
        notebook = jupytext.reads(text, fmt="py")
    except (ValueError, SyntaxError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise InputError(
            f"The script {label!r} cannot be divided into cells ({reason}): give plain Python, or"
            f" cells that begin with # %%"
        ) from error
    return notebook


def _check_language(notebook: NotebookNode, label: str) -> None:
    info = notebook.metadata.get("language_info", {})
    spec = notebook.metadata.get("kernelspec", {})
    language = str(info.get("name") or spec.get("language") or "python")
    if language.lower() not in PYTHON_NAMES:
        raise InputError(
            f"The notebook {label!r} is written in {language[:40]!r}, and this tool runs Python"
            f" alone: give a notebook with a Python kernel"
        )


def _check_cells(notebook: NotebookNode, label: str) -> None:
    if len(notebook.cells) > MAX_CELLS:
        raise InputError(
            f"The notebook {label!r} has {len(notebook.cells)} cells, more than {MAX_CELLS}:"
            f" divide it"
        )
    if not any(True for _ in code_cells(notebook)):
        raise InputError(f"{label!r} holds no code: give a notebook or script with Python code")


def code_cells(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """Yield the cells that run, in order."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.strip():
            yield cell


def insert_parameters(
    notebook: NotebookNode, parameters: Mapping[str, Any], label: str
) -> NotebookNode:
    """Return the notebook with a cell that sets the parameters, behind the one with their defaults.

    Args:
        notebook: As `read_source` gives it.
        parameters: Values by name; JSON types alone.
        label: What the user calls the notebook, for messages.

    Raises:
        InputError: No cell has the tag `parameters`, or it does not assign one of the names.
    """
    if not parameters:
        return notebook
    from papermill.parameterize import parameterize_notebook
    from papermill.utils import find_first_tagged_cell_index

    index = find_first_tagged_cell_index(notebook, PARAMETERS_TAG)
    if index < 0:
        raise InputError(
            f"Parameters were given, but no cell of {label!r} has the tag 'parameters': tag the"
            f" cell that holds their defaults (in Jupyter: property inspector, in a script:"
            f' # %% tags=["parameters"])'
        )
    known = assigned_names(notebook.cells[index].source, label)
    unknown = sorted(parameters.keys() - set(known))
    if unknown:
        raise InputError(
            f"The cell of {label!r} with the tag 'parameters' has no {unknown[0]!r}: it sets"
            f" {', '.join(known) or 'nothing'}"
        )
    return parameterize_notebook(
        notebook, dict(parameters), kernel_name=KERNEL_NAME, language="python"
    )


# A line that IPython understands and Python does not: a magic, a shell command, or a help request.
_MAGIC = re.compile(r"^[%!?].*$|^.*\?$", re.MULTILINE)


def without_magics(source: str) -> str:
    """Return a cell's source with the lines left out that are not Python."""
    return _MAGIC.sub("", source)


def assigned_names(source: str, label: str) -> list[str]:
    """Return the names that a cell assigns at its top level, in order.

    Raises:
        InputError: The cell is no valid Python.
    """
    try:
        body = ast.parse(without_magics(source)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(
            f"The cell of {label!r} with the tag 'parameters' is not valid Python: write one"
            f" assignment a line, such as epochs = 10"
        ) from error
    names: dict[str, None] = {}
    for statement in body:
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [statement.target]
            if isinstance(statement, ast.AnnAssign)
            else []
        )
        for target in targets:
            for node in ast.walk(target):
                if isinstance(node, ast.Name):
                    names[node.id] = None
    return list(names)
