"""TIFF files: single or multi-page, 8 to 32 bit, read with tifffile and, where needed, Pillow."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.images.planes import (
    Planes,
    SourceFile,
    check_count,
    check_plane,
    check_unpacked,
    reading,
)

# What tifffile unpacks by itself; the rest is left to Pillow's libtiff (LZW and JPEG above all).
_OWN_COMPRESSIONS = frozenset({1, 8, 32773, 32946, 34925, 50000})
_MAX_STACK_BYTES = 2 << 30
_MAX_CHANNELS = 16
_WHITE_IS_ZERO = 0


@contextmanager
def open_tiff(file: SourceFile) -> Iterator[Planes]:
    """Open a TIFF file; one page is unpacked at a time.

    Pages, z and time steps are slices, samples and channels are channels. Of a pyramid the full
    resolution is read. Palette pictures give the numbers, not the colours.

    Raises:
        InputError: Damaged, too large, of more dimensions, or of a kind that is not supported.
    """
    import tifffile

    with _complaints() as complaints, ExitStack() as stack:
        with reading(file, "TIFF"):
            # The flags keep metadata of an uploaded file from making us open other files.
            tiff = stack.enter_context(
                tifffile.TiffFile(
                    file.path, _multifile=False, is_mmstack=False, is_ndtiff=False, is_mdgel=False
                )
            )
            planes = _planes(file, tiff)
            _check_complaints(complaints)

        def load(index: int) -> NDArray[Any]:
            plane = planes.load(index)
            _check_complaints(complaints)
            return plane

        yield replace(planes, load=load)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs as errors: it goes on with what is left of a truncated file."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, collector = logging.getLogger("tifffile"), Collector(logging.ERROR)
    before = logger.propagate
    logger.addHandler(collector)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(collector)
        logger.propagate = before


def _check_complaints(found: list[str]) -> None:
    if found:
        raise ValueError(re.sub(r"^<[^>]*> ", "", found[0]))


def _planes(file: SourceFile, tiff: Any) -> Planes:
    if len(tiff.series) != 1:
        raise InputError(
            f"The {file} is a TIFF with {len(tiff.series)} series of pictures, save one of them "
            f"alone"
        )
    series = tiff.series[0].levels[0]
    slices, channels, order = _axes(file, series)
    sizes = dict(zip(series.axes, series.shape, strict=True))
    height, width = int(sizes["Y"]), int(sizes["X"])
    check_plane(file, height, width)
    check_count(file, slices)
    page = series.keyframe
    dtype = np.dtype(series.dtype)
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise InputError(f"The {file} holds values of the type {dtype}, save real numbers")
    inverted = int(page.photometric) == _WHITE_IS_ZERO and dtype.kind in "bu"
    if page.compression not in _OWN_COMPRESSIONS:
        load, inverted = _pillow_loader(file, slices, page), False  # Pillow inverts by itself
    elif len(series.pages) == slices and channels * height * width == math.prod(page.shape):
        load = _page_loader(file, series, order)
    else:
        load = _stack_loader(file, series, order)
    return Planes(
        file,
        "TIFF",
        slices,
        height,
        width,
        channels,
        np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("="),
        lambda index: _values(load(index), dtype, inverted),
    )


def _axes(file: SourceFile, series: Any) -> tuple[int, int, str]:
    """Return the number of slices, of channels, and the axes longer than one."""
    if "Y" not in series.axes or "X" not in series.axes:
        raise InputError(f"The {file} is a TIFF without rows and columns, save it as pictures")
    long = [
        (axis, int(length))
        for axis, length in zip(series.axes, series.shape, strict=True)
        if axis in "YX" or length > 1
    ]
    channels = [length for axis, length in long if axis in "SC"]
    slices = [length for axis, length in long if axis not in "SCYX"]
    if len(slices) > 1 or len(channels) > 1 or sum(axis in "YX" for axis, _ in long) > 2:
        raise InputError(
            f"The {file} has the dimensions {series.axes} ({' x '.join(map(str, series.shape))}), "
            f"save a stack with one dimension beside rows, columns and channels"
        )
    if channels and channels[0] > _MAX_CHANNELS:
        raise InputError(
            f"The {file} has {channels[0]} channels, more than {_MAX_CHANNELS}, save the ones that "
            f"are needed"
        )
    return math.prod(slices), math.prod(channels), "".join(axis for axis, _ in long)


def _page_loader(file: SourceFile, series: Any, order: str) -> Callable[[int], NDArray[Any]]:
    within = "".join(axis for axis in order if axis in "SCYX")
    sizes = dict(zip(series.axes, series.shape, strict=True))

    def load(index: int) -> NDArray[Any]:
        page = series.pages[index]
        if page is None:
            raise InputError(f"The {file} lacks slice {index}, save it again as one file")
        if 0 in page.databytecounts:
            raise InputError(f"The {file} lacks pixels of slice {index}, save it with all pixels")
        return _channels_last(page.asarray().reshape([sizes[axis] for axis in within]), within)

    return load


def _stack_loader(file: SourceFile, series: Any, order: str) -> Callable[[int], NDArray[Any]]:
    """Read planes that all lie behind a single page, as ImageJ writes them."""
    cache: list[NDArray[Any]] = []
    sizes = dict(zip(series.axes, series.shape, strict=True))
    shape = [int(sizes[axis]) for axis in order]
    depth = next((position for position, axis in enumerate(order) if axis not in "SCYX"), None)

    def load(index: int) -> NDArray[Any]:
        if not cache:
            cache.append(_whole_stack(file, series).reshape(shape))
        plane = cache[0] if depth is None else np.take(cache[0], index, axis=depth)
        return _channels_last(plane, "".join(axis for axis in order if axis in "SCYX"))

    return load


def _whole_stack(file: SourceFile, series: Any) -> NDArray[Any]:
    if series.dataoffset is not None:  # one uncompressed block: only what is looked at is read
        dtype = np.dtype(series.dtype).newbyteorder(series.parent.byteorder)
        return np.memmap(file.path, dtype, "r", int(series.dataoffset), series.shape)
    size = math.prod(series.shape) * np.dtype(series.dtype).itemsize
    if size > _MAX_STACK_BYTES:
        raise InputError(
            f"The {file} keeps its slices in one block of more than {_MAX_STACK_BYTES >> 30} GiB, "
            f"save it as one page for each slice"
        )
    return np.asarray(series.asarray())


def _channels_last(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return a plane as (rows, columns, channels)."""
    channel = next((axis for axis in axes if axis in "SC"), None)
    if channel is None:
        array = array[..., None]
        axes += "S"
        channel = "S"
    return np.transpose(array, [axes.index("Y"), axes.index("X"), axes.index(channel)])


