"""Looking into zip files that a stranger made; nothing is unpacked under a name from inside."""

from __future__ import annotations

import stat
import zipfile
from pathlib import PurePosixPath

from gpulab.errors import InputError
from gpulab.h5.images.planes import SourceFile, check_unpacked
from gpulab.h5.limits import in_words, readable

MAX_ENTRIES = 20_000
MAX_ENTRY_BYTES = 512 << 20
_NOISE = ("__MACOSX", ".DS_Store", "Thumbs.db", "DICOMDIR")


def entries(file: SourceFile, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files within a zip that are worth a look, in order of their names.

    Raises:
        InputError: Too many or too large files, encryption, links, or paths that climb out.
    """
    listed = archive.infolist()
    if len(listed) > MAX_ENTRIES:
        raise InputError(
            f"The {file} is a zip of {len(listed)} files, more than the {MAX_ENTRIES} that are "
            f"read, split it"
        )
    for entry in listed:
        _check(file, entry)
    check_unpacked(file, sum(entry.file_size for entry in listed))
    return sorted(
        (e for e in listed if not e.is_dir() and not _is_noise(e.filename)),
        key=lambda entry: entry.filename,
    )


def _is_noise(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name.startswith(".") or any(part in _NOISE for part in path.parts)


def _check(file: SourceFile, entry: zipfile.ZipInfo) -> None:
    name = readable(entry.filename, 60)
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    if ".." in parts or parts[:1] == ("/",) or (parts and parts[0].endswith(":")):
        raise InputError(
            f"The {file} is a zip whose entry {name} has a path that leads out of it, pack it again"
        )
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(
            f"The {file} is a zip whose entry {name} is a link or a device, pack the files "
            f"themselves"
        )
    if entry.flag_bits & 0x1:
        raise InputError(f"The {file} is a zip with a password, pack it without one")
    if entry.file_size > MAX_ENTRY_BYTES:
        raise InputError(
            f"The {file} is a zip whose entry {name} unpacks to {in_words(entry.file_size)}, more "
            f"than the {in_words(MAX_ENTRY_BYTES)} that are read for one slice"
        )
