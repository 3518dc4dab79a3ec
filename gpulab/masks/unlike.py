"""Tells where images are unlike those that a model learnt from."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from gpulab.h5.moments import Moments
from gpulab.models.metadata import ModelMetadata

# From where on a person should look. Training images are zoomed by 8 to 25 % and their grey values
# differ between scanners; the thresholds lie well beyond that.
OTHER_SIZE = 2.0  # times the side of the training images, or as small a part of it
OTHER_MEAN = 3.0  # standard deviations of the training images' grey values
OTHER_SPREAD = 5.0  # times that standard deviation, or as small a part of it


class Seen:
    """Sizes and grey values of images, counted as they come.

    Attributes:
        values: Mean and standard deviation of all values.
    """

    def __init__(self) -> None:
        self._sizes: Counter[tuple[int, int]] = Counter()
        self.values = Moments()

    def add(self, image: NDArray[np.float32]) -> None:
        """Count an image, float32 (h, w, c)."""
        height, width = image.shape[:2]
        self._sizes[height, width] += 1
        self.values.add(image)

    @property
    def size(self) -> tuple[int, int]:
        """The most frequent height and width in pixels; (0, 0) before the first image."""
        return max(self._sizes, key=lambda size: self._sizes[size], default=(0, 0))


def differences(seen: Seen, metadata: ModelMetadata | None, label: str) -> list[str]:
    """Return a sentence or two for each way in which images are unlike those of the training.

    Args:
        seen: The images.
        metadata: What the model says about itself; None where it says nothing.
        label: What the user calls the model.
    """
    if metadata is None or not any(seen.size):
        return []
    return [*_of_size(seen, metadata, label), *_of_values(seen, metadata, label)]


def _of_size(seen: Seen, metadata: ModelMetadata, label: str) -> list[str]:
    if metadata.image_size is None:
        return []
    (height, width), (learnt_height, learnt_width) = seen.size, metadata.image_size
    times = math.sqrt(height * width / (learnt_height * learnt_width))
    if 1 / OTHER_SIZE < times < OTHER_SIZE:
        return []
    detail, share = ("finer", "more") if times > 1 else ("coarser", "less")
    note = (
        f"The model {label!r} learnt from images of {learnt_height} × {learnt_width} pixels, these "
        f"have {height} × {width}. Where they show the same in {detail} detail its masks will be "
        "wrong: choose Resize under Size of images, or build them at that size with "
        f"h5_dataset_build. Where they show {share} at the same scale nothing is amiss."
    )
    return [note]


def _of_values(seen: Seen, metadata: ModelMetadata, label: str) -> list[str]:
    if metadata.grey_values is None:
        return []
    mean, deviation = metadata.grey_values
    found = seen.values
    near = abs(found.mean - mean) <= OTHER_MEAN * deviation
    if near and deviation / OTHER_SPREAD <= found.deviation <= deviation * OTHER_SPREAD:
        return []
    note = (
        f"The model {label!r} learnt from grey values of {mean:.3g} ± {deviation:.3g} (mean and "
        f"standard deviation), these images have {found.mean:.3g} ± {found.deviation:.3g}. It can "
        "only know them on the scale that it learnt: prepare them as the training images were."
    )
    return [note]
