"""Taking the files that a notebook left behind: copied, zipped, and nothing else followed.

Whoever wrote them may have left links, pipes, names that are commands, or a terabyte of nothing.
Every file is opened by its folder's descriptor without following a link, and looked at again once
it is open.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
import zipfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from gpulab.notebook.datatypes import datatype_of
from gpulab.notebook.leftovers import Leftover, Leftovers, open_folder, readable, survey

OUTPUTS = "outputs"  # the folder of which each file becomes a dataset
# How the tool tells Galaxy to find name and datatype in a file's name.
DISCOVER = r"(?P<name>.+?)\.(?P<ext>(?:fasta|fastq|nii1|tabular|tar)\.(?:gz|bz2)|[^.]+)$"
MAX_NAME = 180  # bytes of an element's name

_COPY_BYTES = 1 << 20
_ZIP_LEVEL = 3
_UNUSUAL = re.compile(r"[^\w.+=@ -]")


@dataclass(frozen=True)
class FileLimits:
    """How much is taken, of the collection and of the archive each.

    Attributes:
        max_files: Number of files and folders.
        max_bytes: Bytes of all files together, unpacked.
    """

    max_files: int
    max_bytes: int


@dataclass(frozen=True)
class HarvestedFile:
    """A file of the collection.

    Attributes:
        name: The element's name; keeps the file's own ending.
        datatype: Galaxy's datatype, `data` where the ending tells nothing.
        path: The copy, named `NAME.DATATYPE`.
        size: Bytes.
    """

    name: str
    datatype: str
    path: Path
    size: int


@dataclass
class Harvest:
    """What was taken and what was not.

    Attributes:
        files: Of the folder `outputs`, in the order of their names.
        zipped: Number of files in the archive.
        zipped_bytes: Their bytes, unpacked.
        refused: A sentence for each thing that was not taken, at most 50 and a count.
        notes: Sentences about limits that were reached.
    """

    files: list[HarvestedFile] = field(default_factory=list)
    zipped: int = 0
    zipped_bytes: int = 0
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def harvest_files(
    work: Path,
    *,
    exclude: Collection[str],
    outputs: Path,
    archive: Path,
    limits: FileLimits,
) -> Harvest:
    """Copy what lies below `outputs/` and zip everything, without trusting any of it.

    Symbolic links, pipes, sockets, devices, and hard links to files elsewhere or to inputs are
    refused and named. What passes a limit is left out and named; it is never an error, since the
    rest of the results would be lost with it.

    Args:
        work: The notebook's folder, in which no process works any more.
        exclude: Paths relative to it that are not taken: the inputs, and folders with all that is
            in them.
        outputs: Folder for the copies; made when missing.
        archive: The zip file to write.
        limits: How much is taken.
    """
    left = survey(work, exclude, limits.max_files)
    harvest = Harvest()
    if left.more:
        harvest.notes.append(
            f"The notebook left more than {limits.max_files:,} files and folders, the rest of them "
            f"was not taken: raise the limit, or write fewer and larger files"
        )
    outputs.mkdir(parents=True, exist_ok=True)
    with open_folder(work) as root:
        _copy_outputs(root, left, outputs, limits, harvest)
        _zip_all(root, left, archive, limits, harvest)
    harvest.refused = left.refusals()
    return harvest


def _copy_outputs(
    root: int, left: Leftovers, outputs: Path, limits: FileLimits, harvest: Harvest
) -> None:
    room = limits.max_bytes
    taken: set[str] = set()
    for item in left.files:
        if item.parts[0] != OUTPUTS or len(item.parts) < 2:
            continue
        if item.size > room:
            harvest.notes.append(_too_large(item, limits, "the collection of files"))
            continue
        name = element_name([readable(part) for part in item.parts[1:]], taken)
        datatype = datatype_of(name)
        target = outputs / f"{name}.{datatype}"
        with _opened(root, item, left) as source:
            if source is None:
                continue
            with target.open("xb") as copy:
                shutil.copyfileobj(source, copy, _COPY_BYTES)
        room -= item.size
        harvest.files.append(HarvestedFile(name, datatype, target, item.size))


def _zip_all(
    root: int, left: Leftovers, archive: Path, limits: FileLimits, harvest: Harvest
) -> None:
    room = limits.max_bytes
    taken: set[str] = set()
    with zipfile.ZipFile(
        archive, "w", zipfile.ZIP_DEFLATED, compresslevel=_ZIP_LEVEL, strict_timestamps=False
    ) as target:
        for item in left.folders:
            info = zipfile.ZipInfo(_unique("/".join(map(readable, item.parts)), taken) + "/")
            info.date_time = _zip_time(item.modified)
            info.external_attr = (stat.S_IFDIR | 0o755) << 16 | 0x10
            target.writestr(info, b"")
        for item in left.files:
            if item.size > room:
                harvest.notes.append(_too_large(item, limits, "the archive"))
                continue
            with _opened(root, item, left) as source:
                if source is None:
                    continue
                info = zipfile.ZipInfo(_unique("/".join(map(readable, item.parts)), taken))
                info.date_time = _zip_time(item.modified)
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                info.file_size = item.size  # from which zip64 is chosen
                with target.open(info, "w", force_zip64=item.size >= 1 << 31) as packed:
                    shutil.copyfileobj(source, packed, _COPY_BYTES)
            room -= item.size
            harvest.zipped += 1
            harvest.zipped_bytes += item.size


@contextmanager
def _opened(root: int, item: Leftover, left: Leftovers) -> Iterator[BinaryIO | None]:
    """Open a file below `root`; None, and named as refused, where that is not possible."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with ExitStack() as stack:
        source: BinaryIO | None = None
        try:
            here = root
            for part in item.parts[:-1]:
                here = os.open(part, flags | os.O_DIRECTORY, dir_fd=here)
                stack.callback(os.close, here)
            # A pipe put there since would block without O_NONBLOCK.
            number = os.open(item.parts[-1], flags | os.O_NONBLOCK, dir_fd=here)
            source = stack.enter_context(os.fdopen(number, "rb"))
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode) or status.st_ino != item.inode:
                left.refuse(item.parts, "was changed while it was taken")
                source = None
        except OSError as error:
            left.refuse(item.parts, f"cannot be read ({error.strerror})")
        yield source


