"""What a folder of databases must hold for `colabfold_search`, and checking that it does."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from gpulab.errors import InputError
from gpulab.fold.programs import mmseqs

STRUCTURES = (
    Path("pdb") / "divided"
)  # where ColabFold's own set-up script puts the PDB's mmCIF files
PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

# Types of MMseqs2 databases (Parameters.h of release 18), in the lower half of the .dbtype file.
AMINO_ACIDS = 0
PROFILES = 2
ALIGNMENTS = 5
_GPU_FLAG = 1 << 3  # of the extended type, bits 16 to 30: sequences padded for the GPU
_TAIL = 1 << 16  # bytes at the end of an index in which its last line lies


@dataclass(frozen=True)
class Databases:
    """One row of the table `colabfold_databases`.

    Attributes:
        path: The folder.
        uniref: Name of the database of clusters.
        environmental: Name of the environmental database, or empty.
        templates: Name of the database of template sequences, or empty.
        kinds: What the folder offers: clusters, pairing, environmental, templates, structures,
            index, gpu.
    """

    path: Path
    uniref: str
    environmental: str = ""
    templates: str = ""
    kinds: tuple[str, ...] = ()


def check_databases(
    path: Path, uniref: str, environmental: str = "", templates: str = ""
) -> Databases:
    """Check a folder of databases by reading each database's first and last entry with MMseqs2.

    Args:
        path: The folder.
        uniref: Name of the database of clusters in it, such as `uniref30_2302_db`.
        environmental: Name of the environmental database in it, or empty.
        templates: Name of the database of template sequences in it, or empty.

    Returns:
        The databases with the kinds of search that they allow.

    Raises:
        InputError: Something is missing or broken.
    """
    if not path.is_dir():
        raise InputError(f"{path} is no folder that this Galaxy's jobs can read: give another one")
    kinds = ["clusters"]
    indexed = [_check_clusters(path, uniref)]
    taxonomy = [f"{uniref}_mapping", f"{uniref}_taxonomy"]
    if all(_has_content(path / name) for name in taxonomy):
        kinds.append("pairing")
    if environmental:
        indexed.append(_check_clusters(path, environmental))
        kinds.append("environmental")
    if templates:
        _check_sequences(path, templates)
        kinds.append("templates")
        if (path / STRUCTURES).is_dir():
            kinds.append("structures")
    if all(indexed):
        kinds.append("index")
    if _is_padded(path / uniref):
        kinds.append("gpu")
    return Databases(path, uniref, environmental, templates, tuple(kinds))


def present(databases: Databases) -> bool:
    """Tell at once, reading no database, whether what a row of the table names is still there."""
    names = filter(None, (databases.uniref, databases.environmental, databases.templates))
    return all((databases.path / f"{name}.dbtype").is_file() for name in names)


def _check_clusters(folder: Path, name: str) -> bool:
    """Check representatives, members and alignments; return whether there is an index of them."""
    _check_sequences(folder, name)
    index = folder / f"{name}.idx"
    if index.is_file() or index.with_name(f"{index.name}.index").is_file():
        # ColabFold then reads members and alignments from the index.
        _check_readable(folder, f"{name}.idx")
        return True
    _check_sequences(folder, f"{name}_seq")
    _check_readable(folder, f"{name}_aln", ALIGNMENTS)
    return False


def _check_sequences(folder: Path, name: str) -> None:
    _check_readable(folder, name, AMINO_ACIDS, PROFILES)
    _check_readable(folder, f"{name}_h")


def _check_readable(folder: Path, name: str, *types: int) -> None:
    """Check that a database is complete enough for its first and last entry to be read.

    Args:
        folder: Where it is.
        name: Its name.
        *types: Types that it may have; none for any.
    """
    if not PREFIX.fullmatch(name):
        raise InputError(
            f"“{name}” cannot be the name of a database: give the file's name without a folder"
            " and without .dbtype"
        )
    database = folder / name
    kind = read_type(database)
    if types and kind & 0xFFFF not in types:
        raise InputError(
            f"The database {name} holds something else than is needed here (its MMseqs2 type is"
            f" {kind & 0xFFFF}): check which database is which"
        )
    keys = _first_and_last_key(database)
    # MMseqs2 itself reads: it knows about parts, compression and padding. An entry of an index may
    # be as large as a database, so those stay unread.
    for key in [] if name.endswith(".idx") else keys:
        _view(database, key)


def read_type(database: Path) -> int:
    """Return the type of an MMseqs2 database, a number of 32 bits.

    Raises:
        InputError: There is no such database.
    """
    path = database.with_name(f"{database.name}.dbtype")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path.name} is not in {database.parent} ({error.strerror}): the database is missing"
            " or was not unpacked completely"
        ) from error
    if len(content) != 4:
        raise InputError(f"{path.name} is not 4 bytes long: make or unpack the database again")
    return int.from_bytes(content, "little")


def _first_and_last_key(database: Path) -> list[str]:
    path = database.with_name(f"{database.name}.index")
    try:
        with path.open("rb") as file:
            first = file.readline(_TAIL)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            last = file.read().splitlines()[-1:]
    except OSError as error:
        raise InputError(
            f"{path.name} is not in {database.parent} ({error.strerror}): the database is missing"
            " or was not unpacked completely"
        ) from error
    keys = [line.partition(b"\t")[0].decode("ascii", "replace") for line in (first, *last)]
    if not last or not all(key.isdigit() for key in keys):
        raise InputError(f"{path.name} is empty or broken: make or unpack the database again")
    return sorted(set(keys), key=int)


def _view(database: Path, key: str) -> None:
    command = [str(mmseqs()), "view", str(database), "--id-list", key, "-v", "1"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode or not done.stdout.strip(b"\0\n"):
        said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise InputError(
            f"MMseqs2 cannot read entry {key} of the database {database.name}"
            f" ({said or 'it is empty'}): make or unpack the database again"
        )


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _is_padded(database: Path) -> bool:
    return bool(read_type(database) >> 16 & _GPU_FLAG)
