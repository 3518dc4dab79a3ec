"""Every epoch is the same for the same seed, and holds what it should hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpulab.unet.order import (
    LARGEST_SHARE,
    EpochOrder,
    foreground_shares,
    group_shares,
    rare_shares,
    weighted_shares,
)


def drawn(order: EpochOrder, samples: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How often each sample comes in one epoch, without what fills the last batch."""
    indices = np.concatenate([order.batch(index) for index in range(len(order))])[:samples]
    return np.bincount(indices, minlength=samples)


@given(st.integers(1, 60), st.integers(1, 10), st.integers(0, 2**32 - 1))
def test_an_even_epoch_holds_every_sample_once(samples: int, batch: int, seed: int) -> None:
    assert (drawn(EpochOrder(samples, batch, seed), samples) == 1).all()


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60).filter(lambda values: sum(values) > 0.01),
    st.integers(1, 10),
    st.integers(0, 2**32 - 1),
)
def test_a_sample_comes_as_often_as_its_share_to_within_one(
    foreground: list[float], batch: int, seed: int
) -> None:
    shares = foreground_shares(np.array(foreground))
    order = EpochOrder(len(shares), batch, seed, shares)
    order.next_epoch()
    times = drawn(order, len(shares))
    assert (times >= np.floor(shares - 1e-9)).all()
    assert (times <= np.ceil(shares + 1e-9)).all()


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60))
def test_groups_share_half_of_an_epoch_evenly(groups: list[str]) -> None:
    shares = group_shares(groups)
    assert shares.mean() == pytest.approx(1)
    sums = {g: sum(shares[i] - 0.5 for i, x in enumerate(groups) if x == g) for g in set(groups)}
    each = len(groups) / len(sums) / 2
    assert all(value == pytest.approx(each) for value in sums.values())


def test_samples_without_a_group_are_groups_of_their_own() -> None:
    np.testing.assert_allclose(group_shares(["", "", "a", "a"]), [7 / 6, 7 / 6, 5 / 6, 5 / 6])


def test_the_seed_and_the_epoch_decide_the_order() -> None:
    shares = np.linspace(0.5, 1.5, 40)
    first, again = EpochOrder(40, 8, 3, shares), EpochOrder(40, 8, 3, shares)
    np.testing.assert_array_equal(first.batch(0), again.batch(0))
    before = first.batch(0).copy()
    first.next_epoch()
    assert not np.array_equal(first.batch(0), before)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60))
def test_rare_images_come_more_often_but_do_not_take_over(alike: list[int]) -> None:
    counts = np.array(alike, np.float64)
    shares = rare_shares(counts)
    assert shares.mean() == pytest.approx(1)
    assert (np.diff(shares[np.argsort(counts)]) <= 1e-12).all()
    assert shares.max() <= 2 * LARGEST_SHARE


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 1e6)), min_size=1, max_size=40).filter(
        lambda pairs: any(weight > 1e-3 for _, weight in pairs)
    )
)
def test_a_sample_of_twice_the_weight_comes_twice_as_often(pairs: list[tuple[int, float]]) -> None:
    alike, weights = (np.array(column, float) for column in zip(*pairs, strict=True))
    for shares in (None, rare_shares(alike)):
        weighted = weighted_shares(shares, weights)
        assert weighted is not None and weighted.mean() == pytest.approx(1)
        per_weight = weights if shares is None else weights * shares
        np.testing.assert_allclose(weighted * per_weight.sum(), per_weight * len(pairs), atol=1e-9)
        assert weighted_shares(shares, None) is shares
    drawn = EpochOrder(len(pairs), len(pairs), 0, weighted).batch(0)
    assert not np.isin(np.flatnonzero(weights == 0), drawn).any()
