"""Reading what `gpulab.notebook.capture` left in a folder that the notebook could write.

All of it may be forged: the notebook ran as the same user. Nothing is followed out of the folder,
every file is checked before it is named, and a row of the table promises a file only if there is
one. Call this when no process of the kernel is left.
"""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import gpulab
from gpulab.h5.limits import in_words, readable
from gpulab.models.check import MAX_FILE_BYTES
from gpulab.notebook.capture.rows import ARRAYS_FILE, MODELS_FOLDER, ROWS_FILE, Row, one_line

GIB = 1 << 30
MAX_ARRAYS_BYTES = 64 * GIB
MAX_TABLE_BYTES = 64 << 20
MAX_LINE = 1 << 16
MAX_ROWS = 20_000
MAX_MODELS = 200
_CHECK_SECONDS = 300.0
_MODEL_NAME = re.compile(r"\w{1,200}\.onnx")


@dataclass
class Captured:
    """What a notebook left of its variables.

    Attributes:
        rows: The table of variables, in the order in which they were dealt with.
        arrays: The checked HDF5 file with the values, None where there is none.
        models: The checked ONNX files by name.
        notes: What was refused or is missing, one sentence each.
    """

    rows: list[Row] = field(default_factory=list)
    arrays: Path | None = None
    models: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_captured(folder: Path) -> Captured:
    """Read and check the table, the values and the models.

    Args:
        folder: The folder that `capture` was given; it may be missing, or anything else.

    Returns:
        What can be used, with a note for everything that was left out.
    """
    captured = Captured()
    if not _is_folder(folder):
        captured.notes.append("The notebook's variables were not saved")
        return captured
    planned = _read_rows(folder, captured)
    wanted = _list_files(folder, captured)
    arrays_names: set[str] = set()
    for (kind, path), answer in zip(wanted, _verify(wanted), strict=True):
        problem = one_line(str(answer.get("problem", "")))
        if problem:
            captured.notes.append(f"{_shown(path)} was left out: {problem}")
        elif kind == "arrays":
            captured.arrays = path
            arrays_names = {str(name) for name in answer.get("names", ())}
        else:
            captured.models[path.stem] = path
    captured.rows = [_honest(row, captured, arrays_names) for row in captured.rows]
    _drop_unnamed(captured)
    _add_missing(captured, planned)
    return captured


