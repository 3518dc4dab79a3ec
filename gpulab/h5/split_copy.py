"""Copying samples into parts in one pass, with the figures that the summary shows."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpulab.h5.labels import class_numbers
from gpulab.h5.part import Part, check_finite
from gpulab.h5.safe import dataset_label, read_rows
from gpulab.h5.write import PartWriter

SECONDS_BETWEEN_LINES = 3.0
DIGEST_BYTES = 16


class Progress:
    """Prints how far a long copy is, at most one line in three seconds."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._next = time.monotonic() + SECONDS_BETWEEN_LINES

    def add(self, count: int) -> None:
        """Count samples as done."""
        self._done += count
        if time.monotonic() >= self._next:
            share = self._done / self._total
            print(f"Copied {self._done} of {self._total} samples ({share:.0%})", flush=True)
            self._next = time.monotonic() + SECONDS_BETWEEN_LINES


@dataclass
class PartCopy:
    """A part that is being written, and what was seen of it.

    Attributes:
        name: `train`, `valid` or `test`.
        path: File of the part.
        writer: Writes the file.
        digest_dtype: Images are hashed as this type, so that equal pictures of two types are seen.
        fractions: Share of foreground pixels of each sample.
        digests: Hash of each image, 16 bytes.
        sample_ids: Names of the samples.
        groups: Names of the groups that occur.
        low: Smallest image value.
        high: Largest image value.
    """

    name: str
    path: Path
    writer: PartWriter
    digest_dtype: DTypeLike
    fractions: list[float] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    sample_ids: list[str] = field(default_factory=list)
    groups: set[str] | None = None
    low: float = np.inf
    high: float = -np.inf

    def add(
        self,
        images: NDArray[Any],
        masks: NDArray[Any],
        labels: NDArray[np.uint8],
        sample_ids: Sequence[str],
        groups: Sequence[str] = (),
        weights: Sequence[float] = (),
    ) -> None:
        """Write samples, in the types in which they came, and take note of them."""
        self.writer.append(images, masks, sample_ids, groups, weights)
        self.fractions.extend((labels > 0).mean(axis=(1, 2)).tolist())
        for image in images.astype(self.digest_dtype, copy=False):
            digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=DIGEST_BYTES)
            self.digests.append(digest.digest())
        self.sample_ids.extend(sample_ids)
        if groups:
            self.groups = (self.groups or set()).union(groups)
        self.low = min(self.low, float(images.min()))
        self.high = max(self.high, float(images.max()))


def copy_samples(
    source: Part, targets: Sequence[PartCopy], assigned: NDArray[np.int64], progress: Progress
) -> None:
    """Copy the samples of a source to the parts they are assigned to, in their order.

    Args:
        source: Images and masks.
        targets: Parts to write.
        assigned: Index into `targets` for each sample, int64 (n,).
        progress: Told of every batch.

    Raises:
        InputError: NaN or infinity in an image, a mask value that is no class, a damaged file.
    """
    assert source.masks is not None and source.mask_form is not None
    where = dataset_label(source.masks, source.label)
    for start, stop in source.batches():
        images = read_rows(source.images, start, stop, source.label)
        check_finite(images, source.images, source.label, start)
        masks = read_rows(source.masks, start, stop, source.label)
        labels = class_numbers(masks, source.mask_form, where, start)
        for index, target in enumerate(targets):
            rows = np.flatnonzero(assigned[start:stop] == index)
            if len(rows):
                target.add(
                    images[rows],
                    masks[rows],
                    labels[rows],
                    [source.sample_ids[start + row] for row in rows],
                    [source.groups[start + row] for row in rows] if source.groups else (),
                    () if source.weights is None else source.weights[start + rows].tolist(),
                )
        progress.add(stop - start)


@dataclass(frozen=True)
class Shared:
    """Images that two parts have in common.

    Attributes:
        first: Name of one part.
        second: Name of the other.
        count: Number of different images that are in both.
        examples: A few pairs of sample names.
    """

    first: str
    second: str
    count: int
    examples: list[tuple[str, str]]

    def __str__(self) -> str:
        pairs = ", ".join(f"{one} = {other}" for one, other in self.examples)
        more = ", …" if self.count > len(self.examples) else ""
        return f"{self.first} and {self.second}: {self.count} ({pairs}{more})"


def shared_images(parts: Sequence[PartCopy], examples: int = 3) -> list[Shared]:
    """Find images that are byte for byte the same in two parts."""
    places = [{digest: index for index, digest in enumerate(part.digests)} for part in parts]
    found = []
    for first, one in enumerate(parts):
        for second in range(first + 1, len(parts)):
            both = sorted(places[first][key] for key in places[first].keys() & places[second])
            if both:
                pairs = [
                    (one.sample_ids[row], parts[second].sample_ids[places[second][digest]])
                    for row, digest in ((row, one.digests[row]) for row in both[:examples])
                ]
                found.append(Shared(one.name, parts[second].name, len(both), pairs))
    return found


def count_shared(part: PartCopy, others: Sequence[PartCopy]) -> int:
    """Count the images of a part that are in any of the others as well."""
    elsewhere = set().union(*(other.digests for other in others if other is not part))
    return sum(digest in elsewhere for digest in part.digests)
