from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpulab.masks.boundary import boundary, hausdorff_95
from gpulab.masks.decide import to_labels
from gpulab.masks.histogram import CURVE_THRESHOLDS, ScoreHistogram, area_under_roc
from gpulab.masks.score import METRICS, Decided, Scorer, count
from gpulab.models.overlap import Counts

MASK = hnp.arrays(np.bool_, (9, 11))


@settings(deadline=None)
@given(MASK, MASK)
def test_scores_agree_with_scikit_learn(true: Any, predicted: Any) -> None:
    from sklearn import metrics

    counts = count(true, predicted)
    t, p = true.ravel(), predicted.ravel()
    if t.any() or p.any():
        assert counts.dice == pytest.approx(metrics.f1_score(t, p, zero_division=0))
        assert counts.iou == pytest.approx(metrics.jaccard_score(t, p, zero_division=0))
    if t.any():
        assert counts.sensitivity == pytest.approx(metrics.recall_score(t, p))
    if p.any():
        assert counts.precision == pytest.approx(metrics.precision_score(t, p))
    if not t.all():
        expected = metrics.recall_score(t, p, pos_label=False)
        assert counts.specificity == pytest.approx(expected)
    assert sum((counts.tp, counts.fp, counts.fn, counts.tn)) == t.size


@settings(deadline=None)
@given(MASK, MASK)
def test_hausdorff_agrees_with_scikit_image(true: Any, predicted: Any) -> None:
    from skimage.metrics import hausdorff_distance

    assume(true.any() and predicted.any())
    expected = hausdorff_distance(boundary(true), boundary(predicted))
    assert hausdorff_95(true, predicted, 100) == pytest.approx(expected)
    assert hausdorff_95(true, predicted) <= expected + 1e-9
    assert hausdorff_95(true, predicted) == hausdorff_95(predicted, true)
    assert hausdorff_95(true, true) == 0


def test_hausdorff_of_a_shift_and_of_empty_masks() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:15, 5:15] = True
    # A tenth of the boundary pixels are the far side, so the 95th percentile is the full shift.
    assert hausdorff_95(mask, np.roll(mask, 4, axis=1)) == pytest.approx(4.0)
    empty = np.zeros_like(mask)
    assert math.isinf(hausdorff_95(mask, empty)) and math.isinf(hausdorff_95(empty, mask))
    assert math.isnan(hausdorff_95(empty, empty))


def test_empty_masks_follow_the_documented_rules() -> None:
    both = Counts(tp=0, fp=0, fn=0, tn=10)
    assert (both.dice, both.iou, both.specificity) == (1.0, 1.0, 1.0)
    assert math.isnan(both.sensitivity) and math.isnan(both.precision)
    missed = Counts(tp=0, fp=0, fn=3, tn=7)
    assert (missed.dice, missed.sensitivity) == (0.0, 0.0) and math.isnan(missed.precision)
    assert math.isnan(Counts(tp=10, fp=0, fn=0, tn=0).specificity)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 3.0, 12.0]))
def test_histogram_agrees_with_all_pixels(seed: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    true = random.random(4000) < 0.2
    logits = random.normal(-2, spread, 4000) + 2 * true
    p = (1 / (1 + np.exp(-logits))).astype(np.float32)
    histogram = ScoreHistogram()
    histogram.add(p[:1000], true[:1000])
    histogram.add(p[1000:], true[1000:])
    assert histogram.auc() == pytest.approx(area_under_roc(p, true), abs=2e-3)
    for point in histogram.curve():
        counts = count(true, p > np.float32(point.threshold))
        assert point.dice == pytest.approx(counts.dice)
        assert point.sensitivity == pytest.approx(counts.sensitivity)
        assert point.precision == pytest.approx(counts.precision, nan_ok=True)


def test_probabilities_at_the_threshold_are_background_everywhere() -> None:
    p = np.array(CURVE_THRESHOLDS, dtype=np.float32)
    histogram = ScoreHistogram()
    histogram.add(p, np.ones(len(p), dtype=bool))
    found = [point.sensitivity * len(p) for point in histogram.curve()]
    assert found == pytest.approx(list(range(len(p) - 1, -1, -1)))
    two = np.stack([1 - p, p], axis=-1)[None]
    masks = [int(to_labels(two, threshold).sum()) for threshold in CURVE_THRESHOLDS]
    assert masks == list(range(len(p) - 1, -1, -1))


def test_auc_needs_both_kinds() -> None:
    histogram = ScoreHistogram()
    assert math.isnan(histogram.auc())
    histogram.add(np.array([0.2, 0.9], dtype=np.float32), np.array([False, False]))
    assert math.isnan(histogram.auc())
    histogram.add(np.array([1.0, 0.0], dtype=np.float32), np.array([True, False]))
    assert histogram.auc() == 1.0
    assert math.isnan(area_under_roc(np.array([0.1], dtype=np.float32), np.array([True])))


def test_scorer_gives_pooled_mean_and_image_rows_for_each_class() -> None:
    truth = np.zeros((2, 8, 8), dtype=np.uint8)
    truth[0, :4, :4] = 1
    truth[0, 4:, 4:] = 2
    masks = truth.copy()
    masks[0, :4, 2:4] = 2
    probabilities = np.eye(3, dtype=np.float32)[masks]
    scorer = Scorer("m", [0.5], ["background", "left", "right"])
    used = np.array([0.5, 0.25], np.float32)
    dice = scorer.add("a", probabilities[0], {0.5: Decided(masks[0], used)}, truth[0])
    scorer.add("b", probabilities[1], {0.5: Decided(masks[1], used)}, truth[1])
    assert dice[0.5] == pytest.approx((2 * 8 / 24 + 2 * 16 / 40) / 2)
    rows = scorer.scores()
    assert [(r.class_name, r.scope, r.sample_id) for r in rows] == [
        ("left", "pooled", ""),
        ("left", "mean", ""),
        ("left", "image", "a"),
        ("left", "image", "b"),
        ("right", "pooled", ""),
        ("right", "mean", ""),
        ("right", "image", "a"),
        ("right", "image", "b"),
    ]
    pooled, mean = rows[0], rows[1]
    assert pooled.values["dice"] == pytest.approx(16 / 24)
    assert mean.values["dice"] == pytest.approx((16 / 24 + 1) / 2)
    assert (pooled.true_pixels, pooled.predicted_pixels) == (16, 8)
    assert "1 of 2 images" in pooled.note and "in 1 both are empty" in pooled.note
    assert set(pooled.values) == set(METRICS)
    assert [r.image_threshold for r in rows if r.scope == "image"] == [0.5, 0.5, 0.25, 0.25]
    assert math.isnan(pooled.image_threshold) and math.isnan(mean.image_threshold)
    assert rows[3].note.startswith("both masks are empty")
