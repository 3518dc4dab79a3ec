"""Planes of a volume, oriented as a radiologist looks at them and read one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.images.planes import Planes, SourceFile, check_count, check_plane, reading

Axis = Literal["axial", "coronal", "sagittal"]
# Canonical axes are right, anterior, superior (RAS+), as in nibabel's `as_closest_canonical`.
_SLICE_AXIS: dict[str, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
_ROWS_AND_COLUMNS: dict[str, tuple[int, int]] = {
    "sagittal": (2, 1),
    "coronal": (2, 0),
    "axial": (1, 0),
}


def volume_planes(
    file: SourceFile,
    kind: str,
    axis: Axis,
    affine: NDArray[np.float64],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    cut: Callable[[int, int], NDArray[Any]],
    *,
    located: bool = True,
) -> Planes:
    """Give the planes of a volume along a canonical axis.

    The stored axes are permuted and flipped to the nearest canonical ones; nothing is interpolated.
    Slices are counted from the patient's right, back, or feet. Rows run from anterior (axial) or
    superior (coronal, sagittal) downwards; columns from the patient's right (axial, coronal) or
    from anterior (sagittal), so that an axial plane equals a DICOM slice as it is shown.

    Args:
        file: Where the volume comes from.
        kind: Format in words.
        axis: Direction across the planes.
        affine: 4 x 4 matrix from stored voxel indices to millimetres in RAS+.
        shape: Stored number of voxels along the three axes.
        dtype: Type of the values that `cut` gives.
        cut: `cut(stored axis, index)` reads the stored plane with the two other axes in order.
        located: False when the affine was not in the file but assumed.

    Raises:
        InputError: The affine is not usable, or a size is out of bounds.
    """
    with reading(file, kind):
        from nibabel.orientations import inv_ornt_aff, io_orientation

        if not np.isfinite(affine).all():
            raise InputError(f"The {file} has an orientation matrix that is not finite, repair it")
        orientation = io_orientation(affine)
        if not np.isfinite(orientation).all():
            raise InputError(f"The {file} has an orientation matrix without volume, repair it")
        canonical = affine @ inv_ornt_aff(orientation, shape)
    stored = [int(np.flatnonzero(orientation[:, 0] == out)[0]) for out in range(3)]
    flips = [int(orientation[stored[out], 1]) for out in range(3)]
    across, (rows, columns) = _SLICE_AXIS[axis], _ROWS_AND_COLUMNS[axis]
    sizes = (shape[stored[0]], shape[stored[1]], shape[stored[2]])
    count, height, width = sizes[across], sizes[rows], sizes[columns]
    check_plane(file, height, width)
    check_count(file, count)

    def load(index: int) -> NDArray[Any]:
        at = index if flips[across] > 0 else count - 1 - index
        plane = np.asarray(cut(stored[across], at))
        if stored[rows] > stored[columns]:
            plane = plane.T
        # Canonical axes point up and to the right-hand side of the patient; the screen's do not.
        return plane[:: -flips[rows], :: -flips[columns], None]

    return Planes(
        file, kind, count, height, width, 1, dtype, load, False, canonical, sizes, located
    )


def misplacement(first: Planes, second: Planes) -> float:
    """Return how far two volumes of one shape lie apart: the largest corner distance, in voxels."""
    if first.affine is None or second.affine is None or first.shape is None:
        return 0.0
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in first.shape])).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    apart = np.linalg.norm(((first.affine - second.affine) @ homogeneous)[:3], axis=0)
    voxel = np.linalg.norm(first.affine[:3, :3], axis=0).min()
    return float(apart.max() / voxel)
