"""HDF5 files that no tool may accept, one for each way in which a file can be bad.

Each writer takes the path of the file; those that point out of the file also take the target. The
default target exists nowhere, so that the committed files are harmless whatever opens them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gpulab.testing.files import test_file
from gpulab.testing.phantoms import one_hot, phantom_slices

N, SIZE = 8, 16
TARGET = "/nonexistent/secret.h5"


def good_arrays() -> dict[str, NDArray[Any]]:
    """Return small images and one-hot masks."""
    images, labels = phantom_slices(N, SIZE, seed=3)
    return {"images": images, "masks": one_hot(labels)}


def write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays as gzip-compressed datasets where they have a number type."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            packed = array.dtype.kind in "biuf" and array.size > 0
            file.create_dataset(name, data=array, compression="gzip" if packed else None)


def _with_masks(path: Path) -> h5py.File:
    """Return an open file with good masks alone."""
    file = h5py.File(path, "w")
    file["masks"] = good_arrays()["masks"]
    return file


def external_link(path: Path, target: str = TARGET) -> None:
    """Images are a link to another file."""
    with _with_masks(path) as file:
        file["images"] = h5py.ExternalLink(target, "/images")


def soft_link_out(path: Path, target: str = TARGET) -> None:
    """Images are a soft link through a group that is a link to another file."""
    with _with_masks(path) as file:
        file["elsewhere"] = h5py.ExternalLink(target, "/")
        file["images"] = h5py.SoftLink("/elsewhere/images")


def external_storage(path: Path, target: str = TARGET) -> None:
    """The bytes of the images are those of another file, whatever its type."""
    with _with_masks(path) as file:
        bytes_ = N * SIZE * SIZE
        file.create_dataset(
            "images", shape=(N, SIZE, SIZE, 1), dtype=np.uint8, external=[(target, 0, bytes_)]
        )


def virtual(path: Path, target: str = TARGET) -> None:
    """Images are a virtual dataset over another file, of unlimited length."""
    with _with_masks(path) as file:
        layout = h5py.VirtualLayout((N, SIZE, SIZE, 1), np.uint8, maxshape=(None, SIZE, SIZE, 1))
        source = h5py.VirtualSource(
            target, "images", (N, SIZE, SIZE, 1), maxshape=(None, SIZE, SIZE, 1)
        )
        layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
        file.create_virtual_dataset("images", layout)


def truncated(path: Path) -> None:
    """The second half of the file is missing."""
    write(path, good_arrays())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def not_hdf5(path: Path) -> None:
    """A text file with the wrong name."""
    path.write_text("sample\tvalue\na\t1\n", encoding="utf-8")


def no_masks(path: Path) -> None:
    """There are images under the usual name and masks under an unusual one."""
    arrays = good_arrays()
    write(path, {"images": arrays["images"], "segmentation": arrays["masks"]})


def empty(path: Path) -> None:
    """Images and masks have no sample."""
    write(path, {name: array[:0] for name, array in good_arrays().items()})


def fewer_masks(path: Path) -> None:
    """One mask is missing."""
    arrays = good_arrays()
    write(path, arrays | {"masks": arrays["masks"][:-1]})


def smaller_masks(path: Path) -> None:
    """Masks have half the size of the images."""
    arrays = good_arrays()
    write(path, arrays | {"masks": arrays["masks"][:, ::2, ::2]})


def odd_values(path: Path) -> None:
    """Masks hold grey values in place of classes."""
    arrays = good_arrays()
    masks = arrays["masks"][..., 1].copy() * np.uint8(255)
    masks[0, 0, 0] = 17
    write(path, arrays | {"masks": masks})


def soft_masks(path: Path) -> None:
    """One-hot masks were resized with interpolation."""
    arrays = good_arrays()
    masks = arrays["masks"].astype(np.float32)
    masks[3, 5, 5] = (0.25, 0.75)
    write(path, arrays | {"masks": masks})


def overlapping_masks(path: Path) -> None:
    """A pixel belongs to two classes at once."""
    arrays = good_arrays()
    masks = arrays["masks"].copy()
    masks[2, 4, 4] = (1, 1)
    write(path, arrays | {"masks": masks})


def nan_images(path: Path) -> None:
    """An image holds NaN."""
    arrays = good_arrays()
    images = arrays["images"].astype(np.float32)
    images[5, 1, 1, 0] = np.nan
    write(path, arrays | {"images": images})


def infinite_images(path: Path) -> None:
    """An image holds infinity."""
    arrays = good_arrays()
    images = arrays["images"].astype(np.float64)
    images[6, 1, 1, 0] = -np.inf
    write(path, arrays | {"images": images})


def string_images(path: Path) -> None:
    """Images are strings."""
    with _with_masks(path) as file:
        file.create_dataset("images", shape=(N, 1, 1, 1), dtype=h5py.string_dtype())


def object_images(path: Path) -> None:
    """Images are lists of differing length."""
    with _with_masks(path) as file:
        file.create_dataset("images", shape=(N, 1, 1, 1), dtype=h5py.vlen_dtype(np.uint8))


def compound_images(path: Path) -> None:
    """Images are complex numbers, which HDF5 keeps as compound values."""
    arrays = good_arrays()
    with _with_masks(path) as file:
        file["images"] = arrays["images"].astype(np.complex64)


def reference_images(path: Path) -> None:
    """Images are references."""
    with _with_masks(path) as file:
        file.create_dataset("images", shape=(N, 1, 1, 1), dtype=h5py.ref_dtype)


def declared_too_large(path: Path) -> None:
    """Images are declared with 100 TB, of which nothing was written."""
    with _with_masks(path) as file:
        file.create_dataset(
            "images",
            shape=(100_000_000, 1000, 1000, 1),
            dtype=np.uint8,
            chunks=(1, 1000, 1000, 1),
            compression="gzip",
        )


def huge_chunks(path: Path) -> None:
    """One chunk would take a gigabyte of memory."""
    with _with_masks(path) as file:
        file.create_dataset(
            "images",
            shape=(N, SIZE, SIZE, 1),
            maxshape=(None, SIZE, SIZE, 1),
            chunks=((1 << 30) // SIZE**2, SIZE, SIZE, 1),
            dtype=np.uint8,
            compression="gzip",
        )


def _forged_chunk(path: Path, content: bytes) -> None:
    with _with_masks(path) as file:
        shape = (N, SIZE, SIZE, 1)
        images = file.create_dataset(
            "images", shape=shape, chunks=shape, dtype=np.uint8, compression="gzip"
        )
        images.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(content, 9))


def short_chunk(path: Path) -> None:
    """A chunk unpacks to less than its size: HDF5 would add memory of the process."""
    _forged_chunk(path, b"short")


def chunk_bomb(path: Path) -> None:
    """A chunk unpacks to a thousand times its size."""
    _forged_chunk(path, bytes(4 << 20))


def other_filter(path: Path) -> None:
    """Images are stored with a filter that is not accepted."""
    with _with_masks(path) as file:
        file.create_dataset("images", data=good_arrays()["images"], scaleoffset=0)


def two_groups(path: Path) -> None:
    """All samples come from two patients."""
    groups = np.array([b"patient 1", b"patient 2"] * (N // 2))
    write(path, good_arrays() | {"groups": groups})


BAD_FILES: dict[str, Callable[..., None]] = {
    writer.__name__: writer
    for writer in (
        external_link,
        soft_link_out,
        external_storage,
        virtual,
        truncated,
        not_hdf5,
        no_masks,
        empty,
        fewer_masks,
        smaller_masks,
        odd_values,
        soft_masks,
        overlapping_masks,
        nan_images,
        infinite_images,
        string_images,
        object_images,
        compound_images,
        reference_images,
        declared_too_large,
        huge_chunks,
        short_chunk,
        chunk_bomb,
        other_filter,
        two_groups,
    )
}


# Those that the tests of the Galaxy tools upload; the others are made where they are needed.
for _name in (
    "chunk_bomb",
    "declared_too_large",
    "empty",
    "external_link",
    "external_storage",
    "fewer_masks",
    "nan_images",
    "no_masks",
    "not_hdf5",
    "odd_values",
    "smaller_masks",
    "soft_link_out",
    "soft_masks",
    "string_images",
    "truncated",
    "two_groups",
    "virtual",
):
    test_file(f"bad/{_name}.h5")(BAD_FILES[_name])
