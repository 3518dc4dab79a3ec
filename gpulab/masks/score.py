"""Scores of predicted masks against true ones, for each foreground class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gpulab.masks.boundary import hausdorff_95
from gpulab.masks.histogram import ScoreHistogram, area_under_roc
from gpulab.models.overlap import Counts

NAN = math.nan


def count(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Counts:
    """Count the pixels of one class in two masks of the same shape."""
    tp = int(np.count_nonzero(true & predicted))
    fp = int(np.count_nonzero(predicted)) - tp
    fn = int(np.count_nonzero(true)) - tp
    return Counts(tp, fp, fn, true.size - tp - fp - fn)


def add_counts(first: Counts, second: Counts) -> Counts:
    """Return the counts of the pixels of both."""
    return Counts(
        first.tp + second.tp, first.fp + second.fp, first.fn + second.fn, first.tn + second.tn
    )


@dataclass(frozen=True)
class Decided:
    """What was decided on one image.

    Attributes:
        mask: Class numbers, uint8 (h, w).
        thresholds: Thresholds of the foreground classes, float32 (classes - 1,).
    """

    mask: NDArray[np.uint8]
    thresholds: NDArray[np.float32]


@dataclass(frozen=True)
class Score:
    """One row of the table of scores.

    Attributes:
        model: Label of the model.
        threshold: Threshold of the decision.
        scope: `image`; `mean` over the images for which a score is defined; or `pooled`, all
            pixels of all images as one.
        sample_id: Name of the image; empty for `mean` and `pooled`.
        class_name: Name of the foreground class.
        values: The seven scores by name.
        true_pixels: Pixels of the class in the true masks.
        predicted_pixels: Pixels of the class in the predicted masks.
        note: What must be known to read the scores.
        image_threshold: Threshold that was used in the image; NaN for `mean` and `pooled`.
    """

    model: str
    threshold: float
    scope: str
    sample_id: str
    class_name: str
    values: dict[str, float]
    true_pixels: int
    predicted_pixels: int
    note: str
    image_threshold: float = NAN


METRICS = (
    "dice",
    "iou",
    "sensitivity",
    "specificity",
    "precision",
    "auc",
    "hausdorff95",
)


@dataclass
class _Images:
    """What is kept of the images for one threshold and class."""

    rows: list[Score] = field(default_factory=list)
    total: Counts = field(default_factory=lambda: Counts(0, 0, 0, 0))


class Scorer:
    """Collects the scores of one model, image by image.

    Its memory grows by a row an image, not by the pixels: what the pooled AUC needs is counted in a
    histogram of probabilities.

    Args:
        model: Label of the model.
        thresholds: Thresholds of the decision.
        class_names: Names of the classes, the background first.
    """

    def __init__(self, model: str, thresholds: Sequence[float], class_names: Sequence[str]) -> None:
        # Seconds of importing belong to no image.
        import sklearn.metrics  # noqa: F401

        self.model = model
        self.thresholds = tuple(thresholds)
        self.foreground = tuple(class_names[1:])
        self.histograms = [ScoreHistogram() for _ in self.foreground]
        self._images = {
            (threshold, number): _Images()
            for threshold in self.thresholds
            for number in range(1, len(class_names))
        }

    def add(
        self,
        sample_id: str,
        probabilities: NDArray[np.float32],
        masks: dict[float, Decided],
        truth: NDArray[np.uint8],
    ) -> dict[float, float]:
        """Score one image.

        Args:
            sample_id: Its name.
            probabilities: float32 (h, w, classes), the background first.
            masks: For each threshold what was decided.
            truth: True class numbers, uint8 (h, w).

        Returns:
            For each threshold the Dice of the image, the mean over the foreground classes.
        """
        for number, histogram in enumerate(self.histograms, start=1):
            true = truth == number
            histogram.add(probabilities[..., number], true)
            auc = area_under_roc(probabilities[..., number], true)
            for threshold in self.thresholds:
                self._add(sample_id, threshold, number, masks[threshold], true, auc)
        return {
            threshold: float(
                np.mean(
                    [
                        self._images[threshold, number].rows[-1].values["dice"]
                        for number in range(1, len(self.foreground) + 1)
                    ]
                )
            )
            for threshold in self.thresholds
        }

    def _add(
        self,
        sample_id: str,
        threshold: float,
        number: int,
        decided: Decided,
        true: NDArray[np.bool_],
        auc: float,
    ) -> None:
        predicted = decided.mask == number
        counts = count(true, predicted)
        kept = self._images[threshold, number]
        kept.total = add_counts(kept.total, counts)
        values = _values(counts, auc, hausdorff_95(true, predicted))
        row = self._row(threshold, number, counts, values, _note(counts))
        used = float(decided.thresholds[number - 1])
        kept.rows.append(replace(row, scope="image", sample_id=sample_id, image_threshold=used))

    def _row(
        self, threshold: float, number: int, counts: Counts, values: dict[str, float], note: str
    ) -> Score:
        name = self.foreground[number - 1]
        true, predicted = round(counts.tp + counts.fn), round(counts.tp + counts.fp)
        return Score(self.model, threshold, "", "", name, values, true, predicted, note)

    @property
    def adapted(self) -> bool:
        """Whether any image had a threshold of its own."""
        return any(
            row.image_threshold != np.float32(row.threshold)
            for kept in self._images.values()
            for row in kept.rows
        )

    def scores(self) -> list[Score]:
        """Return for each threshold and class the pooled row, the mean, and a row an image."""
        result: list[Score] = []
        for (threshold, number), kept in self._images.items():
            distances = [row.values["hausdorff95"] for row in kept.rows]
            mean = {name: _mean([row.values[name] for row in kept.rows]) for name in METRICS}
            pooled = _values(kept.total, self.histograms[number - 1].auc(), mean["hausdorff95"])
            note = _distance_note(distances, sum(row.note != "" for row in kept.rows))
            for scope, values in (("pooled", pooled), ("mean", mean)):
                row = self._row(threshold, number, kept.total, values, note)
                result.append(replace(row, scope=scope))
            result += kept.rows
        return result


def _values(counts: Counts, auc: float, distance: float) -> dict[str, float]:
    named = {name: float(getattr(counts, name)) for name in METRICS[:5]}
    return named | {"auc": auc, "hausdorff95": distance}


def _note(counts: Counts) -> str:
    if counts.tp or counts.fp or counts.fn:
        return ""
    return "both masks are empty: Dice and IoU are 1"


def _distance_note(distances: Sequence[float], both_empty: int) -> str:
    measured = sum(math.isfinite(d) for d in distances)
    note = f"Hausdorff 95 is the mean of {measured} of {len(distances)} images"
    one_empty = sum(math.isinf(d) for d in distances)
    if one_empty:
        note += f", in {one_empty} one of the masks is empty"
    if both_empty:
        note += f", in {both_empty} both are empty (Dice and IoU 1)"
    return note


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are finite; NaN where there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else NAN
