"""What every reader of image files gives: planes of one size, read one at a time."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.limits import in_words, readable

# One plane is held in memory, as float32 and a few times over while it is resized.
MAX_PLANE_PIXELS = 40_000_000
MAX_PLANES = 20_000
MAX_UNPACKED_BYTES = 16 << 30

# What parsers of foreign formats raise on damaged bytes; MemoryError and KeyboardInterrupt pass.
PARSER_ERRORS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class SourceFile:
    """A file as Galaxy knows it: the path says nothing about its name or its format.

    Attributes:
        identifier: What the user calls it (the element identifier).
        path: Where it lies.
        role: "image" or "mask", for messages.
    """

    identifier: str
    path: Path
    role: str = "image"

    def __str__(self) -> str:
        return f"{self.role} {readable(self.identifier)}"


@dataclass(frozen=True)
class Planes:
    """The planes (pages, slices) of one file.

    Attributes:
        file: Where they come from.
        kind: Format in words, such as "PNG".
        count: Number of planes.
        height: Rows of every plane.
        width: Columns of every plane.
        channels: Values of every pixel.
        dtype: Type of the values as `read` gives them.
        load: Reads one plane, (height, width, channels), by its number from zero.
        lossy: True when the format may have changed values (JPEG).
        affine: For volumes, the 4 x 4 matrix from canonical voxel indices (right, anterior,
            superior) to millimetres; None for pictures.
        shape: For volumes, the numbers of canonical voxels (right, anterior, superior).
        located: For volumes, False when the file does not say where it lies in space.
    """

    file: SourceFile
    kind: str
    count: int
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    load: Callable[[int], NDArray[Any]]
    lossy: bool = False
    affine: NDArray[np.float64] | None = None
    shape: tuple[int, int, int] | None = None
    located: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    def read(self, index: int) -> NDArray[Any]:
        """Read one plane.

        Returns:
            Pixel values, (height, width, channels), of `dtype`.

        Raises:
            InputError: The file is damaged, or a value is NaN or infinite.
        """
        with reading(self.file, self.kind):
            plane = np.asarray(self.load(index))
        if plane.shape != (self.height, self.width, self.channels):
            raise InputError(
                f"The {self.file} says it is {self.height} x {self.width} x {self.channels} pixels "
                f"but {self.place(index)} holds {' x '.join(map(str, plane.shape))}, save it again"
            )
        if plane.dtype.kind == "f" and not np.isfinite(plane).all():
            raise InputError(
                f"The {self.file} holds NaN or infinite values in {self.place(index)}, replace "
                f"them by numbers"
            )
        return plane

    def place(self, index: int) -> str:
        """Name a plane in words."""
        return f"slice {index}" if self.count > 1 else "its pixels"


@contextmanager
def reading(file: SourceFile, kind: str) -> Iterator[None]:
    """Turn what a parser raises on damaged bytes into one sentence."""
    try:
        yield
    except InputError:
        raise
    except PARSER_ERRORS as error:
        reason = readable(str(error) or type(error).__name__, 120)
        raise InputError(
            f"The {file} cannot be read as {kind}, it is truncated or damaged or of a kind that is "
            f"not supported ({reason}), save or upload it again"
        ) from error


def check_plane(file: SourceFile, height: int, width: int) -> None:
    """Refuse a declared size before anything is unpacked.

    Raises:
        InputError: Nothing to see, or more than MAX_PLANE_PIXELS.
    """
    if height < 1 or width < 1:
        raise InputError(f"The {file} has no pixels, leave it out")
    if height * width > MAX_PLANE_PIXELS:
        raise InputError(
            f"The {file} is {height} x {width} pixels, more than the "
            f"{MAX_PLANE_PIXELS // 1_000_000} million that are read, cut or shrink it first"
        )


def check_count(file: SourceFile, count: int) -> None:
    """Refuse a declared number of planes.

    Raises:
        InputError: None, or more than MAX_PLANES.
    """
    if count < 1:
        raise InputError(f"The {file} holds no picture, leave it out")
    if count > MAX_PLANES:
        raise InputError(
            f"The {file} holds {count} slices, more than the {MAX_PLANES} that are read, split it"
        )


def check_unpacked(file: SourceFile, size: int) -> None:
    """Refuse a declared number of bytes before unpacking them to disk.

    Raises:
        InputError: More than MAX_UNPACKED_BYTES.
    """
    if size > MAX_UNPACKED_BYTES:
        raise InputError(
            f"The {file} unpacks to {in_words(size)}, more than the {in_words(MAX_UNPACKED_BYTES)} "
            f"that are read, split it"
        )
