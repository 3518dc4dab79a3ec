"""What a dataset of an untrusted file may look like: where it lies, its type, filters and sizes."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5t

from gpulab.errors import InputError
from gpulab.h5.chunks import COMPRESSORS, HARMLESS_FILTERS

MIB = 1 << 20
MAX_CHUNK_BYTES = 512 * MIB
MAX_SAMPLE_BYTES = 1024 * MIB
MAX_STRING_LENGTH = 1024
CACHE_BYTES = 64 * MIB

# Deflate cannot shrink below 1/1032 (zlib's technical notes), the best of the accepted filters.
BEST_COMPRESSION = 1100
# Below this, chunks that were never written (all fill value) are taken as they are.
FREE_LOGICAL_BYTES = 256 * MIB


def readable(name: str, length: int = 80) -> str:
    """Return a name out of an untrusted file as one short printable string."""
    text = "".join(c if c.isprintable() else "?" for c in name[: length + 1])
    return text if len(text) <= length else text[: length - 1] + "…"


def in_words(size: int) -> str:
    """Return a number of bytes in the largest unit that gives at least 1."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def require_disk(needed: int, folder: Path, what: str) -> None:
    """Refuse to start a copy that would fill the disk.

    Args:
        needed: Bytes that will be written.
        folder: Where.
        what: What is written, in the plural, for the message.

    Raises:
        InputError: Fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"The {what} may take {in_words(needed)} but only {in_words(free)} of the disk are "
            f"free, give a smaller data set or ask for more space"
        )


def check_storage(identifier: h5d.DatasetID, where: str) -> None:
    """Refuse data that lie elsewhere, and filters other than the common ones."""
    plan = identifier.get_create_plist()
    if plan.get_layout() == h5d.VIRTUAL:
        raise InputError(
            f"The {where} is virtual, its data lie in other files, which are not opened, copy the "
            f"data into one file"
        )
    if plan.get_external_count() > 0:
        raise InputError(
            f"The {where} keeps its data in an external file, which is not opened, copy the data "
            f"into one file"
        )
    filters = [plan.get_filter(index) for index in range(plan.get_nfilters())]
    for number, _, _, title in filters:
        if number not in COMPRESSORS | HARMLESS_FILTERS:
            text = title.decode("utf-8", "replace") if isinstance(title, bytes) else str(title)
            raise InputError(
                f"The {where} is stored with the filter {number} ({readable(text, 40)}), store it "
                f"with gzip, lzf or without compression"
            )
    if sum(number in COMPRESSORS for number, *_ in filters) > 1:
        raise InputError(f"The {where} is compressed more than once, store it with gzip alone")


def check_type(identifier: h5d.DatasetID, where: str, strings: bool) -> None:
    """Refuse everything but plain numbers, or plain strings and whole numbers for names."""
    stored = identifier.get_type()
    kind = stored.get_class()
    if strings:
        if kind not in (h5t.STRING, h5t.INTEGER):
            raise InputError(f"The {where} must hold strings or whole numbers, one for each sample")
        fixed = kind == h5t.STRING and not stored.is_variable_str()
        if fixed and stored.get_size() > 4 * MAX_STRING_LENGTH:
            raise InputError(f"The {where} holds strings that are too long, shorten them")
        return
    try:
        dtype = np.dtype(stored.dtype)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(f"The {where} has a type that is no number, store numbers") from error
    is_number = kind in (h5t.INTEGER, h5t.FLOAT) or dtype.kind == "b"
    if not is_number or dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise InputError(
            f"The {where} holds {_type_name(kind, dtype)}, store whole or floating point numbers "
            f"of at most 64 bits"
        )


def _type_name(kind: int, dtype: np.dtype[Any]) -> str:
    names = {
        h5t.STRING: "strings",
        h5t.COMPOUND: "compound values",
        h5t.REFERENCE: "references",
        h5t.VLEN: "lists of differing length (objects)",
        h5t.ARRAY: "arrays within each element",
        h5t.OPAQUE: "opaque bytes",
        h5t.ENUM: "enumerated values",
    }
    return names.get(kind, f"values of the type {dtype}")


def check_sizes(dataset: h5py.Dataset, where: str, max_bytes: int | None) -> None:
    """Refuse empty data, sizes that cannot be true, and pieces that would not fit in memory."""
    shape = dataset.shape
    if shape is None or dataset.size == 0:
        raise InputError(f"The {where} is empty, give data with at least one sample")
    size = dataset.id.get_type().get_size()
    logical = math.prod(shape) * size
    # A forged contiguous layout may claim more than the file is long.
    stored = min(dataset.id.get_storage_size(), dataset.file.id.get_filesize())
    if logical > max(FREE_LOGICAL_BYTES, BEST_COMPRESSION * stored):
        raise InputError(
            f"The {where} declares {in_words(logical)} but the file holds only {in_words(stored)} "
            f"for it, write all of its data"
        )
    if max_bytes is not None and logical > max_bytes:
        raise InputError(
            f"The {where} needs {in_words(logical)}, more than the {in_words(max_bytes)} that "
            f"there is room for, give a smaller data set"
        )
    if dataset.chunks is not None and math.prod(dataset.chunks) * size > MAX_CHUNK_BYTES:
        raise InputError(
            f"The {where} is stored in chunks of {in_words(math.prod(dataset.chunks) * size)}, "
            f"more than {in_words(MAX_CHUNK_BYTES)}, store it in smaller chunks"
        )
    if math.prod(shape[1:]) * size > MAX_SAMPLE_BYTES:
        raise InputError(
            f"The {where} has samples of {in_words(math.prod(shape[1:]) * size)}, more than "
            f"{in_words(MAX_SAMPLE_BYTES)}, cut the images into smaller ones"
        )
