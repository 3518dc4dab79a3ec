"""How well predicted masks overlap the true ones: counts of pixels and the measures made of them.

The measures are those of the original sources: Dice 1945 (doi:10.2307/1932409), Jaccard 1912
(doi:10.1111/j.1469-8137.1912.tb05611.x); the background never counts as a class of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Probabilities are counted in steps of 1/200, so every threshold with two decimals is a step.
STEPS = 200


@dataclass(frozen=True)
class Counts:
    """Pixels of one foreground class; no whole numbers where images have weights.

    Attributes:
        tp: True positives.
        fp: False positives.
        fn: False negatives.
        tn: True negatives.
    """

    tp: float
    fp: float
    fn: float
    tn: float

    @property
    def dice(self) -> float:
        """2·TP / (2·TP + FP + FN); 1 where neither mask has a pixel."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn, empty=1.0)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN), the Jaccard index; 1 where neither mask has a pixel."""
        return _ratio(self.tp, self.tp + self.fp + self.fn, empty=1.0)

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN); NaN without a true pixel."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP); NaN where every pixel is foreground."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def precision(self) -> float:
        """TP / (TP + FP); NaN without a predicted pixel."""
        return _ratio(self.tp, self.tp + self.fp)


def _ratio(part: float, whole: float, empty: float = float("nan")) -> float:
    return part / whole if whole else empty


class ProbabilityHistogram:
    """Counts pixels by truth and probability, so that memory does not grow with the images.

    Args:
        classes: Number of classes, background included.
    """

    def __init__(self, classes: int) -> None:
        shape = (classes - 1, STEPS + 1)
        # Exact for whole numbers up to 2^53 pixels.
        self.positive: NDArray[np.float64] = np.zeros(shape)
        self.negative: NDArray[np.float64] = np.zeros(shape)

    def add(
        self,
        labels: NDArray[np.uint8],
        probabilities: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """Count a batch.

        Args:
            labels: True class numbers, uint8 (b, h, w).
            probabilities: Float32 (b, h, w, classes) in [0, 1].
            weights: How much the pixels of each image count, float64 (b,), 0 or more; None for 1.
        """
        each = None
        if weights is not None:
            each = np.broadcast_to(weights[:, np.newaxis, np.newaxis], labels.shape)
        for row in range(len(self.positive)):
            # Bin k holds (k - 1, k] steps. The small subtraction keeps 0.30000001, meant as 0.3,
            # out of what lies above the threshold 0.3.
            step = np.ceil(probabilities[..., row + 1] * STEPS - 1e-4)
            step = np.clip(np.nan_to_num(step), 0, STEPS).astype(np.int64)
            true = labels == row + 1
            for counted, where in ((self.positive, true), (self.negative, ~true)):
                of_pixels = None if each is None else each[where]
                counted[row] += np.bincount(step[where], of_pixels, minlength=STEPS + 1)

    def counts(self, threshold: float) -> list[Counts]:
        """Return the counts of each foreground class where probability > threshold is foreground.

        Args:
            threshold: Between 0 and 1, rounded to steps of 1/200.
        """
        above = round(threshold * STEPS) + 1
        found = []
        for positive, negative in zip(self.positive, self.negative, strict=True):
            found.append(
                Counts(
                    tp=float(positive[above:].sum()),
                    fp=float(negative[above:].sum()),
                    fn=float(positive[:above].sum()),
                    tn=float(negative[:above].sum()),
                )
            )
        return found

    def mean_dice(self, threshold: float) -> float:
        """Return the Dice at a threshold, averaged over the foreground classes."""
        return float(np.mean([counts.dice for counts in self.counts(threshold)]))

    def best_threshold(self) -> float:
        """Return the threshold from 0.05 to 0.95 (steps of 0.05) with the largest mean Dice."""
        thresholds = [step / 20 for step in range(1, 20)]
        return max(thresholds, key=self.mean_dice)
