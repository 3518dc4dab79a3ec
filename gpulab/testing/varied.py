"""Data of many kinds, drawn by a program, on which untouched training settings must work.

Grey values alone tell no class: light is uneven, brightness differs between the slices, and each
picture holds something that looks like the foreground in grey but differs in colour, texture,
shape or place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpulab.testing.phantoms import one_hot, phantom_slices
from gpulab.testing.textures import (
    Field,
    Size,
    ellipse_mask,
    ramp,
    scattered,
    smooth_noise,
    stripes,
    vessel_tree,
)

Slice = tuple[Field, NDArray[np.uint8]]
"""An image, (h, w) or (h, w, channels), and its class numbers, (h, w)."""
Parts = dict[str, dict[str, NDArray[np.generic]]]
"""`images` and `masks` of `train`, `valid` and `test`."""

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Kind:
    """One kind of data; call it with a seed for its three parts.

    Attributes:
        draw: Draws one slice of a size.
        size: Height and width in pixels.
        slices: Slices for training, validation and test.
        classes: Classes, background included.
        image_type: Number type of the images.
        mask_form: "one-hot" (n, h, w, classes), "numbers" (n, h, w) or, for two classes, "0 and
            255" (n, h, w, 1).
    """

    draw: Callable[[np.random.Generator, Size], Slice]
    size: Size
    slices: tuple[int, int, int]
    classes: int = 2
    image_type: DTypeLike = np.uint8
    mask_form: str = "one-hot"

    def __call__(self, seed: int) -> Parts:
        """Return the parts: `images` (n, h, w, channels) and `masks`; parts never share a slice."""
        return {
            part: self._part(np.random.default_rng([seed, number]), count)
            for number, (part, count) in enumerate(zip(PARTS, self.slices, strict=True))
        }

    def _part(self, random: np.random.Generator, count: int) -> dict[str, NDArray[np.generic]]:
        drawn = [self.draw(random, self.size) for _ in range(count)]
        images = np.stack([image.reshape(*self.size, -1) for image, _ in drawn])
        labels = np.stack([label for _, label in drawn])
        if np.issubdtype(self.image_type, np.integer):
            images = np.rint(np.clip(images, 0, np.iinfo(self.image_type).max))
        return {"images": images.astype(self.image_type), "masks": self._stored(labels)}

    def _stored(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.mask_form == "one-hot":
            return one_hot(labels, self.classes)
        if self.mask_form == "0 and 255":
            return labels[..., None] * np.uint8(255)
        return labels


def _chest(random: np.random.Generator, size: Size) -> Slice:
    """Lesions in lungs, told from the body by where they lie."""
    images, labels = phantom_slices(1, size[0], seed=int(random.integers(2**32)))
    return images[0].astype(np.float64), labels[0]


def _chest_raw(random: np.random.Generator, size: Size) -> Slice:
    """The same in the 12 bits of a scanner."""
    image, label = _chest(random, size)
    return 16 * image, label


def _stained(random: np.random.Generator, size: Size) -> Slice:
    """Purple nuclei (1) in pink tissue, beside brown pigment that is as dark in red."""
    pink, purple, brown = ((220, 175, 200), (125, 90, 160), (125, 85, 70))
    texture = smooth_noise(random, size, 3)[..., None] * (12, 20, 14)
    image = np.asarray(pink, np.float64) + texture
    label = np.zeros(size, np.uint8)
    for number, mask in enumerate(scattered(random, size, (0.04 * size[0], 0.1 * size[0]), 14)):
        image[mask] = np.asarray(brown if number % 2 else purple) + 0.6 * texture[mask]
        label[mask] = 1 - number % 2
    stain = random.uniform(0.8, 1.15) * random.uniform(0.95, 1.05, size=3)
    return image * stain + random.normal(0, 8, image.shape), label


def _shapes(random: np.random.Generator, size: Size) -> Slice:
    """Discs (1), rings (2) and rods (3) of one brightness."""
    from skimage.draw import disk, polygon

    label = np.zeros(size, np.uint8)
    radius = 0.09 * min(size)
    for _ in range(40):
        kind = int(random.integers(1, 4))
        centre = random.uniform(1.3 * radius, np.asarray(size) - 1.3 * radius)
        if label[disk(centre, 2 * radius, shape=size)].any():
            continue
        wide = radius * random.uniform(0.85, 1.15)
        if kind == 3:
            angle = random.uniform(0, np.pi)
            along = 1.3 * wide * np.array([np.cos(angle), np.sin(angle)])
            across = 0.35 * wide * np.array([-np.sin(angle), np.cos(angle)])
            corners = np.array([along + across, along - across, -along - across, across - along])
            label[polygon(*(centre + corners).T, shape=size)] = kind
            continue
        label[disk(centre, wide, shape=size)] = kind
        if kind == 2:
            label[disk(centre, 0.45 * wide, shape=size)] = 0
    light = 9000 + 3500 * ramp(random, size) + 1200 * smooth_noise(random, size, 6)
    image = light + 5000 * (label > 0) * random.uniform(0.8, 1.2)
    return image + random.normal(0, 1200, size), label


def _textures(random: np.random.Generator, size: Size) -> Slice:
    """Fine grain (0), coarse grain (1) and stripes (2) of the same mean and deviation, near 0.5."""
    fields = np.stack([smooth_noise(random, size, max(size) / 9) for _ in range(3)])
    label = fields.argmax(axis=0).astype(np.uint8)
    grains = (smooth_noise(random, size, 0.5), smooth_noise(random, size, 2.0))
    texture = np.choose(label, (*grains, stripes(random, size, random.uniform(5, 7))))
    image = 0.5 + 0.12 * texture + 0.1 * ramp(random, size)
    return image * random.uniform(0.85, 1.15) + random.normal(0, 0.03, size), label


def _vessels(random: np.random.Generator, size: Size) -> Slice:
    """Vessels (1) of one to three pixels beside blobs of the same brightness."""
    from scipy.ndimage import gaussian_filter

    trees = vessel_tree(random, size, 3.5) | vessel_tree(random, size, 3.0)
    blobs = np.zeros(size, dtype=bool)
    for _ in range(6):
        blobs |= ellipse_mask(random, size, (3.0, 0.08 * max(size)))
    bright = gaussian_filter(np.maximum(trees, blobs & ~trees).astype(np.float64), 0.6)
    light = 110 + 30 * ramp(random, size) + 8 * smooth_noise(random, size, 5)
    image = light + 45 * random.uniform(0.8, 1.2) * bright + random.normal(0, 8, size)
    return image, trees.astype(np.uint8)


def _striped(random: np.random.Generator, size: Size) -> Slice:
    """Striped cells (1) among plain ones of the same mean."""
    image = 90 + 20 * ramp(random, size) + 6 * smooth_noise(random, size, 4)
    label = np.zeros(size, np.uint8)
    for number, mask in enumerate(scattered(random, size, (6.0, 13.0), 12)):
        inside = 50 + (22 * stripes(random, size, 5) if number % 2 == 0 else 0)
        image = np.where(mask, image + inside, image)
        label[mask] = 1 - number % 2
    return image * random.uniform(0.85, 1.15) + random.normal(0, 7, size), label


def _tissue(random: np.random.Generator, size: Size) -> Slice:
    """Coarse tissue (1), some 60 % of the picture, in fine debris that is as bright."""
    field = smooth_noise(random, size, max(size) / 8)
    label = (field > np.quantile(field, random.uniform(0.3, 0.5))).astype(np.uint8)
    coarse, fine = smooth_noise(random, size, 1.8), smooth_noise(random, size, 0.5)
    image = 125 + 25 * np.where(label, coarse, fine) + 20 * ramp(random, size) + 8 * label
    return image * random.uniform(0.85, 1.15) + random.normal(0, 5, size), label


KINDS: dict[str, Kind] = {
    "few slices": Kind(_chest, (64, 64), (24, 6, 24)),
    "colour": Kind(_stained, (64, 64), (64, 16, 24)),
    "shapes one-hot": Kind(_shapes, (96, 96), (64, 16, 16), classes=4, image_type=np.uint16),
    "textures numbered": Kind(
        _textures, (64, 64), (64, 16, 24), classes=3, image_type=np.float32, mask_form="numbers"
    ),
    "vessels": Kind(_vessels, (96, 96), (48, 12, 16)),
    "odd size": Kind(_striped, (75, 101), (48, 12, 16), mask_form="0 and 255"),
    "large": Kind(_chest_raw, (512, 512), (12, 3, 4), image_type=np.uint16),
    "mostly foreground": Kind(_tissue, (64, 64), (64, 16, 24), mask_form="numbers"),
}
"""All kinds by name."""
