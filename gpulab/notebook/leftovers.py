"""Looking at what a notebook left in its folder, before any of it is opened."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

MAX_DEPTH = 40
MAX_NAMED = 50

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Leftover:
    """A file or folder.

    Attributes:
        parts: Names from the notebook's folder downwards, as the system gives them.
        size: Bytes that it declares.
        modified: Time of its last change, in seconds since 1970.
        inode: Number by which the system knows it.
    """

    parts: tuple[str, ...]
    size: int
    modified: float
    inode: int


@dataclass
class Leftovers:
    """What may be taken, and what may not.

    Attributes:
        files: Regular files, those in `outputs` first.
        folders: Folders, those above before those below.
        refused: What was refused and why, as sentences without their end.
        more: There is more than was looked at.
    """

    files: list[Leftover] = field(default_factory=list)
    folders: list[Leftover] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    more: bool = False
    _paths: set[tuple[str, ...]] = field(default_factory=set)

    def refuse(self, parts: tuple[str, ...], reason: str) -> None:
        """Note that something is not taken; a path is noted once."""
        if parts not in self._paths:
            self._paths.add(parts)
            self.refused.append(f"{readable('/'.join(map(readable, parts)), 120)!r} {reason}")

    def refusals(self) -> list[str]:
        """Return the refusals, of which at most 50 are named."""
        rest = len(self.refused) - MAX_NAMED
        if rest <= 1:
            return self.refused
        return [*self.refused[:MAX_NAMED], f"and {rest} more"]


def survey(work: Path, exclude: Collection[str], most: int) -> Leftovers:
    """List what lies in a folder, without following or opening anything but folders.

    Args:
        work: The folder.
        exclude: Paths relative to it that are passed over, with all that is below them.
        most: Number of entries after which it stops looking.
    """
    search = _Search({tuple(Path(path).parts) for path in exclude}, most)
    with open_folder(work) as root:
        search.look(root, ())
    return search.finish()


@contextmanager
def open_folder(name: str | Path, parent: int | None = None) -> Iterator[int]:
    """Open a folder, which must not be a link, and yield its descriptor.

    Raises:
        OSError: It is no folder, or may not be read.
    """
    number = os.open(name, _FOLDER, dir_fd=parent)
    try:
        yield number
    finally:
        os.close(number)


def readable(name: str, length: int = 255) -> str:
    """Return a name of the file system as text that can do no harm in a message or an archive."""
    text = "".join(c if c.isprintable() and c != "\\" else "_" for c in name)
    return text if len(text) <= length else text[: length - 1] + "…"


class _Search:
    def __init__(self, exclude: set[tuple[str, ...]], most: int) -> None:
        self._exclude = exclude
        self._above = {parts[:n] for parts in exclude for n in range(1, len(parts))}
        self._room = most
        self._left = Leftovers()
        self._links: Counter[tuple[int, int]] = Counter()
        self._expected: dict[tuple[int, int], int] = {}
        self._inputs: set[tuple[int, int]] = set()
        self._found: list[tuple[Leftover, tuple[int, int]]] = []

    def look(self, folder: int, parts: tuple[str, ...]) -> None:
        """List one folder and, after it, those in it."""
        below: list[tuple[str, ...]] = []
        for name in self._names(folder, parts):
            here = (*parts, name)
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            mark = (status.st_dev, status.st_ino)
            if here in self._exclude:
                self._inputs.add(mark)
                self._links[mark] += 1
                continue
            item = Leftover(here, status.st_size, status.st_mtime, status.st_ino)
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFDIR:
                below.append(here)
                # A folder that was made for inputs is nothing that the notebook left.
                if here not in self._above:
                    self._left.folders.append(item)
            elif kind == stat.S_IFREG:
                self._links[mark] += 1
                self._expected[mark] = status.st_nlink
                self._found.append((item, mark))
            else:
                self._left.refuse(here, f"is {_KINDS.get(kind, 'no regular file')}")
        for here in below:
            self._enter(folder, here)

    def finish(self) -> Leftovers:
        """Return what was found, hard links from elsewhere taken out."""
        for item, mark in self._found:
            if mark in self._inputs:
                self._left.refuse(item.parts, "is a hard link to an input")
            elif self._expected[mark] > self._links[mark]:
                self._left.refuse(item.parts, "is a hard link to a file elsewhere")
            else:
                self._left.files.append(item)
        self._left.files.sort(key=lambda item: (item.parts[0] != "outputs", item.parts))
        return self._left

    def _enter(self, folder: int, parts: tuple[str, ...]) -> None:
        if len(parts) >= MAX_DEPTH:
            self._left.refuse(parts, f"lies in {MAX_DEPTH} folders, deeper ones are not taken")
            return
        try:
            with open_folder(parts[-1], folder) as number:
                self.look(number, parts)
        except OSError as error:
            self._left.refuse(parts, f"cannot be read ({error.strerror})")

    def _names(self, folder: int, parts: tuple[str, ...]) -> list[str]:
        """Return the names in a folder in order, no more than there is room for."""
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, self._room + 1)]
        if len(names) > self._room:
            self._left.more = True
        names = sorted(names, key=lambda name: (bool(parts) or name != "outputs", name))
        names = names[: self._room]
        self._room -= len(names)
        return names
