"""What a segmentation must beat, for arrays in memory: masks that need no model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.masks.floors import best_band

LEVELS = 200


def everything_dice(labels: NDArray[np.uint8], classes: int) -> float:
    """Return the pooled Dice of calling every pixel foreground, averaged over the classes.

    Args:
        labels: Class numbers, uint8, any shape.
        classes: Classes, background included.
    """
    shares = np.array([(labels == number).mean() for number in range(1, classes)])
    return float(np.mean(2 * shares / (1 + shares)))


def grey_band_dice(images: NDArray[Any], labels: NDArray[np.uint8], classes: int) -> float:
    """Return the largest pooled Dice of any band of grey values, averaged over the classes.

    Each class has the band that is best for these very slices, which no threshold chosen
    beforehand can beat.

    Args:
        images: Any number type (n, h, w, channels); the first channel counts.
        labels: Class numbers, uint8 (n, h, w).
        classes: Classes, background included.
    """
    grey = images[..., 0].astype(np.float64)
    edges = np.unique(np.quantile(grey, np.linspace(0, 1, LEVELS + 1)))
    bins = np.digitize(grey, edges[1:-1])
    pixels = np.bincount(bins.ravel(), minlength=len(edges))
    found = []
    for number in range(1, classes):
        true = np.bincount(bins[labels == number], minlength=len(edges))
        band = best_band(true, pixels)
        inside = slice(band[0], band[1] + 1) if band else slice(0)
        hits = true[inside].sum()
        found.append(2 * hits / (pixels[inside].sum() + true.sum()))
    return float(np.mean(found))
