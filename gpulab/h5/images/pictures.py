"""PNG and JPEG files, read with Pillow."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.images.planes import Planes, SourceFile, check_plane, reading

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow's mode -> how it is read; what is not here is refused.
_GREY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I")
_COLOUR_MODES = ("RGB", "RGBA")
_EXIF_ORIENTATION = 0x0112


@contextmanager
def open_picture(file: SourceFile) -> Iterator[Planes]:
    """Open a PNG or JPEG file; pixels are unpacked only when the plane is read.

    Grey, 8 and 16 bit, and 8-bit colour. A palette of greys gives its greys; of a colour palette an
    image gets the colours and a mask the numbers of the palette, as segmentation tools write them.
    An opaque alpha channel is dropped.

    Raises:
        InputError: Damaged, animated, too large, with transparency, or of another colour model.
    """
    with reading(file, "PNG or JPEG"):
        image = _open(file)
    with image:
        with reading(file, "PNG or JPEG"):
            _check(file, image)
            height, width = _size(image)
            palette = _palette(image)
        check_plane(file, height, width)
        colour = image.mode in _COLOUR_MODES or (palette == "colour" and file.role != "mask")
        wide = image.mode.startswith("I")
        yield Planes(
            file,
            str(image.format),
            1,
            height,
            width,
            3 if colour else 1,
            np.dtype(np.uint16 if wide else np.uint8),
            lambda _: _pixels(file, palette),
            lossy=image.format == "JPEG",
        )


def _open(file: SourceFile) -> Image:
    from PIL import Image

    with warnings.catch_warnings():
        # Our own limit is lower; Pillow's warning would only repeat it.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            return Image.open(file.path, formats=("PNG", "JPEG"))
        except Image.DecompressionBombError as error:
            raise InputError(
                f"The {file} has too many pixels to be read, cut or shrink it first"
            ) from error


def _check(file: SourceFile, image: Image) -> None:
    frames = int(getattr(image, "n_frames", 1))
    if frames > 1:
        raise InputError(
            f"The {file} is animated or holds {frames} pictures, give single pictures or a "
            f"multi-page TIFF"
        )
    if image.format == "PNG" and _colour_16_bit(file.path):
        raise InputError(
            f"The {file} is a colour PNG with 16 bits, which cannot be read without loss, save it "
            f"as TIFF or as grey PNG"
        )
    if image.mode not in (*_GREY_MODES, *_COLOUR_MODES, "P"):
        raise InputError(
            f"The {file} has the colour model {image.mode}, save it as grey or RGB picture"
        )


def _colour_16_bit(path: Path) -> bool:
    """Look into the header, because Pillow reads such a file as 8 bit without a word."""
    with path.open("rb") as stream:
        header = stream.read(26)
    return header[12:16] == b"IHDR" and header[24] == 16 and header[25] != 0


def _size(image: Image) -> tuple[int, int]:
    """Return height and width as seen: a camera may say that the picture is to be turned."""
    turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def _palette(image: Image) -> str | None:
    """Tell whether the picture has a palette, and whether it holds greys alone."""
    if image.mode != "P":
        return None
    colours = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return "grey" if (colours == colours[:, :1]).all() else "colour"


def _pixels(file: SourceFile, palette: str | None) -> NDArray[Any]:
    from PIL import ImageOps

    # Opened anew for every read: Pillow keeps the pixels of an image that was loaded once.
    with _open(file) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
        if palette == "grey":
            upright = upright.convert("L")
        elif palette == "colour" and file.role != "mask":
            upright = upright.convert("RGB")
        elif upright.mode == "1":
            upright = upright.convert("L")
        array = np.asarray(upright)
    if upright.mode in ("LA", "RGBA"):
        array = _without_alpha(file, array)
    if upright.mode.startswith("I"):
        array = array.astype(np.uint16)
    return array[..., None] if array.ndim == 2 else array


def _without_alpha(file: SourceFile, array: NDArray[Any]) -> NDArray[Any]:
    if (array[..., -1] != 255).any():
        raise InputError(f"The {file} is partly transparent, save it without transparency")
    return array[..., :-1]
