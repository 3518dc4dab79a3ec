"""Writing values into HDF5: the plumbing that every kind of value shares.

A `Writer` is given one function for each family of values; each looks at a value and either writes
it and returns True, or leaves it to the next.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from h5py import h5g, h5p

from gpulab.h5.limits import in_words
from gpulab.notebook.capture.guard import TooManyError, UnsaveableError, error_text

MAX_DEPTH = 24
MAX_OBJECTS = 10_000
COMPRESS_FROM = 16 << 10
COMPRESS_TO = 4 << 30
CHUNK_BYTES = 1 << 20
SLICE_BYTES = 32 << 20
_PROBE_BYTES = 256 << 10
_SPARE_BYTES = 64 << 20
# Of names of links and of keys of dictionaries; an attribute of HDF5 holds 64 KiB at most.
MAX_KEY = 1000

# (writer, parent group, name, value) -> whether the value was one of the family, and is written.
Handler = Callable[["Writer", Any, str, Any], bool]
Reason = Callable[[object], str]


class Writer:
    """Writes one variable after the other into an open HDF5 file.

    Attributes:
        room: Bytes that may still be written, before compression.
        objects: How many values of the current variable have an object of their own.
        written: Bytes of the current variable, before compression.
        left_out: Items of containers of the current variable that could not be saved, each with
            its reason.
    """

    def __init__(
        self, room: int, free: Callable[[], int], handlers: Sequence[Handler], reason: Reason
    ) -> None:
        """Make a writer for one file.

        Args:
            room: Limit for all values together, in bytes.
            free: Returns the bytes that are free on the disk.
            handlers: Families of values, tried in this order.
            reason: Says why a value that none of them takes is not saved.
        """
        self.room = room
        self.written = 0
        self.left_out: list[str] = []
        self._free, self._handlers, self._reason = free, handlers, reason
        self.objects = 0
        self._open: set[int] = set()

    def save(self, parent: h5py.Group, name: str, value: object) -> None:
        """Write a variable whole, or leave no trace of it.

        Raises:
            UnsaveableError: It cannot be saved.
            Exception: Whatever the value itself raised.
        """
        self.written, self.objects, self.left_out = 0, 0, []
        self._open = set()
        room = self.room
        try:
            self.write(parent, name, value)
        except BaseException:
            self.room = room
            if name in parent:
                del parent[name]
            raise

    def write(self, parent: h5py.Group, name: str, value: object) -> None:
        """Write a value and, for containers, all that it holds.

        Raises:
            UnsaveableError: No family takes it, it contains itself, or it is too deep or too large.
        """
        self.objects += 1
        if self.objects > MAX_OBJECTS:
            raise TooManyError(f"more than {MAX_OBJECTS:,} separate values, make it an array")
        if id(value) in self._open:
            raise UnsaveableError("it contains itself")
        if len(self._open) >= MAX_DEPTH:
            raise UnsaveableError(f"containers within containers, more than {MAX_DEPTH} deep")
        self._open.add(id(value))
        try:
            if not any(handler(self, parent, name, value) for handler in self._handlers):
                raise UnsaveableError(self._reason(value))
        finally:
            self._open.discard(id(value))

    def write_item(self, parent: h5py.Group, name: str, value: object, label: str) -> str:
        """Write an item of a container; one that cannot be saved leaves an empty mark.

        Returns:
            Why it was not saved; empty if it was.
        """
        before = len(self.left_out)
        try:
            self.write(parent, name, value)
        except TooManyError:
            raise
        except Exception as error:  # noqa: BLE001  the user's object may raise anything
            # What its own items lack is part of the reason.
            del self.left_out[before:]
            return self.mark_left_out(parent, name, label, error)
        return ""

    def mark_left_out(self, parent: h5py.Group, name: str, label: str, error: BaseException) -> str:
        """Put an empty mark with the reason where an item of a container would be.

        Returns:
            The reason.
        """
        if name in parent:
            del parent[name]
        reason = error_text(error)
        self.left_out.append(f"{label}: {reason}")
        mark = parent.create_dataset(name, data=h5py.Empty("f8"))
        mark.attrs.update({"type": "left out", "reason": reason})
        return reason

    def group(self, parent: h5py.Group, name: str, **attributes: object) -> h5py.Group:
        """Make a group that keeps the order of its members."""
        plan = h5p.create(h5p.GROUP_CREATE)
        plan.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
        group = h5py.Group(h5g.create(parent.id, name.encode(), gcpl=plan))
        group.attrs.update(attributes)
        return group

    def dataset(
        self, parent: h5py.Group, name: str, array: np.ndarray[Any, Any], **attributes: object
    ) -> h5py.Dataset:
        """Write an array that HDF5 can hold as it is, compressed where that pays.

        Raises:
            UnsaveableError: There is no room for it.
        """
        self.spend(int(array.nbytes))
        options: dict[str, Any] = {}
        if array.nbytes >= COMPRESS_FROM and array.ndim and array.dtype.kind != "O":
            options["chunks"] = _chunk(array.shape, array.dtype.itemsize)
            if array.nbytes <= COMPRESS_TO and _shrinks(array):
                options |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        dataset = parent.create_dataset(name, shape=array.shape, dtype=array.dtype, **options)
        for part in _slices(array.shape, array.nbytes, options.get("chunks")):
            dataset[part] = array[part]
        dataset.attrs.update(attributes)
        return dataset

    def spend(self, size: int) -> None:
        """Account for bytes that are about to be written.

        Raises:
            UnsaveableError: There is no room for them.
        """
        # A file that meets a full disk is lost as a whole.
        left = max(0, min(self.room, self._free() - _SPARE_BYTES))
        if size > left:
            raise UnsaveableError(
                f"{in_words(size)}, but only {in_words(left)} are left of the space for values"
            )
        self.room -= size
        self.written += size


@contextmanager
def opened(path: str) -> Iterator[h5py.File]:
    """Open the file for one more variable.

    Metadata reach the disk at the end alone, so that a kernel that is killed while it writes
    leaves the file with all variables before this one.
    """
    with h5py.File(path, "a", locking=False) as file:
        settings = file.id.get_mdc_config()
        settings.evictions_enabled = False
        settings.incr_mode = 0
        settings.decr_mode = 0
        settings.flash_incr_mode = 0
        file.id.set_mdc_config(settings)
        yield file


def _chunk(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return a chunk of about 1 MiB that covers whole last axes."""
    chunk: list[int] = []
    room = max(1, CHUNK_BYTES // max(1, itemsize))
    for length in reversed(shape):
        step = max(1, min(length, room))
        chunk.insert(0, step)
        room = max(1, room // step)
    return tuple(chunk)


def _slices(shape: tuple[int, ...], nbytes: int, chunk: Any) -> Iterator[Any]:
    """Yield parts along the first axis, whole chunks each, so that no copy of all is made."""
    if not shape or nbytes <= SLICE_BYTES:
        yield ()
        return
    row = max(1, nbytes // shape[0])
    unit = chunk[0] if chunk else 1
    step = max(unit, SLICE_BYTES // row // unit * unit)
    for start in range(0, shape[0], step):
        yield slice(start, start + step)


def _shrinks(array: np.ndarray[Any, Any]) -> bool:
    """Tell from a sample whether compression saves a fifth: noise only costs time."""
    count = max(1, _PROBE_BYTES // max(1, array.dtype.itemsize))
    rows = max(1, count // max(1, math.prod(array.shape[1:])))
    middle = array.shape[0] // 2
    sample = np.ravel(array[middle : middle + rows])[:count]
    packed = np.frombuffer(sample.tobytes(), np.uint8)
    shuffled = packed.reshape(-1, array.dtype.itemsize).T.tobytes()
    return len(zlib.compress(shuffled, 1)) < 0.8 * len(shuffled)
