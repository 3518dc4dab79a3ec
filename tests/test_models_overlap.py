"""The overlap measures are those of scikit-learn, at any threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from gpulab.models.overlap import Counts, ProbabilityHistogram


@given(seed=st.integers(0, 1000), threshold=st.sampled_from([0.05, 0.1, 0.3, 0.5, 0.95]))
@settings(max_examples=30, deadline=None)
def test_measures_agree_with_scikit_learn(seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, (2, 9, 7)).astype(np.uint8)
    # Two decimals, so that many probabilities are exactly a threshold, which is not above it.
    foreground = random.integers(0, 101, labels.shape).astype(np.float32) / 100
    histogram = ProbabilityHistogram(2)
    for index in range(2):
        one = slice(index, index + 1)
        histogram.add(labels[one], np.stack([1 - foreground, foreground], axis=-1)[one])
    (counts,) = histogram.counts(threshold)
    true, predicted = labels.ravel(), (foreground.ravel() > np.float32(threshold)).astype(int)
    options = {"zero_division": np.nan}
    assert counts.dice == pytest.approx(metrics.f1_score(true, predicted))
    assert counts.iou == pytest.approx(metrics.jaccard_score(true, predicted))
    assert counts.precision == pytest.approx(
        metrics.precision_score(true, predicted, **options), nan_ok=True
    )
    assert counts.sensitivity == pytest.approx(metrics.recall_score(true, predicted, **options))
    assert counts.specificity == pytest.approx(
        metrics.recall_score(true, predicted, pos_label=0, **options)
    )


def test_two_empty_masks_agree() -> None:
    counts = Counts(tp=0, fp=0, fn=0, tn=9)
    assert counts.dice == counts.iou == 1.0
    assert np.isnan(counts.sensitivity)
    assert counts.specificity == 1.0


def test_the_best_threshold_separates_what_can_be_separated() -> None:
    labels = np.array([[[0, 0, 1, 1]]], dtype=np.uint8)
    foreground = np.array([[[0.1, 0.2, 0.26, 0.9]]], dtype=np.float32)
    histogram = ProbabilityHistogram(2)
    histogram.add(labels, np.stack([1 - foreground, foreground], axis=-1))
    assert histogram.best_threshold() in (0.2, 0.25)
    assert histogram.mean_dice(histogram.best_threshold()) == 1.0


def test_probabilities_that_are_no_numbers_are_no_foreground() -> None:
    histogram = ProbabilityHistogram(2)
    histogram.add(np.ones((1, 1, 2), np.uint8), np.full((1, 1, 2, 2), np.nan, np.float32))
    (counts,) = histogram.counts(0.5)
    assert (counts.tp, counts.fn) == (0, 2)


@given(st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any))
def test_an_image_of_twice_the_weight_counts_like_two(weights: list[int]) -> None:
    random = np.random.default_rng(5)
    labels = random.integers(0, 3, (4, 5, 6)).astype(np.uint8)
    probabilities = random.random((4, 5, 6, 3), np.float32)
    weighted, repeated = ProbabilityHistogram(3), ProbabilityHistogram(3)
    weighted.add(labels, probabilities, np.array(weights, float))
    repeated.add(labels.repeat(weights, axis=0), probabilities.repeat(weights, axis=0))
    np.testing.assert_array_equal(weighted.positive, repeated.positive)
    np.testing.assert_array_equal(weighted.negative, repeated.negative)
    assert weighted.counts(0.5) == repeated.counts(0.5)
