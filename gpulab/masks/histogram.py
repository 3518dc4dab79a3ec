"""Counts of probabilities, from which pooled AUC and threshold curves are made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CURVE_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
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


class ScoreHistogram:
    """Counts the probabilities of one class among pixels that are and that are not of the class."""

    def __init__(self) -> None:
        self._edges = _edges()
        self._counts = np.zeros((2, len(self._edges) + 1), dtype=np.int64)

    def add(self, probabilities: NDArray[np.float32], true: NDArray[np.bool_]) -> None:
        """Count the pixels of one image; both arrays have the same shape."""
        # Bin i holds edges[i - 1] < p <= edges[i], so that p > edge is a sum over whole bins.
        bins = np.searchsorted(self._edges, probabilities.ravel(), side="left")
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


def area_under_roc(probabilities: NDArray[np.float32], true: NDArray[np.bool_]) -> float:
    """Return the exact area under the ROC curve of one image; NaN where one kind is missing."""
    if true.all() or not true.any():
        return math.nan
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(true.ravel(), probabilities.ravel()))
