"""What masks made without any model would score: floors that a model must beat.

Overlap scores alone do not say whether a model has learnt anything: where the foreground is large,
or differs from the rest in its grey values, masks made without a model score well too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gpulab.masks.score import add_counts, count
from gpulab.masks.sources import ImageSource
from gpulab.models.overlap import Counts

BINS = 4096


@dataclass
class Floor:
    """The score of a mask that needs no model.

    Attributes:
        class_name: Name of the foreground class.
        band: Lowest and highest grey value of what is taken for the class; None where everything
            is.
        pooled: Pixels of all images.
        dice: Dice of each image.
        iou: IoU of each image.
    """

    class_name: str
    band: tuple[float, float] | None
    pooled: Counts = field(default_factory=lambda: Counts(0, 0, 0, 0))
    dice: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)

    @property
    def mean_dice(self) -> float:
        """Mean of the images' Dice, where images with both masks empty count 1."""
        return math.fsum(self.dice) / len(self.dice)

    @property
    def mean_iou(self) -> float:
        """Mean of the images' IoU, where images with both masks empty count 1."""
        return math.fsum(self.iou) / len(self.iou)

    def add(self, true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> None:
        """Score one image; both masks are bool (h, w)."""
        counts = count(true, predicted)
        self.pooled = add_counts(self.pooled, counts)
        self.dice.append(counts.dice)
        self.iou.append(counts.iou)


@dataclass(frozen=True)
class GreyBins:
    """Equal bins over the grey values of all images; a bin a value for whole numbers in few steps.

    Attributes:
        low: Lowest value.
        high: Highest value.
        whole: Whether each bin holds one whole number.
    """

    low: float
    high: float
    whole: bool

    @property
    def count(self) -> int:
        """Number of bins."""
        return round(self.high - self.low) + 1 if self.whole else BINS

    @property
    def width(self) -> float:
        """Grey values from one bin to the next."""
        return 1.0 if self.whole else (self.high - self.low) / BINS

    def numbers(self, image: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the bin of each pixel of an image (h, w, 1), intp (h, w)."""
        steps = (image[..., 0].astype(np.float64) - self.low) / self.width
        return np.minimum(steps.astype(np.intp), self.count - 1)

    def bounds(self, first: int, last: int) -> tuple[float, float]:
        """Return the grey values that the bins from first to last hold."""
        return self.low + first * self.width, self.low + (last + (not self.whole)) * self.width


def measure_floors(source: ImageSource, class_names: Sequence[str]) -> list[Floor]:
    """Score masks that need no model on the images of a source with true masks.

    For each foreground class all pixels are taken for the class; and, for images of one channel,
    those within the one interval of grey values that has the largest pooled Dice on these very
    images. The images are read once, or three times for the interval, and never all in memory.

    Args:
        source: Images with true masks.
        class_names: Names of the classes, the background first.

    Returns:
        For each foreground class of the masks the floor of all pixels, then that of the interval,
        which is left out for a class without true pixels.
    """
    names = class_names[1 : source.classes]
    everything = [Floor(name, None) for name in names]
    bins = None
    bands: list[tuple[int, int] | None] = [None] * len(names)
    if source.channels == 1:
        bins = _survey(source)
        bands = _best_bands(source, bins, len(names))
    banded = [
        Floor(name, bins.bounds(*band)) if bins and band else None
        for name, band in zip(names, bands, strict=True)
    ]
    for sample in source:
        truth = _known(sample.truth)
        grey = bins.numbers(sample.image) if bins else None
        for number, (whole, partial, band) in enumerate(
            zip(everything, banded, bands, strict=True), start=1
        ):
            true = truth == number
            whole.add(true, np.ones_like(true))
            if partial and band and grey is not None:
                partial.add(true, (band[0] <= grey) & (grey <= band[1]))
    pairs = zip(everything, banded, strict=True)
    return [floor for pair in pairs for floor in pair if floor]


def _known(truth: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    if truth is None:
        raise ValueError("Floors need true masks")
    return truth


def _survey(source: ImageSource) -> GreyBins:
    low, high, whole = math.inf, -math.inf, True
    for sample in source:
        low = min(low, float(sample.image.min()))
        high = max(high, float(sample.image.max()))
        whole = whole and bool((sample.image == np.rint(sample.image)).all())
    # A constant has one value, which is a bin of its own even where it is no whole number.
    return GreyBins(low, high, low == high or (whole and high - low < BINS))


def _best_bands(source: ImageSource, bins: GreyBins, classes: int) -> list[tuple[int, int] | None]:
    pixels = np.zeros((classes + 1, bins.count), dtype=np.int64)
    for sample in source:
        joint = _known(sample.truth).astype(np.intp) * bins.count + bins.numbers(sample.image)
        pixels += np.bincount(joint.ravel(), minlength=pixels.size).reshape(pixels.shape)
    return [best_band(pixels[number], pixels.sum(axis=0)) for number in range(1, classes + 1)]


def best_band(true: NDArray[np.int64], pixels: NDArray[np.int64]) -> tuple[int, int] | None:
    """Find the interval of bins with the largest Dice.

    Args:
        true: Pixels of the class in each bin, int64 (bins,).
        pixels: All pixels in each bin, int64 (bins,).

    Returns:
        Its first and last bin; None where no pixel is of the class.
    """
    total = int(true.sum())
    if not total:
        return None
    # It begins and ends with pixels of the class: others would only add false positives.
    used = np.flatnonzero(true)
    before = [np.concatenate([[0], np.cumsum(counts)]) for counts in (true, pixels)]
    best, band = -1.0, (0, 0)
    for first in used:
        last = used[used >= first]
        tp, taken = (sums[last + 1] - sums[first] for sums in before)
        dice = 2 * tp / (total + taken)
        at = int(dice.argmax())
        if dice[at] > best:
            best, band = float(dice[at]), (int(first), int(last[at]))
    return band
