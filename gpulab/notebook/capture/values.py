"""Python's own values in HDF5: scalars, texts, lists, tuples, sets and dictionaries."""

from __future__ import annotations

import datetime
import decimal
import pathlib
from collections import deque
from typing import Any

import h5py
import numpy as np

from gpulab.notebook.capture.arrays import write_texts
from gpulab.notebook.capture.guard import UnsaveableError, error_text
from gpulab.notebook.capture.store import MAX_KEY, Writer

_LISTS: tuple[type, ...] = (list, tuple, set, frozenset, deque)
_AS_TEXT: tuple[type, ...] = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    pathlib.PurePath,
)
_SCALARS: dict[type, type] = {bool: np.bool_, int: np.int64, float: np.float64, complex: complex}
# Kinds of scalars of which many may stand in one list; the order is that of the file.
MIXED: tuple[type, ...] = (str, int, float, bool, type(None))
_MANY = 1000
_NONE = "none of its items can be saved: "
_KEY_KINDS = (int, float, bool, complex, bytes, type(None))


def write_scalar(writer: Writer, parent: h5py.Group, name: str, value: Any) -> bool:
    """Write None, a number, a text, bytes, or what is best kept as text; a family of `Writer`."""
    if value is None:
        parent.create_dataset(name, data=h5py.Empty("f8")).attrs["type"] = "None"
        return True
    if isinstance(value, str):
        _write_text(writer, parent, name, str.__str__(value), "str")
        return True
    if isinstance(value, bytes | bytearray | memoryview):
        data = np.frombuffer(bytes(value), np.uint8)
        writer.dataset(parent, name, data, type="bytes", stored="bytes")
        return True
    if isinstance(value, range):
        bounds = np.asarray([value.start, value.stop, value.step], np.int64)
        writer.dataset(parent, name, bounds, type="range", stored="start, stop, step")
        return True
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        _write_text(writer, parent, name, hex(value), "int")
        return True
    for kind, stored in _SCALARS.items():
        if isinstance(value, kind):
            writer.dataset(parent, name, np.asarray(value, stored), type=kind.__name__)
            return True
    # pandas has its own times, of which the text says less.
    if isinstance(value, _AS_TEXT) and not type(value).__module__.startswith("pandas"):
        plain = value.isoformat() if hasattr(value, "isoformat") else str(value)
        _write_text(writer, parent, name, plain, type(value).__name__)
        return True
    return False


def _write_text(writer: Writer, parent: h5py.Group, name: str, text: str, kind: str) -> None:
    encoded = text.encode("utf-8", "surrogatepass")
    if "\0" in text or not _is_utf8(text):
        data = np.frombuffer(encoded, np.uint8)
        writer.dataset(parent, name, data, type=kind, stored="bytes")
        return
    writer.spend(len(encoded))
    dataset = parent.create_dataset(name, data=text, dtype=h5py.string_dtype("utf-8"))
    dataset.attrs["type"] = kind


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_list(writer: Writer, parent: h5py.Group, name: str, value: Any) -> bool:
    """Write a list, tuple, set or deque; a family of `Writer`.

    Items of one kind become one dataset, lists of numbers of differing lengths two (all values one
    after the other, and the lengths), anything else a group with an object for each item.
    """
    kind = next((kind for kind in _LISTS if isinstance(value, kind)), None)
    if kind is None:
        return False
    # A class of the user may iterate in its own way, without an end.
    items = list(kind.__iter__(value))  # type: ignore[attr-defined]
    label = kind.__name__
    if (
        _write_grid(writer, parent, name, items, label)
        or _write_ragged(writer, parent, name, items, label)
        or _write_strings(writer, parent, name, items, label)
        or _write_mixed(writer, parent, name, items, label)
    ):
        return True
    group = writer.group(parent, name, type=label, stored="items")
    reasons = [writer.write_item(group, str(n), item, f"[{n}]") for n, item in enumerate(items)]
    _require_one(reasons)
    return True


def _require_one(reasons: list[str]) -> None:
    """Refuse a container of which no item was saved, for the reason of the last one."""
    if reasons and all(reasons):
        last = reasons[-1].removeprefix(_NONE)
        raise UnsaveableError(_NONE + last)


def _write_grid(
    writer: Writer, parent: h5py.Group, name: str, items: list[Any], label: str
) -> bool:
    """Write numbers of one kind, also in rectangles of lists, as one dataset."""
    levels, leaves, shape = [label], items, [len(items)]
    while leaves and type(leaves[0]) in (list, tuple) and len(levels) < 8:
        inner = type(leaves[0])
        lengths = {len(leaf) if type(leaf) is inner else -1 for leaf in leaves}
        if len(lengths) > 1 or -1 in lengths or 0 in lengths:
            return False
        levels.append(inner.__name__)
        shape.append(lengths.pop())
        leaves = [item for leaf in leaves for item in leaf]
    array = _homogeneous(leaves)
    if array is None:
        return False
    attributes = {"type": label, "stored": "grid", "items": type(leaves[0]).__name__}
    if len(levels) > 1:
        attributes["levels"] = ",".join(levels)
    writer.dataset(parent, name, array.reshape(shape), **attributes)
    return True


