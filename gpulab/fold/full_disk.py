"""Telling a full disk in one sentence, where a data manager writes what it fetched or built."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from gpulab.errors import InputError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def full_disk_told(what: str) -> Iterator[None]:
    """Turn the failure of a full disk into a sentence; let every other one pass.

    Args:
        what: What is being written, as a noun in the plural.

    Raises:
        InputError: The disk, a quota or the largest size of a file is used up.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise InputError(
            f"The {what} cannot be written ({error.strerror}): make room on the disk of the jobs'"
            " folders"
        ) from error
