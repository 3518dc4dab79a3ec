"""Which samples make which batch of which epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# One odd picture among a thousand that look alike must not fill half of the epoch.
LARGEST_SHARE = 8.0


class EpochOrder:
    """Which samples make which batch; the same for the same seed, epoch and batch.

    Args:
        samples: Number of samples.
        batch_size: Samples in a batch; a last smaller batch is filled up from the epoch's start.
        seed: Seed of the order and of the augmentation.
        shares: How often each sample is drawn in an epoch on average, float64 (samples,) with the
            mean 1; None draws each once. A sample comes either the whole number of times below its
            share or once more (systematic sampling, Madow 1949, doi:10.1214/aoms/1177729988), so
            that no epoch misses what it should hold.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        seed: int,
        shares: NDArray[np.float64] | None = None,
    ) -> None:
        self._samples, self._batch_size, self._seed = samples, batch_size, seed
        self._shares = shares
        self.epoch = 0
        self._order = self._shuffled()

    def __len__(self) -> int:
        return -(-self._samples // self._batch_size)

    def next_epoch(self) -> None:
        """Shuffle anew."""
        self.epoch += 1
        self._order = self._shuffled()

    def _shuffled(self) -> NDArray[np.int64]:
        random = np.random.default_rng([self._seed, self.epoch])
        order = random.permutation(self._samples)
        if self._shares is not None:
            # Marks at equal distances on the line of all shares, laid out in random order.
            marks = np.arange(self._samples) + random.random()
            ends = np.cumsum(self._shares[order])
            drawn = np.searchsorted(ends, marks * (ends[-1] / self._samples), side="right")
            order = random.permutation(order[np.minimum(drawn, self._samples - 1)])
        return np.resize(order, len(self) * self._batch_size)

    def batch(self, index: int) -> NDArray[np.int64]:
        """Return the indices of the samples of batch `index`, int64 (batch_size,)."""
        return self._order[index * self._batch_size : (index + 1) * self._batch_size]

    def random(self, index: int) -> np.random.Generator:
        """Return the source of random numbers for the augmentation of batch `index`."""
        return np.random.default_rng([self._seed, self.epoch, index])


def foreground_shares(foreground: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how often to draw each sample, so that those with much foreground come more often.

    Args:
        foreground: Share of foreground pixels in each sample, float64 (samples,), not all zero.

    Returns:
        Shares with the mean 1, float64 (samples,).
    """
    return _half_even(foreground)


def group_shares(groups: Sequence[str]) -> NDArray[np.float64]:
    """Return how often to draw each sample, so that small groups are not lost beside large ones.

    Args:
        groups: Group of each sample (patient, volume); one with an empty name is its own group.

    Returns:
        Shares with the mean 1, float64 (samples,).
    """
    keys: list[str | int] = [name or number for number, name in enumerate(groups)]
    sizes = Counter(keys)
    return _half_even(np.array([1.0 / sizes[key] for key in keys]))


def rare_shares(alike: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how often to draw each sample, so that those that look alike share their turns.

    Args:
        alike: How many samples look like each one, itself included, float64 (samples,), at least 1.

    Returns:
        Shares with the mean 1, float64 (samples,).
    """
    return _half_even(1.0 / alike)


def weighted_shares(
    shares: NDArray[np.float64] | None, weights: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """Return how often to draw each sample, given what it counts: twice as often for twice as much.

    Args:
        shares: How often each would come without weights, float64 (samples,); None for once each.
        weights: How much each counts, float64 (samples,), not all zero; None for all the same.

    Returns:
        Shares with the mean 1, float64 (samples,); None for once each.
    """
    if weights is None:
        return shares
    weighted = weights if shares is None else shares * weights
    return np.asarray(weighted / weighted.mean(), np.float64)


def _half_even(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mix even shares with weighted ones, so that nothing is left out and nothing takes over."""
    shares = np.minimum(0.5 + 0.5 * weights / weights.mean(), LARGEST_SHARE)
    return np.asarray(shares / shares.mean(), np.float64)
