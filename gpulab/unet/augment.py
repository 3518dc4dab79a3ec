"""Random changes of training images and their masks.

NumPy and SciPy rather than Keras' layers: the random numbers of a batch depend only on the seed,
the epoch and the batch, so the same data come out whatever the backend and number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Augmentation:
    """How far images are changed; zero and False switch a change off.

    Attributes:
        flip: Mirror left to right in half of the cases.
        flip_rows: Mirror upside down in half of the cases.
        turn: Swap rows and columns of square images in half of the cases; with both mirrors the
            eight ways to lay a picture down are equally frequent.
        rotation: Largest angle in degrees.
        zoom: Largest relative change of size.
        shift: Largest shift as a share of height and width.
        brightness: Largest shift of grey values, in standard deviations of the image.
        contrast: Largest relative change of contrast.
        gamma: Largest change of the exponent of the grey curve, as a factor: exp(±gamma).
        noise: Largest standard deviation of Gaussian noise, in those of the image.
    """

    flip: bool = True
    flip_rows: bool = True
    turn: bool = False
    rotation: float = 15.0
    zoom: float = 0.15
    shift: float = 0.08
    brightness: float = 0.2
    contrast: float = 0.2
    gamma: float = 0.3
    noise: float = 0.05


NOTHING = Augmentation(
    flip=False,
    flip_rows=False,
    rotation=0.0,
    zoom=0.0,
    shift=0.0,
    brightness=0.0,
    contrast=0.0,
    gamma=0.0,
    noise=0.0,
)
STRENGTHS: dict[str, Augmentation | None] = {
    "none": None,
    "light": Augmentation(
        rotation=7.0, zoom=0.08, shift=0.05, brightness=0.1, contrast=0.1, gamma=0.1, noise=0.0
    ),
    "medium": Augmentation(),
    "strong": Augmentation(
        rotation=25.0, zoom=0.25, shift=0.12, brightness=0.4, contrast=0.4, gamma=0.6, noise=0.1
    ),
}


def augmentation_for(strength: str, *, turns: bool) -> Augmentation | None:
    """Return how far to change images, or None where they stay as they are.

    Args:
        strength: One of `STRENGTHS`.
        turns: Whether images may lie in any of the eight ways, on top of it.
    """
    chosen = STRENGTHS[strength]
    if not turns:
        return chosen
    return replace(chosen or NOTHING, flip=True, flip_rows=True, turn=True)


def augment_batch(
    images: NDArray[np.float32],
    labels: NDArray[np.uint8],
    augmentation: Augmentation,
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return changed copies of a batch.

    Args:
        images: Float32 (b, h, w, channels), any range.
        labels: Uint8 (b, h, w), class numbers.
        augmentation: How far to go.
        random: Source of the random numbers.

    Returns:
        Images and labels of the same shapes and dtypes; labels hold no new values.
    """
    changed = np.empty_like(images)
    changed_labels = np.empty_like(labels)
    for index in range(len(images)):
        image, label = _move(images[index], labels[index], augmentation, random)
        changed[index] = _recolour(image, augmentation, random)
        changed_labels[index] = label
    return changed, changed_labels


def _move(
    image: NDArray[np.float32],
    label: NDArray[np.uint8],
    augmentation: Augmentation,
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    from scipy import ndimage

    angle = np.deg2rad(random.uniform(-1, 1) * augmentation.rotation)
    zoom = np.exp(random.uniform(-1, 1, size=2) * augmentation.zoom)
    size = np.asarray(label.shape, dtype=np.float64)
    shift = random.uniform(-1, 1, size=2) * augmentation.shift * size
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn / zoom
    for axis, flip in enumerate((augmentation.flip_rows, augmentation.flip)):
        if flip and random.random() < 0.5:
            matrix[:, axis] *= -1
    if augmentation.turn and size[0] == size[1] and random.random() < 0.5:
        matrix = matrix[:, ::-1]
    centre = (size - 1) / 2
    offset = centre - matrix @ (centre + shift)
    if np.allclose(matrix, np.eye(2)) and np.allclose(offset, 0):
        return image, label
    # Mirroring at the edge keeps grey values plausible; the mask is mirrored with the image.
    moved = np.stack(
        [
            ndimage.affine_transform(image[..., channel], matrix, offset, order=1, mode="mirror")
            for channel in range(image.shape[-1])
        ],
        axis=-1,
    )
    return moved, ndimage.affine_transform(label, matrix, offset, order=0, mode="mirror")


def _recolour(
    image: NDArray[np.float32], augmentation: Augmentation, random: np.random.Generator
) -> NDArray[np.float32]:
    low, high = float(image.min()), float(image.max())
    deviation = float(image.std())
    if high <= low:
        return image
    exponent = np.exp(random.uniform(-1, 1) * augmentation.gamma)
    contrast = 1 + random.uniform(-1, 1) * augmentation.contrast
    brightness = random.uniform(-1, 1) * augmentation.brightness * deviation
    # Python floats and float32 noise keep the arithmetic in float32.
    changed = low + (high - low) * ((image - low) / (high - low)) ** float(exponent)
    mean = float(changed.mean())
    changed = (changed - mean) * float(contrast) + (mean + brightness)
    if augmentation.noise:
        strength = random.uniform(0, augmentation.noise) * deviation
        changed = changed + strength * random.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(changed, dtype=np.float32)
