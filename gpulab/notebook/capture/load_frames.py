"""Reading pandas tables, series and indexes back from HDF5."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpulab.notebook.capture.load import load_value


def load_pandas(node: Any, kind: str) -> Any:
    """Read what `frames.write_pandas` wrote.

    Args:
        node: The object in the file.
        kind: Its attribute `type`.

    Returns:
        A DataFrame, Series, Index, array or time of pandas.
    """
    import pandas

    if kind == "pandas.NaT":
        return pandas.NaT
    if kind == "pandas.NA":
        return pandas.NA
    if kind == "pandas.Index":
        return _load_index(node)
    if kind == "pandas.Series":
        index, values = _load_index(node["index"]), load_value(node["values"])
        return pandas.Series(_one(values), index=index, name=load_value(node["name"]))
    if kind == "pandas.DataFrame":
        return _load_frame(node)
    values = _load_array(node)
    return values[0] if node.attrs.get("scalar", False) else values


def _one(values: Any) -> Any:
    """Keep pandas from guessing a better type than the column had."""
    import pandas

    is_plain = isinstance(values, np.ndarray) and values.dtype.kind == "O"
    return pandas.Series(values, dtype=object) if is_plain else values


def _load_frame(node: Any) -> Any:
    import pandas

    index, labels = _load_index(node["index"]), _load_index(node["labels"])
    columns = [load_value(child) for child in node["columns"].values()]
    series = [
        pandas.Series([None] * len(index) if column is None else _one(column), dtype=_dtype(column))
        for column in columns
    ]
    frame = pandas.concat(series, axis=1) if series else pandas.DataFrame(index=range(len(index)))
    frame.index, frame.columns = index, labels
    return frame


def _dtype(column: Any) -> Any:
    return getattr(column, "dtype", object)


def _load_index(node: Any) -> Any:
    import pandas

    names = load_value(node["names"])
    stored = str(node.attrs.get("stored", ""))
    if stored == "levels":
        count = len(names)
        levels = [_load_index(node[f"level {number}"]) for number in range(count)]
        codes = [node[f"codes {number}"][()] for number in range(count)]
        return pandas.MultiIndex(levels=levels, codes=codes, names=names)
    if stored == "range":
        return pandas.RangeIndex(*map(int, node["values"][()]), name=names[0])
    values = load_value(node["values"])
    # Without the type, pandas would make texts that look like dates, or NaN, into something else.
    index = pandas.Index(values, dtype=values.dtype, name=names[0])
    if "freq" in node.attrs:
        index.freq = str(node.attrs["freq"])
    return index


def _load_array(node: Any) -> Any:
    import pandas

    stored, dtype = str(node.attrs.get("stored", "")), str(node.attrs.get("dtype", ""))
    if stored == "categories":
        categories = _load_index(node["categories"])
        kind = pandas.CategoricalDtype(categories, ordered=bool(node.attrs["ordered"]))
        return pandas.Categorical.from_codes(node["codes"][()], dtype=kind)
    if stored == "intervals":
        left, right = _load_index(node["left"]), _load_index(node["right"])
        return pandas.arrays.IntervalArray.from_arrays(left, right, str(node.attrs["closed"]))
    is_plain = stored in ("periods", "masked")
    values = node["values"][()] if is_plain else load_value(node["values"])
    if stored == "zone":
        times = pandas.DatetimeIndex(values, tz="UTC")
        return times.tz_convert(str(node.attrs["zone"])).array
    if stored == "periods":
        freq = pandas.PeriodDtype.construct_from_string(dtype).freq
        return pandas.PeriodIndex.from_ordinals(values, freq=freq).array
    if stored == "masked":
        missing = node["missing"][()].astype(bool)
        made = pandas.array(values, dtype=dtype)
        made[missing] = pandas.NA
        return made
    return pandas.array(values, dtype=dtype)
