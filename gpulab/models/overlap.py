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
    """Pixels of one foreground class.

    Attributes:
        tp: True positives.
        fp: False positives.
        fn: False negatives.
        tn: True negatives.
    """

    tp: int
    fp: int
    fn: int
    tn: int

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


def _ratio(part: int, whole: int, empty: float = float("nan")) -> float:
    return part / whole if whole else empty


class ProbabilityHistogram:
    """Counts pixels by truth and probability, so that memory does not grow with the images.

    Args:
        classes: Number of classes, background included.
    """

    def __init__(self, classes: int) -> None:
        shape = (classes - 1, STEPS + 1)
        self.positive: NDArray[np.int64] = np.zeros(shape, np.int64)
        self.negative: NDArray[np.int64] = np.zeros(shape, np.int64)

    def add(self, labels: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> None:
        """Count a batch.

        Args:
            labels: True class numbers, uint8 (b, h, w).
            probabilities: Float32 (b, h, w, classes) in [0, 1].
        """
        for row in range(len(self.positive)):
            # Bin k holds (k - 1, k] steps. The small subtraction keeps 0.30000001, meant as 0.3,
            # out of what lies above the threshold 0.3.
            step = np.ceil(probabilities[..., row + 1] * STEPS - 1e-4)
            step = np.clip(np.nan_to_num(step), 0, STEPS).astype(np.int64)
            true = labels == row + 1
            self.positive[row] += np.bincount(step[true], minlength=STEPS + 1)
            self.negative[row] += np.bincount(step[~true], minlength=STEPS + 1)

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
                    tp=int(positive[above:].sum()),
                    fp=int(negative[above:].sum()),
                    fn=int(positive[:above].sum()),
                    tn=int(negative[:above].sum()),
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
