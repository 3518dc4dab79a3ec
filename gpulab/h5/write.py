"""Writing a part of a data set, a few samples at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpulab.h5.each_sample import GROUPS, SAMPLE_IDS, WEIGHTS
from gpulab.h5.limits import MIB
from gpulab.h5.part import CLASSES_ATTRIBUTE

CHUNK_BYTES = MIB
GZIP_LEVEL = 4


class PartWriter:
    """Writes `images`, `masks`, `sample_ids`, `groups` and `sample_weight` to a new HDF5 file.

    Args:
        path: File to write; replaced when there.
        image_shape: (h, w, c) of one image.
        image_dtype: Type in which images are kept.
        mask_shape: (h, w, classes), (h, w, 1) or (h, w) of one mask; None for images alone.
        mask_dtype: Type in which masks are kept.
        samples: Number of samples where it is known; otherwise the file grows.
        classes: Number of classes with the background, noted beside class-number masks.
        attributes: Root attributes: strings and numbers that say where the data come from.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        image_shape: Sequence[int],
        image_dtype: DTypeLike,
        mask_shape: Sequence[int] | None = None,
        mask_dtype: DTypeLike = np.uint8,
        samples: int | None = None,
        classes: int | None = None,
        attributes: Mapping[str, str | int | float] | None = None,
    ) -> None:
        self.written = 0
        self._samples = samples
        self._each: dict[str, list[Any]] = {}
        # The cache must hold a chunk that is filled by several small appends.
        self._file = h5py.File(path, "w", rdcc_nbytes=4 * CHUNK_BYTES)
        self._file.attrs.update(dict(attributes or {}))
        self._images = self._dataset("images", image_shape, image_dtype)
        self._masks = None
        if mask_shape is not None:
            self._masks = self._dataset("masks", mask_shape, mask_dtype)
            if classes is not None and (len(mask_shape) == 2 or mask_shape[2] == 1):
                self._masks.attrs[CLASSES_ATTRIBUTE] = classes

    def append(
        self,
        images: NDArray[Any],
        masks: NDArray[Any] | None = None,
        sample_ids: Sequence[str] = (),
        groups: Sequence[str] = (),
        weights: Sequence[float] = (),
    ) -> None:
        """Add samples.

        Args:
            images: (b, h, w, c).
            masks: (b, ...) in the shape given for one mask.
            sample_ids: One name a sample, for all samples of the file or for none.
            groups: One name a sample, for all samples of the file or for none.
            weights: How much each sample counts, for all samples of the file or for none.

        Raises:
            ValueError: Counts or shapes do not fit; a defect of the caller.
        """
        count = len(images)
        if (masks is None) != (self._masks is None) or (masks is not None and len(masks) != count):
            raise ValueError(f"{count} images need as many masks")
        each = {SAMPLE_IDS: sample_ids, GROUPS: groups, WEIGHTS: weights}
        if any(len(values) not in (0, count) for values in each.values()):
            raise ValueError(f"{count} images need as many names and weights, or none")
        start, stop = self.written, self.written + count
        for dataset, values in ((self._images, images), (self._masks, masks)):
            if dataset is not None:
                if self._samples is None:
                    dataset.resize(stop, axis=0)
                elif stop > self._samples:
                    raise ValueError(f"More than the {self._samples} samples announced")
                dataset[start:stop] = values
        for name, told in each.items():
            self._each.setdefault(name, []).extend(told)
        self.written = stop

    def close(self) -> None:
        """Write names and weights and close the file.

        Raises:
            ValueError: Not every sample has its name or weight, or samples are missing.
        """
        with self._file:
            if self._samples not in (None, self.written):
                raise ValueError(f"{self.written} of {self._samples} samples were written")
            for name, told in self._each.items():
                if told:
                    if len(told) != self.written:
                        raise ValueError(f"{len(told)} {name} for {self.written} samples")
                    dtype = np.float64 if name == WEIGHTS else h5py.string_dtype("utf-8")
                    self._file.create_dataset(name, data=told, dtype=dtype)

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()

    def _dataset(self, name: str, shape: Sequence[int], dtype: DTypeLike) -> h5py.Dataset:
        rows = self._samples
        return self._file.create_dataset(
            name,
            shape=(rows or 0, *shape),
            maxshape=(rows, *shape),
            dtype=dtype,
            chunks=chunk_shape(shape, np.dtype(dtype).itemsize, rows),
            compression="gzip",
            compression_opts=GZIP_LEVEL,
            shuffle=True,
        )


def chunk_shape(shape: Sequence[int], itemsize: int, rows: int | None = None) -> tuple[int, ...]:
    """Return chunks of whole samples of about one MiB; a very large sample is cut along its height.

    Args:
        shape: Shape of one sample.
        itemsize: Bytes of one value.
        rows: Number of samples where it is known.
    """
    sample = int(np.prod(shape, dtype=np.int64)) * itemsize
    count = max(1, CHUNK_BYTES // max(1, sample))
    if rows:
        count = min(count, rows)
    height = min(shape[0], max(1, 32 * CHUNK_BYTES * shape[0] // max(1, sample)))
    return (count, height, *shape[1:])
