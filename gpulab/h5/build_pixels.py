"""What is done to pixels: grey values, Hounsfield window, size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError

if TYPE_CHECKING:
    from gpulab.h5.build_options import Colour, MaskResize, Window
    from gpulab.h5.images import SourceFile

# ITU-R BT.709, the weights of skimage.color.rgb2gray.
LUMINANCE = np.array([0.2125, 0.7154, 0.0721])


def to_grey(image: NDArray[Any], colour: Colour) -> NDArray[Any]:
    """Make one grey channel of three colour channels; anything else is returned as it is.

    Args:
        image: (h, w, c), any number type.
        colour: `average` (all three alike, as the original system's resizing did), `luminance`
            (ITU-R BT.709), or `keep`.

    Returns:
        (h, w, 1) of the same type, whole numbers being rounded.
    """
    if colour == "keep" or image.shape[2] != 3:
        return image
    weights = LUMINANCE if colour == "luminance" else np.full(3, 1 / 3)
    grey = (image @ weights)[..., None]
    if image.dtype.kind in "iu":
        return np.asarray(np.rint(grey).astype(image.dtype))
    return np.asarray(grey.astype(image.dtype))


def mask_values(mask: NDArray[Any], file: SourceFile) -> NDArray[Any]:
    """Return the single channel of a mask; three equal channels count as one.

    Args:
        mask: (h, w, c).
        file: Where it comes from.

    Returns:
        (h, w).

    Raises:
        InputError: The channels differ.
    """
    if (mask != mask[..., :1]).any():
        raise InputError(
            f"The {file} is coloured, save it as grey picture with one value for each class"
        )
    return mask[..., 0]


def apply_window(image: NDArray[Any], window: Window) -> NDArray[np.float32]:
    """Scale a Hounsfield window to 0…255 and clip what lies outside.

    The formula is DICOM's LINEAR_EXACT (PS3.3 C.11.2.1.3.2).

    Args:
        image: Hounsfield units, any shape.
        window: Centre and width.

    Returns:
        float32 of the same shape.
    """
    scaled = (image.astype(np.float32) - np.float32(window.centre)) / np.float32(window.width)
    return np.asarray(np.clip((scaled + np.float32(0.5)) * np.float32(255), 0, 255))


def resize_image(image: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize linearly, smoothed before shrinking so that fine detail does not turn into noise.

    Args:
        image: (h, w, c).
        size: New height and width.

    Returns:
        float32 (height, width, c) within the range of the input's values.
    """
    from skimage.transform import resize

    smooth = size[0] < image.shape[0] or size[1] < image.shape[1]
    resized = resize(
        image.astype(np.float32),
        (*size, image.shape[2]),
        order=1,
        mode="edge",
        anti_aliasing=smooth,
        preserve_range=True,
    )
    return np.asarray(resized, dtype=np.float32)


def resize_labels(
    labels: NDArray[np.uint8], size: tuple[int, int], method: MaskResize
) -> NDArray[np.uint8]:
    """Resize class numbers without making new classes.

    Args:
        labels: uint8 (h, w).
        size: New height and width.
        method: `nearest` pixel, or the class with the `majority` of the area that a new pixel
            covers (the lower number when equal).

    Returns:
        uint8 (height, width), of the classes in `labels`.
    """
    from skimage.transform import resize

    if method == "nearest":
        nearest = resize(
            labels, size, order=0, mode="edge", anti_aliasing=False, preserve_range=True
        )
        return np.asarray(np.rint(nearest), dtype=np.uint8)
    best = np.full(size, -1.0, dtype=np.float32)
    winner = np.zeros(size, dtype=np.uint8)
    for value in np.unique(labels):
        share = resize_image((labels == value)[..., None], size)[..., 0]
        better = share > best + 1e-6
        best[better], winner[better] = share[better], value
    return winner


def one_hot(labels: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """Return class numbers (h, w) as uint8 (h, w, classes) with one 1 in each pixel."""
    return np.eye(classes, dtype=np.uint8)[labels]
