"""What is known of each sample of a dataset that is being built: name, group, weight."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gpulab.errors import InputError
from gpulab.h5.build_names import MAX_NAME, listing
from gpulab.h5.build_options import BuildOptions
from gpulab.h5.build_survey import Seen, Survey
from gpulab.h5.limits import readable


@dataclass(frozen=True)
class EachSample:
    """Groups and weights by the names of samples, as far as there are any.

    Attributes:
        groups: Patient, volume, …; None without groups.
        weights: How much a sample counts in training, 0 or more; None without weights.
    """

    groups: dict[str, str] | None = None
    weights: dict[str, float] | None = None


def sample_ids(seen: Seen) -> list[str]:
    """Return the name of every slice of a file: `name`, or `name_s012` where there are several."""
    name = readable(seen.pair.name, MAX_NAME)
    if seen.count == 1:
        return [name]
    return [f"{name}_s{index:03d}" for index in range(seen.count)]


def each_sample(
    found: Survey,
    options: BuildOptions,
    groups: dict[str, str] | None = None,
    weights: dict[str, str] | None = None,
) -> EachSample:
    """Say to which group each sample belongs and how much it counts.

    Args:
        found: All files.
        options: Where groups come from.
        groups: For the choice `table`: sample name, file name, or file name without ending, to
            group.
        weights: The same to weight; None without weights.

    Returns:
        Groups and weights.

    Raises:
        InputError: Two samples of one name, a pattern that does not fit, names that a table lacks,
            or a weight that is no number of 0 or more.
    """
    owners: dict[str, Seen] = {}
    for seen in found.seen:
        for name in sample_ids(seen):
            if name in owners:
                raise InputError(f"Two samples would be called {name}, rename one of the files")
            owners[name] = seen
    return EachSample(_groups(owners, found, options, groups or {}), _weights(owners, weights))


def _groups(
    owners: dict[str, Seen], found: Survey, options: BuildOptions, table: dict[str, str]
) -> dict[str, str] | None:
    if options.groups == "none":
        return None
    if options.groups == "auto":
        several = any(seen.count > 1 for seen in found.seen)
        return {n: readable(s.pair.name, MAX_NAME) for n, s in owners.items()} if several else None
    if options.groups == "pattern" and options.group_pattern is not None:
        names = [seen.pair.image.identifier for seen in found.seen]
        keys = dict(zip(names, options.group_pattern.keys(names), strict=True))
        return {n: readable(keys[s.pair.image.identifier], MAX_NAME) for n, s in owners.items()}
    listed = _from_table(owners, table, "groups")
    return {name: readable(group, MAX_NAME) for name, group in listed.items()}


def _weights(owners: dict[str, Seen], table: dict[str, str] | None) -> dict[str, float] | None:
    if table is None:
        return None
    weights = {}
    for name, text in _from_table(owners, table, "weights").items():
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not 0 <= weight < math.inf:
            raise InputError(
                f"The table of weights gives {name} the weight {readable(text)}, give numbers of 0 "
                f"or more"
            )
        weights[name] = weight
    if not any(weights.values()):
        raise InputError("The table of weights gives all samples 0, give some a weight above 0")
    return weights


def _from_table(owners: dict[str, Seen], table: dict[str, str], what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    missing: list[str] = []
    for name, seen in owners.items():
        keys = (name, seen.pair.image.identifier, seen.pair.name)
        value = next((table[key] for key in keys if key in table), None)
        if value is None:
            missing.append(name)
        else:
            found[name] = value
    if missing:
        raise InputError(
            f"The table of {what} lacks {len(missing)} of {len(owners)} samples: "
            f"{listing(missing)}; add them, by the name of the sample or of its file"
        )
    return found
