from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpulab.masks.floors import BINS, GreyBins, best_band, measure_floors
from gpulab.masks.score import count
from gpulab.masks.sources import Sample

NAMES = ("background", "lesion", "nodule")


class Arrays:
    """A source of images (n, h, w, c) and masks (n, h, w) in memory."""

    def __init__(self, images: Any, masks: Any, classes: int = 2) -> None:
        self._images = np.asarray(images, dtype=np.float32)
        self._masks = np.asarray(masks, dtype=np.uint8)
        self.names = [f"s{number}" for number in range(len(images))]
        self.channels = self._images.shape[-1]
        self.size = self._images.shape[1:3]
        self.classes = classes

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(number) for number in range(len(self.names)))

    def read(self, number: int) -> Sample:
        return Sample(number, self.names[number], self._images[number], self._masks[number])


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(np.int16, (2, 4, 5, 1), elements=st.integers(-3, 6)),
    hnp.arrays(np.uint8, (2, 4, 5), elements=st.integers(0, 1)),
)
def test_no_band_of_whole_numbers_is_better(images: Any, masks: Any) -> None:
    floors = measure_floors(Arrays(images, masks), NAMES)
    everything = floors[0]
    assert everything.band is None and everything.pooled.fn == 0
    if not masks.any():
        assert len(floors) == 1 and everything.pooled.dice == 0
        return
    band = floors[1]
    assert band.band is not None
    low, high = band.band
    grey, true = images[..., 0], masks == 1
    # What is said of the band is what the band gives, and no other is better.
    assert band.pooled == count(true, (low <= grey) & (grey <= high))
    each = [count(t, (low <= g) & (g <= high)) for g, t in zip(grey, true, strict=True)]
    assert band.mean_dice == pytest.approx(np.mean([one.dice for one in each]))
    assert band.mean_iou == pytest.approx(np.mean([one.iou for one in each]))
    values = np.unique(grey)
    others = [
        count(true, (first <= grey) & (grey <= last)).dice
        for first in values
        for last in values[values >= first]
    ]
    assert band.pooled.dice == pytest.approx(max(others))
    assert band.pooled.dice >= everything.pooled.dice


def test_a_band_of_fractions_is_found_to_a_bin() -> None:
    random = np.random.default_rng(5)
    images = random.uniform(-1000, 400, (3, 60, 60, 1))
    masks = (images[..., 0] > -700) & (images[..., 0] < -200)
    everything, band = measure_floors(Arrays(images, masks), NAMES)
    assert band.band is not None
    assert band.band == pytest.approx((-700, -200), abs=2 * 1400 / BINS)
    assert band.pooled.dice > 0.997
    share = masks.mean()
    assert everything.pooled.dice == pytest.approx(2 * share / (1 + share))


def test_each_class_has_its_floors_and_colours_have_no_band() -> None:
    images = np.zeros((2, 4, 4, 1))
    masks = np.zeros((2, 4, 4))
    images[0, :2], images[0, 2:] = 50, 90
    masks[0, :2], masks[0, 2:] = 1, 2
    floors = measure_floors(Arrays(images, masks, classes=3), NAMES)
    found = [(f.class_name, f.band, f.pooled.dice, f.mean_dice) for f in floors]
    assert found == [
        ("lesion", None, pytest.approx(2 * 8 / (8 + 32)), pytest.approx((2 * 8 / 24) / 2)),
        ("lesion", (50, 50), 1.0, 1.0),
        ("nodule", None, pytest.approx(2 * 8 / (8 + 32)), pytest.approx((2 * 8 / 24) / 2)),
        ("nodule", (90, 90), 1.0, 1.0),
    ]
    colour = Arrays(np.repeat(images, 3, axis=-1), masks, classes=3)
    assert [f.band for f in measure_floors(colour, NAMES)] == [None, None]


def test_images_of_one_value_and_bins_at_the_ends() -> None:
    flat = measure_floors(Arrays(np.full((1, 3, 3, 1), 0.25), np.eye(3)[None]), NAMES)
    assert flat[1].band == (0.25, 0.25) and flat[1].pooled == flat[0].pooled
    bins = GreyBins(0.0, 1.0, whole=False)
    ends = np.array([[[0.0], [1.0]]], dtype=np.float32)
    assert bins.numbers(ends).tolist() == [[0, BINS - 1]]
    assert bins.bounds(0, BINS - 1) == (0.0, 1.0)
    assert best_band(np.zeros(4, np.int64), np.ones(4, np.int64)) is None
