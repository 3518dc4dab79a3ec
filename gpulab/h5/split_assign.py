"""Deciding which sample goes to which part: seeded, balanced, whole groups kept together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError

FOREGROUND_BINS = 4
_MAX_ROUNDS = 5
_MAX_TRIALS, _MAX_STEPS = 50, 20_000


def foreground_strata(fractions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Sort samples into strata by how much foreground they hold.

    Args:
        fractions: Share of foreground pixels, float64 (n,).

    Returns:
        int64 (n,): 0 for samples without foreground, 1 to 4 for the quarters of the others.
    """
    strata = np.zeros(len(fractions), dtype=np.int64)
    some = fractions > 0
    if some.any():
        edges = np.quantile(fractions[some], np.arange(1, FOREGROUND_BINS) / FOREGROUND_BINS)
        strata[some] = 1 + np.searchsorted(edges, fractions[some], side="right")
    return strata


def assign(
    shares: Sequence[float],
    seed: int,
    foreground: NDArray[np.float64],
    groups: Sequence[str] | None = None,
) -> NDArray[np.int64]:
    """Assign each sample to a part.

    Without groups the sizes of the parts are exact to one sample, and within each stratum of
    `foreground_strata` to about one. With groups each group goes as a whole to the part that it
    brings closest to its share of the samples, the groups, every stratum and all foreground, larger
    groups first: the idea of scikit-learn's `StratifiedGroupKFold` (Pedregosa et al., JMLR 12,
    2011) for unequal shares. The best of up to 50 seeded orders is taken.

    Args:
        shares: Share of each part; all above 0, their sum is 1.
        seed: Seed of every random choice.
        foreground: Share of foreground pixels of each sample, float64 (n,); all the same for an
            assignment without strata.
        groups: Group of each sample; a sample with an empty group name is a group of its own.

    Returns:
        Number of the part of each sample, int64 (n,); no part is empty.

    Raises:
        InputError: There are fewer samples or groups than parts.
    """
    random = np.random.default_rng(seed)
    if len(foreground) < len(shares):
        raise InputError(
            f"There are only {len(foreground)} samples for {len(shares)} parts, give more samples"
        )
    strata = foreground_strata(foreground)
    if groups is None:
        return _spread(np.asarray(shares), strata, random)
    units = _units(groups)
    count = int(units.max()) + 1
    if count < len(shares):
        raise InputError(
            f"There are only {count} groups for {len(shares)} parts and no group may be on two "
            f"sides, give more groups or leave the name of the groups empty"
        )
    if count == len(strata):
        return _spread(np.asarray(shares), strata, random)
    amounts = np.zeros((count, int(strata.max()) + 4))
    np.add.at(amounts, (units, strata), 1.0)
    np.add.at(amounts[:, -3], units, foreground)
    amounts[:, -2] = 1.0  # or one part would get few large groups and another many small ones
    amounts[:, -1] = np.bincount(units)
    return _assign_units(np.asarray(shares), amounts, random)[units]


def part_sizes(shares: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return sizes that add up to `count`, by largest remainders, none of them 0."""
    exact = shares * count
    sizes = np.floor(exact).astype(np.int64)
    sizes[np.argsort(sizes - exact, kind="stable")[: count - int(sizes.sum())]] += 1
    while (sizes == 0).any():
        sizes[int(np.argmin(sizes))] += 1
        sizes[int(np.argmax(sizes))] -= 1
    return sizes


def _spread(
    shares: NDArray[np.float64], strata: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Deal samples out evenly along the strata, in random order within each."""
    sizes = part_sizes(shares, len(strata))
    order = np.lexsort((random.random(len(strata)), strata))
    # Each part takes its turns at even distances, so that every stretch is shared out alike.
    turns = np.concatenate([(np.arange(size) + random.random()) / size for size in sizes])
    parts = np.repeat(np.arange(len(sizes)), sizes)[np.argsort(turns, kind="stable")]
    assigned = np.empty(len(strata), dtype=np.int64)
    assigned[order] = parts
    return assigned


def _units(groups: Sequence[str]) -> NDArray[np.int64]:
    """Number the groups from 0 in the order in which they first occur."""
    numbers: dict[str | int, int] = {}
    keys: list[str | int] = [name or index for index, name in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _assign_units(
    shares: NDArray[np.float64], amounts: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Return the part of each group: the best of several greedy assignments.

    Args:
        shares: Share of each part, float64 (parts,).
        amounts: What is to be shared out alike, float64 (groups, kinds); the last kind is the
            number of samples.
        random: Orders groups.

    Returns:
        int64 (groups,).
    """
    totals = amounts.sum(axis=0)
    counts = amounts[:, totals > 0] / totals[totals > 0]
    sizes = counts[:, -1]
    best, least = np.zeros(len(counts), dtype=np.int64), np.inf
    for _ in range(int(np.clip(_MAX_STEPS // len(counts), 1, _MAX_TRIALS))):
        # Larger first, but not always in the same order.
        order = np.argsort(-sizes * random.uniform(0.5, 1.0, len(sizes)), kind="stable")
        parts = _fill_empty(_greedy(shares, counts, order), sizes, shares)
        have = np.zeros((len(shares), counts.shape[1]))
        np.add.at(have, parts, counts)
        distance = float(((have - shares[:, None]) ** 2 / shares[:, None]).sum())
        if distance < least:
            best, least = parts, distance
    return best


def _greedy(
    shares: NDArray[np.float64], counts: NDArray[np.float64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Give each group in turn to the part that gains most, then move groups while that helps.

    What is made small is the chi-squared distance from the shares, so that one per cent more weighs
    more in a small part than in a large one.
    """
    parts = np.full(len(counts), -1, dtype=np.int64)
    excess = np.repeat(-shares[:, None], counts.shape[1], axis=1)
    for _ in range(_MAX_ROUNDS):
        moved = False
        for unit in order:
            here, amount = parts[unit], counts[unit]
            if here >= 0:
                excess[here] -= amount
            growth = (2 * excess + amount) @ amount / shares
            there = int(np.argmin(growth))
            moved |= bool(there != here)
            parts[unit] = there
            excess[there] += amount
        if not moved:
            break
    return parts


def _fill_empty(
    parts: NDArray[np.int64], sizes: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Give each empty part the smallest group of the part with the most groups."""
    for part in range(len(shares)):
        if not (parts == part).any():
            giver = int(np.argmax(np.bincount(parts, minlength=len(shares))))
            candidates = np.flatnonzero(parts == giver)
            parts[candidates[np.argmin(sizes[candidates])]] = part
    return parts
