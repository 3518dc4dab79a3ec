"""Telling whether an array is nothing but a dataset of an input file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gpulab.notebook.capture.store import SLICE_BYTES

# Small arrays may be equal by chance, and cost nothing.
MIN_BYTES = 1 << 10
MAX_DATASETS = 10_000


class Inputs:
    """The datasets of the HDF5 files among the inputs, by shape and type."""

    def __init__(self, names: Collection[str], base: Path) -> None:
        """List the datasets; a file that is no HDF5 file, or is damaged, counts for nothing.

        Args:
            names: Paths of the inputs, relative to `base`.
            base: The notebook's folder when it was started.
        """
        self._base = base
        self._known: dict[tuple[tuple[int, ...], str], list[tuple[str, str]]] = {}
        self._count = 0
        for name in names:
            try:
                if (base / name).is_file() and h5py.is_hdf5(base / name):
                    self._list(name)
            except (OSError, RuntimeError, KeyError, ValueError, TypeError):
                continue

    def _list(self, name: str) -> None:
        def note(path: str, found: Any) -> bool | None:
            if isinstance(found, h5py.Dataset) and found.shape:
                key = (tuple(found.shape), str(found.dtype))
                self._known.setdefault(key, []).append((name, path))
                self._count += 1
            return True if self._count > MAX_DATASETS else None

        with h5py.File(self._base / name, "r", locking=False) as file:
            file.visititems(note)

    def find(self, array: np.ndarray[Any, Any]) -> str:
        """Return `DATASET of INPUT` for an array that is equal to it, else an empty text."""
        if array.nbytes < MIN_BYTES:
            return ""
        for name, path in self._known.get((array.shape, str(array.dtype)), ()):
            try:
                with h5py.File(self._base / name, "r", locking=False) as file:
                    if _equal(array, file[path]):
                        return f"{path} of {name}"
            except (OSError, RuntimeError, KeyError, ValueError, TypeError):
                continue
        return ""


def _equal(array: np.ndarray[Any, Any], dataset: Any) -> bool:
    """Compare part by part, so that the input is never whole in memory a second time."""
    row = max(1, array.nbytes // array.shape[0])
    step = max(1, SLICE_BYTES // row)
    # The first row tells nearly every difference.
    starts = [(0, 1), *((start, start + step) for start in range(0, array.shape[0], step))]
    has_nan = array.dtype.kind in "fc"
    return all(
        np.array_equal(array[start:stop], dataset[start:stop], equal_nan=has_nan)
        for start, stop in starts
    )