def write_variables(captured: Captured, path: Path) -> None:
    """Write the table of variables as tab-separated text with a header.

    Args:
        captured: From `read_captured`.
        path: The file to write; the columns are those of `Row`.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(
            file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
        )
        writer.writerow([column.name for column in fields(Row)])
        for row in captured.rows:
            writer.writerow(["" if cell is None else cell for cell in astuple(row)])


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _regular_size(path: Path) -> int:
    """Return the size of a regular file that has one name and is no link, else -1."""
    try:
        status = path.lstat()
    except OSError:
        return -1
    is_own = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    return status.st_size if is_own else -1


def _shown(path: Path) -> str:
    return f"The file {readable(path.name)}"


def _read_rows(folder: Path, captured: Captured) -> list[str]:
    """Fill in the rows; return the names of all variables that were to be saved."""
    path = folder / ROWS_FILE
    size = _regular_size(path)
    if not 0 <= size <= MAX_TABLE_BYTES:
        captured.notes.append("The table of variables is missing or was tampered with")
        return []
    planned: list[str] = []
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            content = _parse(line)
            names = content.get("planned")
            if isinstance(names, list) and not planned:
                planned = [one_line(n) for n in names[:MAX_ROWS] if isinstance(n, str)]
            row = _row(content)
            if row is not None:
                captured.rows.append(row)
            if len(captured.rows) >= MAX_ROWS:
                captured.notes.append(f"Only the first {MAX_ROWS:,} variables are in the table")
                break
    return planned


def _parse(line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _row(content: dict[str, Any]) -> Row | None:
    """Return a row of which every cell has the right type, None if there is no name."""
    name = content.get("name")
    if not isinstance(name, str) or not name:
        return None
    texts = {
        key: one_line(value)
        for key in ("type", "shape", "where", "note")
        if isinstance(value := content.get(key), str)
    }
    size, difference = content.get("size"), content.get("difference")
    saved = content.get("saved")
    return Row(
        name=one_line(name),
        size=size if type(size) is int and 0 <= size < 1 << 62 else None,
        saved=saved if saved in ("arrays", "model") else "no",
        difference=float(difference) if type(difference) is float else None,
        **texts,
    )


def _list_files(folder: Path, captured: Captured) -> list[tuple[str, Path]]:
    """Return kind and path of each file that deserves a check."""
    wanted: list[tuple[str, Path]] = []
    arrays = folder / ARRAYS_FILE
    if os.path.lexists(arrays):
        size = _regular_size(arrays)
        if 0 <= size <= MAX_ARRAYS_BYTES:
            wanted.append(("arrays", arrays))
        else:
            captured.notes.append(f"{_shown(arrays)} was left out: {_refusal(size)}")
    for path in _models(folder):
        size = _regular_size(path)
        if not _MODEL_NAME.fullmatch(path.name):
            continue
        if not 0 <= size <= MAX_FILE_BYTES:
            captured.notes.append(f"{_shown(path)} was left out: {_refusal(size)}")
        elif len(wanted) <= MAX_MODELS:
            wanted.append(("model", path))
        else:
            captured.notes.append(f"Only the first {MAX_MODELS} models are kept")
            break
    return wanted


def _models(folder: Path) -> Iterator[Path]:
    models = folder / MODELS_FOLDER
    if not _is_folder(models):
        return
    with os.scandir(models) as entries:
        # A folder may hold millions of names.
        names = [entry.name for _, entry in zip(range(10 * MAX_MODELS), entries, strict=False)]
    yield from (models / name for name in sorted(names))


def _refusal(size: int) -> str:
    if size < 0:
        return "it is a link or no regular file"
    return f"it is too large ({in_words(size)})"


def _verify(wanted: list[tuple[str, Path]]) -> list[dict[str, Any]]:
    """Check files in another process; one that ends or hangs it is a bad one."""
    answers: list[dict[str, Any]] = []
    while len(answers) < len(wanted):
        rest = [[kind, str(path.absolute())] for kind, path in wanted[len(answers) :]]
        answers += _verify_some(rest)
    return answers


def _verify_some(files: list[list[str]]) -> list[dict[str, Any]]:
    """Return an answer for each file up to the first that ended the check; at least one."""
    command = [sys.executable, "-P", "-m", "gpulab.notebook.capture.verify"]
    root = str(Path(gpulab.__file__).parents[1])
    try:
        done = subprocess.run(
            command,
            input=json.dumps(files).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_CHECK_SECONDS,
            check=False,
            env={**os.environ, "PYTHONPATH": root},
        )
        output, reason = done.stdout, f"the check of it ended with code {done.returncode}"
    except subprocess.TimeoutExpired as error:
        output, reason = error.stdout or b"", f"the check took more than {_CHECK_SECONDS:g} s"
    answers = [_parse(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
    if len(answers) < len(files):
        answers.append({"problem": f"{reason}, it is damaged or was forged"})
    return answers[: len(files)]


def _honest(row: Row, captured: Captured, arrays_names: set[str]) -> Row:
    """Take back the promise of a row whose file is not there."""
    if row.saved == "arrays":
        kept = captured.arrays is not None and row.where.removeprefix("/") in arrays_names
    elif row.saved == "model":
        kept = row.where.endswith(".onnx") and row.where.removesuffix(".onnx") in captured.models
    else:
        return replace(row, where="", difference=None)
    if kept:
        return row
    note = "was saved, but the file is missing or was refused"
    return replace(row, saved="no", where="", difference=None, note=note)


def _drop_unnamed(captured: Captured) -> None:
    named = {row.where for row in captured.rows if row.saved == "model"}
    for name in [name for name in captured.models if f"{name}.onnx" not in named]:
        del captured.models[name]
        captured.notes.append(f"The model {readable(name)} was left out: no variable is named so")


def _add_missing(captured: Captured, planned: list[str]) -> None:
    there = {row.name for row in captured.rows}
    missing = [name for name in dict.fromkeys(planned) if name not in there]
    note = "not reached: saving ended before it, or with it"
    captured.rows += [Row(name, note=note) for name in missing[: MAX_ROWS - len(captured.rows)]]
    if missing:
        count = f"{len(missing)} of {len(planned)} variables"
        captured.notes.append(f"Saving ended early: {count} were not reached")
