"""How many images of a dataset look like each one.

Neighbouring slices of a volume are nearly the same picture, and a hundred of them teach hardly more
than ten. What makes an image count is how few others look like it (the inverse of the local
density), whether or not the file tells patients.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gpulab.unet.data import Samples

SIDE = 32  # pixels of the thumbnails' sides
ALIKE = 0.85  # correlation of two thumbnails from which the images count as alike
BATCH = 32
MOST_REFERENCES = 2000  # images that all others are compared with; bounds memory and time


def thumbnails(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return small grey pictures as unit vectors, so that a product of two is their correlation.

    Args:
        images: Float32 (b, h, w, channels).

    Returns:
        Float32 (b, SIDE² + 1). The last value is 1 for an image of one grey value and 0 for all
        others: flat images are alike, and like no other.
    """
    from skimage.transform import resize_local_mean

    grey = images.mean(axis=-1)
    small = resize_local_mean(grey, (len(grey), SIDE, SIDE), grid_mode=True).reshape(len(grey), -1)
    small = small - small.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(small, axis=1, keepdims=True)
    # Differences by rounding are no picture.
    flat = norms <= 1e-5 * np.maximum(np.abs(grey).max(axis=(1, 2), initial=0)[:, None], 1e-30)
    small = np.where(flat, 0.0, small / np.where(flat, 1.0, norms))
    return np.concatenate([small, flat], axis=1).astype(np.float32)


def count_alike(samples: Samples) -> NDArray[np.float64]:
    """Return how many samples look like each one, itself included.

    Args:
        samples: The samples; with more than `MOST_REFERENCES` the counts are estimates.

    Returns:
        Float64 (samples,), at least 1.
    """
    count = len(samples)
    random = np.random.default_rng(0)
    chosen = np.sort(random.choice(count, min(count, MOST_REFERENCES), replace=False))
    known = np.concatenate(list(_thumbnails(samples, chosen)))
    factor = count / len(known)
    # Up to so many samples all are references, whose thumbnails are there.
    every = [known] if len(known) == count else _thumbnails(samples, np.arange(count))
    return np.concatenate(
        [
            np.maximum(1.0, factor * np.count_nonzero(batch @ known.T > ALIKE, axis=1))
            for batch in every
        ]
    )


def _thumbnails(samples: Samples, indices: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(indices), BATCH):
        images, _ = samples.read(indices[start : start + BATCH])
        yield thumbnails(images)
