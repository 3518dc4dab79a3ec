"""From probabilities to classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpulab.models.adapt import adapt, expected_dice


def to_labels(
    probabilities: NDArray[np.float32], thresholds: float | NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Decide on classes.

    Of the foreground classes whose probability is above their threshold, a pixel takes the one with
    the highest probability; it is background where there is none.

    Args:
        probabilities: float32 (h, w, classes), the background first.
        thresholds: Between 0 and 1, one for all foreground classes or one for each, float32
            (classes - 1,).

    Returns:
        Class numbers, uint8 (h, w).
    """
    foreground = probabilities[..., 1:]
    above = foreground > np.asarray(thresholds, np.float32)
    best = np.where(above, foreground, np.float32(-1)).argmax(axis=-1)
    return np.where(above.any(axis=-1), best + 1, 0).astype(np.uint8)


def image_thresholds(
    probabilities: NDArray[np.float32], threshold: float, sure: float
) -> NDArray[np.float32]:
    """Return the thresholds of one image, lower for classes that the model is in doubt about.

    Args:
        probabilities: float32 (h, w, classes), the background first.
        threshold: The model's own threshold.
        sure: Expected Dice from which on it is taken as it is; see `gpulab.models.adapt`.

    Returns:
        One for each foreground class, float32 (classes - 1,), from half of `threshold` to it.
    """
    classes = range(1, probabilities.shape[-1])
    adapted = [adapt(threshold, expected_dice(probabilities[..., c]), sure) for c in classes]
    return np.array(adapted, np.float32)
