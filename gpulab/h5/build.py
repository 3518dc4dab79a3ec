"""Building a dataset: one slice at a time from image files into an HDF5 file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.build_each import EachSample, sample_ids
from gpulab.h5.build_options import BuildOptions
from gpulab.h5.build_pixels import (
    apply_window,
    mask_values,
    one_hot,
    resize_image,
    resize_labels,
    to_grey,
)
from gpulab.h5.build_survey import Seen, Survey
from gpulab.h5.images import Planes, open_planes
from gpulab.h5.write import PartWriter

BATCH_BYTES = 16 << 20


@dataclass(frozen=True)
class Sample:
    """One row of the table of samples.

    Attributes:
        sample_id: Name of the sample.
        group: Patient, volume, …; None without groups.
        weight: How much it counts in training; None without weights.
        source: Identifier of the image file.
        height: Rows before resizing.
        width: Columns before resizing.
        number: Slice within the file, from 0.
        foreground: Share of pixels that are no background, after resizing; None without masks.
        minimum: Smallest value as written.
        maximum: Largest value as written.
    """

    sample_id: str
    group: str | None
    weight: float | None
    source: str
    height: int
    width: int
    number: int
    foreground: float | None
    minimum: float
    maximum: float


def build(
    path: Path,
    found: Survey,
    options: BuildOptions,
    each: EachSample | None = None,
) -> list[Sample]:
    """Write the dataset; memory holds one slice and a batch of finished ones.

    Args:
        path: HDF5 file to write.
        found: What `survey` found.
        options: How to build.
        each: Groups and weights; None without any.

    Returns:
        The samples in the order in which they were written.

    Raises:
        InputError: A file cannot be read, or no slice is left.
    """
    size, classes = (found.height, found.width), found.classes
    mask_shape: tuple[int, ...] | None = None
    if classes is not None:
        mask_shape = (*size, classes.count) if options.mask_form == "one_hot" else size
    shape = (*size, found.channels)
    slice_bytes = int(np.prod(shape)) * found.dtype.itemsize + int(np.prod(mask_shape or 0))
    batch, rows = max(1, min(64, BATCH_BYTES // slice_bytes)), []
    with PartWriter(
        path,
        image_shape=shape,
        image_dtype=found.dtype,
        mask_shape=mask_shape,
        classes=classes.count if classes else None,
        attributes=_attributes(found, options),
    ) as writer:
        waiting: list[tuple[Sample, NDArray[Any], NDArray[np.uint8] | None]] = []
        for item in _samples(found, options, each or EachSample()):
            waiting.append(item)
            rows.append(item[0])
            if len(waiting) == batch:
                _write(writer, waiting, classes.count if classes else None, mask_shape)
                waiting = []
        _write(writer, waiting, classes.count if classes else None, mask_shape)
        if not rows:
            raise InputError("No slice has any foreground, so none is left, choose all slices")
    return rows


def _attributes(found: Survey, options: BuildOptions) -> dict[str, str | int | float]:
    window = options.window
    return {
        "made_by": "h5_dataset_build",
        "intensities": (
            "as they are"
            if window is None
            else f"window with centre {window.centre:g} and width {window.width:g} as 0 to 255"
        ),
        "mask_values": found.classes.description if found.classes else "no masks",
    }


def _write(
    writer: PartWriter,
    waiting: Sequence[tuple[Sample, NDArray[Any], NDArray[np.uint8] | None]],
    classes: int | None,
    mask_shape: tuple[int, ...] | None,
) -> None:
    if not waiting:
        return
    labels = [mask for _, _, mask in waiting if mask is not None]
    masks = None
    if classes is not None and mask_shape is not None:
        masks = np.stack(labels)
        if len(mask_shape) == 3:
            masks = one_hot(masks, classes)
    writer.append(
        np.stack([image for _, image, _ in waiting]),
        masks,
        [sample.sample_id for sample, _, _ in waiting],
        [sample.group for sample, _, _ in waiting if sample.group is not None],
        [sample.weight for sample, _, _ in waiting if sample.weight is not None],
    )


def _samples(
    found: Survey, options: BuildOptions, each: EachSample
) -> Iterator[tuple[Sample, NDArray[Any], NDArray[np.uint8] | None]]:
    total, told, taken = len(found.seen), 0.0, 0
    for number, seen in enumerate(found.seen, start=1):
        for item in _file_samples(seen, found, options, each):
            taken += 1
            yield item
        if number == total or number / total >= told + 0.05:
            told = number / total
            print(f"{number} of {total} files read, {taken} samples written")


def _file_samples(
    seen: Seen, found: Survey, options: BuildOptions, each: EachSample
) -> Iterator[tuple[Sample, NDArray[Any], NDArray[np.uint8] | None]]:
    pair, names = seen.pair, sample_ids(seen)
    step = options.step if options.slices == "nth" else 1
    with ExitStack() as stack:
        images = stack.enter_context(open_planes(pair.image, options.axis))
        masks = stack.enter_context(open_planes(pair.mask, options.axis)) if pair.mask else None
        for index in range(0, seen.count, step):
            labels = None if masks is None else _labels(masks, index, found, options)
            if options.slices == "foreground" and labels is not None and not labels.any():
                continue
            image = _image(images, index, found, options)
            sample = Sample(
                names[index],
                None if each.groups is None else each.groups[names[index]],
                None if each.weights is None else each.weights[names[index]],
                pair.image.identifier,
                seen.height,
                seen.width,
                index,
                None if labels is None else float((labels > 0).mean()),
                float(image.min()),
                float(image.max()),
            )
            yield sample, image, labels


def _labels(
    masks: Planes, index: int, found: Survey, options: BuildOptions
) -> NDArray[np.uint8] | None:
    if found.classes is None:
        return None
    labels = found.classes.apply(mask_values(masks.read(index), masks.file), masks.lossy)
    if labels.shape != (found.height, found.width):
        labels = resize_labels(labels, (found.height, found.width), options.mask_resize)
    return labels


def _image(images: Planes, index: int, found: Survey, options: BuildOptions) -> NDArray[Any]:
    image = images.read(index)
    if options.colour != "keep":
        image = to_grey(image, options.colour)
    # The window comes first: metal far outside it would otherwise bleed into its surroundings.
    if options.window is not None:
        image = apply_window(image, options.window)
    if image.shape[:2] != (found.height, found.width):
        image = resize_image(image, (found.height, found.width))
    if found.dtype.kind in "iu" and image.dtype.kind == "f":
        image = np.rint(image)
    return image.astype(found.dtype)
