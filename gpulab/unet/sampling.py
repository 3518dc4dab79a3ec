"""How often each training sample comes in an epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpulab.unet.data import Samples
from gpulab.unet.likeness import count_alike
from gpulab.unet.order import foreground_shares, group_shares, rare_shares, weighted_shares


def shares_for(sampling: str, training: Samples) -> NDArray[np.float64] | None:
    """Return how often to draw each sample by its looks, group or foreground, and by its weight.

    Args:
        sampling: One of `gpulab.unet.settings.SAMPLINGS`.
        training: The training samples.

    Returns:
        Shares with the mean 1, float64 (samples,); None for once each.
    """
    shares = weighted_shares(_by_choice(sampling, training), training.weights)
    if shares is not None:
        weighted = "" if training.weights is None else " with the weights of the file"
        print(
            f"Sampling {sampling!r}{weighted}: an image comes {shares.min():.2f} to "
            f"{shares.max():.2f} times an epoch, {np.count_nonzero(shares > 2)} more than twice"
        )
    return shares


def _by_choice(sampling: str, training: Samples) -> NDArray[np.float64] | None:
    if sampling == "rare":
        return rare_shares(count_alike(training))
    if sampling == "foreground":
        return foreground_shares(training.statistics.each_foreground)
    if sampling == "groups" and training.groups is not None:
        return group_shares(training.groups)
    return None
