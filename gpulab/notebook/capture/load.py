"""Reading `arrays.h5` back into Python.

    from gpulab.notebook.capture.load import load_variables
    variables = load_variables("arrays.h5")

What comes back is equal to what was saved, except that tensors and other array-likes come back as
NumPy arrays, a Keras `History` as a dictionary, dates and paths as text, and that an item that was
left out is None.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gpulab.notebook.capture.arrays import GAPS
from gpulab.notebook.capture.values import MIXED

_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
}
_NUMBERS = {"bool": bool, "int": int, "float": float, "complex": complex}


def load_variables(path: str | Path) -> dict[str, Any]:
    """Read all variables of an `arrays.h5`.

    Args:
        path: The file, from a job that you trust: use `gpulab.h5.safe` for any other.

    Returns:
        Values by the names that they had in the notebook.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It was not written by this package.
    """
    with h5py.File(path, "r") as file:
        return {name: load_value(file[name]) for name in file}


def load_value(node: h5py.Group | h5py.Dataset) -> Any:
    """Read one object of the file as the value that it was.

    Raises:
        ValueError: It has no type that this package writes.
    """
    kind, stored = _text(node, "type"), _text(node, "stored")
    if kind in ("None", "left out"):
        return None
    if kind in _CONTAINERS:
        return _CONTAINERS[kind](_load_items(node, stored))
    if stored == "pairs":
        keys, values = load_value(node["keys"]), load_value(node["values"])
        return dict(zip(keys, values, strict=True))
    if kind in ("dict", "keras.History"):
        return {_key(name, child): load_value(child) for name, child in _kept(node)}
    if kind.startswith("numpy"):
        return _load_array(node, kind, stored)
    if kind.startswith("scipy.sparse."):
        return _load_sparse(node, kind.rpartition(".")[2], stored)
    if kind.startswith("pandas"):
        from gpulab.notebook.capture.load_frames import load_pandas

        return load_pandas(node, kind)
    if kind == "tensorflow.SparseTensor":
        return {name: load_value(child) for name, child in node.items()}
    if kind == "range":
        return range(*map(int, node[()]))
    if kind in _NUMBERS and not stored and node.dtype.kind in "biufc":
        return _NUMBERS[kind](node[()])
    if kind == "bytes":
        return node[()].tobytes()
    if not kind:
        raise ValueError(f"{node.name} was not written by this package: it has no attribute 'type'")
    text = _load_text(node, stored)
    return int(text, 16) if kind == "int" else text


def _text(node: Any, name: str) -> str:
    return str(node.attrs.get(name, ""))


def _kept(node: Any) -> list[tuple[str, Any]]:
    """Return the members of a group that were saved."""
    return [(n, child) for n, child in node.items() if _text(child, "type") != "left out"]


def _key(name: str, child: Any) -> Any:
    if "key" not in child.attrs:
        return name
    text = _text(child, "key")
    if text in ("nan", "inf", "-inf"):
        return float(text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _load_text(node: Any, stored: str) -> str:
    if stored == "bytes":
        return str(node[()].tobytes().decode("utf-8", "surrogatepass"))
    return str(node.asstr()[()])


def _load_items(node: Any, stored: str) -> list[Any]:
    if stored == "grid":
        levels = _text(node, "levels").split(",")[1:]
        return _grid(node[()], levels, _text(node, "items"))
    if stored == "texts":
        return load_texts(node)
    if stored == "mixed":
        return _load_mixed(node)
    if stored == "ragged":
        return _load_ragged(node)
    return [load_value(child) for child in node.values()]


def _grid(array: Any, levels: list[str], leaf: str) -> list[Any]:
    if levels:
        inner = _CONTAINERS[levels[0]]
        return [inner(_grid(row, levels[1:], leaf)) for row in array]
    items: list[Any] = array.tolist() if leaf in _NUMBERS else list(array)
    return items


def load_texts(node: Any) -> list[Any]:
    """Read texts, with what stood where there was none."""
    if isinstance(node, h5py.Dataset):
        return list(node.asstr()[()])
    texts = node["values"].asstr()[()]
    return [_gap(int(gap)) if gap else text for text, gap in zip(texts, node["gaps"], strict=True)]


def _gap(gap: int) -> Any:
    name = GAPS[gap]
    if name in ("NA", "NaT"):
        import pandas

        return pandas.NA if name == "NA" else pandas.NaT
    return None if name == "None" else float("nan")


def _load_mixed(node: Any) -> list[Any]:
    def value(text: str, kind: type) -> Any:
        if kind is str:
            return text
        if kind is bool or kind is type(None):
            return {"True": True, "False": False}.get(text)
        return kind(text)

    kinds = [MIXED[int(number)] for number in node["kinds"]]
    return [value(text, kind) for text, kind in zip(node["texts"].asstr(), kinds, strict=True)]


def _load_ragged(node: Any) -> list[Any]:
    ends = np.cumsum(node["lengths"][()])[:-1]
    rows = np.split(node["values"][()], ends) if len(node["lengths"]) else []
    kind, leaf = _text(node, "rows"), _text(node, "items")
    if kind == "ndarray":
        return list(rows)
    if kind == "bytes":
        return [row.tobytes() for row in rows]
    return [_CONTAINERS[kind](_grid(row, [], leaf)) for row in rows]


def _load_array(node: Any, kind: str, stored: str) -> Any:
    if kind == "numpy.ma.MaskedArray":
        return np.ma.MaskedArray(load_value(node["data"]), mask=load_value(node["mask"]))
    if stored == "objects":
        array = _load_objects(node)
    elif stored == "fields":
        array = _load_fields(node)
    else:
        array = _decode(node)
    return array[()] if kind == "numpy scalar" else array


def _load_objects(node: Any) -> np.ndarray[Any, Any]:
    items = load_value(node["items"])
    array = np.empty(len(items), object)
    for place, item in enumerate(items):
        array[place] = item
    return array.reshape(tuple(node.attrs["shape"]))


def _load_fields(node: Any) -> np.ndarray[Any, Any]:
    shape = tuple(int(length) for length in node.attrs["shape"])
    fields = {_key("", child): load_value(child) for child in node.values()}
    types = [(name, field.dtype, field.shape[len(shape) :]) for name, field in fields.items()]
    array = np.empty(shape, dtype=types)
    for name, field in fields.items():
        array[name] = field
    return array


def _decode(node: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(node[()])
    if "unit" in node.attrs:
        return array.view(np.dtype(_text(node, "unit")))
    if "encoding" in node.attrs:
        texts = np.char.decode(array, "utf-8", "surrogatepass")
        return np.asarray(texts).astype(_text(node, "dtype"))
    return array


def _load_sparse(node: Any, cls: str, stored: str) -> Any:
    import scipy.sparse

    shape = tuple(int(length) for length in node.attrs["shape"])
    parts = {name: load_value(child) for name, child in node.items()}
    make = getattr(scipy.sparse, f"{stored}_{'array' if cls.endswith('array') else 'matrix'}")
    if stored == "coo":
        made = make((parts["data"], (parts["row"], parts["col"])), shape=shape)
    else:
        made = make((parts["data"], parts["indices"], parts["indptr"]), shape=shape)
    return made.asformat(cls.partition("_")[0])