def element_name(parts: list[str], taken: set[str]) -> str:
    """Return one name for a file in sub-folders: unusual characters replaced, unique, not too long.

    Args:
        parts: Folders and file name, as text.
        taken: Names given so far, in small letters; the new one is added.
    """
    name = _UNUSUAL.sub("_", "_".join(parts)).lstrip(".- ").rstrip(" ") or "file"
    if len(name.encode()) > MAX_NAME:
        stem, dot, ending = name.rpartition(".")
        ending = dot + ending if stem and len(ending.encode()) <= 20 else ""
        kept = (stem if ending else name).encode()[: MAX_NAME - len(ending.encode())]
        name = kept.decode("utf-8", "ignore") + ending
    return _unique(name, taken)


def _unique(name: str, taken: set[str]) -> str:
    stem, dot, ending = (
        name.rpartition(".") if "." in name.rpartition("/")[2][1:] else (name, "", "")
    )
    number, chosen = 1, name
    # Some systems that unpack the archive make no difference between capital and small letters.
    while chosen.casefold() in taken:
        number += 1
        chosen = f"{stem}_{number}{dot}{ending}"
    taken.add(chosen.casefold())
    return chosen


def _zip_time(seconds: float) -> tuple[int, int, int, int, int, int]:
    """Return a time as a zip file can store it: from 1980 to 2107."""
    bounded = min(max(seconds, 315_619_200.0), 4_354_732_800.0)
    year, month, day, hour, minute, second = time.gmtime(bounded)[:6]
    return year, month, day, hour, minute, second


def _too_large(item: Leftover, limits: FileLimits, what: str) -> str:
    path = readable("/".join(map(readable, item.parts)), 120)
    return (
        f"The file {path!r} ({item.size / 1e9:,.1f} GB) has no room in {what}, which takes "
        f"{limits.max_bytes / 1e9:,.1f} GB in all: raise the limit, or write less"
    )
