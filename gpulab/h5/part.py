"""One part of a data set: images and their masks in an HDF5 file, read a few samples at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5t
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.each_sample import GROUPS, SAMPLE_IDS, read_names, read_weights
from gpulab.h5.labels import MAX_CLASSES, MaskForm, class_numbers, form_of_values, whole_numbers
from gpulab.h5.limits import MIB, readable
from gpulab.h5.safe import (
    dataset_label,
    get_dataset,
    in_axes,
    open_untrusted,
    read_rows,
    reading,
)

BATCH_BYTES = 16 * MIB
MAX_CHANNELS = 64
CLASSES_ATTRIBUTE = "classes"


@dataclass(frozen=True)
class Part:
    """Images, and masks where there are some, of one input.

    Attributes:
        label: What the user calls this input.
        images: Dataset (n, h, w, c), any number type.
        masks: Dataset (n, h, w, classes) one-hot, or (n, h, w) or (n, h, w, 1) class numbers.
        mask_form: How the masks are stored; None without masks.
        sample_ids: One name a sample, made up (`sample_00001`) where the file has none. Printable,
            but not safe as file names.
        groups: One name a sample, such as the patient; None where the file has none.
        weights: How much each sample counts, float64 (n,), 0 or more and not all 0; None where they
            were not asked for or the file has none.
    """

    label: str
    images: h5py.Dataset
    masks: h5py.Dataset | None
    mask_form: MaskForm | None
    sample_ids: list[str]
    groups: list[str] | None
    weights: NDArray[np.float64] | None = None

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(self.images.shape[0])

    @property
    def height(self) -> int:
        """Height of the images in pixels."""
        return int(self.images.shape[1])

    @property
    def width(self) -> int:
        """Width of the images in pixels."""
        return int(self.images.shape[2])

    @property
    def channels(self) -> int:
        """Number of channels of the images."""
        return int(self.images.shape[3])

    @property
    def has_masks(self) -> bool:
        """Whether there are masks."""
        return self.masks is not None

    @property
    def classes(self) -> int | None:
        """Number of classes with the background, at least 2; None without masks."""
        return None if self.mask_form is None else self.mask_form.classes

    @property
    def one_hot(self) -> bool:
        """Whether the masks are stored one-hot."""
        return self.mask_form is not None and self.mask_form.one_hot

    def batches(self, budget: int = BATCH_BYTES) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) over all samples, along whole chunks and within a memory budget.

        Args:
            budget: Bytes that one batch of images, or of masks, may take in memory.
        """
        step = rows_within(self.images, budget)
        if self.masks is not None:
            step = min(step, rows_within(self.masks, budget))
        for start in range(0, self.n, step):
            yield start, min(start + step, self.n)

    def read_images(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read images as they are, float32 (b, h, w, c).

        Raises:
            InputError: A value is NaN or infinite as a 32-bit float, or the file is damaged.
        """
        raw = read_rows(self.images, start, stop, self.label)
        check_finite(raw, self.images, self.label, start)
        with np.errstate(over="ignore"):
            values = raw.astype(np.float32)
        if raw.dtype == np.float64:
            check_finite(values, self.images, self.label, start)
        return values

    def read_labels(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Read masks as class numbers, uint8 (b, h, w).

        Raises:
            InputError: A value is no class, or the file is damaged.
            ValueError: The part has no masks.
        """
        if self.masks is None or self.mask_form is None:
            raise ValueError("This part has no masks")
        raw = read_rows(self.masks, start, stop, self.label)
        return class_numbers(raw, self.mask_form, dataset_label(self.masks, self.label), start)

    def foreground_fraction(self) -> NDArray[np.float64]:
        """Return the share of pixels that are not background, float64 (n,)."""
        fractions = np.empty(self.n, dtype=np.float64)
        for start, stop in self.batches():
            fractions[start:stop] = (self.read_labels(start, stop) > 0).mean(axis=(1, 2))
        return fractions


def rows_within(dataset: h5py.Dataset, budget: int) -> int:
    """Return how many rows take at most `budget` bytes in memory, as whole chunks where possible.

    A row is counted with at least four bytes a value, which is what it takes as float32.
    """
    values = int(np.prod(dataset.shape[1:], dtype=np.int64))
    rows = max(1, budget // max(1, values * max(4, int(dataset.dtype.itemsize))))
    chunk = int(dataset.chunks[0]) if dataset.chunks else 1
    return rows - rows % chunk if rows >= chunk else rows


def check_finite(values: NDArray[Any], dataset: h5py.Dataset, label: str, first: int) -> None:
    """Refuse NaN and infinity.

    Args:
        values: (b, ...), any number type.
        dataset: Where they come from, for the message.
        label: What the user calls this input.
        first: Number of the first of these samples.

    Raises:
        InputError: Names the first sample that holds such a value.
    """
    if values.dtype.kind != "f":
        return
    finite = np.isfinite(values)
    if not finite.all():
        sample = first + int(np.argmin(finite.reshape(len(finite), -1).all(axis=1)))
        raise InputError(
            f"The {dataset_label(dataset, label)} holds NaN or infinity in sample {sample} "
            f"(counted from 0), or a number too large for 32 bits, correct or remove it"
        )


@contextmanager
def open_part(
    path: str | Path,
    *,
    images: str = "images",
    masks: str | None = "masks",
    sample_ids: str | None = SAMPLE_IDS,
    groups: str | None = GROUPS,
    weights: str | None = None,
    label: str = "training data",
    max_bytes: int | None = None,
) -> Iterator[Part]:
    """Open a part of a data set and check all that can be checked without reading the images.

    Args:
        path: An untrusted HDF5 file.
        images: Name of the images in it.
        masks: Name of the masks; None for images alone.
        sample_ids: Name of the sample names; None for made-up ones. They and the next two may be
            missing under their usual names, under another they must be there.
        groups: Name of the groups; None for no groups.
        weights: Name of the weights; None for no weights.
        label: What the user calls this input, for messages.
        max_bytes: Refuse images or masks with more unpacked bytes than this.

    Raises:
        InputError: The file or one of its datasets cannot be used.
    """
    with open_untrusted(path, label) as file:
        with reading(label):
            pictures = get_dataset(file, images, label, max_bytes=max_bytes)
            _check_images(pictures, label)
            painted = get_dataset(file, masks, label, max_bytes=max_bytes) if masks else None
            form = None
            if painted is not None:
                _check_pair(pictures, painted, label)
                form = _mask_form(painted, label)
            count = len(pictures)
            names = read_names(file, sample_ids, count, label, usual=SAMPLE_IDS)
            part = Part(
                label=label,
                images=pictures,
                masks=painted,
                mask_form=form,
                sample_ids=names or [f"sample_{index:05d}" for index in range(1, count + 1)],
                groups=read_names(file, groups, count, label, usual=GROUPS),
                weights=read_weights(file, weights, count, label),
            )
        yield part


def _check_images(images: h5py.Dataset, label: str) -> None:
    if images.ndim != 4:
        raise InputError(
            f"The {dataset_label(images, label)} has the shape {in_axes(images)}, images need "
            f"four axes: samples, height, width, channels"
        )
    if images.shape[3] > MAX_CHANNELS:
        raise InputError(
            f"The {dataset_label(images, label)} has {images.shape[3]} channels in its last axis, "
            f"give at most {MAX_CHANNELS} and the axis order samples, height, width, channels"
        )


def _check_pair(images: h5py.Dataset, masks: h5py.Dataset, label: str) -> None:
    where = dataset_label(masks, label)
    if masks.ndim not in (3, 4):
        raise InputError(
            f"The {where} has the shape {in_axes(masks)}, masks need the axes samples, height, "
            f"width and, for one-hot masks, classes"
        )
    if masks.shape[0] != images.shape[0]:
        raise InputError(
            f"The {label} has {images.shape[0]} images in {readable(images.name.lstrip('/'))} but "
            f"{masks.shape[0]} masks in {readable(masks.name.lstrip('/'))}, give one mask an image"
        )
    if masks.shape[1:3] != images.shape[1:3]:
        raise InputError(
            f"The {where} has masks of {masks.shape[1]} x {masks.shape[2]} pixels for images of "
            f"{images.shape[1]} x {images.shape[2]}, give both in the same size"
        )
    if masks.ndim == 4 and masks.shape[3] > MAX_CLASSES:
        raise InputError(
            f"The {where} has {masks.shape[3]} channels, more than the {MAX_CLASSES} classes that "
            f"are supported, give the axes in the order samples, height, width, classes"
        )


def _mask_form(masks: h5py.Dataset, label: str) -> MaskForm:
    if masks.ndim == 4 and masks.shape[3] > 1:
        return MaskForm(classes=int(masks.shape[3]), one_hot=True)
    where = dataset_label(masks, label)
    present = np.zeros(256, dtype=bool)
    step = rows_within(masks, BATCH_BYTES)
    for start in range(0, masks.shape[0], step):
        numbers = whole_numbers(read_rows(masks, start, start + step, label), where)
        present |= np.bincount(numbers.ravel(), minlength=256) > 0
    return form_of_values(present, _declared_classes(masks), where)


def _declared_classes(masks: h5py.Dataset) -> int | None:
    """Return the number of classes that our own writer notes beside class-number masks.

    A part may lack its last class by chance, and would then seem to have fewer than the others.
    """
    if CLASSES_ATTRIBUTE not in masks.attrs:
        return None
    attribute = masks.attrs.get_id(CLASSES_ATTRIBUTE)
    if attribute.shape != () or attribute.get_type().get_class() != h5t.INTEGER:
        return None
    return int(masks.attrs[CLASSES_ATTRIBUTE])
