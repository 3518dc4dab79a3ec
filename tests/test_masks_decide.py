"""Classes are decided as promised, and an image's own threshold has the largest expected Dice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpulab.masks import decide as module
from gpulab.masks.decide import LOWEST_SHARE, STEPS, image_thresholds, to_labels


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


def image(foreground: NDArray[np.float64]) -> NDArray[np.float32]:
    """Probabilities (1, pixels, 2) of an image."""
    return np.stack([1 - foreground, foreground], axis=-1)[np.newaxis].astype(np.float32)


def best_by_sorting(p: NDArray[np.float64]) -> float:
    """The largest expected Dice over the number of pixels that are taken."""
    ordered = np.sort(p)[::-1]
    return max(2 * ordered[:k].sum() / (k + ordered.sum()) for k in range(1, len(ordered) + 1))


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60).filter(any),
    st.sampled_from([0.05, 0.3, 0.5, 0.95]),
)
@settings(deadline=None)
def test_the_threshold_is_half_of_the_largest_expected_dice(
    values: list[float], own: float
) -> None:
    p = np.array(values)
    (found,) = image_thresholds(image(p), own)
    expected = np.clip(best_by_sorting(p) / 2, LOWEST_SHARE * own, own)
    assert found == pytest.approx(expected, abs=2 / STEPS)


@pytest.mark.parametrize("power", [1, 3, 6])
def test_no_threshold_has_more_dice_when_probabilities_are_right(power: int) -> None:
    random = np.random.default_rng(power)
    p = random.random(20_000) ** power
    truth = random.random(p.shape) < p
    probabilities = image(p)
    # An own threshold of 1 leaves the range from 0.5; of 0.5 that from 0.25.
    (found,) = image_thresholds(probabilities, 0.5)

    def dice(threshold: float) -> float:
        mask = to_labels(probabilities, threshold)[0] == 1
        return 2 * np.count_nonzero(mask & truth) / (mask.sum() + truth.sum())

    assert dice(float(found)) > max(map(dice, np.linspace(0.25, 0.5, 26))) - 0.003
    assert power == 1 or dice(float(found)) > dice(0.5) + 0.01


def test_without_foreground_the_threshold_does_not_fall_below_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for faint in (np.zeros(50), np.full(50, 0.01), np.full(50, np.nan)):
        assert image_thresholds(image(faint), 0.4).tolist() == [pytest.approx(0.2)]
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", 7)
    sure = np.r_[np.ones(10), np.zeros(40)]
    assert image_thresholds(image(sure), 0.4).tolist() == [pytest.approx(0.4)]


def test_classes_are_looked_at_one_by_one() -> None:
    doubt = np.r_[np.full(10, 0.3), np.zeros(40)]
    sure = np.r_[np.zeros(40), np.ones(10)]
    probabilities = np.stack([1 - doubt - sure, doubt, sure], axis=-1)[np.newaxis]
    thresholds = image_thresholds(probabilities.astype(np.float32), 0.4)
    assert thresholds.tolist() == [pytest.approx(0.3 / 1.3, abs=0.002), pytest.approx(0.4)]
