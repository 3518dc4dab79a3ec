"""What the drawn data of `varied` are made of: noise, ramps, stripes and objects in a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Size = tuple[int, int]


def smooth_noise(random: np.random.Generator, size: Size, sigma: float) -> Field:
    """Return Gaussian noise blurred by `sigma` pixels, with mean 0 and deviation 1."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(random.standard_normal(size), sigma, mode="wrap")
    return np.asarray((field - field.mean()) / field.std())


def ramp(random: np.random.Generator, size: Size) -> Field:
    """Return a plane that rises in a random direction, from about -1 to 1, as uneven light does."""
    angle = random.uniform(0, 2 * np.pi)
    rows, columns = (np.linspace(-1, 1, length) for length in size)
    return np.asarray(np.cos(angle) * rows[:, None] + np.sin(angle) * columns)


def stripes(random: np.random.Generator, size: Size, period: float) -> Field:
    """Return stripes in a random direction, `period` pixels apart, with mean 0 and deviation 1."""
    angle, phase = random.uniform(0, 2 * np.pi, size=2)
    rows, columns = np.indices(size)
    way = np.cos(angle) * rows + np.sin(angle) * columns
    return np.asarray(np.sqrt(2) * np.sin(2 * np.pi * way / period + phase))


def ellipse_mask(
    random: np.random.Generator, size: Size, radii: tuple[float, float]
) -> NDArray[np.bool_]:
    """Return an ellipse somewhere in the picture, in a random direction.

    Args:
        random: Source of the random numbers.
        size: Height and width in pixels.
        radii: Smallest and largest half axis in pixels.
    """
    from skimage.draw import ellipse

    row, column = random.uniform(0.08, 0.92, size=2) * size
    first, second = random.uniform(*radii, size=2)
    mask = np.zeros(size, dtype=bool)
    mask[ellipse(row, column, first, second, shape=size, rotation=random.uniform(0, np.pi))] = True
    return mask


def scattered(
    random: np.random.Generator, size: Size, radii: tuple[float, float], count: int
) -> list[NDArray[np.bool_]]:
    """Return up to `count` ellipses that lie apart from each other; arguments as above."""
    from scipy.ndimage import binary_dilation

    taken = np.zeros(size, dtype=bool)
    found: list[NDArray[np.bool_]] = []
    for _ in range(4 * count):
        mask = ellipse_mask(random, size, radii)
        if len(found) < count and not (mask & taken).any():
            found.append(mask)
            taken |= binary_dilation(mask, iterations=2)
    return found


def vessel_tree(random: np.random.Generator, size: Size, width: float) -> NDArray[np.bool_]:
    """Return a tree of winding vessels that enters at a random edge and grows thinner.

    Args:
        random: Source of the random numbers.
        size: Height and width in pixels.
        width: Width of the trunk in pixels; twigs end at about one pixel.
    """
    from skimage.draw import disk

    mask = np.zeros(size, dtype=bool)
    middle = np.asarray(size) / 2
    angle = random.uniform(0, 2 * np.pi)
    start = middle - middle * np.array([np.cos(angle), np.sin(angle)])
    growing = [(start, angle, width)]
    while growing:
        place, angle, wide = growing.pop()
        while wide > 1.0 and ((place >= 0) & (place < size)).all():
            mask[disk(place, max(wide / 2, 0.71), shape=size)] = True
            angle += random.normal(0, 0.15)
            place = place + 0.7 * np.array([np.cos(angle), np.sin(angle)])
            wide -= 0.7 * width / (1.4 * max(size))
            if random.random() < 2.5 / max(size):
                side = random.choice([-1, 1]) * random.uniform(0.4, 0.9)
                growing.append((place, angle + side, 0.8 * wide))
    return mask
