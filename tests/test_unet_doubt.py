"""Thresholds fall where that brings better masks of validation data, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpulab.models.adapt import adapt, expected_dice
from gpulab.unet.doubt import CANDIDATES, _overlaps, best_candidate

THRESHOLD = 0.5


def image(lesion: float, around: float) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """An image whose lesion has one probability and whose other pixels have another."""
    labels = np.zeros((16, 16), np.uint8)
    labels[4:10, 4:12] = 1
    p = np.where(labels, lesion, around)
    return np.stack([1 - p, p], axis=-1).astype(np.float32), labels


def chosen(images: list[tuple[NDArray[np.float32], NDArray[np.uint8]]]) -> float:
    return best_candidate(np.stack([_overlaps(*pair, THRESHOLD) for pair in images]))


def test_lesions_in_doubt_are_shown_where_that_is_right() -> None:
    sure, shy = image(0.95, 0.0), image(0.4, 0.01)
    found = chosen([sure, shy])
    assert found > 0
    p, labels = shy
    mask = p[..., 1] > adapt(THRESHOLD, expected_dice(p[..., 1]), found)
    np.testing.assert_array_equal(mask, labels == 1)


def test_thresholds_stay_where_doubt_is_right() -> None:
    p, labels = image(0.4, 0.01)
    healthy = p, np.zeros_like(labels)
    assert chosen([image(0.95, 0.0), healthy]) == 0
    assert chosen([image(0.95, 0.0)] * 3) == 0


def test_an_image_that_counts_nothing_has_no_say() -> None:
    p, labels = image(0.4, 0.01)
    images = [image(0.4, 0.01), (p, np.zeros_like(labels))]
    overlaps = np.stack([_overlaps(*pair, THRESHOLD) for pair in images])
    assert best_candidate(overlaps, np.array([1.0, 0.0])) > 0
    assert best_candidate(overlaps, np.array([0.0, 1.0])) == 0


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3]))
def test_the_candidate_is_the_best_of_all(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    raw = random.random((4, 8, 8, classes)) ** 3
    p = (raw / raw.sum(axis=-1, keepdims=True)).astype(np.float32)
    labels = random.integers(0, classes, (4, 8, 8)).astype(np.uint8)
    overlaps = np.stack([_overlaps(a, b, 0.4) for a, b in zip(p, labels, strict=True)])
    scores = []
    for sure in CANDIDATES:
        dice, pooled = [], []
        for number in range(1, classes):
            masks = [
                a[..., number] > np.float32(adapt(0.4, expected_dice(a[..., number]), sure))
                for a in p
            ]
            true = labels == number
            pooled.append(2 * (masks & true).sum() / max(np.sum(masks) + true.sum(), 1))
            dice.append(
                [
                    2 * (m & t).sum() / max(m.sum() + t.sum(), 1) if m.any() or t.any() else 1.0
                    for m, t in zip(masks, true, strict=True)
                ]
            )
        scores.append(np.mean(pooled) + np.mean(dice))
    found = CANDIDATES.index(best_candidate(overlaps))
    assert scores[found] == pytest.approx(max(scores))
