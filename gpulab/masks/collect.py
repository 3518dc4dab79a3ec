"""What becomes of probabilities: masks are written, scored, and kept where they are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpulab.jobs import OutputFolder
from gpulab.masks.decide import image_thresholds, to_labels
from gpulab.masks.draw import Prediction
from gpulab.masks.options import PredictOptions, safe_names
from gpulab.masks.predict import Progress
from gpulab.masks.score import Decided, Scorer
from gpulab.masks.sources import ImageSource, Sample
from gpulab.masks.write import MaskFile, write_tiff

Stream = Iterable[tuple[Sample, NDArray[np.float32]]]


@dataclass(frozen=True)
class Origin:
    """Where probabilities come from: a model, or the mean of several.

    Attributes:
        label: What it is called in figures and tables.
        key: What it is called in file and dataset names; empty where it is the only one.
        loss: Name of the loss; empty where unknown.
        threshold: Its own threshold.
        class_names: Names of the classes, the background first.
        sure_dice: Expected Dice below which an image's threshold falls; 0 for one for all images.
        names_known: Whether the model itself names its classes.
    """

    label: str
    key: str
    loss: str
    threshold: float
    sure_dice: float
    class_names: tuple[str, ...]
    names_known: bool


@dataclass
class _Column:
    """One origin at one threshold: its name among the outputs and what is drawn of it."""

    key: str
    prediction: Prediction


class Collector:
    """Writes, scores and keeps the masks of one origin after the other.

    Args:
        options: What the user chose.
        source: The images.
        masks: Receives masks, and probabilities on request.
        outputs: Receives TIFF masks on request.
        drawn: Numbers of the samples whose masks are kept.
    """

    def __init__(
        self,
        options: PredictOptions,
        source: ImageSource,
        masks: MaskFile,
        outputs: OutputFolder,
        drawn: set[int],
    ) -> None:
        self._options = options
        self._source = source
        self._masks = masks
        self._outputs = outputs
        self._drawn = drawn
        self._tiff_names = safe_names(source.names)

    def collect(self, origin: Origin, stream: Stream) -> tuple[list[Prediction], Scorer | None]:
        """Take all samples with their probabilities, float32 (h, w, classes), background first.

        Returns:
            The predictions, one for each threshold, and the scores where the truth is known.
        """
        columns = self._columns(origin)
        probabilities_key = "_".join(filter(None, ["probabilities", origin.key]))
        with_probabilities = self._options.probabilities != "no"
        for column in columns:
            self._masks.add(column.key, "uint8", 1, column.prediction)
        if with_probabilities:
            dtype, classes = self._options.probabilities, len(origin.class_names)
            self._masks.add(probabilities_key, dtype, classes, columns[0].prediction)
        scorer = None
        if self._source.classes is not None:
            thresholds = [column.prediction.threshold for column in columns]
            scorer = Scorer(origin.label, thresholds, origin.class_names)
        progress = Progress(origin.label, len(self._source.names))
        for sample, probabilities in stream:
            if with_probabilities:
                self._masks.write(probabilities_key, sample.number, probabilities)
            masks = {}
            for column in columns:
                decided = _decide(column.prediction, sample.number, probabilities)
                masks[column.prediction.threshold] = decided
                single = not origin.key and len(columns) == 1
                self._keep(column, sample.number, decided.mask, single=single)
            if scorer is not None and sample.truth is not None:
                dice = scorer.add(sample.name, probabilities, masks, sample.truth)
                for column in columns:
                    column.prediction.dice[sample.number] = dice[column.prediction.threshold]
            progress.tell(sample.number + 1)
        for column in columns:
            if column.prediction.sure_dice:
                self._masks.write_thresholds(column.key, column.prediction)
        return [column.prediction for column in columns], scorer

    def _columns(self, origin: Origin) -> Sequence[_Column]:
        thresholds = self._options.thresholds or (origin.threshold,)
        columns = []
        for threshold in thresholds:
            key = "_".join(filter(None, ["masks", origin.key]))
            if len(thresholds) > 1:
                key += f"_threshold_{threshold:g}"
            prediction = Prediction(
                origin.label,
                origin.loss,
                threshold,
                origin.class_names,
                origin.sure_dice if self._options.adapts else 0.0,
            )
            columns.append(_Column(key, prediction))
        return columns

    def _keep(self, column: _Column, number: int, mask: NDArray[np.uint8], *, single: bool) -> None:
        self._masks.write(column.key, number, mask[..., None])
        if "tiff_masks" in self._options.outputs:
            prefix = "" if single else f"{column.key.removeprefix('masks_')}__"
            path = self._outputs.file(f"tiff_masks/{prefix}{self._tiff_names[number]}.tiff")
            write_tiff(path, mask, len(column.prediction.class_names))
        if number in self._drawn:
            column.prediction.masks[number] = mask


def _decide(prediction: Prediction, number: int, probabilities: NDArray[np.float32]) -> Decided:
    """Decide on the classes of a sample, and note its own thresholds where it has some."""
    if prediction.sure_dice:
        thresholds = image_thresholds(probabilities, prediction.threshold, prediction.sure_dice)
        prediction.thresholds[number] = thresholds
    else:
        thresholds = np.full(probabilities.shape[-1] - 1, prediction.threshold, np.float32)
    return Decided(to_labels(probabilities, thresholds), thresholds)
