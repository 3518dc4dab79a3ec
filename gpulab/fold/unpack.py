"""Takes the expected files out of a tar archive that nobody has looked into."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from gpulab.errors import InputError

BLOCK = 1 << 20  # bytes
MEMBERS = 1000  # an archive of weights has about a dozen


def unpack(archive: Path, folder: Path, wanted: Collection[str], *, limit: int) -> list[str]:
    """Write the wanted files of a tar archive, each under its bare name, and nothing else.

    Members are read one after the other and written by us, so that neither a path nor a link of the
    archive can reach beyond the folder.

    Args:
        archive: Plain or compressed tar archive.
        folder: Where the files shall lie; it must not hold files of these names.
        wanted: Bare names of the files to take; others are left where they are.
        limit: How many bytes the archive may unpack to at most.

    Returns:
        The names of the files that were written, in the order of the archive.

    Raises:
        InputError: The archive is broken, holds links or paths that climb out, holds a file
            twice, or is larger than allowed; or the disk is full.
    """
    written: list[str] = []
    total = 0
    try:
        with tarfile.open(archive, "r|*") as stream:
            for number, member in enumerate(stream):
                total += member.size
                if number >= MEMBERS or total > limit:
                    raise InputError(
                        f"{archive.name} unpacks to more than {limit / 1e9:.1f} GB or {MEMBERS}"
                        " files: it is no archive of weights"
                    )
                name = _safe_name(archive, member)
                if name in written:
                    raise InputError(f"{archive.name} holds {name} twice: pack it again")
                if name in wanted:
                    _write(stream, member, folder / name)
                    written.append(name)
            _require_end(stream)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(
            f"{archive.name} is no complete tar archive ({error}): fetch it again"
        ) from error
    except OSError as error:
        raise InputError(
            f"{archive.name} cannot be unpacked ({error.strerror or error}): make room on the disk"
            " of the jobs' folders, or fetch it again"
        ) from error
    return written


def _safe_name(archive: Path, member: tarfile.TarInfo) -> str:
    """Return the bare name of a member, empty for a folder.

    Raises:
        InputError: It is neither a file nor a folder, or its path climbs out.
    """
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{archive.name} holds a path that leaves its folder: do not use it")
    if member.isdir():
        return ""
    if not member.isreg():
        raise InputError(f"{archive.name} holds a link or a device: do not use it")
    return path.name


def _require_end(stream: tarfile.TarFile) -> None:
    """Refuse an archive that ends between two files without the block of zeros that ends archives.

    The library takes that for an end like any other.
    """
    read = stream.fileobj.tell() if stream.fileobj is not None else 0
    if read - stream.offset < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends early")


def _write(stream: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = stream.extractfile(member)
    if source is None:
        raise tarfile.ReadError(f"{target.name} has no content")
    with source, target.open("xb") as file:
        shutil.copyfileobj(source, file, BLOCK)
    if target.stat().st_size != member.size:
        raise tarfile.ReadError(f"{target.name} is cut short")
