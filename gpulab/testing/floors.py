"""What a segmentation must beat: masks made without looking at more than one grey value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    edges[-1] = np.nextafter(edges[-1], np.inf)
    every = _below(grey, edges)
    found = []
    for number in range(1, classes):
        true = _below(grey[labels == number], edges)
        # Row: lower end of the band, column: upper end.
        inside, hits = every - every[:, None], true - true[:, None]
        found.append(float(np.max(np.triu(2 * hits) / (np.abs(inside) + max(true[-1], 1)))))
    return float(np.mean(found))


def _below(grey: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    counts, _ = np.histogram(grey, edges)
    return np.concatenate([[0], np.cumsum(counts)])
