"""Classes are decided as promised, by one threshold or by one for each class."""

from __future__ import annotations

import numpy as np
import pytest

from gpulab.masks.decide import image_thresholds, to_labels


def test_labels_take_the_best_class_above_the_threshold() -> None:
    probabilities = np.array(
        [[[0.9, 0.1, 0.0], [0.1, 0.5, 0.4], [0.1, 0.3, 0.6], [0.4, 0.3, 0.3]]], dtype=np.float32
    )
    assert to_labels(probabilities, 0.45).tolist() == [[0, 1, 2, 0]]
    assert to_labels(probabilities, 0.2).tolist() == [[0, 1, 2, 1]]
    edge = np.array([[[0.9, 0.1]]], dtype=np.float32)
    assert to_labels(edge, 0.1).tolist() == [[0]], "0.1 as float32 is not above 0.1"


def test_each_class_has_its_own_threshold() -> None:
    probabilities = np.array([[[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]], dtype=np.float32)
    assert to_labels(probabilities, np.array([0.4, 0.2], np.float32)).tolist() == [[1, 2]]
    assert to_labels(probabilities, np.array([0.6, 0.2], np.float32)).tolist() == [[2, 2]]
    assert to_labels(probabilities, np.array([0.6, 0.4], np.float32)).tolist() == [[0, 0]]


def test_classes_are_looked_at_one_by_one() -> None:
    doubt = np.r_[np.full(10, 0.3), np.zeros(40)]
    sure = np.r_[np.zeros(40), np.ones(10)]
    probabilities = np.stack([1 - doubt - sure, doubt, sure], axis=-1)[np.newaxis]
    thresholds = image_thresholds(probabilities.astype(np.float32), 0.4, 0.8)
    # Ten pixels of 0.3: three of the ten are right, of three that there are.
    assert thresholds.tolist() == [pytest.approx(0.4 * (6 / 13) / 0.8), pytest.approx(0.4)]
    assert thresholds.dtype == np.float32
    one_for_all = image_thresholds(probabilities.astype(np.float32), 0.4, 0.0)
    assert one_for_all.tolist() == [pytest.approx(0.4)] * 2
