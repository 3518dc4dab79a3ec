"""Folds of a file in which some slices have trusted masks."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from skimage.transform import downscale_local_mean

NEAR_DUPLICATE = 0.9  # correlation of two images from which they must not be split
VALIDATION_SHARE = 0.1


def trusted_folds(images: NDArray[np.uint8], groups: list[str], folds: int) -> list[list[int]]:
    """Deal the slices whose group has no other into folds, near-duplicates together.

    Args:
        images: Uint8 (n, h, w, 1).
        groups: Group of each image.
        folds: Number of folds.

    Returns:
        The indices of each fold, in rising order.
    """
    trusted = [i for i, group in enumerate(groups) if groups.count(group) == 1]
    flat = images[trusted].reshape(len(trusted), -1).astype(np.float64)
    alike: NDArray[np.bool_] = np.asarray(np.corrcoef(flat) > NEAR_DUPLICATE)
    families: list[list[int]] = []
    for row, index in enumerate(trusted):
        kin = [f for f in families if any(alike[row, trusted.index(other)] for other in f)]
        families = [f for f in families if f not in kin] + [[index, *chain.from_iterable(kin)]]
    dealt: list[list[int]] = [[] for _ in range(folds)]
    for number in np.random.default_rng(0).permutation(len(families)):
        min(dealt, key=len).extend(families[number])
    return [sorted(fold) for fold in dealt]


def write_folds(file: Path, folder: Path, folds: int, smaller: int) -> None:
    """Write train, valid and test parts of each fold as `<fold>_<part>.h5`.

    Args:
        file: HDF5 file with images, masks and groups.
        folder: Where to write.
        folds: Number of folds.
        smaller: How many times smaller height and width become, for quick trials; 1 keeps them.
    """
    with h5py.File(file) as source:
        images, masks = source["images"][:], source["masks"][:]
        groups = [str(group) for group in source["groups"].asstr()[:]]
    dealt = trusted_folds(images, groups, folds)
    if smaller > 1:
        block = (1, smaller, smaller, 1)
        images = np.rint(downscale_local_mean(images, block)).astype(np.uint8)
        masks = (downscale_local_mean(masks, block) >= 0.5).astype(np.uint8)
    for number, test in enumerate(dealt):
        rest = np.setdiff1d(np.arange(len(images)), test)
        rest = np.random.default_rng(number).permutation(rest)
        valid = round(len(rest) * VALIDATION_SHARE)
        parts = {"test": test, "valid": sorted(rest[:valid]), "train": sorted(rest[valid:])}
        for part, rows in parts.items():
            with h5py.File(folder / f"{number}_{part}.h5", "w") as target:
                target["images"], target["masks"] = images[rows], masks[rows]
                target["groups"] = [groups[row] for row in rows]
