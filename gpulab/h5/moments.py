"""Mean and standard deviation of numbers that come in pieces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Moments:
    """Counts numbers without keeping them."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._squares = 0.0

    def add(self, values: NDArray[Any]) -> None:
        """Count an array of any shape."""
        self._count += values.size
        self._sum += float(values.sum(dtype=np.float64))
        self._squares += float(np.square(values, dtype=np.float64).sum())

    @property
    def mean(self) -> float:
        """The mean; NaN before the first number."""
        return self._sum / self._count if self._count else math.nan

    @property
    def deviation(self) -> float:
        """The standard deviation; NaN before the first number."""
        if not self._count:
            return math.nan
        return math.sqrt(max(self._squares / self._count - self.mean**2, 0.0))
