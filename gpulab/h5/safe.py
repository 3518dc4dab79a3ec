"""Opening HDF5 files that a stranger made, without giving them anything but their own bytes.

HDF5 can point out of a file in four ways, and h5py follows all of them: external links, soft links
that end in one, external raw storage, and virtual datasets. A file can also declare sizes that it
does not hold, or chunks that unpack to any amount of memory. Everything here looks before it opens.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5g, h5l, h5o, h5p

from gpulab.errors import InputError
from gpulab.h5.chunks import check_chunks
from gpulab.h5.limits import (
    MAX_CHUNK_BYTES,
    MAX_STRING_LENGTH,
    MIB,
    check_sizes,
    check_storage,
    check_type,
    in_words,
    readable,
)

__all__ = [
    "get_dataset",
    "has_dataset",
    "in_words",
    "list_datasets",
    "open_untrusted",
    "read_rows",
    "read_strings",
    "readable",
    "reading",
]

CACHE_BYTES = 64 * MIB

_H5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError)
_MAX_LINKS = 64
_MAX_LISTED, _MAX_VISITED, _MAX_DEPTH = 20, 500, 5


@contextmanager
def open_untrusted(path: str | Path, label: str) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; nothing but its superblock is touched.

    Reach datasets with `get_dataset` alone: `file[name]` follows links out of the file.

    Args:
        path: The file.
        label: What the user calls this input, such as "training data".

    Raises:
        InputError: The file is missing, is no HDF5 file, or is truncated.
    """
    path = Path(path)
    try:
        status = path.stat()
        # A FIFO or a device would block or never end.
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"The {label} is not a regular file, give an HDF5 file (.h5)")
        if status.st_size == 0:
            raise InputError(f"The {label} is an empty file, give an HDF5 file (.h5)")
        if not h5py.is_hdf5(path):
            raise InputError(f"The {label} is not an HDF5 file, give a file of the type h5")
        file = h5py.File(path, "r", locking=False)
    except _H5_ERRORS as error:
        raise InputError(
            f"The {label} cannot be opened as HDF5, it is truncated or damaged "
            f"({_reason(error)}), upload it again"
        ) from error
    with file:
        yield file


@contextmanager
def reading(label: str) -> Iterator[None]:
    """Turn what h5py raises on a damaged file into one sentence.

    Raises:
        InputError: In place of an HDF5 error.
    """
    try:
        yield
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(f"The {label} is damaged ({_reason(error)}), upload it again") from error


def get_dataset(
    file: h5py.File,
    name: str,
    label: str,
    *,
    strings: bool = False,
    max_bytes: int | None = None,
) -> h5py.Dataset:
    """Return a dataset of an untrusted file after every check that can be made without its values.

    Args:
        file: A file of `open_untrusted`.
        name: Path of the dataset within the file.
        label: What the user calls this input.
        strings: Expect names (strings or integers) in place of numbers.
        max_bytes: Refuse a dataset with more logical (unpacked) bytes than this.

    Returns:
        The dataset, with a chunk cache that fits reading it along its first axis.

    Raises:
        InputError: No such dataset, or a link, storage, filter, type or size that is not accepted.
    """
    where = f"dataset {readable(name)} of the {label}"
    try:
        group, step = _find(file, name, where, label)
        identifier = h5d.open(group, step)
        check_storage(identifier, where)
        check_type(identifier, where, strings)
        dataset = h5py.Dataset(h5d.open(group, step, _access(identifier)))
    except InputError:
        raise
    except _H5_ERRORS as error:
        raise InputError(f"The {where} is damaged ({_reason(error)}), upload it again") from error
    check_sizes(dataset, where, max_bytes)
    with reading(label):
        check_chunks(dataset.id, where)
    return dataset


def has_dataset(file: h5py.File, name: str) -> bool:
    """Tell whether the first component of a path exists; nothing is opened and no link followed."""
    first = name.strip("/").split("/")[0]
    return bool(first) and bool(file.id.links.exists(first.encode("utf-8", "surrogateescape")))


def read_rows(dataset: h5py.Dataset, start: int, stop: int, label: str) -> np.ndarray:
    """Read rows of a dataset's first axis.

    Raises:
        InputError: The stored bytes cannot be decoded.
    """
    try:
        return np.asarray(dataset[start:stop])
    except _H5_ERRORS as error:
        raise InputError(
            f"Rows {start} to {stop - 1} of dataset {readable(dataset.name or '?')} of the {label} "
            f"cannot be read, the file is damaged ({_reason(error)}), upload it again"
        ) from error


