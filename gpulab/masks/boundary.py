"""The distance between the boundaries of two masks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

PERCENTILE = 95.0


def boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask with one of four neighbours outside the mask or the image."""
    from scipy.ndimage import binary_erosion

    return np.asarray(mask & ~binary_erosion(mask))


def hausdorff_95(
    true: NDArray[np.bool_], predicted: NDArray[np.bool_], percentile: float = PERCENTILE
) -> float:
    """Return the 95th percentile Hausdorff distance of two masks' boundaries.

    The larger of the two directed distances; each is the percentile of the Euclidean distances from
    every boundary pixel of one mask to the nearest boundary pixel of the other. So defined by
    Maier-Hein, Reinke et al., "Metrics reloaded", Nature Methods 21, 195-212 (2024),
    doi:10.1038/s41592-023-02151-z, and by MONAI. With percentile 100 it is the Hausdorff distance.

    Args:
        true: bool (h, w).
        predicted: bool (h, w).
        percentile: Between 0 and 100.

    Returns:
        Distance in pixels; NaN where both masks are empty, infinity where one is.
    """
    from scipy.ndimage import distance_transform_edt

    if not true.any() or not predicted.any():
        return math.nan if not true.any() and not predicted.any() else math.inf
    # Distances are measured between boundary pixels alone, so the surroundings can be left out.
    frame = _frame(true | predicted)
    first, second = boundary(true)[frame], boundary(predicted)[frame]
    to_second = distance_transform_edt(~second)[first]
    to_first = distance_transform_edt(~first)[second]
    return float(max(np.percentile(to_second, percentile), np.percentile(to_first, percentile)))


def _frame(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the smallest rectangle around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
