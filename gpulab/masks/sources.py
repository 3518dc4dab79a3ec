"""Where images to predict come from: a part in an HDF5 file, or image files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.build_names import Pair, match
from gpulab.h5.images import Planes, SourceFile, open_planes
from gpulab.h5.labels import MaskForm, class_numbers, form_of_values, whole_numbers
from gpulab.h5.part import Part, open_part

IMAGES = "HDF5 file of images"


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        number: Its place, from 0.
        name: What it is called.
        image: Values as they are, float32 (h, w, c).
        truth: Its true mask as class numbers, uint8 (h, w), where known.
    """

    number: int
    name: str
    image: NDArray[np.float32]
    truth: NDArray[np.uint8] | None


class ImageSource(Protocol):
    """Images, read one after the other or singly."""

    names: list[str]
    channels: int
    size: tuple[int, int] | None
    classes: int | None

    def __iter__(self) -> Iterator[Sample]:
        """Yield all samples in their order."""
        ...

    def read(self, number: int) -> Sample:
        """Read one sample."""
        ...


class PartSource:
    """Images of an open HDF5 part.

    Attributes:
        names: Names of the samples.
        channels: Channels of every image.
        size: Height and width of every image in pixels.
        classes: Classes of the true masks with the background; None without masks.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self.names = part.sample_ids
        self.channels = part.channels
        self.size: tuple[int, int] | None = (part.height, part.width)
        self.classes = part.classes

    def __iter__(self) -> Iterator[Sample]:
        """Yield all samples; only some of them are in memory at a time."""
        for start, stop in self._part.batches():
            yield from self._read(start, stop)

    def read(self, number: int) -> Sample:
        """Read one sample."""
        return self._read(number, number + 1)[0]

    def _read(self, start: int, stop: int) -> list[Sample]:
        images = self._part.read_images(start, stop)
        truths = self._part.read_labels(start, stop) if self._part.has_masks else None
        return [
            Sample(
                start + offset,
                self.names[start + offset],
                image,
                None if truths is None else truths[offset],
            )
            for offset, image in enumerate(images)
        ]


@contextmanager
def open_part_source(path: Path, images: str, masks: str | None) -> Iterator[PartSource]:
    """Open an HDF5 file of images, with true masks where `masks` names them.

    Raises:
        InputError: The file or one of its datasets cannot be used.
    """
    with open_part(path, images=images, masks=masks, label=IMAGES) as part:
        yield PartSource(part)


class FileSource:
    """Image files and, where given, mask files of the same names.

    A file of several planes (a NIfTI volume, a multi-page TIFF) gives a sample for each, named by
    the file and the number of the plane from 1.

    Args:
        images: Image files: PNG, JPEG, TIFF, NIfTI or a zipped DICOM series.
        masks: Mask files, matched to the images by name; None where the truth is not known.

    Raises:
        InputError: A file cannot be read, images differ in channels, or masks do not fit.
    """

    def __init__(self, images: Sequence[SourceFile], masks: Sequence[SourceFile] | None) -> None:
        if not images:
            raise InputError("The collection of images is empty, give at least one image")
        self._pairs = match(images, masks)
        self._places: list[tuple[int, int]] = []
        self.names: list[str] = []
        channels: dict[int, str] = {}
        sizes = set()
        for number, pair in enumerate(self._pairs):
            with open_planes(pair.image) as planes:
                channels.setdefault(planes.channels, pair.name)
                sizes.add(planes.size)
                self._places += [(number, plane) for plane in range(planes.count)]
                self.names += _plane_names(pair.name, planes.count)
        if len(channels) > 1:
            found = ", ".join(f"{count} in {name}" for count, name in sorted(channels.items()))
            raise InputError(
                f"The images differ in their number of channels ({found}), give all in grey or all "
                f"in colour"
            )
        self.channels = next(iter(channels))
        self.size = sizes.pop() if len(sizes) == 1 else None
        self._form = _survey_masks(self._pairs) if masks is not None else None
        self.classes = self._form.classes if self._form else None

    def __iter__(self) -> Iterator[Sample]:
        """Yield all samples; each file is opened once."""
        at = 0
        for pair in self._pairs:
            for image, truth in self._planes(pair, None):
                yield Sample(at, self.names[at], image, truth)
                at += 1

    def read(self, number: int) -> Sample:
        """Read one sample."""
        pair, plane = self._places[number]
        image, truth = next(iter(self._planes(self._pairs[pair], plane)))
        return Sample(number, self.names[number], image, truth)

    def _planes(
        self, pair: Pair, only: int | None
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8] | None]]:
        with open_planes(pair.image) as images:
            wanted = range(images.count) if only is None else [only]
            if pair.mask is None or self._form is None:
                for plane in wanted:
                    yield images.read(plane).astype(np.float32), None
                return
            with open_planes(pair.mask) as masks:
                for plane in wanted:
                    numbers = whole_numbers(masks.read(plane), str(pair.mask))
                    truth = class_numbers(numbers[None], self._form, str(pair.mask), plane)[0]
                    yield images.read(plane).astype(np.float32), truth


def _plane_names(name: str, count: int) -> list[str]:
    if count == 1:
        return [name]
    digits = len(str(count))
    return [f"{name}_{plane:0{digits}d}" for plane in range(1, count + 1)]


def _survey_masks(pairs: Sequence[Pair]) -> MaskForm:
    """Look at all masks once: a class may occur in a single one of them."""
    present = np.zeros(256, dtype=bool)
    for pair in pairs:
        if pair.mask is None:
            raise InputError(f"The image {pair.name} has no mask, give one for every image")
        with open_planes(pair.image) as images, open_planes(pair.mask) as masks:
            _check_mask(pair.mask, masks, images)
            for plane in range(masks.count):
                numbers = whole_numbers(masks.read(plane), str(pair.mask))
                present |= np.bincount(numbers.ravel(), minlength=256) > 0
    return form_of_values(present, None, "collection of masks")


def _check_mask(file: SourceFile, mask: Planes, image: Planes) -> None:
    if mask.lossy:
        raise InputError(
            f"The {file} is a JPEG, whose compression changes class numbers, save masks as PNG or "
            f"TIFF"
        )
    if mask.channels != 1:
        raise InputError(
            f"The {file} has {mask.channels} channels, save masks in grey with class numbers"
        )
    if mask.size != image.size or mask.count != image.count:
        raise InputError(
            f"The {file} has {_extent(mask)} but its image has {_extent(image)}, give both in the "
            f"same size"
        )


def _extent(planes: Planes) -> str:
    slices = "" if planes.count == 1 else f" in {planes.count} slices"
    return f"{planes.height} x {planes.width} pixels{slices}"
