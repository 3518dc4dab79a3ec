"""A first look at all files: whether they fit together, and what is common to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpulab.errors import InputError
from gpulab.h5.build_classes import Classes, ValueSurvey
from gpulab.h5.build_names import LISTED, Pair
from gpulab.h5.build_options import BuildOptions
from gpulab.h5.build_pixels import mask_values
from gpulab.h5.images import Planes, open_planes
from gpulab.h5.images.volumes import misplacement
from gpulab.h5.limits import readable

MAX_MISPLACEMENT = 0.5  # voxels


@dataclass(frozen=True)
class Seen:
    """What one image file declares."""

    pair: Pair
    count: int
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    volume: bool


@dataclass(frozen=True)
class Survey:
    """What all files have in common.

    Attributes:
        seen: One entry for each image.
        height: Rows of the images to be written.
        width: Columns of the images to be written.
        channels: Channels of the images to be written.
        dtype: Type of the images to be written.
        classes: Translation of mask values; None without masks.
    """

    seen: tuple[Seen, ...]
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    classes: Classes | None


def survey(pairs: Sequence[Pair], options: BuildOptions) -> Survey:
    """Open every image and read every mask once.

    Raises:
        InputError: A file cannot be used, a mask does not fit its image, or images do not fit
            together under the options.
    """
    values = ValueSurvey(options.classes)
    seen: list[Seen] = []
    problems: list[str] = []
    with_masks = pairs[0].mask is not None
    for pair in pairs:
        with open_planes(pair.image, options.axis) as image:
            if pair.mask is not None:
                with open_planes(pair.mask, options.axis) as mask:
                    problem = _misfit(image, mask)
                    if problem:
                        problems.append(f"{readable(pair.name, 60)} ({problem})")
                    else:
                        _read_mask(mask, values)
            seen.append(_seen(pair, image))
    if problems:
        raise InputError(
            f"The masks do not fit their images: {'; '.join(problems[:LISTED])}"
            f"{f' and {len(problems) - LISTED} more' if len(problems) > LISTED else ''}; give each "
            f"mask the size and place of its image"
        )
    height, width = options.size or _common_size(seen)
    return Survey(
        tuple(seen),
        height,
        width,
        _channels(seen, options),
        _dtype(seen, options, (height, width)),
        values.classes() if with_masks else None,
    )


def _seen(pair: Pair, image: Planes) -> Seen:
    return Seen(
        pair,
        image.count,
        image.height,
        image.width,
        image.channels,
        image.dtype,
        image.affine is not None,
    )


def _misfit(image: Planes, mask: Planes) -> str | None:
    """Say why a mask does not lie on its image."""
    if (image.affine is None) != (mask.affine is None):
        volume, picture = (image, mask) if mask.affine is None else (mask, image)
        return (
            f"the {volume.file.role} is a {volume.kind} volume with an orientation but the "
            f"{picture.file.role} a {picture.kind} without, save both alike"
        )
    if (image.count, *image.size) != (mask.count, *mask.size):
        return f"the image is {_extent(image)} but the mask {_extent(mask)}"
    if image.affine is not None and image.located and mask.located:
        apart = misplacement(image, mask)
        if apart > MAX_MISPLACEMENT:
            return f"the mask lies up to {apart:.1f} voxels beside the image"
    return None


def _extent(planes: Planes) -> str:
    slices = f", {planes.count} slices" if planes.count > 1 else ""
    return f"{planes.height} x {planes.width} pixels{slices}"


def _read_mask(mask: Planes, values: ValueSurvey) -> None:
    for index in range(mask.count):
        values.add(mask.file, mask_values(mask.read(index), mask.file), mask.lossy)


def _common_size(seen: Sequence[Seen]) -> tuple[int, int]:
    first = seen[0]
    for other in seen:
        if (other.height, other.width) != (first.height, first.width):
            raise InputError(
                f"The images differ in size, {readable(first.pair.name, 60)} is {first.height} x "
                f"{first.width} and {readable(other.pair.name, 60)} {other.height} x "
                f"{other.width} pixels, so they cannot be kept as they are, give a height and a "
                f"width"
            )
    return first.height, first.width


def _channels(seen: Sequence[Seen], options: BuildOptions) -> int:
    wanted: dict[int, Seen] = {}
    for item in seen:
        if options.colour != "keep" and item.channels not in (1, 3):
            raise InputError(
                f"The image {readable(item.pair.name, 60)} has {item.channels} channels, of which "
                f"no grey value can be made, choose to keep the channels"
            )
        wanted.setdefault(item.channels if options.colour == "keep" else 1, item)
    if len(wanted) > 1:
        named = " and ".join(f"{n} ({readable(i.pair.name, 60)})" for n, i in wanted.items())
        raise InputError(
            f"The images differ in their number of channels: {named}, choose to make them grey"
        )
    return next(iter(wanted))


def _dtype(seen: Sequence[Seen], options: BuildOptions, size: tuple[int, int]) -> np.dtype[Any]:
    """Choose the type in which all images are written."""
    if options.window is not None:
        narrow = next((item for item in seen if item.dtype.itemsize == 1), None)
        if narrow is not None:
            raise InputError(
                f"The image {readable(narrow.pair.name, 60)} has 8 bits a pixel and so holds no "
                f"Hounsfield units, choose to keep the intensities"
            )
        return np.dtype(np.uint8 if options.window.whole else np.float32)
    kinds: dict[np.dtype[Any], Seen] = {}
    for item in seen:
        kinds.setdefault(item.dtype, item)
    # Volumes in one unit may come as whole and as rescaled numbers; pictures of 8 and of 16 bits
    # have nothing in common.
    if len(kinds) > 1 and not all(item.volume for item in seen):
        named = " and ".join(f"{d} ({readable(i.pair.name, 60)})" for d, i in kinds.items())
        raise InputError(
            f"The images hold values of differing types, {named}, so their intensities cannot be "
            f"compared, save them alike"
        )
    if len(kinds) > 1 or any((item.height, item.width) != size for item in seen):
        return np.dtype(np.float32)
    return next(iter(kinds))
