"""Fitting images of any size to a model: reflecting borders, or overlapping windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError

FitMode = Literal["auto", "pad", "tile", "resize"]
# Above this an image whose size is free is cut into windows by default: activations of a wide U-Net
# would take several GiB.
WHOLE_IMAGE_PIXELS = 1024 * 1024
# Keeps the weight of a border pixel, which may lie in a single window, away from zero.
LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class Fit:
    """How images are fitted to a model.

    Attributes:
        mode: `pad`: reflect the borders up to a size that the model takes; `tile`: overlapping
            windows; `auto`: padding where an image fits the model, windows otherwise; `resize`: to
            the size of the model's training images, and the result back.
        tile: Height and width of windows in pixels, where the model does not fix them.
        overlap: Share of a window that overlaps with the next, at least 0 and below 1.
    """

    mode: FitMode = "auto"
    tile: int = 512
    overlap: float = 0.25


@dataclass(frozen=True)
class Plan:
    """The windows over one image.

    Attributes:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        padding: Pixels to reflect above, below, left and right.
        window: Height and width of every window.
        starts: Upper left corners of the windows in the padded image.
    """

    height: int
    width: int
    padding: tuple[int, int, int, int]
    window: tuple[int, int]
    starts: tuple[tuple[int, int], ...]

    @property
    def whole(self) -> bool:
        """Whether the image goes through the model as it is."""
        return len(self.starts) == 1 and not any(self.padding)

    @property
    def words(self) -> str:
        """Say what is done with the image."""
        if self.whole:
            return "whole, as they are"
        size = f"{self.window[0]} × {self.window[1]}"
        if len(self.starts) > 1:
            return f"{len(self.starts)} windows of {size}, overlapping and blended"
        return f"padded to {size} by reflection"


def make_plan(
    height: int,
    width: int,
    fit: Fit,
    fixed: tuple[int | None, int | None] = (None, None),
    multiple: int = 1,
) -> Plan:
    """Plan how an image goes through a model.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        fit: What the user chose.
        fixed: Height and width that the model demands, None where free.
        multiple: Free lengths must be multiples of this.

    Raises:
        InputError: The image is larger than the model takes, and padding was asked for.
    """
    tile = _tiles(height, width, fit, fixed)
    axes = []
    for length, demanded in ((height, fixed[0]), (width, fixed[1])):
        if not tile and demanded is not None and length > demanded:
            raise InputError(
                f"The images have {height} x {width} pixels but the model takes at most {demanded} "
                f"in one direction, choose tiling"
            )
        whole = math.ceil(length / multiple) * multiple
        wanted = math.ceil(fit.tile / multiple) * multiple if tile else whole
        axes.append(_axis(length, demanded or min(whole, wanted), fit.overlap))
    (top, bottom, window_height, rows), (left, right, window_width, columns) = axes
    return Plan(
        height,
        width,
        (top, bottom, left, right),
        (window_height, window_width),
        tuple(product(rows, columns)),
    )


def _tiles(height: int, width: int, fit: Fit, fixed: tuple[int | None, int | None]) -> bool:
    if fit.mode != "auto":
        return fit.mode == "tile"
    if any(f is not None and length > f for length, f in zip((height, width), fixed, strict=True)):
        return True
    return None in fixed and height * width > WHOLE_IMAGE_PIXELS


def _axis(length: int, window: int, overlap: float) -> tuple[int, int, int, list[int]]:
    """Return the padding before and after, the window, and where windows start along one axis."""
    missing = max(0, window - length)
    room = length + missing - window
    step = max(1, round(window * (1 - overlap)))
    count = 1 + math.ceil(room / step)
    # Spread evenly, so that the last window does not overlap more than the others.
    starts = np.round(np.linspace(0, room, count)).astype(int).tolist()
    return missing // 2, missing - missing // 2, window, starts


def cut(image: NDArray[np.float32], plan: Plan) -> list[NDArray[np.float32]]:
    """Cut an image (h, w, c) into the windows of its plan, in the order of `plan.starts`."""
    top, bottom, left, right = plan.padding
    if any(plan.padding):
        image = np.pad(image, ((top, bottom), (left, right), (0, 0)), mode="reflect")
    height, width = plan.window
    return [image[y : y + height, x : x + width] for y, x in plan.starts]


class Merger:
    """Puts the windows of one image together again.

    Where windows overlap, the mean is weighted by a cosine bell over each window, which takes the
    seams away: a network knows least about the borders of what it sees.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._left = len(plan.starts)
        self._sum: NDArray[np.float32] | None = None
        self._weights: NDArray[np.float32] | None = None

    @property
    def complete(self) -> bool:
        """Whether every window came back."""
        return self._left == 0

    def add(self, number: int, values: NDArray[np.float32]) -> None:
        """Add the result, float32 (window h, window w, k), of window `number`."""
        self._left -= 1
        if len(self._plan.starts) == 1:
            self._sum = values
            return
        top, bottom, left, right = self._plan.padding
        shape = (self._plan.height + top + bottom, self._plan.width + left + right)
        if self._sum is None or self._weights is None:
            self._sum = np.zeros((*shape, values.shape[-1]), dtype=np.float32)
            self._weights = np.zeros((*shape, 1), dtype=np.float32)
        y, x = self._plan.starts[number]
        height, width = self._plan.window
        bell = _bell(height)[:, None, None] * _bell(width)[None, :, None]
        self._sum[y : y + height, x : x + width] += values * bell
        self._weights[y : y + height, x : x + width] += bell

    def result(self) -> NDArray[np.float32]:
        """Return the whole image's result in its own size, float32 (h, w, k)."""
        if self._sum is None or not self.complete:
            raise ValueError("Windows are missing")
        values = self._sum if self._weights is None else self._sum / self._weights
        top, _, left, _ = self._plan.padding
        inside = values[top : top + self._plan.height, left : left + self._plan.width]
        # The weighted mean of numbers up to 1 may exceed 1 by rounding.
        return np.clip(inside, 0.0, 1.0) if self._weights is not None else inside


def _bell(length: int) -> NDArray[np.float32]:
    place = (np.arange(length) + 0.5) / length
    bell: NDArray[np.float64] = np.maximum(np.sin(np.pi * place) ** 2, LEAST_WEIGHT)
    return bell.astype(np.float32)
