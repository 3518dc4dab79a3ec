"""pandas tables, series and indexes in HDF5, with their types, categories, dates and gaps."""

from __future__ import annotations

import sys
from typing import Any

import h5py
import numpy as np

from gpulab.notebook.capture.store import Writer


def write_pandas(writer: Writer, parent: h5py.Group, name: str, value: Any) -> bool:
    """Write a DataFrame, Series, Index, extension array or time of pandas; a family of `Writer`.

    pandas is used only if the notebook imported it.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(getattr(pandas, "DataFrame", None), type):
        return False
    if isinstance(value, pandas.DataFrame):
        _write_frame(writer, parent, name, value)
    elif isinstance(value, pandas.Series):
        group = writer.group(parent, name, type="pandas.Series")
        _write_values(writer, group, "values", value.array)
        _write_index(writer, group, "index", value.index)
        writer.write(group, "name", value.name)
    elif isinstance(value, pandas.Index):
        _write_index(writer, parent, name, value)
    elif isinstance(value, pandas.api.extensions.ExtensionArray):
        _write_values(writer, parent, name, value)
    elif isinstance(value, pandas.Timestamp | pandas.Timedelta | pandas.Period):
        _write_values(writer, parent, name, pandas.array([value]))
        parent[name].attrs["scalar"] = True
    elif value is pandas.NaT or value is pandas.NA:
        kind = "pandas.NaT" if value is pandas.NaT else "pandas.NA"
        parent.create_dataset(name, data=h5py.Empty("f8")).attrs["type"] = kind
    else:
        return False
    return True


def _write_frame(writer: Writer, parent: h5py.Group, name: str, frame: Any) -> None:
    """Write each column under its name where that is a text of its own, else under its number."""
    group = writer.group(parent, name, type="pandas.DataFrame")
    columns = writer.group(group, "columns")
    for number in range(frame.shape[1]):
        label = frame.columns[number]
        usable = type(label) is str and label.strip(".") and not set(label) & {"/", "\0"}
        link = label if usable and label.isprintable() and label not in columns else ""
        column = frame.iloc[:, number].array
        link = link or f"column {number}"
        before = writer.objects
        try:
            _write_values(writer, columns, link, column)
        except Exception as error:  # noqa: BLE001  a column may hold any objects of the user
            writer.objects = before
            writer.mark_left_out(columns, link, link, error)
    _write_index(writer, group, "labels", frame.columns)
    _write_index(writer, group, "index", frame.index)


def _write_index(writer: Writer, parent: h5py.Group, name: str, index: Any) -> None:
    import pandas

    group = writer.group(parent, name, type="pandas.Index")
    if isinstance(index, pandas.MultiIndex):
        group.attrs["stored"] = "levels"
        for number, (level, codes) in enumerate(zip(index.levels, index.codes, strict=True)):
            _write_index(writer, group, f"level {number}", level)
            writer.dataset(group, f"codes {number}", np.asarray(codes, np.int64))
    elif isinstance(index, pandas.RangeIndex):
        bounds = np.asarray([index.start, index.stop, index.step], np.int64)
        writer.dataset(group, "values", bounds)
        group.attrs["stored"] = "range"
    else:
        _write_values(writer, group, "values", index.array)
        frequency = getattr(index, "freqstr", None)
        if isinstance(index, pandas.DatetimeIndex | pandas.TimedeltaIndex) and frequency:
            group.attrs["freq"] = frequency
    writer.write(group, "names", list(index.names))


def _write_values(writer: Writer, parent: h5py.Group, name: str, values: Any) -> None:
    """Write one column; its pandas type is the attribute `dtype`."""
    import pandas
    from pandas import arrays

    dtype = values.dtype
    if isinstance(dtype, np.dtype) or type(values) is arrays.NumpyExtensionArray:
        writer.write(parent, name, np.asarray(values))
        return
    group = writer.group(parent, name, type="pandas array", dtype=str(dtype))
    if isinstance(dtype, pandas.CategoricalDtype):
        writer.dataset(group, "codes", np.asarray(values.codes))
        _write_index(writer, group, "categories", dtype.categories)
        group.attrs.update({"stored": "categories", "ordered": bool(dtype.ordered)})
    elif isinstance(dtype, pandas.DatetimeTZDtype):
        times = values.tz_convert("UTC").tz_localize(None)
        writer.write(group, "values", np.asarray(times))
        group.attrs.update({"stored": "zone", "zone": str(dtype.tz)})
    elif isinstance(dtype, pandas.PeriodDtype):
        writer.dataset(group, "values", np.asarray(values.asi8))
        group.attrs["stored"] = "periods"
    elif isinstance(dtype, pandas.IntervalDtype):
        _write_index(writer, group, "left", values.left)
        _write_index(writer, group, "right", values.right)
        group.attrs.update({"stored": "intervals", "closed": dtype.closed})
    elif isinstance(values, arrays.IntegerArray | arrays.FloatingArray | arrays.BooleanArray):
        writer.dataset(group, "values", values.to_numpy(dtype.numpy_dtype, na_value=0))
        writer.dataset(group, "missing", np.asarray(values.isna()))
        group.attrs["stored"] = "masked"
    elif isinstance(dtype, pandas.SparseDtype):
        writer.write(group, "values", np.asarray(values))
        group.attrs["stored"] = "values"
    else:
        writer.write(group, "values", np.asarray(values, dtype=object))
        group.attrs["stored"] = "objects"
