"""Deciding which sample goes to which part: seeded, balanced, whole groups kept together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError

FOREGROUND_BINS = 4
_MAX_ROUNDS = 5


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
    brings closest to its share of the samples, of every stratum and of all foreground, larger
    groups first and equal ones in a seeded order: the idea of scikit-learn's
    `StratifiedGroupKFold` (Pedregosa et al., JMLR 12, 2011) for unequal shares.

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
    amounts = np.zeros((count, int(strata.max()) + 3))
    np.add.at(amounts, (units, strata), 1.0)
    np.add.at(amounts[:, -2], units, foreground)
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
    """Return the part of each group.

    Args:
        shares: Share of each part, float64 (parts,).
        amounts: What is to be shared out alike, float64 (groups, kinds); the last kind is the
            number of samples.
        random: Orders groups of equal size.

    Returns:
        int64 (groups,).
    """
    totals = amounts.sum(axis=0)
    counts = amounts[:, totals > 0] / totals[totals > 0]
    have = np.zeros((len(shares), counts.shape[1]))
    wanted = np.repeat(shares[:, None], counts.shape[1], axis=1)
    parts = np.full(len(counts), -1, dtype=np.int64)

    order = random.permutation(len(counts))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    for turn in range(_MAX_ROUNDS):
        moved = False
        for unit in order:
            here = parts[unit]
            if here >= 0:
                have[here] -= counts[unit]
            # Growth of the squared distance from the shares, for each part.
            best = int(np.argmin(((2 * (have - wanted) + counts[unit]) * counts[unit]).sum(axis=1)))
            moved |= best != here
            parts[unit] = best
            have[best] += counts[unit]
        if not moved and turn:
            break
    return _fill_empty(parts, counts[:, -1], shares)


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
