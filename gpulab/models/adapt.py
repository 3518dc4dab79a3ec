"""A threshold for each image: a model that is in doubt shows what it rather believes.

One threshold suits all images on the whole. An image of which the model is in doubt has middling
probabilities everywhere, and next to nothing of it is above that threshold. If k pixels of an image
are taken, the sum of their probabilities is how many of them are expected to be right, and the sum
over the image is how many there are expected to be: the Dice to be expected is about twice the
former by k plus the latter. The largest for any k tells how sure the model is of the image, and the
best threshold is in proportion to it (half of it where probabilities are right and pixels
independent: Lipton, Elkan and Narayanaswamy 2014, arXiv:1402.1892, theorem 1). Both are only nearly
so, hence training measures on validation data below which expected Dice thresholds should fall.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS = 1000  # probabilities are counted in so many steps, so that nothing has to be sorted
PIXELS_AT_ONCE = 2**20
# An image without foreground has no best Dice: without a bound, its faintest doubt would be shown.
LOWEST_SHARE = 0.5


def expected_dice(probabilities: NDArray[np.float32]) -> float:
    """Return the largest Dice to be expected of any threshold.

    Args:
        probabilities: Of one class in the pixels of one image, float32 of any shape.

    Returns:
        Between 0 and 1.
    """
    flat = probabilities.ravel()
    pixels, sums = np.zeros(STEPS + 1), np.zeros(STEPS + 1)
    for start in range(0, len(flat), PIXELS_AT_ONCE):
        part = np.clip(np.nan_to_num(flat[start : start + PIXELS_AT_ONCE]), 0, 1)
        step = (part * STEPS).round().astype(np.int64)
        pixels += np.bincount(step, minlength=STEPS + 1)
        sums += np.bincount(step, weights=part, minlength=STEPS + 1)
    taken, right = np.cumsum(pixels[::-1]), np.cumsum(sums[::-1])
    return float(np.max(2 * right / np.maximum(taken + right[-1], 1)))


def adapt(threshold: float, expected: float, sure: float) -> float:
    """Return the threshold of one image.

    Args:
        threshold: That of the model.
        expected: `expected_dice` of the image.
        sure: Expected Dice from which on an image is cut at `threshold`; 0 for every image.

    Returns:
        In proportion to `expected` below `sure`, but at least half of `threshold`.
    """
    share = expected / sure if sure else 1.0
    return threshold * float(np.clip(share, LOWEST_SHARE, 1.0))
