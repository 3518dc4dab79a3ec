"""The order of work: which variable when, and what becomes of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import h5py

from gpulab.notebook.capture import choose
from gpulab.notebook.capture.arrays import write_array
from gpulab.notebook.capture.foreign import as_array, write_history, write_sparse, write_tensor
from gpulab.notebook.capture.frames import write_pandas
from gpulab.notebook.capture.guard import (
    TimeUp,
    UnsaveableError,
    error_text,
    is_a,
    is_large,
    shape_text,
    size_of,
    time_limit,
    type_name,
)
from gpulab.notebook.capture.inputs import Inputs
from gpulab.notebook.capture.models import export_model, exporter_of
from gpulab.notebook.capture.rows import ARRAYS_FILE, MODELS_FOLDER, Row, RowFile, one_line
from gpulab.notebook.capture.samples import Samples
from gpulab.notebook.capture.store import Writer, opened
from gpulab.notebook.capture.values import write_dict, write_list, write_scalar

GIB = 1 << 30
# Values below this come before the models, the others after them: what costs little is safe first.
_SMALL_BYTES = 64 << 20
_MAX_MODELS_IN_CONTAINER = 20
_MAX_SEARCHED = 1000
_MAX_NAME = 200
_ATOMS = (bool, int, float, complex, str, bytes, type(None))


@dataclass
class _Run:
    """What the work on all variables shares."""

    folder: Path
    rows: RowFile
    writer: Writer
    inputs: Inputs
    samples: Samples
    loops: set[str]
    value_seconds: float
    model_seconds: float
    # Where an object went that has more than one name.
    known: dict[int, Row] = field(default_factory=dict)


def capture(
    namespace: Mapping[str, object],
    folder: str,
    *,
    which: Literal["all", "none", "pattern"] = "all",
    pattern: str = "",
    hidden: Collection[str] = (),
    inputs: Collection[str] = (),
    base: str = ".",
    max_bytes: int = 16 * GIB,
    value_seconds: float = 120.0,
    model_seconds: float = 600.0,
) -> None:
    """Save the user's variables of a notebook.

    Rows are written one by one, and files closed after each, so that what was saved stays saved
    even if the kernel is killed meanwhile. Variables that a `for` loop alone bound are left out
    unless a pattern names them; counters and other scalars that were assigned are kept.

    Args:
        namespace: All names of the notebook.
        folder: Where to write `arrays.h5`, `models/` and `variables.jsonl`; made if missing.
        which: Save all variables, none, or those of a pattern.
        pattern: Shell-style wildcards, separated by commas or blanks.
        hidden: Names of IPython's own; a mapping also gives their values.
        inputs: Paths of the job's inputs, relative to `base`, which are not copied out again.
        base: The folder in which the notebook was started.
        max_bytes: Limit for all values together, before compression.
        value_seconds: Time limit for each value.
        model_seconds: Time limit for each model.
    """
    namespace = dict(namespace)  # threads of the notebook may still bind names
    target = Path(folder).absolute()
    (target / MODELS_FOLDER).mkdir(parents=True, exist_ok=True)
    names = choose.user_variables(namespace, which, pattern, hidden)
    everything = choose.user_variables(namespace, "all", "", hidden)
    run = _Run(
        folder=target,
        rows=RowFile(target, names),
        writer=Writer(max_bytes, lambda: shutil.disk_usage(target).free, _HANDLERS, _reason),
        inputs=Inputs(inputs, Path(base)),
        samples=Samples(namespace, everything),
        loops=set() if which == "pattern" else choose.loop_names(namespace.get("In")),
        value_seconds=value_seconds,
        model_seconds=model_seconds,
    )
    with _quiet():
        for work, chosen in _in_order({name: namespace[name] for name in names}):
            for name, value in chosen:
                work(run, name, value)


Work = Callable[[_Run, str, Any], None]


def _in_order(variables: dict[str, object]) -> Iterator[tuple[Work, list[tuple[str, object]]]]:
    small: list[tuple[str, object]] = []
    models: list[tuple[str, object]] = []
    large: list[tuple[str, object]] = []
    for item in variables.items():
        if exporter_of(item[1]) is not None or _models_in(item[1]):
            models.append(item)
        else:
            (large if is_large(item[1], _SMALL_BYTES) else small).append(item)
    yield _value, small
    yield _model, models
    yield _value, large


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the chatter of exporters, and warnings that a notebook made errors, out of the way."""
    with (
        Path(os.devnull).open("w") as sink,
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _attempt(run: _Run, name: str, value: Any, seconds: float, work: Callable[[Row], Row]) -> Row:
    """Do the work on one variable; whatever it raises becomes the note of its row."""
    row = Row(name, type_name(value))
    try:
        with time_limit(seconds):
            row = replace(row, shape=shape_text(value), size=size_of(value))
            row = work(row)
    except TimeUp:
        row = replace(row, note=f"took longer than {seconds:g} seconds")
    # Also SystemExit and the like: no object may end the work on the others.
    except BaseException as error:  # noqa: BLE001
        row = replace(row, note=error_text(error))
    run.rows.add(row)
    return row


def _value(run: _Run, name: str, value: Any) -> None:
    row = _attempt(run, name, value, run.value_seconds, lambda row: _save_value(run, value, row))
    if row.saved != "no" and not isinstance(value, _ATOMS):
        run.known[id(value)] = row


def _save_value(run: _Run, value: Any, row: Row) -> Row:
    if row.name in run.loops:
        raise UnsaveableError(choose.LOOP_NOTE)
    if not _fits_hdf5(row.name):
        raise UnsaveableError("its name cannot be used in a file")
    path = str(run.folder / ARRAYS_FILE)
    twin = run.known.get(id(value))
    if twin is not None:
        with opened(path) as file:
            file[row.name] = file[twin.name]
        return replace(row, saved="arrays", where=f"/{row.name}", note=f"the same as {twin.name}")
    array = None if choose.no_result(value) else as_array(value)
    source = run.inputs.find(array) if array is not None else ""
    if source:
        raise UnsaveableError(f"is {source}")
    with opened(path) as file:
        run.writer.save(file, row.name, value)
    left_out = run.writer.left_out
    note = f"{len(left_out)} left out: {'; '.join(left_out[:3])}" if left_out else ""
    return replace(
        row, saved="arrays", where=f"/{row.name}", size=run.writer.written, note=one_line(note)
    )


def _fits_hdf5(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return len(name) <= _MAX_NAME and name.strip(".") != "" and not set(name) & {"/", "\0"}


def _model(run: _Run, name: str, value: Any) -> None:
    export = exporter_of(value)
    if export is not None:
        row = _attempt(
            run, name, value, run.model_seconds, lambda row: _save_model(run, export, value, row)
        )
        if row.saved == "model":
            run.known[id(value)] = row
        return
    inner = _models_in(value)
    for key, model in inner[:_MAX_MODELS_IN_CONTAINER]:
        _model(run, f"{name}[{key!r}]", model)
    if len(inner) > _MAX_MODELS_IN_CONTAINER:
        more = len(inner) - _MAX_MODELS_IN_CONTAINER
        run.rows.add(Row(f"{name}[…]", note=f"{more} more models in a container, not saved"))
    if len(inner) < len(value):
        _value(run, name, value)
    else:
        note = "its models have rows of their own"
        run.rows.add(Row(name, type_name(value), shape_text(value), note=note))


def _save_model(run: _Run, export: Any, value: Any, row: Row) -> Row:
    twin = run.known.get(id(value))
    if twin is not None:
        return replace(twin, name=row.name, note=f"the same as {twin.name}")
    file_name = f"{''.join(c if c.isalnum() else '_' for c in row.name).strip('_')}.onnx"
    path = run.folder / MODELS_FOLDER / file_name
    if path.exists() or not _fits_hdf5(file_name) or len(file_name.encode()) > _MAX_NAME:
        raise UnsaveableError("its name cannot be used for a file, or is taken by another model")
    verdict = export_model(export, value, path, run.samples)
    return replace(
        row,
        size=path.stat().st_size,
        saved="model",
        where=file_name,
        note=verdict.note,
        difference=verdict.difference,
    )


def _models_in(value: Any) -> list[tuple[str | int, object]]:
    """Return the models that a list, tuple or dictionary holds directly, with their keys."""
    pairs: list[tuple[Any, object]] = []
    # The methods are called on the classes, since a class of the user may have its own.
    if is_a(value, dict) and dict.__len__(value) <= _MAX_SEARCHED:
        pairs = [(key, each) for key, each in dict.items(value) if type(key) in (str, int)]
    for kind in (list, tuple):
        if is_a(value, kind) and kind.__len__(value) <= _MAX_SEARCHED:
            pairs = list(enumerate(kind.__iter__(value)))
    return [(key, each) for key, each in pairs if exporter_of(each) is not None]


def _refuse(_: Writer, _parent: h5py.Group, _name: str, value: Any) -> bool:
    """Stop at what is no result, also within containers; the first family of `Writer`."""
    reason = choose.no_result(value)
    if exporter_of(value) is not None:
        reason = "a model, which is no value: see the rows of models"
    if reason:
        raise UnsaveableError(reason)
    return False


def _reason(value: object) -> str:
    if isinstance(value, BaseException):
        return "an exception"
    library = type_name(value).partition(".")[0]
    origin = f" of {library}" if library in sys.modules else ""
    return f"an object{origin} that is neither a model nor data"


_HANDLERS = [
    _refuse,
    write_array,
    write_pandas,
    write_scalar,
    write_sparse,  # before dictionaries, which one form of it is
    write_list,
    write_dict,
    write_history,
    write_tensor,
]
