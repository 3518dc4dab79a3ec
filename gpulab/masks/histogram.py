"""Counts of probabilities, from which AUC, threshold curves and reliability are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CURVE_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
RELIABILITY_BINS = 10
_STEPS = 4000
_LARGEST_LOGIT = 16.0


def _edges() -> NDArray[np.float32]:
    """Return increasing bounds: evenly spread logits, and the thresholds of the curve exactly.

    Probabilities of a trained network crowd near 0 and 1; even steps of the logit keep them apart.
    """
    logits = np.linspace(-_LARGEST_LOGIT, _LARGEST_LOGIT, _STEPS)
    bounds = np.concatenate([1.0 / (1.0 + np.exp(-logits)), CURVE_THRESHOLDS])
    return np.unique(bounds.astype(np.float32))


@dataclass(frozen=True)
class CurvePoint:
    """Pooled scores at one threshold; NaN where a score is not defined."""

    threshold: float
    dice: float
    sensitivity: float
    precision: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Pixels whose probability of the class is above `low` and at most `high`.

    Attributes:
        low: Lower bound, which is outside; the lowest bin holds 0 as well.
        high: Upper bound, which is inside.
        pixels: Number of pixels.
        mean_probability: Mean of their probabilities; NaN without pixels.
        frequency: Share of them that are of the class; NaN without pixels.
    """

    low: float
    high: float
    pixels: int
    mean_probability: float
    frequency: float

    @property
    def error(self) -> float:
        """How far the mean probability is from the frequency; NaN without pixels."""
        return abs(self.mean_probability - self.frequency)


class ScoreHistogram:
    """Counts the probabilities of one class among pixels that are and that are not of the class."""

    def __init__(self) -> None:
        self._edges = _edges()
        self._counts = np.zeros((2, len(self._edges) + 1), dtype=np.int64)
        # Every bound of the reliability bins is one of the curve's thresholds, so each of the small
        # bins lies in one of them.
        steps = np.arange(1, RELIABILITY_BINS)
        inner = (steps / RELIABILITY_BINS).astype(np.float32)
        self._coarse = np.searchsorted(inner, np.append(self._edges, np.inf), side="left")
        self._sums = np.zeros(RELIABILITY_BINS)

    def add(self, probabilities: NDArray[np.float32], true: NDArray[np.bool_]) -> None:
        """Count the pixels of one image; both arrays have the same shape."""
        # Bin i holds edges[i - 1] < p <= edges[i], so that p > edge is a sum over whole bins.
        values = probabilities.ravel()
        bins = np.searchsorted(self._edges, values, side="left")
        self._sums += np.bincount(self._coarse[bins], values, minlength=RELIABILITY_BINS)
        flat = true.ravel()
        size = self._counts.shape[1]
        self._counts[1] += np.bincount(bins[flat], minlength=size)
        self._counts[0] += np.bincount(bins[~flat], minlength=size)

    def auc(self) -> float:
        """Return the area under the ROC curve of all pixels; NaN where one kind is missing.

        Pixels of the same bin count as ties, which is all that a histogram leaves open.
        """
        if not self._counts.sum(axis=1).all():
            return math.nan
        from sklearn.metrics import roc_auc_score

        bins = np.arange(self._counts.shape[1])
        kinds = np.repeat([0, 1], len(bins))
        area = roc_auc_score(kinds, np.tile(bins, 2), sample_weight=self._counts.ravel())
        return float(area)

    def reliability(self) -> list[ReliabilityBin]:
        """Return ten bins of the probability, 0 to 0.1, …, 0.9 to 1, over all pixels.

        Counts and means are exact. Of DeGroot and Fienberg 1983 (doi:10.2307/2987588), in the form
        of Guo et al. 2017 (arXiv:1706.04599), but for the probability of this class over all
        pixels, where Guo et al. take that of whichever class was predicted.
        """
        false, true = (
            np.bincount(self._coarse, counts, minlength=RELIABILITY_BINS) for counts in self._counts
        )
        bins = []
        for number, (pixels, positive) in enumerate(zip(false + true, true, strict=True)):
            mean, frequency = math.nan, math.nan
            if pixels:
                mean, frequency = self._sums[number] / pixels, positive / pixels
            low, high = number / RELIABILITY_BINS, (number + 1) / RELIABILITY_BINS
            bins.append(ReliabilityBin(low, high, int(pixels), float(mean), float(frequency)))
        return bins

    def curve(self) -> list[CurvePoint]:
        """Return the pooled scores of `probability > threshold` at 0.05, 0.10, …, 0.95."""
        points = []
        total = int(self._counts[1].sum())
        for threshold in CURVE_THRESHOLDS:
            above = int(np.searchsorted(self._edges, np.float32(threshold))) + 1
            fp, tp = (int(counts[above:].sum()) for counts in self._counts)
            both = total + tp + fp
            points.append(
                CurvePoint(
                    threshold,
                    2 * tp / both if both else 1.0,
                    tp / total if total else math.nan,
                    tp / (tp + fp) if tp + fp else math.nan,
                )
            )
        return points


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the mean error of the bins, each weighted by its pixels; NaN without pixels.

    Equation 3 of Guo et al. 2017 (arXiv:1706.04599), for the probability of one class.
    """
    pixels = sum(one.pixels for one in bins)
    if not pixels:
        return math.nan
    return math.fsum(one.pixels * one.error for one in bins if one.pixels) / pixels


def area_under_roc(probabilities: NDArray[np.float32], true: NDArray[np.bool_]) -> float:
    """Return the exact area under the ROC curve of one image; NaN where one kind is missing."""
    if true.all() or not true.any():
        return math.nan
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(true.ravel(), probabilities.ravel()))
