"""Which images a trained model should cut at a lower threshold, found out on validation data."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.models.adapt import adapt, expected_dice
from gpulab.unet import parallel
from gpulab.unet.data import Samples, predict_samples

CANDIDATES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # 0 leaves all thresholds as they are
MOST_SAMPLES = 512


def choose_sure_dice(
    model: Any, validation: Samples, threshold: float, batch_size: int, multiple: int
) -> float:
    """Return the expected Dice below which thresholds should fall (`gpulab.models.adapt`).

    It is that with the largest sum of pooled Dice and mean Dice of the images. The latter gains
    where a model is in doubt about some images, the former may lose where it is right to be.

    Args:
        model: Calibrated network.
        validation: Samples that it was not trained on.
        threshold: The model's threshold.
        batch_size: Images at a time.
        multiple: Height and width are padded to multiples of this.

    Returns:
        One of `CANDIDATES`; 0 where lower thresholds bring nothing.
    """
    chosen = validation.evenly(MOST_SAMPLES)
    counts = []
    answer = partial(parallel.predict, model)
    for _, output, labels in predict_samples(answer, validation, chosen, batch_size, multiple):
        counts += [_overlaps(p, label, threshold) for p, label in zip(output, labels, strict=True)]
    return best_candidate(np.stack(counts), validation.weights_of(chosen))


def best_candidate(
    overlaps: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Return the candidate with the largest sum of pooled and mean Dice, the smallest of equals.

    Args:
        overlaps: For each image, candidate and foreground class the pixels in both masks, and those
            in the true one plus those in the predicted one, float64 (samples, candidates, classes -
            1, 2).
        weights: How much each image counts, float64 (samples,); None for all the same.
    """
    pooled = _dice(np.average(overlaps, axis=0, weights=weights))
    mean = np.average(_dice(overlaps), axis=0, weights=weights)
    return CANDIDATES[int(np.argmax((pooled + mean).mean(axis=-1)))]


def _overlaps(
    probabilities: NDArray[np.float32], labels: NDArray[np.uint8], threshold: float
) -> NDArray[np.float64]:
    """Return the counts of one image, float64 (candidates, classes - 1, 2)."""
    counts = np.empty((len(CANDIDATES), probabilities.shape[-1] - 1, 2))
    for number in range(1, probabilities.shape[-1]):
        of_class, true = probabilities[..., number], labels == number
        expected = expected_dice(of_class)
        for row, sure in enumerate(CANDIDATES):
            mask = of_class > np.float32(adapt(threshold, expected, sure))
            both = np.count_nonzero(mask & true)
            counts[row, number - 1] = both, np.count_nonzero(mask) + np.count_nonzero(true)
    return counts


def _dice(overlaps: NDArray[np.float64]) -> NDArray[np.float64]:
    both, total = overlaps[..., 0], overlaps[..., 1]
    return np.where(total > 0, 2 * both / np.maximum(total, 1e-30), 1.0)
