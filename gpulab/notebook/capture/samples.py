"""Finding data in the notebook on which a model can be tried."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gpulab.notebook.capture.choose import no_result
from gpulab.notebook.capture.foreign import as_array, is_instance
from gpulab.notebook.capture.guard import UnsaveableError, is_a

MAX_ROWS = 64
MAX_ELEMENTS = 1 << 22
RANDOM = "random data"
Array = np.ndarray[Any, Any]
# Lengths tried where a model leaves an axis free: deep image models halve theirs many times.
_FREE_LENGTHS = {2: 16, 3: 16, 4: 64, 5: 32}
_ORDER = ("test", "val", "^x", "image|input|data|feature|sample|batch")


class Samples:
    """Arrays and tables of the notebook, the likeliest model inputs first."""

    def __init__(self, namespace: Mapping[str, object], names: Sequence[str]) -> None:
        """Remember what may be data; nothing is converted yet."""
        found: list[tuple[str, Any]] = [(name, namespace[name]) for name in names]
        self._loaders = [
            (name, value)
            for name, value in found
            if is_instance(value, "torch.utils.data", "DataLoader")
        ]
        self._found = sorted(
            ((name, value) for name, value in found if _may_be_data(value)),
            key=lambda each: _rank(each[0]),
        )

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Yield name and first rows of each array, tensor and numeric table; at least 1-D."""
        for name, value in self._found:
            try:
                array = _first_rows(value)
            except Exception:  # noqa: BLE001, S112  the user's object may raise anything
                continue
            if array is not None and array.ndim and array.shape[0]:
                yield name, array

    def batches(self) -> Iterator[tuple[str, Array]]:
        """Yield name and first array of the first batch of each DataLoader of PyTorch."""
        for name, loader in self._loaders:
            try:
                if loader.num_workers:
                    continue  # it would start processes
                batch = next(iter(loader))
                array = as_array(batch[0] if isinstance(batch, list | tuple) else batch)
            except Exception:  # noqa: BLE001, S112  its data set is the user's code
                continue
            if array is not None and array.ndim:
                yield name, array[:MAX_ROWS]

    def frames(self) -> Iterator[tuple[str, Any]]:
        """Yield name and value of each pandas DataFrame that has rows."""
        for name, value in self._found:
            if is_instance(value, "pandas", "DataFrame") and len(value):
                yield name, value

    def fit(self, shape: Sequence[int | None], kind: str) -> tuple[str, Array]:
        """Return rows that a model's input takes.

        Args:
            shape: Shape of the input, the number of rows first; None where it is free.
            kind: `f` for any numbers, `i` for whole numbers.

        Returns:
            The name of the variable that they are of, or RANDOM, and the rows.
        """
        for name, array in self.arrays():
            kinds = "biuf" if kind == "f" else "biu"
            if array.dtype.kind in kinds and fits(array.shape, shape) and _is_finite(array):
                return name, array[: shape[0]] if shape[0] else array
        return RANDOM, random_rows(shape, kind)


def fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    """Tell whether an array has the shape of an input, whatever its number of rows."""
    if len(shape) != len(wanted) or (wanted[0] is not None and shape[0] < wanted[0]):
        return False
    return all(b is None or a == b for a, b in zip(shape[1:], wanted[1:], strict=True))


def random_rows(shape: Sequence[int | None], kind: str, rows: int = 8) -> Array:
    """Return seeded normal numbers, or zeros and ones, of a shape with free axes filled in."""
    free = _FREE_LENGTHS.get(len(shape), 16)
    full = [shape[0] or rows, *(length or free for length in shape[1:])]
    while math.prod(full) > MAX_ELEMENTS and full[0] > 1 and not shape[0]:
        full[0] //= 2
    random = np.random.default_rng(0)
    return random.integers(0, 2, full) if kind == "i" else random.normal(size=full)


def _rank(name: str) -> int:
    ranks = (rank for rank, mark in enumerate(_ORDER) if re.search(mark, name.lower()))
    is_answer = re.match(r"y|pred|label|target|mask", name.lower())
    return len(_ORDER) + 1 if is_answer else next(ranks, len(_ORDER))


def _may_be_data(value: object) -> bool:
    is_other = is_a(value, (str, bytes, int, float, dict, set)) or value is None
    return not is_other and not no_result(value)


def _first_rows(value: Any) -> Array | None:
    """Return at most MAX_ROWS rows of an array-like, fewer where a row is large."""
    if is_instance(value, "pandas", "DataFrame", "Series"):
        return np.asarray(value.iloc[:MAX_ROWS])
    if is_instance(value, "scipy.sparse", "spmatrix", "sparray"):
        return None
    if isinstance(value, list | tuple):
        return _short_list(value)
    shape = getattr(value, "shape", None)
    if shape is None or not len(shape):
        return None
    row = max(1, math.prod(int(length) for length in shape[1:]))
    try:
        return as_array(value[: max(1, min(MAX_ROWS, MAX_ELEMENTS // row))])
    except UnsaveableError:
        return None


def _short_list(value: Any) -> Array | None:
    """Return a list of texts or of equally long rows as an array."""
    first = list(value[:MAX_ROWS])
    if first and all(type(item) is str for item in first):
        return np.asarray(first, dtype=object)
    try:
        array = np.asarray(first)
    except ValueError:
        return None
    return array if array.dtype.kind in "biuf" else None


def _is_finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
