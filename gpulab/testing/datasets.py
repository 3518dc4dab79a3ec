"""HDF5 test files: the original's combined layout and the parts of a split."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from gpulab.testing.files import test_file
from gpulab.testing.phantoms import one_hot, phantom_slices

SIZE = 64
TRAIN, VALID, TEST = 96, 16, 12


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as compressed, chunked datasets of a new HDF5 file; strings as UTF-8."""
    # Without creation times the same program writes the same bytes.
    with h5py.File(path, "w", track_order=False) as file:
        for name, array in arrays.items():
            if array.dtype.kind in "UO":
                file.create_dataset(name, data=array.astype(object), dtype=h5py.string_dtype())
            else:
                chunks = (min(len(array), 8), *array.shape[1:])
                file.create_dataset(
                    name, data=array, chunks=chunks, compression="gzip", compression_opts=9
                )


@test_file("combined.h5")
def combined(path: Path) -> None:
    """Write the original's six sub-datasets (`y` holds the test images, despite its name)."""
    images, labels = phantom_slices(TRAIN + VALID + TEST, SIZE, seed=7)
    masks = one_hot(labels)
    first, second = TRAIN, TRAIN + VALID
    write_arrays(
        path,
        {
            "X_train": images[:first],
            "y_train": masks[:first],
            "X_valid": images[first:second],
            "y_valid": masks[first:second],
            "y": images[second:],
            "label_test": masks[second:],
        },
    )


def _part(path: Path, n: int, seed: int, prefix: str) -> None:
    images, labels = phantom_slices(n, SIZE, seed=seed)
    ids = np.array([f"{prefix}_{index:03d}" for index in range(n)])
    groups = np.array([f"{prefix}_patient_{index // 4}" for index in range(n)])
    write_arrays(
        path, {"images": images, "masks": one_hot(labels), "sample_ids": ids, "groups": groups}
    )


@test_file("part_train.h5")
def part_train(path: Path) -> None:
    """Write a small training part."""
    _part(path, 24, 11, "train")


@test_file("part_valid.h5")
def part_valid(path: Path) -> None:
    """Write a small validation part."""
    _part(path, 8, 12, "valid")


@test_file("part_test.h5")
def part_test(path: Path) -> None:
    """Write a small test part."""
    _part(path, 8, 13, "test")
