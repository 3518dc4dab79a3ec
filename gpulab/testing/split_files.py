"""Small data sets on which splitting is tested."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from gpulab.testing.datasets import write_arrays
from gpulab.testing.files import test_file
from gpulab.testing.phantoms import one_hot, phantom_slices


@test_file("grouped.h5")
def grouped(path: Path) -> None:
    """Write an undivided data set of ten patients with class numbers 0 and 255, and weights."""
    images, labels = phantom_slices(60, 32, seed=21)
    names = [f"patient {index % 10:02d}".encode() for index in range(60)]
    ids = [f"slice {index:02d}".encode() for index in range(60)]
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, compression="gzip", chunks=(10, 32, 32, 1))
        file.create_dataset("masks", data=labels * np.uint8(255), compression="gzip")
        file["sample_ids"], file["groups"] = np.array(ids), np.array(names)
        file["sample_weight"] = np.array([3 if index % 10 < 2 else 1 for index in range(60)])


@test_file("repeated.h5")
def repeated(path: Path) -> None:
    """Write a combined file in which two training images are test images as well."""
    images, labels = phantom_slices(16, 32, seed=22)
    images[12:14] = images[0:2]
    masks = one_hot(labels)
    write_arrays(
        path,
        {
            "X_train": images[:8],
            "y_train": masks[:8],
            "X_valid": images[8:12],
            "y_valid": masks[8:12],
            "y": images[12:],
            "label_test": masks[12:],
        },
    )
