"""What a data set may tell of each sample beside its image and mask: name, group, weight."""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.limits import readable
from gpulab.h5.safe import (
    dataset_label,
    get_dataset,
    has_dataset,
    in_axes,
    read_rows,
    read_strings,
)

SAMPLE_IDS, GROUPS, WEIGHTS = "sample_ids", "groups", "sample_weight"  # their usual names


def read_names(
    file: h5py.File, name: str | None, n: int, label: str, *, usual: str
) -> list[str] | None:
    """Read one name a sample.

    Args:
        file: A file of `open_untrusted`.
        name: Name of the dataset; empty or None for none.
        n: Number of samples.
        label: What the user calls this input.
        usual: The name that the dataset has by default, under which it may be missing.

    Returns:
        The names; None where none are asked for or the usual dataset is missing.

    Raises:
        InputError: The dataset cannot be used, or one of another than the usual name is missing.
    """
    dataset = _find(file, name, n, label, usual=usual, strings=True)
    return None if dataset is None else read_strings(dataset, label)


def read_weights(
    file: h5py.File, name: str | None, n: int, label: str
) -> NDArray[np.float64] | None:
    """Read how much each sample counts; arguments as in `read_names`.

    Returns:
        Float64 (n,), 0 or more and not all 0; None as in `read_names`.

    Raises:
        InputError: As in `read_names`, or a value is no such number.
    """
    dataset = _find(file, name, n, label, usual=WEIGHTS, strings=False)
    if dataset is None:
        return None
    where = dataset_label(dataset, label)
    with np.errstate(over="ignore"):
        weights = np.asarray(read_rows(dataset, 0, n, label), np.float64)
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        raise InputError(
            f"The {where} holds NaN, infinity or a negative number for sample "
            f"{int(np.argmax(wrong))} (counted from 0), give each sample a weight of 0 or more"
        )
    if not weights.any():
        raise InputError(f"The {where} holds nothing but 0, give some samples a weight above 0")
    return weights


def _find(
    file: h5py.File, name: str | None, n: int, label: str, *, usual: str, strings: bool
) -> h5py.Dataset | None:
    if not name:
        return None
    if not has_dataset(file, name):
        if name == usual:
            return None
        raise InputError(
            f"The {label} has no dataset {readable(name)} for the {usual}, correct the name or "
            f"leave it empty"
        )
    dataset = get_dataset(file, name, label, strings=strings)
    if dataset.ndim != 1 or dataset.shape[0] != n:
        raise InputError(
            f"The {dataset_label(dataset, label)} has the shape {in_axes(dataset)}, it "
            f"needs one {'name' if strings else 'number'} for each of the {n} samples"
        )
    return dataset
