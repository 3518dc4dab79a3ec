"""Writing predicted masks and the tables of scores."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from numpy.typing import NDArray

from gpulab.h5.part import CLASSES_ATTRIBUTE
from gpulab.h5.write import GZIP_LEVEL, chunk_shape
from gpulab.masks.curves import Curve
from gpulab.masks.draw import Prediction
from gpulab.masks.options import safe_names
from gpulab.masks.score import METRICS, Score

BINARY_WHITE = 255


class MaskFile:
    """Writes predicted masks into a new HDF5 file, an image at a time.

    Images of one size give datasets (n, h, w, …); otherwise each name is a group that holds a
    dataset for every sample.

    Args:
        path: File to write.
        names: Names of the samples.
        size: Height and width of all images; None when they differ.
        attributes: Root attributes.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        size: tuple[int, int] | None,
        attributes: dict[str, str],
    ) -> None:
        self._file = h5py.File(path, "w")
        self._file.attrs.update(attributes)
        text = h5py.string_dtype("utf-8")
        self._file.create_dataset("sample_ids", data=list(names), dtype=text)
        self._count = len(names)
        self._size = size
        self._safe = safe_names(names)

    def add(self, name: str, dtype: str, channels: int, prediction: Prediction) -> None:
        """Add a dataset, or a group where sizes differ, with what is known about its values."""
        if self._size is None:
            item = self._file.create_group(name)
            item.attrs["dtype"] = dtype
        else:
            shape = (*self._size, channels)
            item = self._file.create_dataset(
                name,
                shape=(self._count, *shape),
                dtype=dtype,
                chunks=chunk_shape(shape, np.dtype(dtype).itemsize, self._count),
                compression="gzip",
                compression_opts=GZIP_LEVEL,
                shuffle=True,
            )
        item.attrs["model"] = prediction.model
        item.attrs["loss"] = prediction.loss
        item.attrs["class_names"] = json.dumps(prediction.class_names)
        item.attrs[CLASSES_ATTRIBUTE] = len(prediction.class_names)
        if dtype == "uint8":
            item.attrs["threshold"] = prediction.threshold

    def write_thresholds(self, name: str, prediction: Prediction) -> None:
        """Write every sample's thresholds beside the masks, float32 (samples, classes - 1)."""
        values = np.stack([prediction.thresholds[number] for number in range(self._count)])
        self._file[f"image_thresholds{name.removeprefix('masks')}"] = values

    def write(self, name: str, number: int, values: NDArray[np.generic]) -> None:
        """Write the values (h, w, channels) of sample `number`."""
        item = self._file[name]
        if isinstance(item, h5py.Dataset):
            item[number] = values
            return
        values = values.astype(item.attrs["dtype"])
        item.create_dataset(
            self._safe[number],
            data=values,
            chunks=True,
            compression="gzip",
            compression_opts=GZIP_LEVEL,
            shuffle=True,
        )

    def __enter__(self) -> MaskFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def write_tiff(path: Path, mask: NDArray[np.uint8], classes: int) -> None:
    """Write a mask as TIFF as image analysis tools expect it.

    Two classes give a binary image with 0 and 255, more a label map with the class numbers.
    """
    import tifffile

    values = mask * np.uint8(BINARY_WHITE) if classes == 2 else mask
    tifffile.imwrite(path, values, photometric="minisblack", compression="zlib", metadata=None)


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    """Write the table of scores, a row for each model, threshold, class and scope or image."""
    names = ("model", "threshold", "scope", "sample_id", "class", *METRICS)
    rows = (
        (
            score.model,
            f"{score.threshold:g}",
            score.scope,
            score.sample_id,
            score.class_name,
            *(number(score.values[name]) for name in METRICS),
            str(score.true_pixels),
            str(score.predicted_pixels),
            "" if math.isnan(score.image_threshold) else f"{score.image_threshold:.3f}",
            score.note,
        )
        for score in scores
    )
    header = (*names, "true_pixels", "predicted_pixels", "image_threshold", "note")
    _write_table(path, header, rows)


def write_curves(path: Path, curves: Iterable[Curve]) -> None:
    """Write the points of all threshold curves."""
    rows = (
        (
            curve.model,
            curve.class_name,
            f"{point.threshold:.2f}",
            *(number(value) for value in (point.dice, point.sensitivity, point.precision)),
        )
        for curve in curves
        for point in curve.points
    )
    _write_table(path, ("model", "class", "threshold", "dice", "sensitivity", "precision"), rows)


def write_reliability(path: Path, curves: Iterable[Curve]) -> None:
    """Write how often the probabilities of each model and class are right.

    A row for each bin, whose error is the distance of its probability from what was observed, and
    one for all pixels, whose error is the expected calibration error.
    """
    rows = []
    for curve in curves:
        name = (curve.model, curve.class_name)
        for one in curve.bins:
            values = (one.mean_probability, one.frequency, one.error)
            bounds = (f"{one.low:.1f}", f"{one.high:.1f}")
            rows.append((*name, "bin", *bounds, str(one.pixels), *map(number, values)))
        filled = [one for one in curve.bins if one.pixels]
        pixels = sum(one.pixels for one in filled)
        values = (
            math.fsum(one.pixels * one.mean_probability for one in filled) / max(pixels, 1),
            math.fsum(one.pixels * one.frequency for one in filled) / max(pixels, 1),
            curve.calibration_error,
        )
        rows.append((*name, "all", "0.0", "1.0", str(pixels), *map(number, values)))
    header = ("model", "class", "scope", "above", "up_to", "pixels")
    _write_table(path, (*header, "mean_probability", "observed_frequency", "error"), rows)


def number(value: float) -> str:
    """Return a score with six decimals; `NaN` where it is not defined, `inf` for infinity."""
    if math.isnan(value):
        return "NaN"
    return f"{value:.6f}" if math.isfinite(value) else "inf"


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write("\t".join(header) + "\n")
        for row in rows:
            # Names come from uploaded files: no tab or line break may add a column or a row.
            stream.write("\t".join(" ".join(cell.split()) for cell in row) + "\n")
