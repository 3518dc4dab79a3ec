"""Checking the files that a kernel left, in a process of its own.

`python -m gpulab.notebook.capture.verify` reads a JSON list of `[kind, path]` from standard input
and writes one line of JSON for each file, in order. A forged file may crash or hang the libraries
that read it: then this process ends, and `gpulab.notebook.captured` knows which file it was.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from pathlib import Path
from typing import Any

from h5py import h5d, h5g, h5l, h5o, h5t

from gpulab.errors import InputError
from gpulab.h5.limits import (
    BEST_COMPRESSION,
    FREE_LOGICAL_BYTES,
    check_storage,
    in_words,
    readable,
)
from gpulab.h5.safe import open_untrusted, reading
from gpulab.models.check import check_model

MAX_OBJECTS = 2_000_000
# A model of the largest size that ONNX allows is in memory a few times while it is checked.
MAX_MEMORY = 16 << 30
_LABEL = "saved arrays"


def check_arrays(path: Path) -> list[str]:
    """Check that an HDF5 file holds nothing but its own groups and datasets.

    Values are not unpacked: whoever reads them checks chunks as for any file of a stranger.

    Args:
        path: The file.

    Returns:
        The names of the objects at its top.

    Raises:
        InputError: It is damaged, has a link other than a hard one, data that lie elsewhere, or a
            size that cannot be true.
    """
    with open_untrusted(path, _LABEL) as file, reading(_LABEL):
        root = h5g.open(file.id, b"/")
        waiting, seen = [root], set()
        length = file.id.get_filesize()
        while waiting:
            group = waiting.pop()
            for raw in group:
                where = f"object {readable(raw.decode('utf-8', 'replace'))} of the {_LABEL}"
                if group.links.get_info(raw).type != h5l.TYPE_HARD:
                    raise InputError(f"The {where} is a link that may lead out of the file")
                about = h5o.get_info(group, raw)
                if about.addr in seen:
                    continue
                seen.add(about.addr)
                if len(seen) > MAX_OBJECTS:
                    raise InputError(f"The {_LABEL} hold more than {MAX_OBJECTS:,} objects")
                if about.type == h5o.TYPE_GROUP:
                    waiting.append(h5g.open(group, raw))
                elif about.type == h5o.TYPE_DATASET:
                    _check_dataset(h5d.open(group, raw), where, length)
                else:
                    raise InputError(f"The {where} is neither a group nor a dataset")
        return [raw.decode("utf-8", "replace") for raw in root]


def _check_dataset(identifier: h5d.DatasetID, where: str, file_length: int) -> None:
    check_storage(identifier, where)
    stored_type = identifier.get_type()
    if stored_type.get_class() == h5t.REFERENCE:
        raise InputError(f"The {where} holds references in place of values")
    # Empty datasets have no shape.
    logical = math.prod(identifier.shape or ()) * stored_type.get_size()
    stored = min(identifier.get_storage_size(), file_length)
    if logical > max(FREE_LOGICAL_BYTES, BEST_COMPRESSION * stored):
        raise InputError(
            f"The {where} declares {in_words(logical)} but only {in_words(stored)} are there"
        )


def _check(kind: str, path: Path) -> dict[str, Any]:
    try:
        if kind == "arrays":
            return {"problem": "", "names": check_arrays(path)}
        check_model(path, path.stem)
    except InputError as error:
        return {"problem": str(error)}
    except MemoryError:
        return {"problem": "it needs more memory than there is for the check"}
    return {"problem": ""}


def main() -> None:
    """Check what standard input lists."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    for kind, path in json.load(sys.stdin):
        sys.stdout.write(json.dumps(_check(kind, Path(path))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
