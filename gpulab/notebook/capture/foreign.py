"""Sparse matrices, tensors, training histories and other array-likes in HDF5.

Each library is looked for among those that the notebook imported; none is imported here.
"""

from __future__ import annotations

import sys
from typing import Any

import h5py
import numpy as np

from gpulab.notebook.capture.guard import UnsaveableError, is_a, type_name
from gpulab.notebook.capture.store import Writer


def is_instance(value: object, module: str, *names: str) -> bool:
    """Tell whether a value is of a class of an imported module; never imports it.

    Args:
        value: Any object.
        module: Full name of the module, such as `torch.nn`.
        names: Names of classes in it; a name with a dot leads through attributes.
    """
    found = sys.modules.get(module)
    for name in names if found is not None else ():
        cls: Any = found
        try:
            for part in name.split("."):
                cls = getattr(cls, part, None)
        except Exception:  # noqa: BLE001, S112  a notebook can put anything in place of a module
            continue
        if isinstance(cls, type) and is_a(value, cls):
            return True
    return False


def write_sparse(writer: Writer, parent: h5py.Group, name: str, value: Any) -> bool:
    """Write a sparse matrix or array of SciPy; a family of `Writer`.

    Rows (`csr`), columns (`csc`) and blocks (`bsr`) keep `data`, `indices` and `indptr`; every
    other form is written as coordinates: `data`, `row`, `col`.
    """
    if not is_instance(value, "scipy.sparse", "spmatrix", "sparray"):
        return False
    if value.ndim != 2:
        value = value.reshape((1, -1)) if value.ndim == 1 else value
    group = writer.group(parent, name, type=f"scipy.sparse.{type(value).__name__}")
    group.attrs["shape"] = np.asarray(value.shape, np.int64)
    if value.format in ("csr", "csc", "bsr"):
        parts = {"data": value.data, "indices": value.indices, "indptr": value.indptr}
        group.attrs["stored"] = value.format
    else:
        pairs = value.tocoo()
        parts = {"data": pairs.data, "row": pairs.row, "col": pairs.col}
        group.attrs["stored"] = "coo"
    for key, part in parts.items():
        writer.write(group, key, np.asarray(part))
    return True


def write_history(writer: Writer, parent: h5py.Group, name: str, value: Any) -> bool:
    """Write the curves that `fit` of Keras returns; a family of `Writer`."""
    found = any(
        is_instance(value, library, "callbacks.History")
        for library in ("keras", "tf_keras", "tensorflow.keras")
    )
    if not found:
        return False
    group = writer.group(parent, name, type="keras.History")
    for key, curve in dict(value.history).items():
        writer.write_item(group, str(key).replace("/", "_"), list(curve), str(key))
    writer.write_item(group, "epoch", list(value.epoch), "epoch")
    return True


def write_tensor(writer: Writer, parent: h5py.Group, name: str, value: Any) -> bool:
    """Write a tensor or variable of TensorFlow, Keras, PyTorch or JAX; a family of `Writer`."""
    if is_instance(value, "tensorflow", "RaggedTensor"):
        writer.write(parent, name, value.to_list())
    elif is_instance(value, "tensorflow", "SparseTensor"):
        group = writer.group(parent, name, type="tensorflow.SparseTensor")
        for key in ("indices", "values", "dense_shape"):
            writer.write(group, key, np.asarray(getattr(value, key)))
    else:
        array = as_array(value)
        if array is None:
            return False
        writer.write(parent, name, array)
    parent[name].attrs["original"] = type_name(value)
    return True


def as_array(value: Any) -> np.ndarray[Any, Any] | None:
    """Return a tensor, variable or anything else with `__array__` as an array, else None.

    Raises:
        Exception: Whatever the object raises.
    """
    if isinstance(value, np.ndarray):
        return value
    if is_instance(value, "torch", "Tensor"):
        plain = value.detach().resolve_conj().resolve_neg().cpu()
        if plain.layout != sys.modules["torch"].strided:
            plain = plain.to_dense()
        if plain.dtype == sys.modules["torch"].bfloat16:
            plain = plain.float()
        return np.asarray(plain.numpy())
    is_variable = is_instance(value, "keras", "Variable") or is_instance(
        value, "tensorflow", "Tensor", "Variable"
    )
    if is_variable:
        if not hasattr(value, "numpy"):
            raise UnsaveableError("a symbol in a graph, it has no values")
        return np.asarray(value.numpy())
    if hasattr(type(value), "__array__") or hasattr(type(value), "__array_interface__"):
        array = np.asarray(value)
        # An object that NumPy merely wraps would come back as itself.
        return None if array.dtype.kind == "O" and array.ndim == 0 else array
    return None