def _homogeneous(items: list[Any]) -> np.ndarray[Any, Any] | None:
    """Return numbers of exactly one kind as an array, None for anything else."""
    kinds = set(map(type, items))
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    if issubclass(kind, np.generic) and np.dtype(kind).kind in "biufc":
        return np.asarray(items)
    if kind not in _SCALARS:
        return None
    try:
        return np.asarray(items, dtype=_SCALARS[kind])
    except OverflowError:
        return None


def _write_ragged(
    writer: Writer, parent: h5py.Group, name: str, items: list[Any], label: str
) -> bool:
    """Write rows of numbers (or bytes) of differing lengths as values and lengths."""
    kinds = set(map(type, items))
    if len(kinds) != 1:
        return False
    kind = kinds.pop()
    leaf = ""
    if kind is bytes:
        values: np.ndarray[Any, Any] | None = np.frombuffer(b"".join(items), np.uint8)
    elif kind in (list, tuple):
        leaves = [item for row in items for item in row]
        values = _homogeneous(leaves)
        leaf = type(leaves[0]).__name__ if leaves else ""
    elif kind is np.ndarray and all(row.ndim == 1 and row.dtype.kind in "biufc" for row in items):
        values = np.concatenate(items) if len({row.dtype for row in items}) == 1 else None
    else:
        return False
    if values is None:
        return False
    lengths = np.asarray([len(row) for row in items], np.int64)
    group = writer.group(parent, name, type=label, stored="ragged", rows=kind.__name__)
    group.attrs["items"] = leaf
    writer.dataset(group, "values", values)
    writer.dataset(group, "lengths", lengths)
    return True


def _write_strings(
    writer: Writer, parent: h5py.Group, name: str, items: list[Any], label: str
) -> bool:
    if not any(type(item) is str for item in items):
        return False
    return write_texts(writer, parent, name, items, type=label, stored="texts")


def _write_mixed(
    writer: Writer, parent: h5py.Group, name: str, items: list[Any], label: str
) -> bool:
    """Write many scalars of several kinds as texts and their kinds: an object each is too much."""
    kinds = [type(item) for item in items]
    if len(items) < _MANY or not set(kinds) <= set(MIXED):
        return False
    texts = [item if type(item) is str else repr(item) for item in items]
    group = writer.group(parent, name, type=label, stored="mixed")
    if not write_texts(writer, group, "texts", texts):
        del parent[name]
        return False
    numbers = [MIXED.index(kind) for kind in kinds]
    writer.dataset(group, "kinds", np.asarray(numbers, np.uint8))
    return True


def write_dict(writer: Writer, parent: h5py.Group, name: str, value: Any) -> bool:
    """Write a dictionary as a group with an object for each key; a family of `Writer`.

    One of a thousand or more keys is written as the list of its keys and the list of its values. A
    text that can be a name in HDF5 is the name; of any other key the object has the attribute
    `key`, which Python's `ast.literal_eval` reads.
    """
    if not isinstance(value, dict):
        return False
    items = list(dict.items(value))
    if len(items) >= _MANY:
        group = writer.group(parent, name, type="dict", stored="pairs")
        writer.write(group, "keys", [key for key, _ in items])
        writer.write(group, "values", [item for _, item in items])
        return True
    group = writer.group(parent, name, type="dict")
    # Names are given to texts first, so that the key 1 does not take the name of the key "1".
    taken = {key for key, _ in items if _is_name(key)}
    reasons = []
    for number, (key, item) in enumerate(items):
        try:
            text = None if _is_name(key) else _key_text(key)
        except Exception as error:  # noqa: BLE001  a key may be any object of the user
            reasons.append(error_text(error))
            writer.left_out.append(f"key {number}: {reasons[-1]}")
            continue
        link = key if text is None else _free_name(text, number, taken)
        reasons.append(writer.write_item(group, link, item, f"[{text or repr(key)}]"))
        if text is not None:
            group[link].attrs["key"] = text
    _require_one(reasons)
    return True


def _is_name(key: object) -> bool:
    if type(key) is not str or not 0 < len(key) <= MAX_KEY:
        return False
    return "/" not in key and "\0" not in key and key.strip(".") != "" and _is_utf8(key)


def _free_name(text: str, number: int, taken: set[str]) -> str:
    plain = text if _is_name(text) and text not in taken else f"item {number}"
    while plain in taken:
        plain += "_"
    taken.add(plain)
    return plain


def _key_text(key: Any) -> str:
    """Return a key as text that says its type as well.

    Raises:
        UnsaveableError: It is longer than a thousand characters.
    """
    plain = key.item() if isinstance(key, np.generic) and hasattr(key, "item") else key
    if _is_literal(plain):
        text = repr(plain)
    else:
        text = plain.isoformat() if hasattr(plain, "isoformat") else str(plain)
    if len(text) > MAX_KEY:
        raise UnsaveableError(f"its key is longer than {MAX_KEY} characters")
    return text if _is_utf8(text) and "\0" not in text else ascii(text)[1:-1]


def _is_literal(key: object, depth: int = 0) -> bool:
    if type(key) is tuple:
        return depth < 5 and all(_is_literal(part, depth + 1) for part in key)
    return type(key) is str or type(key) in _KEY_KINDS
