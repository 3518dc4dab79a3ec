"""From probabilities to classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS = 1000  # probabilities are counted in so many steps, so that nothing has to be sorted
PIXELS_AT_ONCE = 2**20
LOWEST_SHARE = 0.5


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


def image_thresholds(probabilities: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Return the thresholds with the largest Dice that an image's own probabilities promise.

    If k pixels are taken, the sum of their probabilities is how many of them are expected to be
    right, and the sum of all is how many there are expected to be: Dice is about twice the former
    by k plus the latter. The largest such Dice is reached by taking the pixels above its half
    (Lipton, Elkan and Narayanaswamy 2014, arXiv:1402.1892, theorem 1). So a model that is in doubt
    about an image shows what it rather believes, instead of nothing.

    An image without foreground has no best Dice: the faintest doubt would be shown. Hence the lower
    bound, and the upper one is what suits the model on the whole. docs/quality.md tells what
    this brings.

    Args:
        probabilities: float32 (h, w, classes), the background first.
        threshold: The model's own threshold.

    Returns:
        One for each foreground class, float32 (classes - 1,), from half of `threshold` to it.
    """
    best = [_expected_dice(p.ravel()) / 2 for p in np.moveaxis(probabilities[..., 1:], -1, 0)]
    return np.clip(best, LOWEST_SHARE * threshold, threshold).astype(np.float32)


def _expected_dice(probabilities: NDArray[np.float32]) -> float:
    """Return the largest Dice to be expected of a threshold, given probabilities (pixels,)."""
    pixels, sums = np.zeros(STEPS + 1), np.zeros(STEPS + 1)
    for start in range(0, len(probabilities), PIXELS_AT_ONCE):
        part = np.clip(np.nan_to_num(probabilities[start : start + PIXELS_AT_ONCE]), 0, 1)
        step = (part * STEPS).round().astype(np.int64)
        pixels += np.bincount(step, minlength=STEPS + 1)
        sums += np.bincount(step, weights=part, minlength=STEPS + 1)
    taken, right = np.cumsum(pixels[::-1]), np.cumsum(sums[::-1])
    return float(np.max(2 * right / np.maximum(taken + right[-1], 1)))
