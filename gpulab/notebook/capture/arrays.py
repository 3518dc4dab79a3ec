"""NumPy arrays of every type, and lists of texts, in HDF5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from gpulab.notebook.capture.guard import UnsaveableError
from gpulab.notebook.capture.store import Writer

# Which kind of nothing stands at a place of a list of texts; 0 is a text.
GAPS = ("", "None", "NaN", "NA", "NaT")


def write_array(writer: Writer, parent: h5py.Group, name: str, value: Any) -> bool:
    """Write a NumPy array or a NumPy scalar; a family of `Writer`."""
    if isinstance(value, np.generic):
        scalar = np.asarray(value)
        if scalar.dtype.kind == "O":
            return False
        _write(writer, parent, name, scalar, "numpy scalar")
        return True
    if not isinstance(value, np.ndarray):
        return False
    if isinstance(value, np.ma.MaskedArray):
        group = writer.group(parent, name, type="numpy.ma.MaskedArray")
        _write(writer, group, "data", np.asarray(value.data), "numpy.ndarray")
        _write(writer, group, "mask", np.ma.getmaskarray(value), "numpy.ndarray")
        return True
    _write(writer, parent, name, np.asarray(value), "numpy.ndarray")
    return True


def _write(
    writer: Writer, parent: h5py.Group, name: str, array: np.ndarray[Any, Any], kind: str
) -> None:
    """Write an array of any type; attribute `dtype` where HDF5 holds another one."""
    dtype = array.dtype
    if dtype.fields is not None:
        _write_fields(writer, parent, name, array, kind)
    elif dtype.kind == "O":
        _write_objects(writer, parent, name, array)
    elif dtype.kind == "T":
        _write_objects(writer, parent, name, array.astype(object))
    elif dtype.kind in "mM":
        native = array.astype(dtype.newbyteorder("="))
        unit = native.dtype.str[1:].replace("M8", "datetime64").replace("m8", "timedelta64")
        writer.dataset(parent, name, native.view(np.int64), type=kind, unit=unit)
    elif dtype.kind == "U":
        encoded = _encode(array)
        writer.dataset(parent, name, encoded, type=kind, dtype=dtype.str, encoding="utf-8")
    elif dtype.itemsize == 0:
        raise UnsaveableError(f"HDF5 has no type for elements of 0 bytes ({dtype})")
    elif dtype.kind == "V" and dtype.type is not np.void:
        # Small floats of machine learning, such as bfloat16, which HDF5 does not know.
        writer.dataset(parent, name, array.astype(np.float32), type=kind, dtype=dtype.name)
    else:
        writer.dataset(parent, name, array, type=kind)


def _encode(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return texts of fixed length as UTF-8 bytes of fixed length, at least one each."""
    wide = array if array.dtype.itemsize else array.astype("U1")
    encoded = np.char.encode(wide, "utf-8", "surrogatepass")
    return encoded if encoded.dtype.itemsize else encoded.astype("S1")


def _write_fields(
    writer: Writer, parent: h5py.Group, name: str, array: np.ndarray[Any, Any], kind: str
) -> None:
    """Write a structured array, field by field, which any program can read."""
    group = writer.group(parent, name, type=kind, stored="fields")
    for number, field in enumerate(array.dtype.names or ()):
        _write(writer, group, str(number), np.asarray(array[field]), "numpy.ndarray")
        group[str(number)].attrs["key"] = repr(field)
    # What lies in a field with a shape of its own is longer than the array.
    group.attrs["shape"] = np.asarray(array.shape, np.int64)


def _write_objects(
    writer: Writer, parent: h5py.Group, name: str, array: np.ndarray[Any, Any]
) -> None:
    """Write an array of objects as the list of its items, with its shape."""
    group = writer.group(parent, name, type="numpy.ndarray", stored="objects")
    group.attrs["shape"] = np.asarray(array.shape, np.int64)
    items = array.ravel().tolist()
    if items and all(isinstance(item, np.ndarray) for item in items):
        items = list(array.ravel())
    writer.write(group, "items", items)


def write_texts(
    writer: Writer, parent: h5py.Group, name: str, texts: Sequence[Any], **attributes: object
) -> bool:
    """Write texts, None, NaN, NA and NaT mixed at will.

    Args:
        writer: Of the file.
        parent: Where to.
        name: Name of the dataset, or of the group of `values` and `gaps` where some are missing.
        texts: What to write.
        attributes: Attributes of what is written.

    Returns:
        False, and nothing is written, if there is anything else among them, or a text that HDF5
        cannot hold (with a NUL, or half of a surrogate pair).
    """
    kinds = {kind for kind in map(type, texts) if kind is not str}
    gaps = np.zeros(len(texts), np.uint8)
    if kinds:
        if not all(_may_be_gap(kind) for kind in kinds):
            return False
        for place, text in enumerate(texts):
            if type(text) is not str:
                gap = _gap(text)
                if not gap:
                    return False
                gaps[place] = gap
    present = [text if type(text) is str else "" for text in texts]
    if not all(map(_holdable, present)):
        return False
    size = sum(len(text.encode()) for text in present)
    if not gaps.any():
        _write_text_dataset(writer, parent, name, present, size, attributes)
        return True
    group = writer.group(parent, name, **attributes)
    _write_text_dataset(writer, group, "values", present, size, {})
    writer.dataset(group, "gaps", gaps)
    return True


def _write_text_dataset(
    writer: Writer,
    parent: h5py.Group,
    name: str,
    texts: list[str],
    size: int,
    attributes: dict[str, object],
) -> None:
    writer.spend(size + 16 * len(texts))
    kind = h5py.string_dtype("utf-8")
    dataset = parent.create_dataset(name, shape=(len(texts),), dtype=kind)
    if texts:
        dataset[...] = np.asarray(texts, dtype=object)
    dataset.attrs.update(attributes)


def _holdable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text))


def _may_be_gap(kind: type) -> bool:
    return kind is type(None) or kind is float or kind.__name__ in ("NAType", "NaTType", "float64")


def _gap(value: object) -> int:
    """Return which kind of nothing a value is, 0 if it is none; exact: no text is lost."""
    name = type(value).__name__
    if value is None:
        return GAPS.index("None")
    if name in ("NAType", "NaTType"):
        return GAPS.index(name.removesuffix("Type"))
    is_nan = isinstance(value, float) and value != value
    return GAPS.index("NaN") if is_nan else 0
