"""CT-like slices with lesions, drawn by a program: small data for tests and for the demo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BODY, LUNG, LESION = 130.0, 45.0, 105.0  # grey values of an 8-bit chest window


def _ellipse(
    grid: NDArray[np.float64],
    centre: tuple[float, float],
    radii: tuple[float, float],
) -> NDArray[np.bool_]:
    distance = ((grid[0] - centre[0]) / radii[0]) ** 2 + ((grid[1] - centre[1]) / radii[1]) ** 2
    return np.asarray(distance <= 1.0)


def _lesions(
    grid: NDArray[np.float64], lungs: NDArray[np.bool_], random: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw one to four overlapping blobs and keep what lies within the lungs."""
    lesions = np.zeros(lungs.shape, dtype=bool)
    inside = np.argwhere(lungs)
    size = lungs.shape[0]
    for _ in range(int(random.integers(1, 5))):
        row, column = inside[random.integers(len(inside))]
        radii = random.uniform(0.05, 0.13, size=2)
        lesions |= _ellipse(grid, (row / size, column / size), (radii[0], radii[1]))
    return lesions & lungs


def phantom_slices(
    n: int, size: int = 64, seed: int = 0, *, healthy_fraction: float = 0.1
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw chest-like slices: a body, two lungs, and brighter lesions inside the lungs.

    The lesions are told from the body only by where they lie, so a network has to learn shape and
    place, and an untrained one scores near zero.

    Args:
        n: Number of slices.
        size: Height and width in pixels.
        seed: Seed of every random choice.
        healthy_fraction: Share of slices without a lesion, between 0 and 1.

    Returns:
        Images, uint8 (n, size, size, 1), and labels, uint8 (n, size, size), 1 where a lesion is.
    """
    random = np.random.default_rng(seed)
    axis = (np.arange(size) + 0.5) / size
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"))
    images = np.zeros((n, size, size, 1), dtype=np.uint8)
    labels = np.zeros((n, size, size), dtype=np.uint8)
    for index in range(n):
        shift = random.uniform(-0.03, 0.03, size=2)
        scale = random.uniform(0.9, 1.1)
        body = _ellipse(grid, (0.5 + shift[0], 0.5 + shift[1]), (0.36 * scale, 0.45 * scale))
        lungs = np.zeros((size, size), dtype=bool)
        for side in (-0.19, 0.19):
            centre = (0.5 + shift[0], 0.5 + shift[1] + side * scale)
            lungs |= _ellipse(grid, centre, (0.25 * scale, 0.14 * scale))
        picture = np.where(body, BODY, 0.0)
        picture[lungs] = LUNG
        if random.random() >= healthy_fraction:
            lesions = _lesions(grid, lungs, random)
            picture[lesions] = LESION
            labels[index] = lesions
        # Even steps of noise keep the compressed file small.
        noise = 8.0 * np.round(random.normal(0.0, 1.0, size=(size, size)))
        picture = picture * random.uniform(0.85, 1.15) + np.where(body, noise, 0.0)
        images[index, ..., 0] = np.clip(picture, 0, 255).astype(np.uint8)
    return images, labels


def one_hot(labels: NDArray[np.uint8], classes: int = 2) -> NDArray[np.uint8]:
    """Return labels (n, h, w) as one-hot masks, uint8 (n, h, w, classes)."""
    return np.eye(classes, dtype=np.uint8)[labels]
