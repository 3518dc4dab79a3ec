"""The Dice to be expected of an image is that of its truth, and thresholds follow it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpulab.models import adapt as module
from gpulab.models.adapt import LOWEST_SHARE, STEPS, adapt, expected_dice


def best_by_sorting(p: NDArray[np.float64]) -> float:
    """The largest expected Dice over the number of pixels that are taken."""
    ordered = np.sort(p)[::-1]
    taken = range(1, len(ordered) + 1)
    return max(2 * ordered[:k].sum() / max(k + ordered.sum(), 1) for k in taken)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60))
@settings(deadline=None)
def test_expected_dice_is_that_of_the_best_number_of_pixels(values: list[float]) -> None:
    p = np.array(values)
    found = expected_dice(p.astype(np.float32))
    assert found == pytest.approx(best_by_sorting(p), abs=2 / STEPS)
    assert 0 <= found <= 1 + 1e-9


@pytest.mark.parametrize("power", [1, 3, 6])
def test_half_of_the_expected_dice_is_the_best_threshold_of_right_probabilities(power: int) -> None:
    random = np.random.default_rng(power)
    p = (random.random(20_000) ** power).astype(np.float32)
    truth = random.random(p.shape) < p

    def dice(threshold: float) -> float:
        mask = p > threshold
        return float(2 * np.count_nonzero(mask & truth) / (mask.sum() + truth.sum()))

    expected = expected_dice(p)
    assert dice(expected / 2) == pytest.approx(expected, abs=0.02)
    assert dice(expected / 2) > max(map(dice, np.linspace(0.05, 0.95, 91))) - 0.003
    assert power == 1 or dice(expected / 2) > dice(0.5) + 0.01


def test_no_pixel_is_lost_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    p = np.random.default_rng(0).random((11, 13), dtype=np.float32)
    whole = expected_dice(p)
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", 7)
    assert expected_dice(p) == pytest.approx(whole)
    assert expected_dice(np.full((3, 3), np.nan, np.float32)) == 0.0


@given(st.floats(0.01, 0.99), st.floats(0, 1), st.sampled_from([0.5, 0.7, 1.0]))
def test_a_threshold_falls_with_the_expected_dice_down_to_half(
    threshold: float, expected: float, sure: float
) -> None:
    found = adapt(threshold, expected, sure)
    assert LOWEST_SHARE * threshold <= found <= threshold
    assert found == threshold or expected < sure
    assert adapt(threshold, expected, 0.0) == threshold
    assert adapt(threshold, 0.0, sure) == LOWEST_SHARE * threshold