def read_strings(dataset: h5py.Dataset, label: str) -> list[str]:
    """Read a one-dimensional dataset of names; control characters become question marks.

    Raises:
        InputError: A name is longer than MAX_STRING_LENGTH, or the bytes cannot be decoded.
    """
    names: list[str] = []
    for start in range(0, dataset.shape[0], 1024):  # many elements may share one long string
        for value in read_rows(dataset, start, start + 1024, label).tolist():
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            if len(text) > MAX_STRING_LENGTH:
                raise InputError(
                    f"Dataset {readable(dataset.name)} of the {label} holds a name of more than "
                    f"{MAX_STRING_LENGTH} characters, shorten it"
                )
            names.append(readable(text, MAX_STRING_LENGTH))
    return names


def dataset_label(dataset: h5py.Dataset, label: str) -> str:
    """Name a dataset and its input the way messages do."""
    return f"dataset {readable((dataset.name or '?').lstrip('/'))} of the {label}"


def in_axes(dataset: h5py.Dataset) -> str:
    """Return the shape the way messages tell it."""
    return " x ".join(map(str, dataset.shape)) or "no axes"


def list_datasets(file: h5py.File) -> list[str]:
    """Return the paths of at most 20 datasets with their shapes; no link is followed."""
    found: list[str] = []
    visited = 0
    waiting: list[tuple[h5g.GroupID, str, int]] = [(h5g.open(file.id, b"/"), "", 0)]
    while waiting and len(found) <= _MAX_LISTED:
        group, prefix, depth = waiting.pop(0)
        for raw in group:
            visited += 1
            if visited > _MAX_VISITED:
                return [*found[:_MAX_LISTED], "…"]
            if group.links.get_info(raw).type != h5l.TYPE_HARD:
                continue
            path = prefix + raw.decode("utf-8", "replace")
            kind = h5o.get_info(group, raw).type
            if kind == h5o.TYPE_DATASET:
                found.append(readable(path, 60))
            elif kind == h5o.TYPE_GROUP and depth < _MAX_DEPTH:
                waiting.append((h5g.open(group, raw), path + "/", depth + 1))
    return found if len(found) <= _MAX_LISTED else [*found[:_MAX_LISTED], "…"]


def _reason(error: BaseException) -> str:
    """Shorten HDF5's own words, of which the part in brackets is the useful one."""
    text = getattr(error, "strerror", None) or str(error)
    return readable(text.partition("(")[2].rpartition(")")[0] or text, 100)


def _find(file: h5py.File, name: str, where: str, label: str) -> tuple[h5g.GroupID, bytes]:
    """Walk to a dataset component by component, so that HDF5 itself never follows a link.

    Returns:
        The group that holds the dataset, and the name of the hard link in it.
    """
    root = h5g.open(file.id, b"/")
    here, trail = root, [part for part in name.split("/") if part not in ("", ".")]
    for _ in range(_MAX_LINKS):
        if not trail:
            raise InputError(f"The {where} is a group, give the name of a dataset")
        step, rest = trail[0].encode("utf-8", "surrogateescape"), trail[1:]
        if not here.links.exists(step):
            raise InputError(_missing(file, name, label))
        kind = here.links.get_info(step).type
        if kind == h5l.TYPE_SOFT:
            target = here.links.get_val(step).decode("utf-8", "surrogateescape")
            here = root if target.startswith("/") else here
            trail = [part for part in target.split("/") if part not in ("", ".")] + rest
            continue
        if kind != h5l.TYPE_HARD:
            raise InputError(
                f"The {where} is a link to another file, which is not followed, copy the data into "
                f"one file"
            )
        found = h5o.get_info(here, step).type
        if found == h5o.TYPE_GROUP:
            here, trail = h5g.open(here, step), rest
        elif found == h5o.TYPE_DATASET and not rest:
            return here, step
        else:
            raise InputError(_missing(file, name, label))
    raise InputError(f"The {where} lies behind a chain of links without an end, store it directly")


def _missing(file: h5py.File, name: str, label: str) -> str:
    there = list_datasets(file)
    listed = f"it holds {', '.join(there)}" if there else "it holds no dataset at all"
    return (
        f"The {label} has no dataset {readable(name)}, {listed}: give one of the names that are "
        f"there"
    )


def _access(identifier: h5d.DatasetID) -> h5p.PropDAID:
    """Return access settings with a cache for one row of chunks, so that none is unpacked twice."""
    access = h5p.create(h5p.DATASET_ACCESS)
    plan = identifier.get_create_plist()
    if plan.get_layout() == h5d.CHUNKED:
        chunk, shape = plan.get_chunk(), identifier.shape
        one = math.prod(chunk) * identifier.get_type().get_size()
        rest = zip(shape[1:], chunk[1:], strict=True)
        across = math.prod(-(-length // step) for length, step in rest)
        # A cache smaller than one chunk would not hold it at all.
        wanted = max(min(one * across + MIB, CACHE_BYTES), min(one, MAX_CHUNK_BYTES) + MIB)
        access.set_chunk_cache(min(max(521, 10 * across + 1), 100_003), wanted, 1.0)
    return access