def _pillow_loader(file: SourceFile, slices: int, page: Any) -> Callable[[int], NDArray[Any]]:
    from PIL import Image

    bits, samples = int(page.bitspersample), int(page.samplesperpixel)
    if (bits, samples) not in ((1, 1), (8, 1), (8, 3), (16, 1), (32, 1)):
        raise InputError(
            f"The {file} is compressed by {page.compression.name}, which is not supported for its "
            f"{samples} channels of {bits} bits, save it without compression or with Deflate"
        )
    check_unpacked(file, slices * math.prod(page.shape) * bits // 8)

    def load(index: int) -> NDArray[Any]:
        with Image.open(file.path, formats=("TIFF",)) as image:
            image.seek(index)
            if image.size != (page.imagewidth, page.imagelength):
                raise InputError(f"The {file} holds pages of differing sizes, save them apart")
            array = np.asarray(image)
        return array[..., None] if array.ndim == 2 else array

    return load


def _values(array: NDArray[Any], dtype: np.dtype[Any], inverted: bool) -> NDArray[Any]:
    """Give black the lowest value, and two-valued pictures 0 and 255 as PNG readers do."""
    if dtype.kind == "b":
        array = array.astype(np.uint8) * np.uint8(255)
        return np.asarray(255 - array if inverted else array)
    native = array.astype(dtype.newbyteorder("="), copy=False)
    return np.asarray(np.iinfo(native.dtype).max - native if inverted else native)
